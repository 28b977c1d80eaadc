// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"conntap/cmd/conntap/internal/screen"
	"conntap/tracker"
)

var (
	plainStyle    = lipgloss.NewStyle()
	boldStyle     = lipgloss.NewStyle().Bold(true)
	faintStyle    = lipgloss.NewStyle().Faint(true)
	selectedStyle = lipgloss.NewStyle().Reverse(true)
	headerStyle   = lipgloss.NewStyle().Bold(true).Underline(true)
	sparkStyle    = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
	redStyle      = lipgloss.NewStyle().Foreground(lipgloss.Red)
	yellowStyle   = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	alarmStyle    = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
)

const (
	headLines = 5 // above the table's rows
	footLines = 1
	leastWide = 40
	leastHigh = headLines + footLines + 1
)

// View draws the screen.
func (s *Screen) View() tea.View {
	view := tea.NewView(s.draw())
	view.AltScreen = true
	view.WindowTitle = "conntap top"
	return view
}

// draw is the screen's text: height lines, none wider than width.
func (s *Screen) draw() string {
	if s.width == 0 {
		return ""
	}
	if s.width < leastWide || s.height < leastHigh {
		return s.drawSmall()
	}
	lines := []string{s.titleLine(), s.rateLine(), s.stateLine(), s.tabLine()}
	if s.detail != nil {
		lines = append(lines, s.detailLines(s.height-len(lines)-footLines)...)
	} else {
		lines = append(lines, s.tableLines(s.tableHeight())...)
	}
	for len(lines) < s.height-footLines {
		lines = append(lines, "")
	}
	return s.clip(append(lines, s.footLine()))
}

// drawSmall is for a terminal without room for a table.
func (s *Screen) drawSmall() string {
	f := &s.figures
	lines := []string{
		screen.Rate(f.PacketRate, "pps") + "  " + screen.Rate(f.BitRate, "bit/s"),
		s.lostText(),
		"open " + screen.Count(f.Connections.Open),
		fmt.Sprintf("q quit; tables from %d x %d on", leastWide, leastHigh),
	}
	return s.clip(lines[:min(len(lines), s.height)])
}

// clip cuts lines to the screen's width.
func (s *Screen) clip(lines []string) string {
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], s.width, "")
	}
	return strings.Join(lines, "\n")
}

// tableHeight is how many lines are left for rows.
func (s *Screen) tableHeight() int { return max(s.height-headLines-footLines, 1) }

func (s *Screen) titleLine() string {
	left := boldStyle.Render("conntap top") + "  " + s.title
	right := s.figures.Time.Format("15:04:05")
	if s.figures.Time.IsZero() {
		right = ""
	}
	if s.frozen != nil {
		right = alarmStyle.Render("paused") + " " + right
	}
	return s.sides(left, right)
}

// sides puts texts to both ends of a line.
func (s *Screen) sides(left, right string) string {
	room := s.width - ansi.StringWidth(right)
	return fill(left, max(room-1, 0), false) + " " + right
}

// segment is a part of a line; the highest ranks are left out first where there is
// not enough room.
type segment struct {
	text string
	rank int
}

// fit joins the segments for which there is room in width, and cuts the last one that
// is left.
func fit(segments []segment, width int) string {
	join := func() string {
		var texts []string
		for _, segment := range segments {
			texts = append(texts, segment.text)
		}
		return strings.Join(texts, "  ")
	}
	for len(segments) > 1 && ansi.StringWidth(join()) > width {
		last := 0
		for i := range segments {
			if segments[i].rank >= segments[last].rank {
				last = i
			}
		}
		segments = slices.Delete(segments, last, last+1)
	}
	return ansi.Truncate(join(), max(width, 0), "…")
}

func (s *Screen) rateLine() string {
	f := &s.figures
	const bars = 20
	return fit([]segment{
		{fill(screen.Rate(f.PacketRate, "pps"), 9, true), 1},
		{sparkStyle.Render(fill(sparkline(f.Packets, bars), bars, true)), 4},
		{fill(screen.Rate(f.BitRate, "bit/s"), 11, true), 1},
		{sparkStyle.Render(fill(sparkline(f.Bits, bars), bars, true)), 5},
		{s.lostText(), 0},
		{s.ringText(), 2},
	}, s.width)
}

func (s *Screen) lostText() string {
	f := &s.figures
	text := "lost " + screen.Count(f.Lost)
	switch narrow := s.width < 80; {
	case narrow && f.Lost > 0:
		return alarmStyle.Render(text)
	case narrow:
		return text
	case f.Lost == 0:
		return text + " of " + screen.Count(f.Seen)
	}
	text += fmt.Sprintf(" of %s (%.2g %%)", screen.Count(f.Seen), share(f.Lost, f.Seen))
	if f.LostNow > 0 {
		text += fmt.Sprintf(", %s now", screen.Count(f.LostNow))
	}
	return alarmStyle.Render(text)
}

// ringText says how full the fullest ring is, and at most was.
func (s *Screen) ringText() string {
	f := &s.figures
	text := fmt.Sprintf("ring %.0f %%", f.RingUsed*100)
	if f.RingHighest*100 >= f.RingUsed*100+1 {
		text += fmt.Sprintf(" (max %.0f)", f.RingHighest*100)
	}
	if f.RingHighest > 0.5 {
		return yellowStyle.Render(text)
	}
	return text
}

