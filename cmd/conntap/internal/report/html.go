// SPDX-License-Identifier: Apache-2.0

package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"conntap/cmd/conntap/internal/logread"
	"conntap/cmd/conntap/internal/screen"
)

//go:embed page.html
var pageText string

// page is the template: it escapes whatever the logs hold.
var page = template.Must(template.New("page").Parse(pageText))

// WriteHTML writes the report as a page that needs nothing else: no script, and no
// resource from anywhere.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r.view()) }

// view is what the page shows, in words.
type view struct {
	frame
	Title, Period, Footer string
	Notes                 []string
	Figures               []figure
	Plots                 []plot
	States                *table
	Groups                []table
	Lists                 []lists
	Suspects              *suspectsTable
	Connections           []connectionsTable
	Quality               []row
}

type figure struct{ Name, Value, More string }

// table are the values of a column.
type table struct {
	Title, Caption, Heading, More string
	Rows                          []row
}

// row is a line of a table. Part is a share in percent.
type row struct {
	Name, Connections, Bytes, Share, Words string
	Part                                   float64
}

// lists are the highest values of a column, in two orders.
type lists struct {
	Title, Doubt string
	Tables       []table
}

type suspectsTable struct {
	Caption string
	Rows    []suspectRow
}

type suspectRow struct{ Originator, Attempts, Refused, Hosts, Ports, First, Last string }

type connectionsTable struct {
	Title string
	Rows  []connectionRow
}

type connectionRow struct{ Originator, Responder, Service, State, Bytes, Duration, Start, UID string }

func (r *Report) view() *view {
	v := &view{frame: plotFrame, Title: logread.Printable(r.title()), Figures: r.figures()}
	for _, note := range r.notes() {
		v.Notes = append(v.Notes, logread.Printable(note))
	}
	v.Footer = "Bytes are those of IP packets; those of the payload where the log has no columns for the former. " +
		"Times are UTC. In the plot of bytes those of a connection are spread evenly over its duration."
	if r.Start != nil {
		v.Period = screen.Period(nanos(*r.Start), nanos(*r.End))
	}
	if r.Connections == 0 {
		return v
	}
	if len(r.Timeline.Bins) > 0 {
		v.Plots = r.Timeline.plots(r.sized())
	}
	v.States = r.groupTable("States", "state", r.States)
	for _, g := range []*table{
		r.groupTable("Protocols", "protocol", r.Protocols), r.groupTable("Services", "service", r.Services),
	} {
		if g != nil {
			v.Groups = append(v.Groups, *g)
		}
	}
	v.Lists = append(v.Lists, r.lists("originator", &r.Originators)...)
	v.Lists = append(v.Lists, r.lists("responder", &r.Responders)...)
	v.Lists = append(v.Lists, r.lists("port", &r.Ports)...)
	v.Lists = append(v.Lists, r.lists("pair", &r.Pairs)...)
	v.Suspects = r.suspectsTable()
	v.Connections = append(connectionsTables("Largest connections", r.Largest), connectionsTables("Longest connections", r.Longest)...)
	for _, q := range r.quality() {
		v.Quality = append(v.Quality, row{
			Words: q.words, Connections: screen.Count(q.connections), Share: q.share, Part: part(q.connections, r.Connections),
		})
	}
	return v
}

// figures are the numbers at the top.
func (r *Report) figures() []figure {
	t := &r.Totals
	payload := plus(t.OrigBytes, t.RespBytes)
	figures := []figure{{"connections", screen.Count(r.Connections), ""}}
	if r.has(columnBytes) {
		figures = append(figures, figure{
			"payload", screen.Bytes(payload),
			screen.Bytes(t.OrigBytes) + " from originators, " + screen.Bytes(t.RespBytes) + " from responders",
		})
	}
	if r.has(columnIPBytes) {
		figures = append(figures, figure{
			"IP", screen.Bytes(plus(t.OrigIPBytes, t.RespIPBytes)), screen.Plural(plus(t.OrigPackets, t.RespPackets), "packet"),
		})
	}
	if r.has(columnMissed) {
		figures = append(figures, figure{"missed payload", screen.Bytes(t.MissedBytes), share(t.MissedBytes, payload)})
	}
	if r.has(columnOrig) {
		figures = append(figures, figure{"originators", r.Originators.count(), "to " + r.Responders.count() + " responders"})
	}
	return figures
}

