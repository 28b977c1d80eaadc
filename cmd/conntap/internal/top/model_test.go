// SPDX-License-Identifier: Apache-2.0

package top

import (
	"iter"
	"net/netip"
	"slices"
	"testing"
	"time"

	"conntap/bpf"
	"conntap/tracker"
)

const second = int64(time.Second)

// connection makes one of TCP that began at a time.
func connection(orig, resp string, state tracker.State, history string, sent, received uint64, start int64) tracker.Conn {
	c := tracker.Conn{
		Start: start, Last: start + second, Protocol: bpf.ProtocolTCP, State: state, History: []byte(history),
		UID: tracker.UID{High: uint32(start), Low: sent<<32 | received},
	}
	for _, side := range []struct {
		e     *tracker.Endpoint
		addr  string
		bytes uint64
	}{{&c.Orig, orig, sent}, {&c.Resp, resp, received}} {
		at := netip.MustParseAddrPort(side.addr)
		side.e.Addr, side.e.Port = at.Addr().As16(), at.Port()
		side.e.IPBytes, side.e.Packets = side.bytes, (side.bytes+999)/1000
		side.e.Bytes = side.bytes - 40*side.e.Packets
	}
	return c
}

func TestFigures(t *testing.T) {
	at := time.Unix(1000, 0)
	var f Figures
	f = f.next(Sample{Time: at, Seen: 100, Connections: tracker.Stats{IPBytes: 1000, Opened: 10, Open: 10}})
	if f.PacketRate != 0 || len(f.Packets) != 0 {
		t.Errorf("want no rate of one sample, got %+v", f)
	}
	f = f.next(Sample{
		Time: at.Add(2 * time.Second), Seen: 300, Lost: 7,
		Connections: tracker.Stats{IPBytes: 3000, Opened: 30, Open: 24},
	})
	if f.PacketRate != 100 || f.BitRate != 8000 || f.OpenRate != 10 || f.LogRate != 3 || f.LostNow != 7 {
		t.Errorf("want 100 packets/s, 8000 bit/s, 10 and 3 connections/s, 7 lost, got %+v", f)
	}
	for i := range 2 * seriesLength {
		f = f.next(Sample{Time: f.Time.Add(time.Second), Seen: f.Seen + uint64(i)})
	}
	if len(f.Packets) != seriesLength || f.Packets[seriesLength-1] != 2*seriesLength-1 {
		t.Errorf("want the last %d rates, got %v", seriesLength, f.Packets)
	}
}

// TestRanking: the first of many stay, and the one that is to be kept.
func TestRanking(t *testing.T) {
	keep := tracker.UID{High: 1, Low: 3}
	k := ranking{order: ByBytes, limit: 10, keep: keep}
	for i := range uint64(1000) {
		n := i * 7919 % 1000
		row := Row{Conn: tracker.Conn{UID: tracker.UID{High: 1, Low: n}, Orig: tracker.Endpoint{IPBytes: n}}}
		k.add(&row)
	}
	var got []uint64
	for _, row := range k.ranked() {
		got = append(got, row.UID.Low)
	}
	if want := []uint64{999, 998, 997, 996, 995, 994, 993, 992, 991, 990, 3}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
}

func TestRates(t *testing.T) {
	var r rates
	c := connection("10.0.0.1:1", "10.0.0.2:2", tracker.S1, "", 1000, 0, second)
	look := func(now int64) (float64, bool) {
		r.begin(now)
		return r.of(&c, now)
	}
	if _, known := look(10 * second); known {
		t.Error("want no rate of a connection that was there before the first walk")
	}
	c.Resp.IPBytes = 4000
	if bits, known := look(12 * second); !known || bits != 4000*8/2 {
		t.Errorf("want 16000 bit/s, got %v, %t", bits, known)
	}
	c.Resp.IPBytes = 5000
	if bits, _ := look(12*second + second/10); bits != 5000*8/2.1 {
		t.Errorf("want the rate over 2.1 s of a walk right after another, got %v", bits)
	}
	c = connection("10.0.0.1:1", "10.0.0.2:3", tracker.S1, "", 1000, 0, 13*second)
	if bits, known := look(13*second + second/10); !known || bits != 1000*8/0.5 {
		t.Errorf("want a new connection's rate over half a second at least, got %v, %t", bits, known)
	}
}

// TestTalkers: hosts and pairs have the sums of their connections.
func TestTalkers(t *testing.T) {
	open, ended := newTalkers(), newTalkers()
	a := connection("10.0.0.2:1", "10.0.0.1:80", tracker.S1, "", 100, 1000, 0)
	b := connection("10.0.0.1:2", "10.0.0.2:80", tracker.SF, "", 10, 20, 0)
	c := connection("10.0.0.3:2", "10.0.0.3:80", tracker.SF, "", 5, 6, 0)
	open.add(&a, Sum{Open: 1, BitRate: 80})
	ended.add(&b, Sum{Logged: 1})
	ended.add(&c, Sum{Logged: 1})
	hosts := merged(open.hosts, ended.hosts, true, ByBytes, 2)
	want := []Sum{
		{Open: 1, Logged: 1, Sent: 1010, Received: 120, Packets: 4, BitRate: 80},
		{Open: 1, Logged: 1, Sent: 120, Received: 1010, Packets: 4, BitRate: 80},
	}
	if len(hosts) != 2 || hosts[0].Sum != want[0] || hosts[1].Sum != want[1] || addrText(&hosts[0].A) != "10.0.0.1" {
		t.Errorf("want %+v, got %+v", want, hosts)
	}
	pairs := merged(open.pairs, ended.pairs, false, ByBytes, 10)
	if len(pairs) != 2 || pairs[0].Sum != want[0] || addrText(&pairs[0].B) != "10.0.0.2" {
		t.Errorf("want %+v first of two, got %+v", want[0], pairs)
	}
}

