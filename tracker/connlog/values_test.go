// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"conntap/bpf"
	"conntap/tracker"
)

func TestAppendFixed(t *testing.T) {
	tests := []struct {
		v    float64
		want string
	}{
		{0, "0.000000"},
		{1, "1.000000"},
		{0.000001, "0.000001"},
		{12.0000005, "12.000001"},
		{0.9999999, "1.000000"},
		{-1.5, "-1.500000"},
		{2147483646.999999, "2147483646.999999"},
		{2147483647, "2.147483647e+09"},
		{2385642157, "2.385642157e+09"},
		{4e9, "4e+09"},
		{2385642157.25, "2.38564215725e+09"},
		{-3e9, "-3e+09"},
		{1e100, "1e+100"},
		{1.1e100, "1.1e+100"},
		// Exact halves of a microsecond: 2^-7 is 7812.5, 3*2^-7 is 23437.5.
		{0x1p-7, "0.007812"},
		{3 * 0x1p-7, "0.023438"},
	}
	for _, tt := range tests {
		if got := string(appendFixed(nil, tt.v)); got != tt.want {
			t.Errorf("%v: want %s, got %s", tt.v, tt.want, got)
		}
	}
}

// TestSecondsKeepMicroseconds: up to 2038 no microsecond is lost in Zeek's
// doubles, neither of a time nor of a duration.
func TestSecondsKeepMicroseconds(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		start, length := random.Int64N(2_000_000_000_000_000), random.Int64N(1_000_000_000)
		s := seconds(start*1000 + random.Int64N(1000))
		d := seconds((start+length)*1000) - s
		for _, tt := range []struct {
			v      float64
			micros int64
		}{{s, start}, {d, length}} {
			want := fmt.Sprintf("%d.%06d", tt.micros/1e6, tt.micros%1e6)
			if got := string(appendFixed(nil, tt.v)); got != want {
				t.Fatalf("%v: want %s, got %s", tt.v, want, got)
			}
		}
	}
}

func TestSecondsBeforeTheEpoch(t *testing.T) {
	if got := seconds(-1_500_000_000); got != -1.5 {
		t.Errorf("want -1.5, got %v", got)
	}
}

func TestAppendAddr(t *testing.T) {
	tests := []struct{ in, want string }{
		{"1.20.255.0", "1.20.255.0"},
		{"::ffff:1.2.3.4", "1.2.3.4"},
		{"::", "::"},
		{"::1", "::1"},
		{"::2", "::2"},
		{"::1:2", "::0.1.0.2"},
		{"::102:304", "::1.2.3.4"},
		{"::ffff:0:1.2.3.4", "::ffff:0:1.2.3.4"},
		{"2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"1:0:2:3:4:5:6:7", "1:0:2:3:4:5:6:7"},
		{"0:0:1:0:0:0:2:3", "0:0:1::2:3"},
		{"fe80::", "fe80::"},
	}
	for _, tt := range tests {
		a := addr(tt.in)
		if got := string(appendAddr(nil, &a)); got != tt.want {
			t.Errorf("%s: want %s, got %s", tt.in, tt.want, got)
		}
	}
}

// TestNets compares the binary search with asking each prefix, on random
// addresses and on the edges of the ranges.
func TestNets(t *testing.T) {
	user, err := ParseNets(" 8.8.8.0/24, 10.1.0.0/16 ,9.255.255.255,2001:4860::/32,10.255.255.255/32,11.0.0.0/31,")
	if err != nil {
		t.Fatal(err)
	}
	prefixes := slices.Concat(privatePrefixes(), user)
	n := newNets(prefixes)
	random := rand.New(rand.NewPCG(5, 6))
	found := 0
	for range 300_000 {
		p := prefixes[random.IntN(len(prefixes))]
		a := p.Addr().As16()
		switch random.IntN(3) {
		case 0: // near the start
			low := binary.BigEndian.Uint32(a[12:])
			binary.BigEndian.PutUint32(a[12:], low+uint32(random.IntN(5))-2)
		case 1: // anywhere inside or just outside
			bit := random.IntN(128)
			a[bit/8] ^= 1 << (bit % 8)
		case 2:
			binary.BigEndian.PutUint32(a[12:], random.Uint32())
		}
		ip := netip.AddrFrom16(a).Unmap()
		want := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(ip) })
		if got := n.contains(&a); got != want {
			t.Fatalf("%s: want %v, got %v", ip, want, got)
		}
		if want {
			found++
		}
	}
	if found < 10_000 || found > 290_000 {
		t.Errorf("%d of 300000 addresses are in the nets: the test tells little", found)
	}
	for text, want := range map[string]bool{
		"224.0.0.251": true, "ff02::fb": false, "224.0.1.1": false, "255.255.255.255": true, "8.8.4.4": false,
	} {
		a := addr(text)
		if got := n.contains(&a); got != want {
			t.Errorf("%s: want %v, got %v", text, want, got)
		}
	}
	if new(nets).contains(&bpf.Addr{}) {
		t.Error("no nets hold an address")
	}
}

func TestCommunityID(t *testing.T) {
	end := func(a string, port uint16) tracker.Endpoint { return tracker.Endpoint{Addr: addr(a), Port: port} }
	id := func(protocol uint8, orig, resp tracker.Endpoint) string {
		return string(appendCommunityID(nil, &tracker.Conn{Protocol: protocol, Orig: orig, Resp: resp}))
	}
	// The published example of the Community ID specification.
	if got := id(protocolTCP, end("128.232.110.120", 34855), end("66.35.250.204", 80)); got != "1:LQU9qZlK+B5F3KDmev6m5PMibrg=" {
		t.Errorf("got %s", got)
	}
	tests := []struct {
		name     string
		protocol uint8
		a, b     tracker.Endpoint
		same     bool // the same id both ways round
	}{
		{"tcp", protocolTCP, end("10.0.0.1", 1), end("10.0.0.2", 2), true},
		{"ipv6", protocolUDP, end("2001:db8::1", 1), end("2001:db8::2", 2), true},
		{"echo", protocolICMP, end("10.0.0.1", 8), end("10.0.0.2", 0), true},
		{"echo of ipv6", protocolICMPv6, end("fe80::1", 128), end("fe80::2", 129), true},
		{"unreachable", protocolICMP, end("10.0.0.1", 3), end("10.0.0.2", 3), false},
		{"loopback", protocolTCP, end("127.0.0.1", 1), end("127.0.0.1", 256), true},
	}
	for _, tt := range tests {
		forth, back := id(tt.protocol, tt.a, tt.b), id(tt.protocol, tt.b, tt.a)
		if (forth == back) != tt.same {
			t.Errorf("%s: want the same %v, got %s and %s", tt.name, tt.same, forth, back)
		}
	}
	if id(132, end("10.0.0.1", 0), end("10.0.0.2", 0)) == id(99, end("10.0.0.1", 0), end("10.0.0.2", 0)) {
		t.Error("sctp and another protocol have the same id")
	}
}

// TestAppendUint compares with strconv at all lengths, and behind what is there.
func TestAppendUint(t *testing.T) {
	check := func(v uint64) {
		if want, got := strconv.AppendUint([]byte("x"), v, 10), appendUint([]byte("x"), v); string(got) != string(want) {
			t.Errorf("want %s, got %s", want, got)
		}
	}
	check(0)
	check(math.MaxUint64)
	for power := uint64(1); ; power *= 10 {
		for _, v := range []uint64{power - 1, power, power + 1, 2*power + 7, 5 * power, 10*power - 1} {
			check(v)
		}
		if power == 1e19 {
			return
		}
	}
}