// count is the number of values.
func (l *List) count() string {
	if l.Exact {
		return screen.Count(uint64(l.Distinct))
	}
	return "> " + screen.Count(uint64(l.Distinct))
}

// mostGroups bounds a table on the page.
const mostGroups = 25

// groupTable are the values of a column; nil for none.
func (r *Report) groupTable(title, heading string, groups []Group) *table {
	if len(groups) == 0 {
		return nil
	}
	t := &table{Title: title, Heading: heading}
	for i, g := range groups {
		if i == mostGroups {
			t.More = fmt.Sprintf("%d more", len(groups)-mostGroups)
			break
		}
		t.Rows = append(t.Rows, row{
			Name: logread.Printable(g.Name), Connections: screen.Count(g.Connections), Bytes: screen.Bytes(g.Bytes),
			Share: share(g.Connections, r.Connections), Part: part(g.Connections, r.Connections), Words: g.Words,
		})
	}
	return t
}

// lists are the highest values of a column; none if the logs don't have it.
func (r *Report) lists(noun string, l *List) []lists {
	if l.Distinct == 0 {
		return nil
	}
	v := lists{Title: strings.ToUpper(noun[:1]) + noun[1:] + "s: " + l.count()}
	if !l.Exact {
		v.Doubt = "Too many to follow all: figures may lack what is said behind them."
	}
	for _, o := range r.orders(l) {
		t := table{Caption: o.name, Heading: noun}
		for i := range o.entries {
			t.Rows = append(t.Rows, o.entries[i].row(o.of(&o.entries[i]), o.all))
		}
		v.Tables = append(v.Tables, t)
	}
	return []lists{v}
}

// row shows an entry, and what share of all it has.
func (e *Entry) row(of, all uint64) row {
	return row{
		Name: e.Name + e.doubt(), Connections: screen.Count(e.Connections), Bytes: screen.Bytes(e.Bytes),
		Share: share(of, all), Part: part(of, all),
	}
}

func (r *Report) suspectsTable() *suspectsTable {
	if len(r.Suspects) == 0 {
		return nil
	}
	t := &suspectsTable{Caption: r.suspectsCaption()}
	for _, s := range r.Suspects {
		t.Rows = append(t.Rows, suspectRow{
			s.Originator, screen.Count(s.Attempts), screen.Count(s.Refused), atLeast(s.Hosts, s.MoreHosts), atLeast(s.Ports, s.MorePorts),
			clock(s.First), clock(s.Last),
		})
	}
	return t
}

func connectionsTables(title string, list []Connection) []connectionsTable {
	if len(list) == 0 {
		return nil
	}
	t := connectionsTable{Title: title}
	for _, c := range list {
		t.Rows = append(t.Rows, connectionRow{
			c.Originator, c.Responder, logread.Printable(c.what()), logread.Printable(c.State), screen.Bytes(c.Bytes), c.lasted(), clock(c.Start),
			logread.Printable(c.UID),
		})
	}
	return []connectionsTable{t}
}

// clock is a time in seconds for people; nothing for none.
func clock(seconds *float64) string {
	if seconds == nil {
		return ""
	}
	return at(*seconds).Format("2006-01-02 15:04:05")
}

func at(seconds float64) time.Time { return time.UnixMicro(int64(seconds * second)).UTC() }

// part is a share in percent, 0 to 100.
func part(part, all uint64) float64 {
	if all == 0 {
		return 0
	}
	return min(float64(part)/float64(all)*100, 100)
}
