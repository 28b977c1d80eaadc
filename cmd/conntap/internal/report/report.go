// SPDX-License-Identifier: Apache-2.0

// Package report sums up conn.logs: what there was, who talked most, what failed,
// how it went over time. It takes rows one by one and keeps bounded tables, however
// long the logs are.
package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"conntap/cmd/conntap/internal/explain"
	"conntap/cmd/conntap/internal/logread"
)

const (
	// mostKeys bounds each of the tables of addresses, ports and pairs.
	mostKeys = 1 << 17
	// mostNames bounds those of protocols, states and services.
	mostNames = 1000
	// mostMistakes bounds what is said of lines that are no rows.
	mostMistakes = 5
)

// Collector takes rows. It is for one goroutine.
type Collector struct {
	top      int
	files    []string
	has      column
	rows     uint64
	interim  uint64
	bytes    uint64
	mistakes Malformed

	start, end int64 // µs; noTime before the first
	totals     Totals
	quality    Quality

	protocols, states, services *tally[string]
	originators, responders     *tally[netip.Addr]
	ports                       *tally[port]
	pairs                       *tally[pair]
	largest, longest            ranking
	suspects                    suspects
	timeline                    timeline
	conn                        conn
}

// port is a responder's port of a transport.
type port struct {
	number uint16
	proto  string
}

func (p port) String() string { return fmt.Sprintf("%d/%s", p.number, p.proto) }

// pair is an originator and a responder.
type pair struct {
	orig, resp netip.Addr
}

func (p pair) String() string { return p.orig.String() + " > " + p.resp.String() }

// NewCollector makes lists of up to top entries.
func NewCollector(top int) *Collector {
	return &Collector{
		top: top, start: noTime, end: noTime, mistakes: Malformed{First: []string{}},
		protocols: newTally(mostNames, strings.Compare), states: newTally(mostNames, strings.Compare),
		services:    newTally(mostNames, strings.Compare),
		originators: newTally(mostKeys, netip.Addr.Compare), responders: newTally(mostKeys, netip.Addr.Compare),
		ports: newTally(mostKeys, func(a, b port) int {
			return cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(a.proto, b.proto))
		}),
		pairs: newTally(mostKeys, func(a, b pair) int {
			return cmp.Or(a.orig.Compare(b.orig), a.resp.Compare(b.resp))
		}),
		largest: ranking{most: top, of: func(c *conn, has column) uint64 { return c.bytes(has) }},
		longest: ranking{most: top, of: func(c *conn, _ column) uint64 { return uint64(c.duration) }},
	}
}

// Read takes all rows of the log called name. What is no row is counted; an error is
// one of reading.
func (c *Collector) Read(name string, r io.Reader) error {
	c.files = append(c.files, name)
	lines := logread.NewReader(r)
	for {
		row, err := lines.Next()
		var line *logread.LineError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &line):
			c.mistake(name, err)
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := c.take(row, lines.Path()); err != nil {
			c.mistake(name, &logread.LineError{Line: lines.Line(), Err: err})
		}
	}
}

// Connections is how many rows there were so far.
func (c *Collector) Connections() uint64 { return c.rows }

// mistake counts a line that is no row.
func (c *Collector) mistake(name string, err error) {
	if c.mistakes.Lines++; len(c.mistakes.First) < mostMistakes {
		c.mistakes.First = append(c.mistakes.First, name+": "+err.Error())
	}
}

// take adds a row of the log that Zeek calls path, "" if that is not known.
func (c *Collector) take(row logread.Row, path string) error {
	if path != "" && !strings.HasPrefix(path, "conn") {
		return fmt.Errorf("a row of Zeek's %.40s.log, not of conn.log", path)
	}
	has, err := c.conn.parse(row)
	if err != nil {
		return err
	}
	if path == "conn_long" {
		c.interim++
	}
	c.has |= has
	c.rows++
	c.add(&c.conn, has)
	return nil
}

// add takes a connection into all sums and lists.
func (c *Collector) add(k *conn, has column) {
	bytes := k.bytes(has)
	c.bytes = plus(c.bytes, bytes)
	c.sumUp(k)
	c.judge(k)
	addName(c.protocols, k.proto, bytes)
	addName(c.states, k.state, bytes)
	addName(c.services, k.service, bytes)
	if k.orig.addr.IsValid() {
		c.originators.add(k.orig.addr, bytes)
	}
	if k.resp.addr.IsValid() {
		c.responders.add(k.resp.addr, bytes)
	}
	if k.orig.addr.IsValid() && k.resp.addr.IsValid() {
		c.pairs.add(pair{k.orig.addr, k.resp.addr}, bytes)
	}
	if k.resp.ported {
		switch k.proto { // each case's own text, not to keep the line's
		case "tcp":
			c.ports.add(port{k.resp.port, "tcp"}, bytes)
		case "udp":
			c.ports.add(port{k.resp.port, "udp"}, bytes)
		}
	}
	c.largest.add(k, has)
	c.longest.add(k, has)
	c.suspects.add(k)
	if k.start != noTime {
		c.timeline.add(k.start, k.duration, groupOf(k.state), bytes)
	}
}