// TestSumsForget: with very many hosts, the largest stay.
func TestSumsForget(t *testing.T) {
	s := sums{}
	for i := range 100_000 {
		s.add(pair{a: bpf.Addr{0: byte(i >> 16), 1: byte(i >> 8), 2: byte(i)}}, &Sum{Sent: uint64(i / 10)})
	}
	if len(s) > 2*sumsMax {
		t.Errorf("want %d hosts at most, got %d", 2*sumsMax, len(s))
	}
	if _, found := s[pair{a: bpf.Addr{0: 1, 1: 0x86, 2: 0x9f}}]; !found {
		t.Error("the largest is not there")
	}
}

func TestFilter(t *testing.T) {
	c := connection("10.0.0.5:51514", "192.0.2.1:443", tracker.S1, "ShADad", 10, 20, 0)
	c.Service = "ssl"
	icmp := connection("10.0.0.5:8", "192.0.2.1:0", tracker.OTH, "", 10, 20, 0)
	icmp.Protocol = bpf.ProtocolICMP
	tests := []struct {
		filter string
		want   [2]bool // of c and of icmp
	}{
		{"", [2]bool{true, true}},
		{"443", [2]bool{true, false}},
		{"44", [2]bool{}},
		{"8", [2]bool{}}, // a type is no port
		{"port:443", [2]bool{true, false}},
		{"!port:443", [2]bool{false, true}},
		{"tcp", [2]bool{true, false}},
		{"proto:icmp", [2]bool{false, true}},
		{"s1", [2]bool{true, false}},
		{"S0", [2]bool{}},
		{"state:OTH", [2]bool{false, true}},
		{"ssl", [2]bool{true, false}},
		{"service:ss", [2]bool{true, false}},
		{"10.0.0.5", [2]bool{true, true}},
		{"host:192.0", [2]bool{true, true}},
		{"10.0.0.0/24 443", [2]bool{true, false}},
		{"10.0.1.0/24", [2]bool{}},
		{"!10.0.1.0/24 !icmp", [2]bool{true, false}},
		{"99999999", [2]bool{}},
	}
	for _, tt := range tests {
		f, err := ParseFilter(tt.filter)
		if err != nil {
			t.Errorf("%q: %v", tt.filter, err)
		}
		if got := [2]bool{f.matches(&c), f.matches(&icmp)}; got != tt.want {
			t.Errorf("%q: want %v, got %v", tt.filter, tt.want, got)
		}
	}
	for _, text := range []string{"port:", "!", "10.0.0.0/33", "host:", "a/b"} {
		if f, err := ParseFilter(text); err == nil {
			t.Errorf("%q: want an error, got %+v", text, f)
		}
	}
}

// TestWatcher: a picture has what was asked for; a connection that was logged is in
// the sums of its hosts.
func TestWatcher(t *testing.T) {
	open := []tracker.Conn{
		connection("10.0.0.1:1", "10.0.0.9:80", tracker.S1, "ShADad", 100, 200, second),
		connection("10.0.0.2:1", "10.0.0.9:81", tracker.S0, "S", 40, 0, 2*second),
		connection("10.0.0.3:1", "10.0.0.9:80", tracker.S1, "ShADad", 1000, 2000, 3*second),
	}
	w := NewWatcher(Capture{
		Now: func() int64 { return 10 * second },
		Connections: func() iter.Seq[*tracker.Conn] {
			return func(yield func(*tracker.Conn) bool) {
				for i := range open {
					if !yield(&open[i]) {
						return
					}
				}
			}
		},
	})
	filter, _ := ParseFilter("80")
	w.Ask(Query{Filter: filter, Rows: ByBytes, Talkers: ByBytes})
	ended := connection("10.0.0.1:7", "10.0.0.8:80", tracker.SF, "ShADadFf", 5000, 0, second)
	w.Log(&ended)
	ended.History[0] = '?' // it is used again
	p := w.look()
	if len(p.Open) != 2 || p.Matching != 2 || ipBytes(&p.Open[0].Conn) != 3000 || p.Open[1].Age != 9*second {
		t.Errorf("want the two connections of port 80, the larger first, got %+v", p.Open)
	}
	if len(p.Hosts) != 3 || p.Hosts[0].Sum != (Sum{Open: 2, Sent: 2200, Received: 1100, Packets: 5}) {
		t.Errorf("want the three hosts of these connections alone, the server first, got %+v", p.Hosts)
	}
	if p.States[tracker.S1] != 2 || p.States[tracker.S0] != 1 {
		t.Errorf("want two S1 and one S0, got %v", p.States)
	}
	w.Ask(Query{Talkers: ByBytes})
	if p := w.look(); len(p.Hosts) != 5 || p.Hosts[0].Logged != 1 || p.Hosts[0].Open != 1 || p.Hosts[0].Sent != 5100 {
		t.Errorf("without a filter, want the five hosts of all connections, the client of the logged one first, got %+v", p.Hosts)
	}
	rows := w.lastLogged()
	if len(rows) != 1 || string(rows[0].History) != "ShADadFf" || !rows[0].Ended || rows[0].Age != second {
		t.Errorf("want the connection that was logged, got %+v", rows)
	}
	for i := range loggedMost + 10 {
		ended.UID.Low = uint64(i)
		w.Log(&ended)
	}
	if rows := w.lastLogged(); len(rows) != loggedMost || rows[9].UID.Low != loggedMost+8 {
		t.Errorf("want the last %d connections, got %d, in the place of the oldest %d", loggedMost, len(rows), rows[9].UID.Low)
	}
}
