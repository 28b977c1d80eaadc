// SPDX-License-Identifier: Apache-2.0

package top

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"conntap/tracker"
)

// tab is one of the tables.
type tab uint8

const (
	tabOpen tab = iota
	tabLogged
	tabHosts
	tabPairs

	tabCount = 4
)

// orders are those of each table, the first one at the start.
var orders = [tabCount][]Order{
	tabOpen:   {ByRate, ByBytes, ByPackets, ByAge, ByStart},
	tabLogged: {ByLogged, ByBytes, ByPackets, ByAge},
	tabHosts:  {ByRate, ByBytes, ByPackets, ByConnections},
	tabPairs:  {ByRate, ByBytes, ByPackets, ByConnections},
}

// Screen is what the user sees and has chosen to see: a bubbletea model. It changes
// by messages alone.
type Screen struct {
	title string
	ask   func(Query)

	width, height int
	figures       Figures
	picture       *Picture
	logged        []Row   // as they come, in no order
	frozen        *Screen // while paused: what goes on behind the picture; nil: not paused

	tab      tab
	order    [tabCount]int // index into orders
	selected [tabCount]int // a row
	filter   Filter
	input    *input      // of a filter; nil: none is typed
	detail   *Row        // the connection that is explained; nil: none
	scroll   int         // lines of the detail that are above the screen
	uid      tracker.UID // of the selected connection, as rows change places
}

// input is a filter that is being typed.
type input struct {
	text string
	err  error
}

// CountersMsg brings figures and the connections logged last, PictureMsg a picture.
type (
	CountersMsg struct {
		Figures Figures
		Logged  []Row
	}
	PictureMsg struct{ Picture *Picture }
)

// NewScreen returns a screen with a title. It calls ask when the user wants to see
// something else.
func NewScreen(title string, ask func(Query)) *Screen {
	return &Screen{title: title, ask: ask, picture: &Picture{}}
}

// Init starts nothing.
func (s *Screen) Init() tea.Cmd { return nil }

// Update takes a message.
func (s *Screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
	case CountersMsg:
		s.behind().figures, s.behind().logged = msg.Figures, msg.Logged
	case PictureMsg:
		s.behind().picture = msg.Picture
	case tea.KeyPressMsg:
		return s, s.key(msg)
	case tea.PasteMsg:
		if s.input != nil {
			s.input.text += msg.Content
		}
	}
	s.follow()
	return s, nil
}

// behind is what takes news: the screen, or while it is paused what will be shown
// then.
func (s *Screen) behind() *Screen {
	if s.frozen != nil {
		return s.frozen
	}
	return s
}

// pause stops the picture, or shows what came meanwhile.
func (s *Screen) pause() {
	if s.frozen == nil {
		s.frozen = &Screen{figures: s.figures, picture: s.picture, logged: s.logged}
		return
	}
	s.figures, s.picture, s.logged = s.frozen.figures, s.frozen.picture, s.frozen.logged
	s.frozen = nil
}

// key does what a key is for.
func (s *Screen) key(msg tea.KeyPressMsg) tea.Cmd {
	name := msg.String()
	switch {
	case name == "ctrl+c":
		return tea.Quit
	case s.input != nil:
		s.keyOfInput(name, msg.Text)
	case name == "q":
		return tea.Quit
	case s.detail != nil:
		s.keyOfDetail(name)
	default:
		s.keyOfTable(name)
	}
	s.follow()
	return nil
}

func (s *Screen) keyOfTable(name string) {
	switch name {
	case "1", "2", "3", "4":
		s.tab = tab(name[0] - '1')
	case "tab", "right":
		s.tab = (s.tab + 1) % tabCount
	case "shift+tab", "left":
		s.tab = (s.tab + tabCount - 1) % tabCount
	case "s", "S":
		s.sort(name == "S")
	case "/":
		s.input = &input{text: s.filter.String()}
	case "esc":
		s.setFilter(Filter{})
	case "p", "space":
		s.pause()
	case "enter":
		s.explain()
	default:
		s.move(name)
	}
}

// sort goes on to the next order, or back to the one before.
func (s *Screen) sort(back bool) {
	n := len(orders[s.tab])
	step := 1
	if back {
		step = n - 1
	}
	s.order[s.tab] = (s.order[s.tab] + step) % n
	s.selected[s.tab], s.uid = 0, tracker.UID{}
	s.query()
}

