// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"conntap/bpf"
)

// testPacket has the n-th of many keys, with few addresses so that ports must tell
// them apart.
func testPacket(n uint32) bpf.Packet {
	p := bpf.Packet{Protocol: bpf.ProtocolTCP, SrcPort: uint16(n), DstPort: 9999}
	p.Src[15], p.Dst[15] = byte(n>>16), 200
	return p
}

// back is a packet the other way.
func back(p bpf.Packet) bpf.Packet {
	p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	return p
}

// TestTableAgainstMap inserts, finds and removes at random, with hashes that
// collide: wholly, in the upper half that entries keep, or in their home slot.
func TestTableAgainstMap(t *testing.T) {
	hashes := map[string]func(n uint32) uint64{
		"spread":     func(n uint32) uint64 { return uint64(n) * 0x9e3779b97f4a7c15 },
		"same home":  func(n uint32) uint64 { return uint64(n)<<42 | 7<<32 },
		"same upper": func(n uint32) uint64 { return 5<<32 | uint64(n) },
		"same":       func(uint32) uint64 { return 0x1234567890abcdef },
		"at the end": func(n uint32) uint64 { return 0xffffffff<<32 - uint64(n%7)<<32 },
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) { testTable(t, hash) })
	}
}

func testTable(t *testing.T, hash func(n uint32) uint64) {
	random := rand.New(rand.NewPCG(1, 2))
	tr := New(Config{}, func(*Conn) {})
	model := map[uint32]uint32{} // n to index
	for step := range 6000 {
		n := random.Uint32N(1500)
		p := testPacket(n)
		ahead := lookedUp{hash(n), tr.table.candidate(hash(n))}
		if random.IntN(4) == 0 { // it may be any, or have closed since
			ahead.candidate = random.Uint32N(tr.connections.End())
		}
		i, side := tr.find(ahead, &p)
		if want := model[n]; i != want || i != 0 && side != orig {
			t.Fatalf("step %d: find %d: want index %d of the originator, got %d of side %d", step, n, want, i, side)
		}
		if i != 0 {
			reply := back(p)
			if j, side := tr.find(ahead, &reply); j != i || side != resp {
				t.Fatalf("step %d: find the reply of %d: want index %d of the responder, got %d of side %d", step, n, i, j, side)
			}
			if random.IntN(3) == 0 {
				tr.table.remove(hash(n), i)
				tr.connections.At(i).bits = 0
				tr.connections.Put(i)
				delete(model, n)
			}
		} else if len(model) < 1200 {
			i, c := tr.connections.Get()
			c.addr, c.port, c.protocol = [2]bpf.Addr{p.Src, p.Dst}, [2]uint16{p.SrcPort, p.DstPort}, p.Protocol
			c.bits = bitLive
			tr.table.insert(hash(n), i)
			model[n] = i
		}
		if tr.table.used != len(model) {
			t.Fatalf("step %d: want %d used, got %d", step, len(model), tr.table.used)
		}
	}
	for n, i := range model {
		p := testPacket(n)
		if got, _ := tr.find(lookedUp{hash: hash(n)}, &p); got != i {
			t.Errorf("find %d: want %d, got %d", n, i, got)
		}
	}
}

// TestHashIsSymmetric checks that both directions hash alike, and different keys
// differently.
func TestHashIsSymmetric(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	tr := New(Config{}, func(*Conn) {})
	seen := map[uint64]bpf.Packet{}
	for n := range uint32(20000) {
		p := testPacket(n)
		if n%2 == 1 { // IPv4, all from one host to one port
			p.Src = bpf.Addr{10: 0xff, 11: 0xff, 12: 10}
			binary.BigEndian.PutUint16(p.Dst[14:], uint16(n))
		}
		if random.IntN(4) == 0 {
			p.Protocol = bpf.ProtocolUDP
		}
		hash, reply := tr.hashKey.hash(&p, false), back(p)
		if got := tr.hashKey.hash(&reply, false); got != hash {
			t.Fatalf("hash of the reply of %d: want %x, got %x", n, hash, got)
		}
		c := connection{hot: &hot{addr: [2]bpf.Addr{p.Dst, p.Src}, port: [2]uint16{p.DstPort, p.SrcPort}, protocol: p.Protocol}}
		if got := tr.hashOf(&tr.hashKey, c); got != hash {
			t.Fatalf("hash of the connection of %d: want %x, got %x", n, hash, got)
		}
		if other, found := seen[hash]; found {
			t.Fatalf("%v and %v have the same hash", p, other)
		}
		seen[hash] = p
	}
}