// stateLine are the numbers of connections, and the states of those that are open
// and those that were logged.
func (s *Screen) stateLine() string {
	f := &s.figures
	var logged [tracker.StateCount]uint64
	for state := range logged {
		logged[state] = f.Connections.LoggedAs(tracker.State(state))
	}
	segments := []segment{
		{fmt.Sprintf("new %s/s", short(f.OpenRate)), 1},
		{fmt.Sprintf("logged %s/s", short(f.LogRate)), 1},
	}
	rank := 2
	for _, part := range []struct {
		title  string
		counts *[tracker.StateCount]uint64
	}{{"open:", &s.picture.States}, {"logged:", &logged}} {
		for i, text := range stateTexts(part.counts) {
			if i == 0 {
				text = faintStyle.Render(part.title) + " " + text
			}
			segments = append(segments, segment{text, rank + i})
		}
	}
	return fit(segments, s.width)
}

// stateTexts say which share of connections has which state, the most frequent first.
func stateTexts(counts *[tracker.StateCount]uint64) (texts []string) {
	var total uint64
	states := make([]tracker.State, 0, tracker.StateCount)
	for i, n := range counts {
		if n > 0 {
			states = append(states, tracker.State(i))
			total += n
		}
	}
	slices.SortStableFunc(states, func(a, b tracker.State) int { return int(min(max(int64(counts[b])-int64(counts[a]), -1), 1)) })
	for _, state := range states {
		text := fmt.Sprintf("%s %.0f %%", state, share(counts[state], total))
		texts = append(texts, stateStyle(state).Render(text))
	}
	return texts
}

// tabLine names the tables and what is chosen.
func (s *Screen) tabLine() string {
	names := [tabCount]string{
		"open " + screen.Count(s.figures.Connections.Open),
		"logged " + screen.Count(logged(&s.figures.Connections)),
		"hosts", "pairs",
	}
	var tabs []string
	for i, name := range names {
		text := fmt.Sprintf(" %d %s ", i+1, name)
		if tab(i) == s.tab {
			text = selectedStyle.Bold(true).Render(text)
		}
		tabs = append(tabs, text)
	}
	left := strings.Join(tabs, " ")
	choices := []segment{{"sort " + s.orderOf(s.tab).String(), 1}}
	if text := s.filter.String(); text != "" {
		choices = append([]segment{{yellowStyle.Render("filter " + text + s.matchingText()), 0}}, choices...)
	}
	room := s.width - ansi.StringWidth(left) - 1
	right := fit(choices, room)
	if len(s.filter.terms) == 0 && ansi.StringWidth(choices[0].text) > room {
		return left
	}
	return s.sides(left, right)
}

// matchingText is how many connections the filter lets pass.
func (s *Screen) matchingText() string {
	if s.tab != tabOpen {
		return ""
	}
	return fmt.Sprintf(" (%s)", screen.Count(s.picture.Matching))
}

// tableLines are the table's header and the rows around the selected one.
func (s *Screen) tableLines(height int) []string {
	switch s.tab {
	case tabHosts, tabPairs:
		return drawTable(s, talkerColumns(s.tab == tabHosts, s.orderOf(s.tab)), s.talkers(), height)
	}
	return drawTable(s, connectionColumns(s.tab == tabLogged, s.orderOf(s.tab)), s.rows(), height)
}

func drawTable[T any](s *Screen, columns []column[T], rows []T, height int) []string {
	if len(rows) == 0 {
		return []string{"", faintStyle.Render(s.nothing())}
	}
	at := s.selected[s.tab]
	first := min(max(at-height/2, 0), max(len(rows)-height, 0))
	if at < height {
		first = 0
	}
	rows = rows[first:min(first+height, len(rows))]
	columns, widths := layout(columns, rows, s.width)
	lines := []string{headerStyle.Render(fill(header(columns, widths), s.width, false))}
	for i := range rows {
		text := line(columns, widths, &rows[i], first+i == at)
		if first+i == at {
			text = selectedStyle.Render(fill(text, s.width, false))
		}
		lines = append(lines, text)
	}
	return lines
}

// nothing says why there is no row.
func (s *Screen) nothing() string {
	switch {
	case s.filter.String() != "":
		return "nothing matches the filter; esc clears it"
	case s.tab == tabLogged:
		return "no connection has ended yet: TCP's rows come 5 s after the close, others after 60 s of silence"
	}
	return "no connection yet"
}

func (s *Screen) footLine() string {
	switch {
	case s.input != nil && s.input.err != nil:
		return alarmStyle.Render("filter: "+s.input.err.Error()) + "  " + s.input.text + "█"
	case s.input != nil:
		return "filter: " + s.input.text + "█" + faintStyle.Render("  as 10.0.0.5 443 udp S0 ssl host:10. 10.0.0.0/8 !port:22")
	case s.detail != nil:
		return faintStyle.Render("esc back  ↑↓ scroll  p pause  q quit")
	}
	return faintStyle.Render("tab table  s sort  / filter  ↑↓ select  enter explain  p pause  q quit")
}
