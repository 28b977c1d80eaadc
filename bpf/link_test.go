// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

var join = frametest.Join

// wlan is a data frame's header of IEEE 802.11, with addresses 1 to 4 of one digit.
func wlan(control0, control1 byte, rest ...[]byte) []byte {
	address := func(n byte) []byte { return []byte{2, 0, 0, 0, 0, n} }
	b := join([]byte{control0, control1, 0, 0}, address(1), address(2), address(3), []byte{0, 0})
	if control1&3 == 3 {
		b = append(b, address(4)...)
	}
	return join(b, join(rest...))
}

// snap is what IEEE 802.11 has before a packet.
func snap(etherType uint16) []byte {
	return []byte{0xaa, 0xaa, 3, 0, 0, 0, byte(etherType >> 8), byte(etherType)}
}

// TestParseLinkLayers has each link-layer header that may stand before IP: what is
// just good enough, and what isn't.
func TestParseLinkLayers(t *testing.T) {
	const any4 = frametest.TypeIPv4
	ip := frametest.IPv4{Protocol: 89}.Packet([]byte{1})
	sll := join([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0})
	sll2 := join([]byte{0, 0, 0, 0, 0, 5, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0})
	none := [2]uint16{}
	nine := bpf.MAC{2, 0, 0, 0, 0, 9}
	tests := []struct {
		name  string
		link  bpf.LinkType
		frame []byte
		want  bpf.Reason
		src   bpf.MAC
		dst   bpf.MAC
		vlans [2]uint16
	}{
		{"two tags, priority first", 1, ethernet(0x88a8, tag(0xe000, 0x8100), tag(0xf005, 0x0800), ip), 0, srcMAC, dstMAC, [2]uint16{5, 0}},
		{"four tags", 1, ethernet(0x9100, tag(1, 0x8100), tag(2, 0x8100), tag(3, 0x8100), tag(4, 0x0800), ip), 0, srcMAC, dstMAC, [2]uint16{1, 4}},
		{"33 tags", 1, ethernet(0x8100, manyTags(32), tag(3, 0x0800), ip), bpf.ReasonLinkDepth, srcMAC, dstMAC, none},
		{"32 tags", 1, ethernet(0x8100, manyTags(31), tag(3, 0x0800), ip), 0, srcMAC, dstMAC, [2]uint16{7, 3}},
		{"802.3 in a tag, longer than the frame", 1, ethernet(0x8100, tag(1, 1500), snap(any4), ip), 0, srcMAC, dstMAC, [2]uint16{1, 0}},
		{"mpls", 1, ethernet(0x8847, frametest.Label(16, false), frametest.Label(17, true), ip), 0, srcMAC, dstMAC, none},
		{"mpls in a tag", 1, ethernet(0x8100, tag(7, 0x8847), frametest.Label(17, true), ip), 0, srcMAC, dstMAC, [2]uint16{7, 0}},
		{"mpls of nothing", 1, ethernet(0x8847, frametest.Label(16, true)), bpf.ReasonMPLS, srcMAC, dstMAC, none},
		{"mpls of a pseudo wire", 1, ethernet(0x8847, frametest.Label(16, true), ethernet(0x0800, ip)), bpf.ReasonIPVersion, srcMAC, dstMAC, none},
		{"33 labels", 1, ethernet(0x8847, make([]byte, 32*4), frametest.Label(1, true), ip), bpf.ReasonLinkDepth, srcMAC, dstMAC, none},
		{"pppoe", 1, ethernet(0x8864, frametest.PPPoE(0x21, ip)), 0, srcMAC, dstMAC, none},
		{"pppoe, length below", 1, ethernet(0x8864, pppoe(0x21, 19), ip), bpf.ReasonIPHeader, srcMAC, dstMAC, none},
		{"pppoe in two tags", 1, ethernet(0x8100, tag(1, 0x8100), tag(2, 0x8864), frametest.PPPoE(0x21, ip)), 0, srcMAC, dstMAC, [2]uint16{1, 2}},
		{"pbb", 1, join(make([]byte, 12), []byte{0x88, 0xe7, 0, 0, 0, 1}, ethernet(0x88a8, tag(9, 0x0800), ip)), 0, srcMAC, dstMAC, [2]uint16{9, 0}},
		{"pbb cut", 1, join(make([]byte, 12), []byte{0x88, 0xe7, 0, 0, 0, 1}, make([]byte, 14)), bpf.ReasonShortFrame, srcMAC, dstMAC, none},
		{"vntag", 1, ethernet(0x8926, frametest.VNTag(0x8100), tag(9, 0x0800), ip), 0, srcMAC, dstMAC, [2]uint16{9, 0}},
		{"vntag in a tag", 1, ethernet(0x8100, tag(8, 0x8926), frametest.VNTag(0x88a8), tag(9, 0x0800), ip), 0, srcMAC, dstMAC, [2]uint16{8, 9}},
		{"vntag of ip", 1, ethernet(0x8926, frametest.VNTag(0x0800), ip), bpf.ReasonEtherType, srcMAC, dstMAC, none},
		{"fabric path", 1, join(make([]byte, 12), []byte{0x89, 3, 0, 0}, ethernet(0x0800, ip)), 0, srcMAC, dstMAC, none},
		{"fabric path cut", 1, join(make([]byte, 12), []byte{0x89, 3, 0, 0}, ethernet(0x0800)), bpf.ReasonShortFrame, srcMAC, dstMAC, none},

		{"null", 0, join([]byte{2, 0, 0, 0}, ip), 0, bpf.MAC{}, bpf.MAC{}, none},
		{"null, ipv6 of another system", 0, join([]byte{30, 0, 0, 0}, ip), 0, bpf.MAC{}, bpf.MAC{}, none},
		{"null, big-endian", 0, join([]byte{0, 0, 0, 2}, ip), bpf.ReasonLinkHeader, bpf.MAC{}, bpf.MAC{}, none},
		{"null cut", 0, []byte{2, 0, 0, 0}, bpf.ReasonShortFrame, bpf.MAC{}, bpf.MAC{}, none},
		{"loop", 108, join([]byte{0, 0, 0, 2}, ip), bpf.ReasonLinkType, bpf.MAC{}, bpf.MAC{}, none},
		{"ppp", 9, join([]byte{0, 0x21}, ip), 0, bpf.MAC{}, bpf.MAC{}, none},
		{"ppp in framing", 9, join([]byte{0xff, 3, 0, 0x57}, ip), 0, bpf.MAC{}, bpf.MAC{}, none},
		{"ppp of mpls", 9, join([]byte{0x02, 0x81}, frametest.Label(1, true), ip), 0, bpf.MAC{}, bpf.MAC{}, none},
		{"ppp of lcp", 9, join([]byte{0xc0, 0x21}, ip), bpf.ReasonPPP, bpf.MAC{}, bpf.MAC{}, none},
		{"ppp cut", 9, []byte{0xff, 3, 0, 0x57}, bpf.ReasonShortFrame, bpf.MAC{}, bpf.MAC{}, none},
		{"ppp serial", 50, join([]byte{0x0f, 0, 0, 0x21}, ip), 0, bpf.MAC{}, bpf.MAC{}, none},
		{"fddi", 10, join(make([]byte, 21), ip), 0, bpf.MAC{}, bpf.MAC{}, none},
		{"fddi cut", 10, make([]byte, 21), bpf.ReasonShortFrame, bpf.MAC{}, bpf.MAC{}, none},
		{"sll", 113, join(sll, []byte{8, 0}, ip), 0, nine, bpf.MAC{}, none},
		{"sll of a tag", 113, join(sll, []byte{0x81, 0}, tag(1, 0x0800), ip), bpf.ReasonEtherType, nine, bpf.MAC{}, none},
		{"sll cut", 113, join(sll, []byte{8, 0}), bpf.ReasonShortFrame, nine, bpf.MAC{}, none},
		{"sll2", 276, join([]byte{8, 0}, sll2, ip), 0, nine, bpf.MAC{}, none},
		{"sll2 of arp", 276, join([]byte{8, 6}, sll2, ip), bpf.ReasonARP, nine, bpf.MAC{}, none},
		{"nflog", 239, join([]byte{2, 0, 0, 0}, []byte{5, 0, 1, 0, 9, 0, 0, 0}, []byte{99, 0, 9, 0}, ip), 0, bpf.MAC{}, bpf.MAC{}, none},
		{"nflog of another version", 239, join([]byte{2, 1, 0, 0}, []byte{99, 0, 9, 0}, ip), bpf.ReasonLinkHeader, bpf.MAC{}, bpf.MAC{}, none},
		{"nflog of a bridge", 239, join([]byte{7, 0, 0, 0}, []byte{99, 0, 9, 0}, ip), bpf.ReasonLinkHeader, bpf.MAC{}, bpf.MAC{}, none},
		{"nflog, attribute too short", 239, join([]byte{2, 0, 0, 0}, []byte{3, 0, 1, 0}, []byte{99, 0, 9, 0}, ip), bpf.ReasonLinkHeader, bpf.MAC{}, bpf.MAC{}, none},
		{"nflog, attribute too long", 239, join([]byte{2, 0, 0, 0}, []byte{255, 255, 1, 0}, ip), bpf.ReasonLinkHeader, bpf.MAC{}, bpf.MAC{}, none},
		{"an unknown type", 147, ip, 0, bpf.MAC{}, bpf.MAC{}, none},
		{"an unknown type, no ip", 147, make([]byte, 40), bpf.ReasonLinkType, bpf.MAC{}, bpf.MAC{}, none},

		{"wlan, no direction", 105, wlan(8, 0, snap(any4), ip), 0, bpf.MAC{2, 5: 2}, bpf.MAC{2, 5: 1}, none},
		{"wlan, to the system", 105, wlan(8, 1, snap(any4), ip), 0, bpf.MAC{2, 5: 2}, bpf.MAC{2, 5: 3}, none},
		{"wlan, from the system", 105, wlan(8, 2, snap(any4), ip), 0, bpf.MAC{2, 5: 3}, bpf.MAC{2, 5: 1}, none},
		{"wlan, both, with qos", 105, wlan(0x88, 3, []byte{7, 0}, snap(any4), ip), 0, bpf.MAC{2, 5: 4}, bpf.MAC{2, 5: 3}, none},
		{"wlan, protected without qos", 105, wlan(8, 0x41, snap(any4), ip), 0, bpf.MAC{2, 5: 2}, bpf.MAC{2, 5: 3}, none},
		{"wlan, protected", 105, wlan(0x88, 0x41, []byte{7, 0}, snap(any4), ip), bpf.ReasonWLAN, bpf.MAC{}, bpf.MAC{}, none},
		{"wlan, beacon", 105, wlan(0x80, 0, make([]byte, 40)), bpf.ReasonWLAN, bpf.MAC{}, bpf.MAC{}, none},
		{"wlan, null data", 105, wlan(0x48, 0, make([]byte, 40)), bpf.ReasonWLAN, bpf.MAC{}, bpf.MAC{}, none},
		{"wlan, other llc", 105, wlan(8, 0, []byte{0x42, 0x42, 3, 0, 0, 0, 8, 0}, ip), bpf.ReasonLLC, bpf.MAC{}, bpf.MAC{}, none},
		{"wlan, arp", 105, wlan(8, 0, snap(0x0806), ip), bpf.ReasonARP, bpf.MAC{}, bpf.MAC{}, none},
		{"wlan cut", 105, wlan(8, 0), bpf.ReasonShortFrame, bpf.MAC{}, bpf.MAC{}, none},
		{"radiotap", 127, join([]byte{0, 0, 10, 0}, make([]byte, 6), wlan(8, 2, snap(any4), ip)), 0, bpf.MAC{2, 5: 3}, bpf.MAC{2, 5: 1}, none},
		{"radiotap cut", 127, join([]byte{0, 0, 10, 0}, make([]byte, 6)), bpf.ReasonShortFrame, bpf.MAC{}, bpf.MAC{}, none},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parser := bpf.Parser{Link: tt.link}
			var p bpf.Packet
			if got := parseOne(&parser, tt.frame, len(tt.frame), &p); got != tt.want {
				t.Fatalf("want %v\ngot  %v", tt.want, got)
			}
			if tt.want != bpf.ReasonNone {
				return
			}
			if p.Protocol != 89 || p.SrcMAC != tt.src || p.DstMAC != tt.dst || [2]uint16{p.VLAN, p.InnerVLAN} != tt.vlans {
				t.Errorf("want %x to %x, tags %v\ngot  %x to %x, tags %d, %d, protocol %d",
					tt.src, tt.dst, tt.vlans, p.SrcMAC, p.DstMAC, p.VLAN, p.InnerVLAN, p.Protocol)
			}
			if has := p.Blocks&bpf.BlockL2 != 0; has != (tt.src != bpf.MAC{}) {
				t.Errorf("BlockL2: %v", has)
			}
			assertNoAllocation(t, func() { parser.Parse(tt.frame, len(tt.frame), parsed[:]) })
		})
	}
}

