// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"conntap/cmd/conntap/internal/logread"
	"conntap/cmd/conntap/internal/screen"
)

// WriteText writes the report for people, at most some 100 characters a line.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	r.textSummary(&b)
	if r.Connections > 0 {
		r.textTimeline(&b)
		r.textGroups(&b, "protocol", r.Protocols)
		r.textGroups(&b, "state", r.States)
		r.textGroups(&b, "service", r.Services)
		r.textList(&b, "originator", &r.Originators)
		r.textList(&b, "responder", &r.Responders)
		r.textList(&b, "port", &r.Ports)
		r.textList(&b, "pair", &r.Pairs)
		textConnections(&b, "largest", r.Largest)
		textConnections(&b, "longest", r.Longest)
		r.textSuspects(&b)
		r.textQuality(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// textSummary says what there was in all.
func (r *Report) textSummary(b *strings.Builder) {
	fmt.Fprintf(b, "%s: %s", logread.Printable(r.title()), screen.Plural(r.Connections, "connection"))
	if r.Start != nil {
		fmt.Fprintf(b, ", %s", screen.Period(nanos(*r.Start), nanos(*r.End)))
	}
	b.WriteByte('\n')
	t := &r.Totals
	if r.has(columnBytes) {
		fmt.Fprintf(b, "  payload   %9s from originators, %9s from responders, %s missed\n",
			screen.Bytes(t.OrigBytes), screen.Bytes(t.RespBytes), screen.Bytes(t.MissedBytes))
	}
	if r.has(columnIPBytes) {
		fmt.Fprintf(b, "  IP        %9s from originators, %9s from responders, in %s and %s\n",
			screen.Bytes(t.OrigIPBytes), screen.Bytes(t.RespIPBytes), screen.Count(t.OrigPackets), screen.Plural(t.RespPackets, "packet"))
	}
	for _, note := range r.notes() {
		fmt.Fprintf(b, "  %s\n", logread.Printable(note))
	}
}

// has tells whether the logs have a column.
func (r *Report) has(c column) bool {
	return r.Connections > 0 && !slices.Contains(r.Missing, columnNames[bits.TrailingZeros32(uint32(c))][0])
}

// sized tells whether the logs say anything of sizes.
func (r *Report) sized() bool { return r.has(columnBytes) || r.has(columnIPBytes) }

// title names the logs.
func (r *Report) title() string {
	if len(r.Files) == 1 {
		return r.Files[0]
	}
	return screen.Plural(uint64(len(r.Files)), "file")
}

// notes are what a reader has to know, in sentences.
func (r *Report) notes() []string {
	var notes []string
	if r.Malformed.Lines > 0 {
		notes = append(notes, screen.Plural(r.Malformed.Lines, "line")+" could not be read, such as")
		for _, text := range r.Malformed.First {
			notes = append(notes, "  "+text)
		}
	}
	if r.Interim > 0 {
		notes = append(notes, fmt.Sprintf("%s of conn_long.log: such connections have another row when they end",
			screen.Plural(r.Interim, "row")))
	}
	if len(r.Missing) > 0 {
		notes = append(notes, "not in the log: "+strings.Join(r.Missing, ", "))
	}
	return notes
}

// sparks draw heights, lowest first.
var sparks = []rune(" ▁▂▃▄▅▆▇█")

// textTimeline draws connections and bytes over time, a line each.
func (r *Report) textTimeline(b *strings.Builder) {
	bins := r.Timeline.Bins
	if len(bins) < 2 {
		return
	}
	const widest = 80
	per := (len(bins) + widest - 1) / widest
	var connections, bytes []float64
	for i, bin := range bins {
		if i%per == 0 {
			connections, bytes = append(connections, 0), append(bytes, 0)
		}
		last := len(bytes) - 1
		for g := range bin.Connections {
			connections[last] += float64(bin.Connections[g])
			bytes[last] += bin.Bytes[g]
		}
	}
	width := screen.Span(spanOf(r.Timeline.Width * float64(per)))
	fmt.Fprintf(b, "\nconnections  |%s|  %s each\n", spark(connections), width)
	if r.sized() {
		fmt.Fprintf(b, "bytes        |%s|\n", spark(bytes))
	}
}

func spark(values []float64) string {
	highest := 0.0
	for _, v := range values {
		highest = max(highest, v)
	}
	line := make([]rune, len(values))
	for i, v := range values {
		level := 0
		if v > 0 {
			level = max(1, int(math.Round(v/highest*float64(len(sparks)-1)))) // what there is shows
		}
		line[i] = sparks[level]
	}
	return string(line)
}

// textGroups writes a table of a column's values.
func (r *Report) textGroups(b *strings.Builder, heading string, groups []Group) {
	if len(groups) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%-16s %12s %7s %10s\n", heading, "connections", "", "bytes")
	const most = 20
	for i, g := range groups {
		if i == most {
			fmt.Fprintf(b, "%d more\n", len(groups)-most)
			return
		}
		line := fmt.Sprintf("%-16s %12s %7s %10s %7s  %s", logread.Printable(g.Name), screen.Count(g.Connections),
			share(g.Connections, r.Connections), screen.Bytes(g.Bytes), share(g.Bytes, r.Bytes), g.Words)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// textList writes the highest of many values, by connections and by bytes; all of
// them but once.
func (r *Report) textList(b *strings.Builder, noun string, l *List) {
	if l.Distinct == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", l.caption(noun))
	for _, o := range r.orders(l) {
		r.textEntries(b, o.name, o.entries)
	}
}

// order is a list in one order.
type order struct {
	name    string
	entries []Entry
	of      func(*Entry) uint64
	all     uint64
}

// orders are those in which a list says something: all values in one are enough.
func (r *Report) orders(l *List) []order {
	byConnections := order{"most connections", l.ByConnections, func(e *Entry) uint64 { return e.Connections }, r.Connections}
	byBytes := order{"most bytes", l.ByBytes, func(e *Entry) uint64 { return e.Bytes }, r.Bytes}
	switch {
	case !r.sized():
		return []order{byConnections}
	case l.Distinct <= len(l.ByBytes):
		return []order{byBytes}
	}
	return []order{byConnections, byBytes}
}

func (r *Report) textEntries(b *strings.Builder, heading string, list []Entry) {
	fmt.Fprintf(b, "  %-44s %12s %7s %10s\n", heading, "connections", "", "bytes")
	for _, e := range list {
		fmt.Fprintf(b, "  %-44s %12s %7s %10s %7s%s\n", e.Name, screen.Count(e.Connections), share(e.Connections, r.Connections),
			screen.Bytes(e.Bytes), share(e.Bytes, r.Bytes), e.doubt())
	}
}

// caption says of how many values a list is, and how exact.
func (l *List) caption(noun string) string {
	if l.Exact {
		return screen.Plural(uint64(l.Distinct), noun)
	}
	return fmt.Sprintf("more than %s, figures may lack what is said", screen.Plural(uint64(l.Distinct), noun))
}

// doubt says what an entry's figures may lack.
func (e *Entry) doubt() string {
	if e.MissingConnections == 0 && e.MissingBytes == 0 {
		return ""
	}
	return fmt.Sprintf("  + up to %s, %s", screen.Count(e.MissingConnections), screen.Bytes(e.MissingBytes))
}

// textConnections writes single connections.
func textConnections(b *strings.Builder, heading string, list []Connection) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%-46s  %-6s %10s %9s  %-18s  %s\n", heading+" connections", "state", "bytes", "duration", "uid", "service")
	for _, c := range list {
		line := fmt.Sprintf("%-46s  %-6s %10s %9s  %-18s  %s", c.ends(), logread.Printable(c.State), screen.Bytes(c.Bytes), c.lasted(),
			logread.Printable(c.UID), logread.Printable(c.what()))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

// ends are both sides.
func (c *Connection) ends() string { return c.Originator + " > " + c.Responder }

// what is the service, or the transport if there is none.
func (c *Connection) what() string {
	if c.Service != "" {
		return c.Service
	}
	return c.Protocol
}

func (c *Connection) lasted() string {
	return screen.Span(spanOf(c.Duration))
}

// spanOf are seconds, up to the 146 years that fit twice.
func spanOf(seconds float64) time.Duration {
	return time.Duration(min(seconds, math.MaxInt64/2e9) * 1e9)
}

// textSuspects writes who may have scanned.
func (r *Report) textSuspects(b *strings.Builder) {
	if len(r.Suspects) == 0 {
		return
	}
	fmt.Fprintf(b, "\nscans? %s\n", r.suspectsCaption())
	fmt.Fprintf(b, "  %-32s %10s %10s %10s %10s\n", "originator", "attempts", "refused", "hosts", "ports")
	for _, s := range r.Suspects {
		fmt.Fprintf(b, "  %-32s %10s %10s %10s %10s\n", s.Originator, screen.Count(s.Attempts), screen.Count(s.Refused),
			atLeast(s.Hosts, s.MoreHosts), atLeast(s.Ports, s.MorePorts))
	}
}

// suspectsCaption says what makes a suspect.
func (r *Report) suspectsCaption() string {
	text := fmt.Sprintf("attempts at %d or more hosts or ports were not taken up (S0, REJ, RSTOS0, SH)", scanLeast)
	if !r.SuspectsExact {
		text += "; there were more originators of such than could be followed"
	}
	return text
}

func atLeast(n int, more bool) string {
	if more {
		return screen.Count(uint64(n)) + "+"
	}
	return screen.Count(uint64(n))
}

// textQuality says how well the traffic was seen.
func (r *Report) textQuality(b *strings.Builder) {
	for i, line := range r.quality() {
		if i == 0 {
			b.WriteString("\nconnections\n")
		}
		fmt.Fprintf(b, "  %-44s %12s %7s\n", line.words, screen.Count(line.connections), line.share)
	}
}

// qualityLine is one finding.
type qualityLine struct {
	words       string
	connections uint64
	share       string
}

// quality are the findings that the log's columns allow.
func (r *Report) quality() []qualityLine {
	q := &r.Quality
	var lines []qualityLine
	add := func(words string, connections uint64) {
		lines = append(lines, qualityLine{words, connections, share(connections, r.Connections)})
	}
	if r.has(columnMissed) {
		payload := plus(r.Totals.OrigBytes, r.Totals.RespBytes)
		add("with payload missed, "+share(r.Totals.MissedBytes, payload)+" of all", q.Gaps)
	}
	if r.has(columnHistory) {
		add("with data sent again (T, t)", q.Retransmissions)
		add("with a zero window (W, w)", q.ZeroWindows)
		add("with bad checksums (C, c)", q.BadChecksums)
		add("of TCP with one side seen", q.OneSided)
	}
	return lines
}

// share is part in all, as "12.3 %".
func share(part, all uint64) string {
	if all == 0 {
		return "0 %"
	}
	percent := float64(part) / float64(all) * 100
	switch {
	case part == 0 || part == all || percent > 100:
		return strconv.FormatFloat(percent, 'f', 0, 64) + " %"
	case percent < 0.1:
		return "< 0.1 %"
	case percent > 99.9:
		return "> 99.9 %"
	}
	return strconv.FormatFloat(percent, 'f', 1, 64) + " %"
}

// nanos is a time in seconds as ns since 1970.
func nanos(seconds float64) int64 {
	return int64(min(seconds, 9e9) * 1e9) // which goes to the year 2255
}
