// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// TestTally: beyond its bound, sums are at least what was counted and at most that
// and what is missing, and the error stays within its bound.
func TestTally(t *testing.T) {
	const most, additions = 400, 200_000
	random := rand.New(rand.NewPCG(3, 4))
	heavy := rand.NewZipf(random, 1.2, 1, 1<<20)
	for _, keys := range []int{300, 1 << 20} {
		tl, truth := newTally(most, cmp.Compare[int]), map[int]sums{}
		var all sums
		for range additions {
			key, bytes := int(heavy.Uint64())%keys, random.Uint64N(1500)
			tl.add(key, bytes)
			s := truth[key]
			truth[key] = sums{s.connections + 1, s.bytes + bytes}
			all.connections, all.bytes = all.connections+1, all.bytes+bytes
		}
		if exact := len(truth) <= most; tl.exact() != exact {
			t.Errorf("%d keys: exact is %v", len(truth), tl.exact())
		}
		if len(tl.entries) > most {
			t.Errorf("want at most %d entries, got %d", most, len(tl.entries))
		}
		for key, e := range tl.entries {
			high, want := e.highest(), truth[key]
			if e.counted.connections > want.connections || high.connections < want.connections ||
				e.counted.bytes > want.bytes || high.bytes < want.bytes {
				t.Fatalf("key %d: %+v is not within %+v", key, want, e)
			}
		}
		if tl.floor.connections > all.connections/(most/4) || tl.floor.bytes > all.bytes/(most/4) {
			t.Errorf("want errors of at most a %dth of %+v, got %+v", most/4, all, tl.floor)
		}
		l := tl.list(3, func(k int) string { return fmt.Sprint(k) })
		for i, e := range l.ByConnections { // the Zipf distribution's first
			if want := fmt.Sprint(i); e.Name != want || e.Connections != truth[i].connections {
				t.Errorf("%d keys: want key %s with %d, got %+v", keys, want, truth[i].connections, e)
			}
		}
	}
}

func TestSuspects(t *testing.T) {
	var s suspects
	scanner, flooder := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	target := netip.MustParseAddr("10.0.0.1")
	add := func(orig, resp netip.Addr, port int, state string) {
		s.add(&conn{start: int64(port), orig: endpoint{addr: orig}, resp: endpoint{addr: resp, port: uint16(port), ported: true}, proto: "tcp", state: state})
	}
	for i := range 1 << 16 {
		add(scanner, target, i, "REJ")
		from := netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})
		add(from, target, 80, "S0")    // each source once
		add(flooder, target, 80, "S0") // one port, often
		add(target, from, i, "SF")     // answered
	}
	got := s.list(10)
	if len(got) != 1 {
		t.Fatalf("want one suspect, got %+v", got)
	}
	if g := got[0]; g.Originator != "192.0.2.1" || g.Attempts != 1<<16 || g.Refused != 1<<16 || g.Hosts != 1 ||
		g.Ports != 1<<16 || *g.First != 0 || *g.Last != float64(1<<16-1)/second {
		t.Errorf("want the scanner of 65536 ports, got %+v", g)
	}
	if !s.forgot || len(s.of) > mostAttempters {
		t.Errorf("want some of 65536 sources forgotten, and at most %d kept: %d", mostAttempters, len(s.of))
	}
}

func TestTargetsAreBounded(t *testing.T) {
	s := suspects{targets: mostTargets - 20}
	for i := range 100 {
		s.add(&conn{
			start: noTime, orig: endpoint{addr: netip.MustParseAddr("192.0.2.1")},
			resp: endpoint{addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), port: 22, ported: true}, proto: "tcp", state: "S0",
		})
	}
	got := s.list(1)
	if len(got) != 1 || !got[0].MoreHosts || got[0].MorePorts || got[0].Hosts != 19 || s.targets != mostTargets {
		t.Errorf("want 19 hosts and more, got %+v of %d", got, s.targets)
	}
}

// TestTimeline: whatever the times, no connection and no byte gets lost.
func TestTimeline(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	spans := []int64{second / 20, second, 10 * minute, day, 400 * day, latest}
	for _, span := range spans {
		var tl timeline
		var connections, bytes uint64
		for range 2000 {
			start := random.Int64N(span)
			duration := int64(0)
			if random.IntN(2) == 0 {
				duration = random.Int64N(span - start)
			}
			n := random.Uint64N(1e6)
			tl.add(start, duration, random.IntN(groupCount), n)
			connections, bytes = connections+1, bytes+n
		}
		r := tl.result()
		var gotConnections uint64
		var gotBytes float64
		for i, b := range r.Bins {
			for g := range groupCount {
				gotConnections += b.Connections[g]
				gotBytes += b.Bytes[g]
			}
			if want := r.Bins[0].Start + float64(i)*r.Width; math.Abs(b.Start-want) > r.Width/100 {
				t.Fatalf("bin %d: want it at %v, got %v", i, want, b.Start)
			}
		}
		if gotConnections != connections || math.Abs(gotBytes-float64(bytes)) > 1 || len(r.Bins) > mostBins {
			t.Errorf("%d us: want %d connections, %d bytes, got %d, %f in %d bins", span, connections, bytes, gotConnections, gotBytes, len(r.Bins))
		}
	}
}

func TestBinWidths(t *testing.T) {
	for i := 1; i < len(binWidths); i++ {
		if binWidths[i]%binWidths[i-1] != 0 {
			t.Errorf("%d is no multiple of %d", binWidths[i], binWidths[i-1])
		}
	}
	if widest := binWidths[len(binWidths)-1]; latest/widest >= mostBins {
		t.Errorf("all times don't fit: %d bins of the widest", latest/widest)
	}
}

func TestRanking(t *testing.T) {
	r := ranking{most: 3, of: func(c *conn, _ column) uint64 { return uint64(c.duration) }}
	for i, d := range []int64{5, 0, 9, 5, 7, 1, 9} {
		r.add(&conn{uid: fmt.Sprint(i), duration: d}, 0)
	}
	var order []string
	for _, c := range r.list() {
		order = append(order, c.UID)
	}
	if got := strings.Join(order, " "); got != "2 6 4" {
		t.Errorf("want 2 6 4, the first of equals first, got %s", got)
	}
}

func TestShare(t *testing.T) {
	tests := []struct {
		part, all uint64
		want      string
	}{
		{0, 0, "0 %"}, {0, 5, "0 %"}, {5, 5, "100 %"}, {1, 3, "33.3 %"}, {1, 5000, "< 0.1 %"}, {4999, 5000, "> 99.9 %"}, {7, 5, "140 %"},
	}
	for _, tt := range tests {
		if got := share(tt.part, tt.all); got != tt.want {
			t.Errorf("%d of %d: want %s, got %s", tt.part, tt.all, tt.want, got)
		}
	}
}

func BenchmarkRows(b *testing.B) {
	log := header + strings.Repeat(rows, 2000)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		if err := NewCollector(10).Read("conn.log", strings.NewReader(log)); err != nil {
			b.Fatal(err)
		}
	}
}