// TestKeySides checks which packets belong to a connection, and from which side.
func TestKeySides(t *testing.T) {
	const tcp, udp, icmp = bpf.ProtocolTCP, bpf.ProtocolUDP, bpf.ProtocolICMP
	a, b := bpf.Addr{15: 1}, bpf.Addr{1, 15: 2}
	host := [2]bpf.Addr{a, b}
	tests := []struct {
		name string
		c    hot
		p    bpf.Packet
		want int
	}{
		{"same", hot{addr: host, port: [2]uint16{1, 2}, protocol: tcp}, bpf.Packet{Src: a, Dst: b, SrcPort: 1, DstPort: 2, Protocol: tcp}, orig},
		{"reply", hot{addr: host, port: [2]uint16{1, 2}, protocol: tcp}, bpf.Packet{Src: b, Dst: a, SrcPort: 2, DstPort: 1, Protocol: tcp}, resp},
		{"ports exchanged alone", hot{addr: host, port: [2]uint16{1, 2}, protocol: tcp}, bpf.Packet{Src: a, Dst: b, SrcPort: 2, DstPort: 1, Protocol: tcp}, -1},
		{"addresses exchanged alone", hot{addr: host, port: [2]uint16{1, 2}, protocol: tcp}, bpf.Packet{Src: b, Dst: a, SrcPort: 1, DstPort: 2, Protocol: tcp}, -1},
		{"another address", hot{addr: host, port: [2]uint16{1, 2}, protocol: tcp}, bpf.Packet{Src: a, Dst: bpf.Addr{2, 15: 2}, SrcPort: 1, DstPort: 2, Protocol: tcp}, -1},
		{"protocol", hot{addr: host, port: [2]uint16{1, 2}, protocol: tcp}, bpf.Packet{Src: a, Dst: b, SrcPort: 1, DstPort: 2, Protocol: udp}, -1},
		{"identical endpoints", hot{addr: [2]bpf.Addr{a, a}, port: [2]uint16{1, 1}, protocol: tcp}, bpf.Packet{Src: a, Dst: a, SrcPort: 1, DstPort: 1, Protocol: tcp}, orig},
		{"echo, same", hot{addr: host, port: [2]uint16{8, 0}, protocol: icmp}, bpf.Packet{Src: a, Dst: b, Window: 8 << 8, Protocol: icmp}, orig},
		{"echo, reply", hot{addr: host, port: [2]uint16{8, 0}, protocol: icmp}, bpf.Packet{Src: b, Dst: a, Window: 0, Protocol: icmp}, resp},
		{"one way, same", hot{addr: host, port: [2]uint16{3, 3}, protocol: icmp}, bpf.Packet{Src: a, Dst: b, Window: 3<<8 | 3, Protocol: icmp}, orig},
		{"one way, back", hot{addr: host, port: [2]uint16{3, 3}, protocol: icmp}, bpf.Packet{Src: b, Dst: a, Window: 3<<8 | 3, Protocol: icmp}, -1},
	}
	for _, tt := range tests {
		if got := tt.c.side(&tt.p); got != tt.want {
			t.Errorf("%s: want %d, got %d", tt.name, tt.want, got)
		}
	}
}

// TestPortSets spot-checks the lists of likely server ports at their edges.
func TestPortSets(t *testing.T) {
	count := func(s *portSet) (n int) {
		for p := range 1 << 16 {
			if s.has(uint16(p)) {
				n++
			}
		}
		return n
	}
	if tcp, udp := count(likelyTCP), count(likelyUDP); fmt.Sprint(tcp, udp) != "45 22" {
		t.Errorf("want 45 TCP and 22 UDP ports, got %d and %d", tcp, udp)
	}
	for _, p := range []uint16{23, 110, 111, 513, 1434, 3306, 0, 65535} {
		if likelyTCP.has(p) {
			t.Errorf("TCP port %d is not likely", p)
		}
	}
	for _, p := range []uint16{68, 784, 853, 4011, 4754} {
		if likelyUDP.has(p) {
			t.Errorf("UDP port %d is not likely", p)
		}
	}
}
