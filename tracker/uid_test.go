// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"conntap/bpf"
)

func TestUIDText(t *testing.T) {
	tests := []struct {
		uid  UID
		want string
	}{
		{UID{0, 0}, "C00"},
		{UID{1, 61}, "C1Z"},
		{UID{62, 10}, "C01a"},               // least significant digit first
		{UID{62*36 + 1, 62 * 62}, "C1A001"}, // digits are 0-9, a-z, A-Z
		{UID{math.MaxUint32, 0}, "C3cfFG40"},
		{UID{0, math.MaxUint64}, "C0fyha61AhGYl"},
	}
	for _, tt := range tests {
		if got := tt.uid.String(); got != tt.want {
			t.Errorf("%+v: want %s, got %s", tt.uid, tt.want, got)
		}
		if got := string(tt.uid.Append([]byte("x\t"))); got != "x\t"+tt.want {
			t.Errorf("append %+v: want %q, got %q", tt.uid, "x\t"+tt.want, got)
		}
	}
}

// uidPackets are first packets of n connections, of one time and of few hosts.
func uidPackets(n int) []bpf.Packet {
	packets := make([]bpf.Packet, n)
	for i := range packets {
		p := &packets[i]
		*p = bpf.Packet{Kind: bpf.KindPacket, Protocol: bpf.ProtocolUDP, State: bpf.StateComplete, HeaderLength: 28, IPLength: 30, Window: 10}
		p.Time, p.Ordinal = base, uint64(i+1)
		p.Src, p.Dst = bpf.Addr{10: 0xff, 11: 0xff, 12: 10}, bpf.Addr{10: 0xff, 11: 0xff, 12: 11}
		binary.BigEndian.PutUint16(p.Src[14:], uint16(i>>12))
		p.SrcPort, p.DstPort = uint16(10000+i&0xfff), 9999
	}
	return packets
}

func uidsOf(seed string, packets []bpf.Packet) (uids []UID) {
	t := New(Config{Seed: seed}, func(c *Conn) { uids = append(uids, c.UID) })
	t.Track(packets)
	t.Close()
	return uids
}

// TestUIDs checks that the uids depend on the seed and on each connection's first
// packet, and on nothing else.
func TestUIDs(t *testing.T) {
	const n = 100_000
	packets := uidPackets(n)
	uids := uidsOf("seed", packets)
	seen := make(map[UID]bool, n)
	var highs, lows [64]int
	for _, u := range uids {
		seen[u] = true
		for bit := range 64 {
			highs[bit] += int(u.High >> min(bit, 31) & 1)
			lows[bit] += int(u.Low >> bit & 1)
		}
	}
	if len(seen) != n {
		t.Fatalf("want %d uids, got %d", n, len(seen))
	}
	for bit := range 64 { // 10 sigma
		if d := lows[bit] - n/2; d < -1600 || d > 1600 {
			t.Errorf("bit %d of Low is set in %d of %d uids", bit, lows[bit], n)
		}
		if d := highs[bit] - n/2; d < -1600 || d > 1600 {
			t.Errorf("bit %d of High is set in %d of %d uids", min(bit, 31), highs[bit], n)
		}
	}
	for i, u := range uidsOf("seed", packets) {
		if u != uids[i] {
			t.Fatalf("uid %d: want the same %s as before, got %s", i, uids[i], u)
		}
	}
	for _, seed := range []string{"", "seee", "seed "} {
		for _, u := range uidsOf(seed, packets) {
			if seen[u] {
				t.Fatalf("seed %q: %s came before with another seed", seed, u)
			}
		}
	}
}

// TestUIDOfFirstPacket checks that neither later packets nor flips nor other
// connections change a uid, and that the ordinal does.
func TestUIDOfFirstPacket(t *testing.T) {
	first := bpf.Packet{Kind: bpf.KindPacket, Protocol: bpf.ProtocolTCP, State: bpf.StateComplete, HeaderLength: 40, IPLength: 40, Window: 1}
	first.Time, first.Ordinal, first.Flags, first.Seq, first.Ack = base, 7, bpf.SYN|bpf.ACK, 5000, 1001
	first.Src, first.Dst, first.SrcPort, first.DstPort = bpf.Addr{15: 2}, bpf.Addr{15: 1}, 9999, 40000
	reply := first
	reply.Ordinal, reply.Flags, reply.Seq, reply.Ack = 8, bpf.ACK, 1001, 5001
	reply.Src, reply.Dst, reply.SrcPort, reply.DstPort = first.Dst, first.Src, first.DstPort, first.SrcPort
	want := uidsOf("", []bpf.Packet{first})
	if got := uidsOf("", append([]bpf.Packet{first, reply}, uidPackets(10)...)); !slices.Contains(got, want[0]) {
		t.Errorf("after a flip: want %s, got %s", want[0], got)
	}
	for _, change := range []func(*bpf.Packet){
		func(p *bpf.Packet) { p.Ordinal++ },
		func(p *bpf.Packet) { p.SrcPort++ },
		func(p *bpf.Packet) { p.Dst[3]++ },
		func(p *bpf.Packet) { p.Protocol = 132; p.SrcPort, p.DstPort = 0, 0 },
	} {
		p := first
		change(&p)
		if got := uidsOf("", []bpf.Packet{p}); got[0] == want[0] {
			t.Errorf("%+v has the uid of another first packet", p)
		}
	}
}
