// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"conntap/bpf"
)

// testKey is the n-th of many keys, with few addresses so that ports must tell
// them apart.
func testKey(n uint32) key {
	k := key{protocol: bpf.ProtocolTCP, port: [2]uint16{uint16(n), 9999}}
	k.addr[0][15], k.addr[1][15] = byte(n>>16), 200
	return k
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
		k := testKey(n)
		i, _, side := tr.find(hash(n), &k)
		if want := model[n]; i != want || i != 0 && side != orig {
			t.Fatalf("step %d: find %d: want index %d of the originator, got %d of side %d", step, n, want, i, side)
		}
		if i != 0 {
			back := key{addr: [2]bpf.Addr{k.addr[1], k.addr[0]}, port: [2]uint16{k.port[1], k.port[0]}, protocol: k.protocol}
			if j, _, side := tr.find(hash(n), &back); j != i || side != resp {
				t.Fatalf("step %d: find the reply of %d: want index %d of the responder, got %d of side %d", step, n, i, j, side)
			}
			if random.IntN(3) == 0 {
				tr.table.remove(hash(n), i)
				tr.connections.put(i)
				delete(model, n)
			}
		} else if len(model) < 1200 {
			i, c := tr.connections.get()
			c.addr, c.port, c.protocol = k.addr, k.port, k.protocol
			tr.table.insert(hash(n), i)
			model[n] = i
		}
		if tr.table.used != len(model) {
			t.Fatalf("step %d: want %d used, got %d", step, len(model), tr.table.used)
		}
	}
	for n, i := range model {
		k := testKey(n)
		if got, _, _ := tr.find(hash(n), &k); got != i {
			t.Errorf("find %d: want %d, got %d", n, i, got)
		}
	}
}

// TestHashIsSymmetric checks that both directions hash alike, and different keys
// differently.
func TestHashIsSymmetric(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	h := hashKey{random.Uint64(), random.Uint64(), random.Uint64()}
	seen := map[uint64]key{}
	for n := range uint32(20000) {
		k := testKey(n)
		if n%2 == 1 { // IPv4, all from one host to one port
			k.addr[0] = bpf.Addr{10: 0xff, 11: 0xff, 12: 10}
			binary.BigEndian.PutUint16(k.addr[1][14:], uint16(n))
		}
		back := key{addr: [2]bpf.Addr{k.addr[1], k.addr[0]}, port: [2]uint16{k.port[1], k.port[0]}, protocol: k.protocol}
		hash := h.hash(&k)
		if got := h.hash(&back); got != hash {
			t.Fatalf("hash of the reply of %d: want %x, got %x", n, hash, got)
		}
		if other, found := seen[hash]; found {
			t.Fatalf("%v and %v have the same hash", k, other)
		}
		seen[hash] = k
	}
}

// TestKeySides checks which packets belong to a connection, and from which side.
func TestKeySides(t *testing.T) {
	a, b := bpf.Addr{15: 1}, bpf.Addr{15: 2}
	tests := []struct {
		name string
		k    key
		want int
	}{
		{"same", key{[2]bpf.Addr{a, b}, [2]uint16{1, 2}, 6, false, 0}, orig},
		{"reply", key{[2]bpf.Addr{b, a}, [2]uint16{2, 1}, 6, false, 0}, resp},
		{"ports exchanged alone", key{[2]bpf.Addr{a, b}, [2]uint16{2, 1}, 6, false, 0}, -1},
		{"addresses exchanged alone", key{[2]bpf.Addr{b, a}, [2]uint16{1, 2}, 6, false, 0}, -1},
		{"protocol", key{[2]bpf.Addr{a, b}, [2]uint16{1, 2}, 17, false, 0}, -1},
		{"one way, same", key{[2]bpf.Addr{a, b}, [2]uint16{1, 2}, 6, true, 0}, orig},
		{"one way, reply", key{[2]bpf.Addr{b, a}, [2]uint16{2, 1}, 6, true, 0}, -1},
	}
	for _, tt := range tests {
		c := connection{addr: [2]bpf.Addr{a, b}, port: [2]uint16{1, 2}, protocol: 6}
		if got := c.side(&tt.k); got != tt.want {
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