// move selects another row.
func (s *Screen) move(name string) {
	at, page := s.selected[s.tab], max(s.tableHeight()-1, 1)
	switch name {
	case "up", "k":
		at--
	case "down", "j":
		at++
	case "pgup", "ctrl+b":
		at -= page
	case "pgdown", "ctrl+f":
		at += page
	case "home", "g":
		at = 0
	case "end", "G":
		at = s.length() - 1
	default:
		return
	}
	s.selected[s.tab] = min(max(at, 0), max(s.length()-1, 0))
	s.uid = tracker.UID{}
	if rows := s.rows(); s.selected[s.tab] > 0 { // at the top, the top is meant
		s.uid = uidAt(rows, s.selected[s.tab])
	}
}

func uidAt(rows []Row, i int) tracker.UID {
	if i < len(rows) {
		return rows[i].UID
	}
	return tracker.UID{}
}

// follow lets the selection stay with its connection when rows change places, and
// the detail with what becomes of it.
func (s *Screen) follow() {
	if s.detail != nil {
		s.followDetail()
	}
	if s.uid != (tracker.UID{}) && s.tab <= tabLogged {
		if i := slices.IndexFunc(s.rows(), func(r Row) bool { return r.UID == s.uid }); i >= 0 {
			s.selected[s.tab] = i
		}
	}
	s.selected[s.tab] = min(s.selected[s.tab], max(s.length()-1, 0))
}

// followDetail takes what is known of the explained connection now.
func (s *Screen) followDetail() {
	for _, rows := range [][]Row{s.logged, s.picture.Open} {
		if i := slices.IndexFunc(rows, func(r Row) bool { return r.UID == s.detail.UID }); i >= 0 {
			row := rows[i]
			s.detail = &row
			return
		}
	}
}

// explain opens the detail of the selected connection.
func (s *Screen) explain() {
	switch s.tab {
	case tabOpen, tabLogged:
		if rows := s.rows(); s.selected[s.tab] < len(rows) {
			row := rows[s.selected[s.tab]]
			s.detail, s.scroll = &row, 0
			s.query()
		}
	case tabHosts, tabPairs: // their connections
		if talkers := s.talkers(); s.selected[s.tab] < len(talkers) {
			t := &talkers[s.selected[s.tab]]
			text := "host:" + addrText(&t.A)
			if !t.Alone {
				text += " host:" + addrText(&t.B)
			}
			filter, _ := ParseFilter(text) // which addresses never fail
			s.tab = tabOpen
			s.setFilter(filter)
		}
	}
}

func (s *Screen) keyOfDetail(name string) {
	switch name {
	case "esc", "enter", "backspace", "left":
		s.detail = nil
		s.query()
	case "up", "k":
		s.scroll--
	case "down", "j":
		s.scroll++
	case "p", "space":
		s.pause()
	}
}

func (s *Screen) keyOfInput(name, text string) {
	in := s.input
	in.err = nil
	switch name {
	case "esc":
		s.input = nil
	case "enter":
		filter, err := ParseFilter(in.text)
		if in.err = err; err == nil {
			s.input = nil
			s.setFilter(filter)
		}
	case "backspace":
		if runes := []rune(in.text); len(runes) > 0 {
			in.text = string(runes[:len(runes)-1])
		}
	case "ctrl+u":
		in.text = ""
	default:
		in.text += text
	}
}

func (s *Screen) setFilter(f Filter) {
	s.filter = f
	s.selected, s.uid = [tabCount]int{}, tracker.UID{}
	s.query()
}

// query asks for what is to be seen.
func (s *Screen) query() {
	q := Query{Filter: s.filter, Rows: s.orderOf(tabOpen), Talkers: ByRate}
	if s.tab >= tabHosts {
		q.Talkers = s.orderOf(s.tab)
	}
	if s.detail != nil {
		q.Keep = s.detail.UID
	}
	s.ask(q)
}

func (s *Screen) orderOf(t tab) Order { return orders[t][s.order[t]] }

// rows are the connections of the table at hand, in order; none of hosts and pairs.
func (s *Screen) rows() []Row {
	var rows []Row
	switch s.tab {
	case tabOpen:
		rows = s.picture.Open
	case tabLogged:
		rows = s.logged
	}
	rows = slices.Clone(rows) // which others look at
	rows = slices.DeleteFunc(rows, func(r Row) bool { return !s.filter.matches(&r.Conn) })
	sortRows(rows, s.orderOf(s.tab))
	return rows
}

// talkers are the hosts or pairs of the table at hand, in order.
func (s *Screen) talkers() []Talker {
	talkers := s.picture.Hosts
	if s.tab == tabPairs {
		talkers = s.picture.Pairs
	}
	talkers = slices.Clone(talkers)
	sortTalkers(talkers, s.orderOf(s.tab))
	return talkers
}

// length is how many rows the table at hand has.
func (s *Screen) length() int {
	if s.tab >= tabHosts {
		return len(s.talkers())
	}
	return len(s.rows())
}