// manyTags is so many tags, each followed by another.
func manyTags(n int) []byte {
	var b []byte
	for range n {
		b = append(b, tag(7, 0x8100)...)
	}
	return b
}

// TestParseAggregate has several packets in one frame of IEEE 802.11 (A-MSDU).
func TestParseAggregate(t *testing.T) {
	sub := func(length int, content ...[]byte) []byte {
		return join(make([]byte, 12), []byte{byte(length >> 8), byte(length)}, join(content...))
	}
	packet := func(port uint16) []byte {
		return join(snap(frametest.TypeIPv4), frametest.IPv4{Protocol: 17}.Packet(udp(port, 9)))
	}
	arp := join(snap(0x0806), make([]byte, 28))
	bad := join(snap(0x88cc), make([]byte, 28))
	tests := []struct {
		name string
		body [][]byte
		want []uint16 // source ports; none: no packet
	}{
		{"one", [][]byte{sub(36, packet(1))}, []uint16{1}},
		{"three", [][]byte{sub(36, packet(1)), sub(36, packet(2)), sub(36, packet(3))}, []uint16{1, 2, 3}},
		// The padding is what Zeek takes for it: the length modulo 4.
		{"padded", [][]byte{sub(37, packet(1), []byte{0}), {0}, sub(36, packet(2))}, []uint16{1, 2}},
		{"arp between", [][]byte{sub(36, packet(1)), sub(36, arp), sub(36, packet(2))}, []uint16{1, 2}},
		{"arp alone", [][]byte{sub(36, arp)}, nil},
		{"another type ends it", [][]byte{sub(36, packet(1)), sub(36, bad), sub(36, packet(2))}, []uint16{1}},
		{"cut", [][]byte{sub(36, packet(1)), sub(37, packet(2))}, []uint16{1}},
		{"more than there is room for", aggregate(sub(36, packet(1)), bpf.PacketsMax+2), make([]uint16, bpf.PacketsMax)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame := wlan(0x88, 2, []byte{0x80, 0}, join(tt.body...))
			parser := bpf.Parser{Link: bpf.LinkWLAN, Tunnels: true}
			n, reason := parser.Parse(frame, len(frame), parsed[:])
			if n != len(tt.want) || (reason == bpf.ReasonNone) != (n > 0) {
				t.Fatalf("want %d packets\ngot  %d, %v", len(tt.want), n, reason)
			}
			for i, p := range parsed[:n] {
				if p.Kind != bpf.KindPacket || p.SrcMAC != (bpf.MAC{2, 5: 3}) || tt.want[i] != 0 && p.SrcPort != tt.want[i] {
					t.Errorf("packet %d: %+v", i, p)
				}
			}
		})
	}
}

func aggregate(sub []byte, n int) (body [][]byte) {
	for range n {
		body = append(body, sub)
	}
	return body
}