// sumUp adds a connection to the totals.
func (c *Collector) sumUp(k *conn) {
	t := &c.totals
	t.OrigBytes, t.RespBytes = plus(t.OrigBytes, k.orig.bytes), plus(t.RespBytes, k.resp.bytes)
	t.OrigIPBytes, t.RespIPBytes = plus(t.OrigIPBytes, k.orig.ipBytes), plus(t.RespIPBytes, k.resp.ipBytes)
	t.OrigPackets, t.RespPackets = plus(t.OrigPackets, k.orig.packets), plus(t.RespPackets, k.resp.packets)
	t.MissedBytes = plus(t.MissedBytes, k.missed)
	if k.start == noTime {
		return
	}
	if c.start == noTime || k.start < c.start {
		c.start = k.start
	}
	c.end = max(c.end, k.start+k.duration)
}

// judge takes note of how a connection was seen.
func (c *Collector) judge(k *conn) {
	q := &c.quality
	for _, count := range []struct {
		of    *uint64
		holds bool
	}{
		{&q.Gaps, k.missed > 0},
		{&q.Retransmissions, strings.ContainsAny(k.history, "Tt")},
		{&q.ZeroWindows, strings.ContainsAny(k.history, "Ww")},
		{&q.BadChecksums, strings.ContainsAny(k.history, "Cc")},
		{
			&q.OneSided,
			k.proto == "tcp" && (k.orig.packets == 0) != (k.resp.packets == 0) && strings.ContainsAny(k.history, "ADHadh"),
		},
	} {
		if count.holds {
			*count.of++
		}
	}
}

// addName adds a value of a column unless it is unset.
func addName(t *tally[string], name string, bytes uint64) {
	if name == "" {
		return
	}
	if t.entries[name] == nil {
		name = strings.Clone(name) // not to keep all of its line
	}
	t.add(name, bytes)
}

// Report is what was collected.
func (c *Collector) Report() *Report {
	address := func(a netip.Addr) string { return a.String() }
	r := &Report{
		Files: c.files, Missing: c.missing(), Connections: c.rows, Interim: c.interim, Bytes: c.bytes, Malformed: c.mistakes,
		Start: seconds(c.start), End: seconds(c.end), Totals: c.totals, Quality: c.quality,
		Protocols: groups(c.protocols, nil), Services: groups(c.services, nil),
		States:      groups(c.states, explain.StateWords),
		Originators: c.originators.list(c.top, address), Responders: c.responders.list(c.top, address),
		Ports: c.ports.list(c.top, port.String), Pairs: c.pairs.list(c.top, pair.String),
		Largest: c.largest.list(), Longest: c.longest.list(),
		Suspects: c.suspects.list(c.top), SuspectsExact: !c.suspects.forgot,
		Timeline: c.timeline.result(),
	}
	return r
}

// missing are the columns that are not in the logs.
func (c *Collector) missing() []string {
	missing := []string{}
	for i, names := range columnNames {
		if c.rows > 0 && c.has&(1<<i) == 0 {
			missing = append(missing, names...)
		}
	}
	return missing
}

// groups are all values of a column, the most frequent first.
func groups(t *tally[string], words func(string) string) []Group {
	groups := []Group{}
	for _, name := range t.sorted(func(e *entry) uint64 { return e.counted.connections }) {
		g := Group{Name: name, Connections: t.entries[name].counted.connections, Bytes: t.entries[name].counted.bytes}
		if words != nil {
			g.Words = words(name)
		}
		groups = append(groups, g)
	}
	return groups
}

// result is the timeline for a report.
func (t *timeline) result() Timeline {
	r := Timeline{Width: float64(t.width()) / second, Groups: groupNames[:], Bins: []Bin{}}
	for i := range t.bins {
		b := &t.bins[i]
		r.Bins = append(r.Bins, Bin{
			Start:       float64((t.first+int64(i))*t.width()) / second,
			Connections: slices.Clone(b.connections[:]), Bytes: slices.Clone(b.bytes[:]),
		})
	}
	return r
}

// ranking are the highest connections by some measure.
type ranking struct {
	most int
	of   func(c *conn, has column) uint64
	best []ranked
}

type ranked struct {
	measure uint64
	conn    conn
	bytes   uint64
}

// add takes a connection, unless its measure is 0 or too low.
func (r *ranking) add(c *conn, has column) {
	measure := r.of(c, has)
	if measure == 0 || len(r.best) == r.most && measure <= r.best[len(r.best)-1].measure {
		return
	}
	at, _ := slices.BinarySearchFunc(r.best, measure, func(k ranked, measure uint64) int {
		if k.measure >= measure { // behind its equals
			return -1
		}
		return 1
	})
	if len(r.best) == r.most {
		r.best = r.best[:r.most-1]
	}
	k := *c
	k.uid, k.proto, k.service, k.state = strings.Clone(c.uid), strings.Clone(c.proto), strings.Clone(c.service), strings.Clone(c.state)
	k.history = ""
	r.best = slices.Insert(r.best, at, ranked{measure, k, c.bytes(has)})
}

func (r *ranking) list() []Connection {
	list := []Connection{}
	for i := range r.best {
		k := &r.best[i].conn
		list = append(list, Connection{
			UID: k.uid, Start: seconds(k.start), Duration: float64(k.duration) / second,
			Originator: k.side(&k.orig), Responder: k.side(&k.resp),
			Protocol: k.proto, Service: k.service, State: k.state, Bytes: r.best[i].bytes,
		})
	}
	return list
}

// side writes a side's address, and its port if the transport has ports.
func (c *conn) side(e *endpoint) string {
	switch {
	case !e.addr.IsValid():
		return "?"
	case !e.ported, c.proto != "tcp" && c.proto != "udp":
		return e.addr.String()
	}
	return netip.AddrPortFrom(e.addr, e.port).String()
}
