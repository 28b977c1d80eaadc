// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"math/rand/v2"
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// flow is a packet of one of many connections: hosts of one network with ports that
// count up, as a sample finds them.
func flow(i int, ipv6 bool) bpf.Packet {
	p := bpf.Packet{Protocol: bpf.ProtocolTCP, Kind: bpf.KindPacket, SrcPort: uint16(32768 + i%1000), DstPort: 443}
	p.Src = bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 14: byte(i / 1000), 15: byte(i / 256000)}
	p.Dst = bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 14: 200, 15: 1}
	if ipv6 {
		p.State |= bpf.StateIPv6
		p.Src[0], p.Dst[0] = 0x20, 0x20
	}
	return p
}

// TestInSampleShare has a sample hold the share that it names.
func TestInSampleShare(t *testing.T) {
	const flows = 100_000
	for _, ipv6 := range []bool{false, true} {
		for _, n := range []uint32{1, 2, 3, 10, 64, 1000} {
			got := 0
			for i := range flows {
				p := flow(i, ipv6)
				if p.InSample(n) {
					got++
				}
			}
			want := float64(flows) / float64(n)
			if off := (float64(got) - want) / want; off*off*want > 25 { // five standard deviations
				t.Errorf("IPv6 %v: 1 in %d of %d connections: got %d, want about %.0f", ipv6, n, flows, got, want)
			}
		}
	}
}

// TestInSampleDirections has both directions of a connection in a sample, or none.
func TestInSampleDirections(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	differ := 0
	for range 100_000 {
		frame := frametest.Random(r)
		parser := bpf.Parser{Link: bpf.LinkEthernet}
		if n, _ := parser.Parse(frame, len(frame), parsed[:]); n == 0 {
			continue
		}
		p := parsed[0]
		p.SrcPort, p.DstPort = uint16(r.Uint32()), uint16(r.Uint32())
		q := p
		q.Src, q.Dst, q.SrcPort, q.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		if p.InSample(3) != q.InSample(3) {
			t.Fatalf("one direction alone: %+v", p)
		}
		q.SrcPort++
		if p.InSample(3) != q.InSample(3) {
			differ++
		}
	}
	if differ < 10_000 {
		t.Errorf("another port makes a difference for %d connections only", differ)
	}
}

// TestInSamplePorts has fragments pass, and tunnels go by their addresses.
func TestInSamplePorts(t *testing.T) {
	for i := range 1000 {
		p := flow(i, i%2 == 0)
		p.State |= bpf.StateFragment
		if !p.InSample(1 << 30) {
			t.Fatalf("a fragment is left out: %+v", p)
		}
		p.State &^= bpf.StateFragment
		p.Protocol = bpf.ProtocolUDP
		p.SrcPort, p.DstPort = uint16(40000+i), frametest.PortVXLAN
		q := p
		q.Src, q.Dst, q.SrcPort = p.Dst, p.Src, p.SrcPort+7 // another flow in it, back
		if p.InSample(2) != q.InSample(2) {
			t.Fatalf("a tunnel is cut in pieces: %+v", p)
		}
	}
}
