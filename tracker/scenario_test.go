// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"conntap/bpf"
	"conntap/tracker/internal/slab"
)

var update = flag.Bool("update", false, "rewrite the expected rows of testdata/*.txt")

// TestScenarios runs the scenarios of testdata/*.txt: packets in the notation of
// tcpdump, then the rows that they must give. testdata/README.md describes the
// notation. Expected rows are reasoned from the rules that each scenario names,
// so look at every line that -update changes.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScenarioFile(t, file) })
	}
}

func runScenarioFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var updated strings.Builder
	names := map[string]bool{}
	parts := strings.Split("\n"+string(text), "\n== ")
	updated.WriteString(strings.TrimPrefix(parts[0], "\n"))
	for _, part := range parts[1:] {
		name, body, _ := strings.Cut(part, "\n")
		input, want, found := strings.Cut(body, "\n--\n")
		if !found || names[name] {
			t.Fatalf("%s: scenario %q: no line -- before its rows, or the name came before", file, name)
		}
		names[name] = true
		var got string
		t.Run(name, func(t *testing.T) {
			got = runScenario(t, input)
			if want := formatRows(rowFields(want)); !*update && got != want {
				t.Errorf("%s: %s\n%s\nwant\n%sgot\n%s", file, name, input, want, got)
			}
		})
		fmt.Fprintf(&updated, "\n== %s\n%s\n--\n%s", name, input, got)
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(file, []byte(updated.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// rowFields splits the expected part of a scenario into rows of fields.
func rowFields(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 0 {
			rows = append(rows, fields)
		}
	}
	return rows
}

// formatRows aligns rows: protocol, originator, responder, state, history,
// duration, bytes, missed bytes, packets, IP bytes, and what ended it and when.
func formatRows(rows [][]string) string {
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, field := range row {
			width := []int{4, 15, 1, 15, 6, 12, 11, 11, 4, 7, 11}
			if i < len(width) {
				line += fmt.Sprintf("%-*s ", width[i], field)
			} else {
				line += field + " "
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// runScenario runs the input of one scenario and returns its rows.
func runScenario(t *testing.T, input string) string {
	s := scenario{t: t}
	for line := range strings.Lines(input) {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 0 {
			s.line = strings.TrimSpace(line)
			s.run(fields)
		}
	}
	s.start()
	s.atEnd = true
	s.tracker.Close()
	checkAccount(t, s.tracker, s.packets)
	return formatRows(s.rows)
}

// scenario is a scenario that runs.
type scenario struct {
	t       *testing.T
	line    string
	config  Config
	tracker *Tracker
	ordinal uint64
	atEnd   bool
	rows    [][]string
	packets uint64 // of all rows
	closed  [CauseCount]uint64
}

// base is the scenarios' time 0: any whole second in the life of the project.
const base = int64(1_700_000_000 * time.Second)

func (s *scenario) start() {
	if s.tracker == nil {
		s.tracker = New(s.config, s.emit)
	}
}

func (s *scenario) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("in line %q: %s", s.line, fmt.Sprintf(format, args...))
}

// run runs one line of the input.
func (s *scenario) run(fields []string) {
	repeat, step := 1, int64(0)
	switch fields[0] {
	case "limit":
		s.config.MaxConnections = s.number(fields[1])
		return
	case "long":
		for _, field := range fields[1:] {
			s.config.LongConnections = append(s.config.LongConnections, time.Duration(s.time(field)-base))
		}
		return
	case "advance": // time moves on without a packet
		s.start()
		s.tracker.Advance(s.time(fields[1]))
		return
	case "repeat":
		repeat, step = s.number(fields[1]), s.time(fields[2])-base
		fields = fields[3:]
	}
	s.start()
	if len(fields) < 5 || fields[2] != ">" {
		s.fail("want: time source > destination what ...")
	}
	at := s.time(fields[0])
	if fields[4] == "handshake" {
		s.handshake(at, fields[1], fields[3])
		return
	}
	for i := range repeat {
		p := s.packet(fields[1], fields[3], fields[4:], i)
		p.Time = at + int64(i)*step
		s.track(p)
	}
}

func (s *scenario) track(p bpf.Packet) {
	s.ordinal++
	p.Ordinal = s.ordinal
	s.tracker.Track([]bpf.Packet{p})
}

// handshake is three packets 0.1 s apart. The originator's sequence numbers begin
// at 1000, the responder's at 5000.
func (s *scenario) handshake(at int64, from, to string) {
	for i, what := range []string{"[S] seq 1000", "[S.] seq 5000 ack 1001", "[.] seq 1001 ack 5001"} {
		p := s.packet(from, to, strings.Fields(what), 0)
		if i == 1 {
			p = s.packet(to, from, strings.Fields(what), 0)
		}
		p.Time = at + int64(i)*int64(100*time.Millisecond)
		s.track(p)
	}
}

func (s *scenario) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.fail("%v", err)
	}
	return n
}

// time reads seconds since base, with up to nine decimals.
func (s *scenario) time(text string) int64 {
	d, err := time.ParseDuration(text + "s")
	if err != nil {
		s.fail("%v", err)
	}
	return base + int64(d)
}

// endpoint reads a host and port. A to Z are 10.0.0.1 to .26, a to z 2001:db8::1
// to ::1a. B's port is 9999 if none is given, everybody else's 40000.
func (s *scenario) endpoint(text string) (bpf.Addr, uint16) {
	host, port := text, 40000
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().As16(), ap.Port()
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return a.As16(), uint16(port)
	}
	if name, digits, found := strings.Cut(text, ":"); found {
		host, port = name, s.number(digits)
	} else if text == "B" || text == "b" {
		port = 9999
	}
	switch {
	case len(host) == 1 && host[0] >= 'A' && host[0] <= 'Z':
		return netip.AddrFrom4([4]byte{10, 0, 0, host[0] - 'A' + 1}).As16(), uint16(port)
	case len(host) == 1 && host[0] >= 'a' && host[0] <= 'z':
		return bpf.Addr{0x20, 1, 0xd, 0xb8, 15: host[0] - 'a' + 1}, uint16(port)
	}
	s.fail("no endpoint: %s", text)
	return bpf.Addr{}, 0
}

// packet reads a packet but for its time; i is how often it was repeated before.
func (s *scenario) packet(from, to string, what []string, i int) bpf.Packet {
	p := bpf.Packet{Kind: bpf.KindPacket, State: bpf.StateComplete, HeaderLength: 20}
	p.Src, p.SrcPort = s.endpoint(from)
	p.Dst, p.DstPort = s.endpoint(to)
	if !isIPv4(&p.Src) {
		p.State |= bpf.StateIPv6
		p.HeaderLength = 40
	}
	what = s.transport(&p, what)
	length, udpLength := 0, -1
	for len(what) > 0 {
		if s.property(&p, what[0]) {
			what = what[1:]
			continue
		}
		if len(what) < 2 {
			s.fail("unknown word, or one without its value: %s", what[0])
		}
		switch value := what[1]; what[0] {
		case "seq":
			p.Seq = uint32(s.stepped(value, i))
		case "ack":
			p.Ack = uint32(s.stepped(value, i))
		case "win":
			p.Window = uint16(s.number(value))
		case "length":
			length = s.stepped(value, i)
		case "ulen":
			udpLength = s.number(value)
		case "payload":
			payload, err := hex.DecodeString(value)
			if err != nil {
				s.fail("%v", err)
			}
			p.Payload, length = payload, max(length, len(payload))
		default:
			s.fail("unknown word: %s", what[0])
		}
		what = what[2:]
	}
	p.IPLength = uint32(int(p.HeaderLength) + length)
	if p.Protocol == bpf.ProtocolUDP {
		p.Window = uint16(udpHeaderLength + length)
		if udpLength >= 0 {
			p.Window = uint16(udpLength)
		}
	}
	return p
}

// transport reads the protocol and returns the words after it.
func (s *scenario) transport(p *bpf.Packet, what []string) []string {
	switch kind := what[0]; {
	case kind[0] == '[':
		p.Protocol, p.Flags, p.Window = bpf.ProtocolTCP, s.flags(kind), 1000
		p.HeaderLength += 20
		return what[1:]
	case kind == "udp":
		p.Protocol = bpf.ProtocolUDP
		p.HeaderLength += udpHeaderLength
		return what[1:]
	case kind == "icmp", kind == "icmp6":
		p.Protocol = bpf.ProtocolICMP
		if kind == "icmp6" {
			p.Protocol = bpf.ProtocolICMPv6
		}
		typ, code, _ := strings.Cut(what[1], "/")
		p.Window = uint16(s.number(typ)<<8 | s.number(code))
		p.HeaderLength += 8
	case kind == "proto":
		p.Protocol = uint8(s.number(what[1]))
	default:
		s.fail("no packet: %s", kind)
	}
	p.SrcPort, p.DstPort = 0, 0
	return what[2:]
}

// flags reads TCP flags as tcpdump prints them: [S.] is SYN and ACK.
func (s *scenario) flags(text string) (flags bpf.Flags) {
	letters := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if letters == "none" {
		return 0
	}
	for _, letter := range letters {
		at := strings.IndexRune("FSRP.UEW", letter)
		if at < 0 {
			s.fail("no flag: %c", letter)
		}
		flags |= 1 << at
	}
	return flags
}

// property reads a word that needs no value, and tells whether it was one.
func (s *scenario) property(p *bpf.Packet, word string) bool {
	switch word {
	case "bad":
		p.SetChecksum(bpf.ChecksumBad)
	case "good":
		p.SetChecksum(bpf.ChecksumGood)
	case "notfinal":
		p.SetChecksum(bpf.ChecksumNotFinal)
	case "cut": // not captured whole
		p.State &^= bpf.StateComplete
	case "malformed": // the TCP header is longer than the packet
		p.State |= bpf.StateMalformed
	case "short": // the TCP data offset is below 5
		p.State |= bpf.StateMalformed | bpf.StateShortOffset
	case "fragment":
		p.State |= bpf.StateFragment
	case "inner":
		p.Kind = bpf.KindInner
	case "nothing": // a frame without a packet, whose time alone counts
		p.Kind = bpf.KindNone
	default:
		return false
	}
	return true
}

// stepped reads a number, or a+b: b more with each repetition.
func (s *scenario) stepped(text string, i int) int {
	first, step, found := strings.Cut(text, "+")
	if !found {
		step = "0"
	}
	return s.number(first) + i*s.number(step)
}

// emit adds a row.
func (s *scenario) emit(c *Conn) {
	if !c.Interim {
		s.packets += c.Orig.Packets + c.Resp.Packets
	}
	protocol := map[uint8]string{bpf.ProtocolTCP: "tcp", bpf.ProtocolUDP: "udp", bpf.ProtocolICMP: "icmp", bpf.ProtocolICMPv6: "icmp6"}[c.Protocol]
	if protocol == "" {
		protocol = strconv.Itoa(int(c.Protocol))
	}
	history, duration, bytes := string(c.History), "-", "-/-"
	if history == "" {
		history = "-"
	}
	if d := c.Duration(); d > 0 {
		duration = fmt.Sprintf("%.6f", float64(d)/1e9)
		bytes = fmt.Sprintf("%d/%d", c.Orig.Bytes, c.Resp.Bytes)
	}
	out := []string{"end"}
	if !s.atEnd {
		out = []string{s.reason(c), "at", strconv.FormatFloat(float64(s.tracker.now-base)/1e9, 'f', -1, 64)}
	}
	s.closed = s.tracker.Stats().Closed
	s.rows = append(s.rows, append([]string{
		protocol, endpointText(&c.Orig), ">", endpointText(&c.Resp), c.State.String(), history, duration, bytes,
		fmt.Sprintf("missed=%d", c.MissedBytes),
		fmt.Sprintf("%d/%d", c.Orig.Packets, c.Resp.Packets),
		fmt.Sprintf("%d/%d", c.Orig.IPBytes, c.Resp.IPBytes),
	}, out...))
}

// reason is why a row comes out.
func (s *scenario) reason(c *Conn) string {
	if c.Interim {
		return "interim"
	}
	cause := CauseTimeout
	for s.tracker.Stats().Closed[cause] == s.closed[cause] {
		cause++
	}
	return cause.String()
}

func endpointText(e *Endpoint) string {
	host := netip.AddrFrom16(e.Addr).Unmap().String()
	if v4 := binary.BigEndian.Uint32(e.Addr[12:]) - 10<<24 - 1; isIPv4(&e.Addr) && v4 < 26 {
		host = string(rune('A' + v4))
	} else if e.Addr[0] == 0x20 && e.Addr[1] == 1 && e.Addr[15]-1 < 26 {
		host = string(rune('a' + e.Addr[15] - 1))
	}
	return fmt.Sprintf("%s:%d", host, e.Port)
}

// checkAccount checks what holds of every tracker after Close: each packet and
// each connection is accounted for once, and nothing is kept.
func checkAccount(t *testing.T, tr *Tracker, logged uint64) {
	t.Helper()
	s := tr.Stats()
	if s.Records+s.Joined != s.Packets+s.Notes {
		t.Errorf("records: want %d and %d of datagrams, got %d packets and %d notes: %+v", s.Records, s.Joined, s.Packets, s.Notes, s)
	}
	if sum := s.Fragments + s.Inner + s.Carriers + s.Malformed + s.BadChecksums + s.Truncated + s.Duplicates + s.Counted; s.Packets != sum {
		t.Errorf("packets: want %d, got the sum %d: %+v", s.Packets, sum, s)
	}
	if logged != s.Counted {
		t.Errorf("packets of all rows: want %d, got %d", s.Counted, logged)
	}
	var closed, states uint64
	for _, n := range s.Closed {
		closed += n
	}
	for state := range State(StateCount) {
		states += s.LoggedAs(state)
	}
	if closed != s.Opened || states != s.Opened || s.Open != 0 {
		t.Errorf("connections: want %d opened, closed and logged, got %d closed, %d logged, %d open", s.Opened, closed, states, s.Open)
	}
	checkFree(t, "connections", &tr.connections)
	checkFree(t, "cold", &tr.cold)
	checkFree(t, "extra", &tr.extra)
	checkFree(t, "owners", &tr.owners)
	checkFree(t, "blocks", &tr.blocks)
	checkFree(t, "letters", &tr.letters)
	checkFree(t, "tunnels", &tr.tunnels)
	tr.dropOffset(tr.offset) // is in force
	checkFree(t, "offsets", &tr.offsets)
	if tr.table.used != 0 {
		t.Errorf("table: want it empty, got %d entries", tr.table.used)
	}
	if i, _ := tr.wheel.pop(1 << 62); i != 0 {
		t.Errorf("wheel: connection %d is still to come out", i)
	}
	if n := tr.wheel.entries; n != 0 {
		t.Errorf("wheel: want it empty, got %d entries", n)
	}
	checkFree(t, "wheel", &tr.wheel.chunks)
}

// checkFree checks that every index that a slab handed out was given back once.
func checkFree[T any](t *testing.T, name string, s *slab.Slab[T]) {
	t.Helper()
	seen := map[uint32]bool{}
	for _, i := range s.Free() {
		if i == 0 || i >= s.End() || seen[i] {
			t.Errorf("%s: index %d was given back twice, or never handed out", name, i)
		}
		seen[i] = true
	}
	if handedOut := s.End() - 1; len(seen) != int(handedOut) {
		t.Errorf("%s: want %d indices given back, got %d", name, handedOut, len(seen))
	}
}
