// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// unhex reads hex digits; what follows a # on a line is a comment.
func unhex(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for field := range strings.FieldsSeq(line) {
			digits.WriteString(field)
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// parseOne is for frames whose outermost packet matters alone.
func parseOne(parser *bpf.Parser, data []byte, wireLength int, p *bpf.Packet) bpf.Reason {
	n, reason := parser.Parse(data, wireLength, parsed[:])
	if (n == 0) != (reason != bpf.ReasonNone) {
		panic(fmt.Sprintf("%d packets, %v", n, reason))
	}
	*p = parsed[0]
	return reason
}

var parsed [bpf.PacketsMax]bpf.Packet

var (
	srcMAC = bpf.MAC{2, 0, 0, 0, 0, 1}
	dstMAC = bpf.MAC{2, 0, 0, 0, 0, 2}
	src4   = bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}
	dst4   = bpf.Addr{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 2}
)

// TestParsePacket has frames byte by byte and all that is read from them.
func TestParsePacket(t *testing.T) {
	tests := []struct {
		name  string
		frame string
		want  bpf.Packet
	}{
		{
			name: "tcp over ipv4, padded",
			frame: `
				02 00 00 00 00 02  02 00 00 00 00 01  08 00  # Ethernet
				45 00 00 2a        # version 4, 5 words; total length 42
				12 34 40 00        # id; don't fragment
				40 06 00 00        # ttl 64, TCP
				0a 00 00 01  c0 00 02 02
				9c 40 01 bb        # ports 40000, 443
				00 00 03 e8        # seq 1000
				00 00 07 d0        # ack 2000
				50 18 ff ff        # 5 words, PSH ACK, window 65535
				00 00 00 00
				68 69              # payload
				ee ee ee ee        # padding to 60 bytes`,
			want: bpf.Packet{
				Src: src4, Dst: dst4, SrcPort: 40000, DstPort: 443, Protocol: bpf.ProtocolTCP,
				Flags: bpf.PSH | bpf.ACK, Seq: 1000, Ack: 2000, Window: 65535,
				IPLength: 42, HeaderLength: 40, Payload: []byte("hi"), State: bpf.StateComplete,
				IPID: 0x1234, SrcMAC: srcMAC, DstMAC: dstMAC,
			},
		},
		{
			name: "udp over ipv4 with options, in two tags",
			frame: `
				02 00 00 00 00 02  02 00 00 00 00 01
				88 a8 a0 64        # 802.1ad, priority 5, id 100
				81 00 00 c8        # 802.1Q, id 200
				08 00
				46 00 00 24        # 6 words; total length 36
				00 00 00 00
				40 11 00 00        # UDP
				0a 00 00 01  c0 00 02 02
				01 01 01 00        # options
				00 35 9c 40        # ports 53, 40000
				00 0c 00 00        # length 12
				01 02 03 04`,
			want: bpf.Packet{
				Src: src4, Dst: dst4, SrcPort: 53, DstPort: 40000, Protocol: bpf.ProtocolUDP, Window: 12,
				IPLength: 36, HeaderLength: 32, Payload: []byte{1, 2, 3, 4}, State: bpf.StateComplete,
				SrcMAC: srcMAC, DstMAC: dstMAC, VLAN: 100, InnerVLAN: 200,
			},
		},
		{
			name: "neighbor solicitation",
			frame: `
				02 00 00 00 00 02  02 00 00 00 00 01  86 dd
				60 0a bc de        # version 6, flow label 0xabcde
				00 08 3a ff        # payload length 8, ICMPv6
				fe 80 00 00 00 00 00 00  00 00 00 00 00 00 00 01
				fe 80 00 00 00 00 00 00  00 00 00 00 00 00 00 02
				87 00 00 00        # type 135, code 0
				00 00 00 00`,
			want: bpf.Packet{
				Src: bpf.Addr{0xfe, 0x80, 15: 1}, Dst: bpf.Addr{0xfe, 0x80, 15: 2}, Protocol: bpf.ProtocolICMPv6,
				Window: 135 << 8, IPLength: 48, HeaderLength: 48, State: bpf.StateComplete | bpf.StateIPv6,
				IPID: 0xabcde, SrcMAC: srcMAC, DstMAC: dstMAC,
			},
		},
		{
			name: "tcp behind a routing header and a home address",
			frame: `
				02 00 00 00 00 02  02 00 00 00 00 01  86 dd
				60 00 00 00  00 44 2b 40    # payload length 68, routing header
				20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 01
				20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 02
				3c 02 02 01  00 00 00 00    # then options; 24 bytes, type 2, 1 segment left
				20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 03
				06 02 00 c9  10             # then TCP; 24 bytes; Pad1; home address, 16 bytes
				20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 04
				01 01 00                    # PadN
				9c 40 00 50  00 00 00 01  00 00 00 00  50 02 00 00  00 00 00 00`,
			want: bpf.Packet{
				Src: bpf.Addr{0x20, 1, 0xd, 0xb8, 15: 4}, Dst: bpf.Addr{0x20, 1, 0xd, 0xb8, 15: 3},
				SrcPort: 40000, DstPort: 80, Protocol: bpf.ProtocolTCP, Flags: bpf.SYN, Seq: 1,
				IPLength: 108, HeaderLength: 108, State: bpf.StateComplete | bpf.StateIPv6,
				SrcMAC: srcMAC, DstMAC: dstMAC,
			},
		},
		{
			name: "later fragment over ipv4",
			frame: `
				02 00 00 00 00 02  02 00 00 00 00 01  08 00
				45 00 00 1c  00 07 20 b9    # total length 28; id 7; more, offset 185 * 8
				40 11 00 00
				0a 00 00 01  c0 00 02 02
				00 35 00 35  00 08 00 00    # no UDP header, whatever it looks like`,
			want: bpf.Packet{
				Src: src4, Dst: dst4, Protocol: bpf.ProtocolUDP, IPLength: 28, HeaderLength: 20,
				Payload: []byte{0, 0x35, 0, 0x35, 0, 8, 0, 0}, State: bpf.StateComplete | bpf.StateFragment,
				Blocks: bpf.BlockFragment, FragmentID: 7, FragmentOffset: 1480, FragmentMore: true,
				IPID: 7, SrcMAC: srcMAC, DstMAC: dstMAC,
			},
		},
		{
			name: "atomic fragment over ipv6",
			frame: `
				02 00 00 00 00 02  02 00 00 00 00 01  86 dd
				60 00 00 00  00 0a 2c 40    # payload length 10, fragment header
				20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 01
				20 01 0d b8 00 00 00 00  00 00 00 00 00 00 00 02
				06 00 00 00  de ad be ef    # then TCP; offset 0, last
				68 69`,
			want: bpf.Packet{
				Src: bpf.Addr{0x20, 1, 0xd, 0xb8, 15: 1}, Dst: bpf.Addr{0x20, 1, 0xd, 0xb8, 15: 2},
				Protocol: bpf.ProtocolTCP, IPLength: 50, HeaderLength: 48, Payload: []byte("hi"),
				State:  bpf.StateComplete | bpf.StateIPv6 | bpf.StateFragment,
				Blocks: bpf.BlockFragment, FragmentID: 0xdeadbeef, SrcMAC: srcMAC, DstMAC: dstMAC,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame := unhex(t, tt.frame)
			parser := bpf.Parser{Link: bpf.LinkEthernet}
			var got bpf.Packet
			if reason := parseOne(&parser, frame, len(frame), &got); reason != bpf.ReasonNone {
				t.Fatalf("no packet: %v", reason)
			}
			want := tt.want
			want.Kind = bpf.KindPacket
			want.Blocks |= bpf.BlockL2 | bpf.BlockIdentity
			if !reflect.DeepEqual(got, want) {
				t.Errorf("want %+v\ngot  %+v", want, got)
			}
			assertNoAllocation(t, func() { parseOne(&parser, frame, len(frame), &got) })
		})
	}
}

func assertNoAllocation(t *testing.T, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(100, f); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// Shorthands for the tables below.
var (
	ethernet = frametest.Ethernet
	tag      = frametest.Tag
	tcp      = frametest.Segment{SrcPort: 40000, DstPort: 80, Flags: 2}.Bytes
	udp      = frametest.Datagram
)

func packet4(h frametest.IPv4, content ...[]byte) []byte {
	return ethernet(frametest.TypeIPv4, h.Packet(content...))
}

func packet6(h frametest.IPv6, content ...[]byte) []byte {
	return ethernet(frametest.TypeIPv6, h.Packet(content...))
}

// chain is an IPv6 packet with n hop-by-hop headers before TCP.
func chain(n int) []byte {
	content, next := tcp(), uint8(frametest.TCP)
	for range n {
		content, next = frametest.Join(frametest.Extension(next), content), frametest.HopOptions
	}
	return packet6(frametest.IPv6{Next: next}, content)
}

// pppoe is a session header for length bytes of a protocol.
func pppoe(protocol uint16, length int) []byte {
	length += 2
	return []byte{0x11, 0, 0, 1, byte(length >> 8), byte(length), byte(protocol >> 8), byte(protocol)}
}

// cutTo shortens a frame.
func cutTo(n int, frame []byte) []byte { return frame[:n] }

// TestParseReason has each way not to be a packet and, beside it, what is just
// good enough.
func TestParseReason(t *testing.T) {
	syn := packet4(frametest.IPv4{Protocol: frametest.TCP}, tcp())
	raw := frametest.IPv4{Protocol: 89}.Packet([]byte{1})
	snap := []byte{0xaa, 0xaa, 3, 0, 0, 0}
	tests := []struct {
		name  string
		frame []byte
		wire  int // 0: the frame's length
		want  bpf.Reason
	}{
		{"empty", nil, 0, bpf.ReasonShortFrame},
		{"16 bytes", cutTo(16, syn), 0, bpf.ReasonShortFrame},
		{"17 bytes", cutTo(17, syn), 0, bpf.ReasonIPHeader},
		{"tag and 4 bytes", ethernet(frametest.TypeVLAN, tag(1, 0x0800)), 0, bpf.ReasonShortFrame},
		{"tag and 5 bytes", ethernet(frametest.TypeVLAN, tag(1, 0x0800), []byte{0x45}), 0, bpf.ReasonIPHeader},
		{"arp", ethernet(0x0806, make([]byte, 46)), 0, bpf.ReasonARP},
		{"rarp", ethernet(0x8035, make([]byte, 46)), 0, bpf.ReasonARP},
		{"lldp", ethernet(0x88cc, make([]byte, 46)), 0, bpf.ReasonLLDP},
		{"length", ethernet(1500, make([]byte, 46)), 0, bpf.ReasonLLC},
		{"ip in snap", ethernet(28, snap, []byte{8, 0}, raw), 0, bpf.ReasonNone},
		{"ip in snap, cut", ethernet(30, snap, []byte{8, 0}, raw), 0, bpf.ReasonLLC},
		{"ip in snap behind numbered llc", ethernet(30, []byte{0xaa, 0xaa, 0, 0, 0, 0, 0, 8, 0}, raw), 0, bpf.ReasonNone},
		{"ip in snap in a tag", ethernet(0x8100, tag(1, 28), snap, []byte{8, 0}, raw), 0, bpf.ReasonNone},
		{"arp in snap", ethernet(28, snap, []byte{8, 6}, raw), 0, bpf.ReasonARP},
		{"a tag in snap", ethernet(28, snap, []byte{0x81, 0}, tag(1, 0x0800), raw), 0, bpf.ReasonLLC},
		{"snap of an organisation", ethernet(28, []byte{0xaa, 0xaa, 3, 0, 0, 12, 8, 0}, raw), 0, bpf.ReasonLLC},
		{"snap header cut", ethernet(7, snap, []byte{8}), 0, bpf.ReasonLLC},
		{"llc", ethernet(28, []byte{0x42, 0x42, 3}, raw), 0, bpf.ReasonLLC},
		{"neither length nor type", ethernet(1501, make([]byte, 46)), 0, bpf.ReasonEtherType},
		{"mpls without a bottom", ethernet(0x8847, make([]byte, 46)), 0, bpf.ReasonMPLS},
		{"mpls multicast", ethernet(0x8848, make([]byte, 46)), 0, bpf.ReasonMPLS},
		{"pppoe session cut", ethernet(0x8864, make([]byte, 8)), 0, bpf.ReasonPPPoE},
		{"pppoe of lcp", ethernet(0x8864, pppoe(0xc021, 40), make([]byte, 46)), 0, bpf.ReasonPPP},
		{"pppoe discovery", ethernet(0x8863, make([]byte, 46)), 0, bpf.ReasonPPPoE},
		{"two tags", ethernet(0x9100, tag(1, 0x8100), tag(2, 0x0800), raw), 0, bpf.ReasonNone},
		{"three tags", ethernet(0x9100, tag(1, 0x8100), tag(2, 0x8100), tag(3, 0x0800), raw), 0, bpf.ReasonNone},
		{"802.1ad inside a tag", ethernet(0x8100, tag(1, 0x88a8), tag(2, 0x0800), raw), 0, bpf.ReasonEtherType},
		{"arp in a tag", ethernet(0x8100, tag(1, 0x0806), make([]byte, 46)), 0, bpf.ReasonARP},

		{"version 5", packet4(frametest.IPv4{Protocol: 6, Version: 5}, tcp()), 0, bpf.ReasonIPVersion},
		{"ipv6 under ipv4's type", ethernet(0x0800, frametest.IPv6{Next: 6}.Packet(tcp())), 0, bpf.ReasonNone},
		{"ipv4 cut", cutTo(33, syn), len(syn), bpf.ReasonIPHeader},
		{"ipv6 cut", cutTo(53, chain(0)), 74, bpf.ReasonIPHeader},
		{"header of 4 words", packet4(frametest.IPv4{Protocol: 6, IHL: 4}, tcp()), 0, bpf.ReasonIPHeader},
		{"header beyond the packet", packet4(frametest.IPv4{Protocol: 6, IHL: 11}, tcp()), 0, bpf.ReasonIPLength},
		{"header beyond the capture", cutTo(40, packet4(frametest.IPv4{Protocol: 6, Options: make([]byte, 40)}, tcp())), 94, bpf.ReasonIPHeader},
		{"total length 0", packet4(frametest.IPv4{Protocol: 6, Length: -1}, tcp()), 0, bpf.ReasonIPLength},
		{"total length 19", packet4(frametest.IPv4{Protocol: 6, Length: 19}, tcp()), 0, bpf.ReasonIPLength},
		{"total length above the frame", packet4(frametest.IPv4{Protocol: 6, Length: 41}, tcp()), 0, bpf.ReasonIPLength},
		{"total length above the capture", syn, 5000, bpf.ReasonNone},
		{"payload length above the frame", packet6(frametest.IPv6{Next: 6, Length: 21}, tcp()), 0, bpf.ReasonIPLength},

		{"32 extension headers", chain(32), 0, bpf.ReasonNone},
		{"33 extension headers", chain(33), 0, bpf.ReasonIPExtension},
		{"extension beyond the packet", packet6(frametest.IPv6{Next: 0, Length: 7}, frametest.Extension(6), tcp()), 0, bpf.ReasonIPLength},
		{"extension beyond the frame", packet6(frametest.IPv6{Next: 0}, []byte{6, 9}, tcp()), 0, bpf.ReasonNone},
		{"options without end", packet6(frametest.IPv6{Next: 60}, frametest.Extension(6, make([]byte, 38)...), tcp()), 0, bpf.ReasonIPExtension},
		{"esp over ipv6", packet6(frametest.IPv6{Next: 50}, make([]byte, 20)), 0, bpf.ReasonESPMobility},
		{"mobility", packet6(frametest.IPv6{Next: 135}, frametest.Extension(59)), 0, bpf.ReasonESPMobility},
		{"esp over ipv4", packet4(frametest.IPv4{Protocol: 50}, make([]byte, 20)), 0, bpf.ReasonNone},
		{"no next header, ipv6", packet6(frametest.IPv6{Next: 59}), 0, bpf.ReasonNoNextHeader},
		{"no next header, ipv4", packet4(frametest.IPv4{Protocol: 59}), 0, bpf.ReasonNoNextHeader},
		{"ip in ip", packet4(frametest.IPv4{Protocol: 4}, raw), 0, bpf.ReasonNone},
		{"ipv6 in ip", packet4(frametest.IPv4{Protocol: 41}, raw), 0, bpf.ReasonNone},
		{"gre over ipv6", packet6(frametest.IPv6{Next: 47}, raw), 0, bpf.ReasonNone},
		{"a fragment of a tunnel", packet4(frametest.IPv4{Protocol: 4, Fragment: 1}, raw), 0, bpf.ReasonNone},
		{"later fragment, cut", cutTo(60, packet4(frametest.IPv4{Protocol: 6, Fragment: 1}, make([]byte, 60))), 94, bpf.ReasonFragment},
		{"first fragment, cut", cutTo(60, packet4(frametest.IPv4{Protocol: 6, Fragment: 1 << 13}, tcp(), make([]byte, 60))), 114, bpf.ReasonNone},

		{"tcp of 19 bytes", packet4(frametest.IPv4{Protocol: 6}, tcp()[:19]), 0, bpf.ReasonTransportHeader},
		{"tcp of 19 bytes, padded", frametest.Pad(packet4(frametest.IPv4{Protocol: 6}, tcp()[:19])), 0, bpf.ReasonTransportHeader},
		{"tcp cut", cutTo(53, syn), len(syn), bpf.ReasonTransportHeader},
		{"udp of 7 bytes", packet4(frametest.IPv4{Protocol: 17}, udp(1, 2)[:7]), 0, bpf.ReasonTransportHeader},
		{"icmp of 7 bytes", packet4(frametest.IPv4{Protocol: 1}, make([]byte, 7)), 0, bpf.ReasonTransportHeader},
		{"icmpv6 of 7 bytes", packet6(frametest.IPv6{Next: 58}, make([]byte, 7)), 0, bpf.ReasonTransportHeader},
		{"udp of no bytes", packet4(frametest.IPv4{Protocol: 17}), 0, bpf.ReasonTransportHeader},
		{"udp of no bytes, padded", frametest.Pad(packet4(frametest.IPv4{Protocol: 17})), 0, bpf.ReasonNone},
		{"another protocol of no bytes", packet4(frametest.IPv4{Protocol: 132}), 0, bpf.ReasonNone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parser := bpf.Parser{Link: bpf.LinkEthernet}
			wire := tt.wire
			if wire == 0 {
				wire = len(tt.frame)
			}
			var p bpf.Packet
			if got := parseOne(&parser, tt.frame, wire, &p); got != tt.want {
				t.Errorf("want %v\ngot  %v", tt.want, got)
			}
		})
	}
}

// TestParseDetail asks for one thing of each frame.
func TestParseDetail(t *testing.T) {
	malformed := bpf.StateComplete | bpf.StateMalformed
	segment := func(offset int, payload ...byte) []byte {
		s := frametest.Segment{SrcPort: 1, DstPort: 2, Offset: offset}
		return packet4(frametest.IPv4{Protocol: 6}, s.Bytes(payload...))
	}
	routing := func(kind, left byte, size int) []byte {
		header := frametest.Extension(6, append([]byte{kind, left, 0, 0, 0, 0}, make([]byte, size)...)...)
		return packet6(frametest.IPv6{Next: 43}, header, tcp())
	}
	home := func(length byte) []byte {
		option := append([]byte{201, length}, make([]byte, 18)...)
		return packet6(frametest.IPv6{Next: 60}, frametest.Extension(6, option...), tcp())
	}
	state := func(p *bpf.Packet) any { return p.State }
	vlans := func(p *bpf.Packet) any { return [2]uint16{p.VLAN, p.InnerVLAN} }
	dst := func(p *bpf.Packet) any { return p.Dst }
	src := func(p *bpf.Packet) any { return p.Src }
	protocol := func(p *bpf.Packet) any { return p.Protocol }
	raw := frametest.IPv4{Protocol: 89}.Packet()
	tests := []struct {
		name  string
		frame []byte
		get   func(*bpf.Packet) any
		want  any
	}{
		{"data offset 4", segment(4), state, malformed | bpf.StateShortOffset},
		{"data offset 5", segment(5), state, bpf.StateComplete},
		{"data offset beyond the packet", segment(6), state, malformed},
		{"data offset at the end", segment(6, 1, 2, 3, 4), state, bpf.StateComplete},
		{"data offset in the padding", frametest.Pad(segment(6)), state, malformed},

		{"priority tag first", ethernet(0x8100, tag(0xe000, 0x8100), tag(7, 0x0800), raw), vlans, [2]uint16{7, 0}},
		{"priority tag inside", ethernet(0x8100, tag(7, 0x8100), tag(0xe000, 0x0800), raw), vlans, [2]uint16{7, 0}},
		{"priority and drop bits", ethernet(0x8100, tag(0xf00f, 0x0800), raw), vlans, [2]uint16{15, 0}},

		{"routing type 0", routing(0, 1, 16), dst, bpf.Addr{}},
		{"routing type 0, two addresses", routing(0, 1, 32), dst, bpf.Addr{}},
		{"routing type 0 at its end", routing(0, 0, 16), dst, frametest.Dst6},
		{"routing type 0 of odd length", routing(0, 1, 8), dst, frametest.Dst6},
		{"routing type 1", routing(1, 1, 16), dst, frametest.Dst6},
		{"routing type 2", routing(2, 1, 16), dst, bpf.Addr{}},
		{"routing type 2, too long", routing(2, 1, 32), dst, frametest.Dst6},
		{"home address", home(16), src, bpf.Addr{}},
		{"home address of wrong length", home(15), src, frametest.Src6},
		{"authentication header", packet6(frametest.IPv6{Next: 51}, append([]byte{6, 1}, make([]byte, 10)...), tcp()), protocol, uint8(6)},
		{"extension cut", packet6(frametest.IPv6{Next: 60}, []byte{6, 200}, make([]byte, 40)), protocol, uint8(60)},
		{"fragment header cut", packet6(frametest.IPv6{Next: 44}, []byte{6, 0, 0, 0}), protocol, uint8(44)},

		{"icmp", packet4(frametest.IPv4{Protocol: 1}, frametest.Message(3, 1, 9)), func(p *bpf.Packet) any {
			return [4]uint32{uint32(p.SrcPort), uint32(p.DstPort), uint32(p.Window), p.PayloadLength()}
		}, [4]uint32{0, 0, 3<<8 | 1, 1}},
		{"udp length that lies", packet4(frametest.IPv4{Protocol: 17}, []byte{0, 1, 0, 2, 0, 3, 0, 0, 5, 5}), func(p *bpf.Packet) any {
			return [3]uint32{uint32(p.Window), p.PayloadLength(), uint32(len(p.Payload))}
		}, [3]uint32{3, 2, 2}},
		{"another protocol", packet4(frametest.IPv4{Protocol: 132}, make([]byte, 12)), func(p *bpf.Packet) any {
			return [4]uint32{uint32(p.Protocol), uint32(p.HeaderLength), p.PayloadLength(), uint32(p.SrcPort)}
		}, [4]uint32{132, 20, 12, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parser := bpf.Parser{Link: bpf.LinkEthernet}
			var p bpf.Packet
			if reason := parseOne(&parser, tt.frame, len(tt.frame), &p); reason != bpf.ReasonNone {
				t.Fatalf("no packet: %v", reason)
			}
			if got := tt.get(&p); got != tt.want {
				t.Errorf("want %v\ngot  %v", tt.want, got)
			}
		})
	}
}

func TestParseLink(t *testing.T) {
	data := frametest.IPv4{Protocol: 6}.Packet(tcp())
	tests := []struct {
		link bpf.LinkType
		want bpf.Reason
	}{
		{bpf.LinkRawIP, bpf.ReasonNone},
		{12, bpf.ReasonNone},
		{228, bpf.ReasonNone},
		{bpf.LinkEthernet, bpf.ReasonIPHeader},
		{105, bpf.ReasonWLAN},
		{0, bpf.ReasonLinkHeader},
		{1000, bpf.ReasonNone},
	}
	// As Ethernet, the addresses and what follows are those of a MAC header.
	data[12], data[13] = 0x08, 0x00
	for _, tt := range tests {
		parser := bpf.Parser{Link: tt.link}
		var p bpf.Packet
		frame := data
		if tt.link == bpf.LinkEthernet {
			frame = data[:30]
		}
		if got := parseOne(&parser, frame, len(frame), &p); got != tt.want {
			t.Errorf("link %d: want %v\ngot  %v", tt.link, tt.want, got)
		}
		if p.Blocks&bpf.BlockL2 != 0 && tt.link != bpf.LinkEthernet {
			t.Errorf("link %d: has MACs", tt.link)
		}
	}
}

// A capture on a sender: total length and checksum are left to the device.
func TestParseNoLength(t *testing.T) {
	frame := packet4(frametest.IPv4{Protocol: 6, Length: -1, Checksum: 1}, tcp(1, 2, 3))
	parser := bpf.Parser{Link: bpf.LinkEthernet, VerifyChecksums: true, IgnoreChecksums: true}
	var p bpf.Packet
	if reason := parseOne(&parser, frame, len(frame), &p); reason != bpf.ReasonNone {
		t.Fatalf("no packet: %v", reason)
	}
	if p.State != bpf.StateNoLength|bpf.StateComplete || p.PayloadLength() != 3 || len(p.Payload) != 3 {
		t.Errorf("state %#x, payload length %d of %d captured, want 0x82, 3 of 3", p.State, p.PayloadLength(), len(p.Payload))
	}
}

// TestParseSuperPacket has the lengths that a super-packet's headers don't say, and a
// checksum that is another's.
func TestParseSuperPacket(t *testing.T) {
	segment := frametest.Segment{SrcPort: 1, DstPort: 2}.Bytes(make([]byte, 1000)...)
	jumbo := frametest.Extension(frametest.TCP, 0xc2, 4, 0, 0, 4, 4)
	ipv4 := frametest.IPv4{Protocol: 6, Length: -1}.Packet(segment)
	ipv6 := frametest.IPv6{Next: 6, Length: -1}.Packet(segment)
	withOption := frametest.IPv6{Next: 0, Length: -1}.Packet(jumbo, segment)
	tests := []struct {
		name   string
		frame  []byte
		cut    int  // bytes at hand
		super  bool // the frame is taken for one
		reason bpf.Reason
		length uint32
		header uint16
	}{
		{"ipv4", frametest.Ethernet(frametest.TypeIPv4, ipv4), 2000, true, bpf.ReasonNone, 1040, 40},
		{"ipv4, cut", frametest.Ethernet(frametest.TypeIPv4, ipv4), 100, true, bpf.ReasonNone, 1040, 40},
		{"ipv4, no super-packet", frametest.Ethernet(frametest.TypeIPv4, ipv4), 2000, false, bpf.ReasonIPLength, 0, 0},
		{"ipv6", frametest.Ethernet(frametest.TypeIPv6, ipv6), 100, true, bpf.ReasonNone, 1060, 60},
		{"ipv6, jumbo option", frametest.Ethernet(frametest.TypeIPv6, withOption), 100, true, bpf.ReasonNone, 1060, 60},
		{"ipv6, no super-packet", frametest.Ethernet(frametest.TypeIPv6, withOption), 2000, false, bpf.ReasonIPLength, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parser := bpf.Parser{Link: bpf.LinkEthernet, SuperPackets: tt.super, VerifyChecksums: true, AssumePayload: true}
			var p bpf.Packet
			reason := parseOne(&parser, tt.frame[:min(tt.cut, len(tt.frame))], len(tt.frame), &p)
			if reason != tt.reason {
				t.Fatalf("want %v, got %v", tt.reason, reason)
			}
			if reason != bpf.ReasonNone {
				return
			}
			if p.IPLength != tt.length || p.HeaderLength != tt.header || p.PayloadLength() != 1000 || p.Checksum() != bpf.ChecksumUnchecked {
				t.Errorf("want length %d, header %d, checksum not judged; got %+v", tt.length, tt.header, p)
			}
		})
	}
}

// A cut packet keeps the lengths of the whole one.
func TestParseCut(t *testing.T) {
	frame := packet4(frametest.IPv4{Protocol: 6}, tcp(make([]byte, 100)...))
	parser := bpf.Parser{Link: bpf.LinkEthernet, VerifyChecksums: true}
	var p bpf.Packet
	if reason := parseOne(&parser, frame[:60], len(frame), &p); reason != bpf.ReasonNone {
		t.Fatalf("no packet: %v", reason)
	}
	if p.State != 0 || p.PayloadLength() != 100 || len(p.Payload) != 6 {
		t.Errorf("state %#x, payload length %d, %d captured, want 0, 100, 6", p.State, p.PayloadLength(), len(p.Payload))
	}
}

func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		f.Add(frametest.Random(r), 0, uint16(bpf.LinkEthernet), uint8(r.Uint32()))
	}
	links := []bpf.LinkType{
		bpf.LinkNull, bpf.LinkPPP, bpf.LinkFDDI, bpf.LinkPPPSerial, bpf.LinkRawIP, bpf.LinkWLAN,
		bpf.LinkSLL, bpf.LinkRadiotap, bpf.LinkNFLOG, bpf.LinkSLL2, 147,
	}
	for i, header := range [][]byte{
		{2, 0, 0, 0},
		{0, 0x21},
		make([]byte, 21),
		{0xff, 3, 0, 0x21},
		nil, wlan(8, 3, snap(0x0800)),
		{15: 0, 14: 8},
		join([]byte{0, 0, 8, 0, 0, 0, 0, 0}, wlan(0x88, 2, []byte{0x80, 0}, make([]byte, 14), snap(0x0800))),
		{2, 0, 0, 0, 5, 0, 1, 0, 9, 0, 0, 0, 9, 0, 9, 0},
		{8, 0, 19: 0},
		nil,
	} {
		f.Add(join(header, frametest.RandomPacket(r)), 10, uint16(links[i]), uint8(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, more int, link uint16, options uint8) {
		wire := len(data) + more&0xffff
		parser := bpf.Parser{
			Link: bpf.LinkType(link), VerifyChecksums: options&1 != 0, Tunnels: options&2 != 0,
			AssumePayload: options&4 != 0, IgnoreChecksums: options&8 != 0,
		}
		checkDirect(t, &parser, data, wire)
		n, reason := parser.Parse(data, wire, parsed[:])
		limit := len(data)
		if parser.AssumePayload {
			limit = wire
		}
		checkPackets(t, parsed[:n], reason, limit, wire)
	})
}

// checkPackets has what holds of all packets, of a frame with so many bytes captured
// and on the wire.
func checkPackets(t *testing.T, packets []bpf.Packet, reason bpf.Reason, captured, wire int) {
	t.Helper()
	if reason >= bpf.ReasonCount || (reason == bpf.ReasonNone) != (len(packets) > 0) {
		t.Fatalf("%d packets, reason %d", len(packets), reason)
	}
	for i := range packets {
		p := &packets[i]
		if outermost := p.Kind == bpf.KindPacket; i == 0 && !outermost || outermost != (p.TunnelDepth == 0) || outermost == (p.Blocks&bpf.BlockTunnel != 0) {
			t.Errorf("packet %d: kind %d, depth %d, blocks %#x", i, p.Kind, p.TunnelDepth, p.Blocks)
		}
		if i > 0 && p.TunnelDepth > packets[i-1].TunnelDepth+1 || p.TunnelDepth > bpf.TunnelDepthMax || p.TunnelType > bpf.TunnelAYIYA {
			t.Errorf("packet %d: depth %d after %d, tunnel %d", i, p.TunnelDepth, packets[i-1].TunnelDepth, p.TunnelType)
		}
		switch p.Kind {
		case bpf.KindPacket, bpf.KindInner:
		case bpf.KindViolation, bpf.KindEmpty:
			continue
		default:
			t.Fatalf("kind %d", p.Kind)
		}
		if p.IPLength < 20 || int64(p.IPLength) > int64(wire) {
			t.Errorf("IP length %d of %d", p.IPLength, wire)
		}
		if p.State&bpf.StateMalformed == 0 && uint32(len(p.Payload)) > p.PayloadLength() {
			t.Errorf("%d bytes of a payload of %d", len(p.Payload), p.PayloadLength())
		}
		if p.State&bpf.StateFragment != 0 && (p.SrcPort != 0 || p.Blocks&bpf.BlockFragment == 0) {
			t.Errorf("fragment with ports or without its block: %+v", p)
		}
		if p.State&bpf.StateComplete != 0 && int64(p.IPLength) > int64(captured) && reason == bpf.ReasonNone && wire != 65575 {
			t.Errorf("complete with %d of %d bytes", captured, p.IPLength)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	payload := make([]byte, 1400)
	tests := []struct {
		name  string
		frame []byte
	}{
		{"tcp4-ack", frametest.Pad(packet4(frametest.IPv4{Protocol: 6}, tcp()))},
		{"tcp4-1400", packet4(frametest.IPv4{Protocol: 6}, tcp(payload...))},
		{"tcp6-1400", packet6(frametest.IPv6{Next: 6}, tcp(payload...))},
		{"udp4-dns", packet4(frametest.IPv4{Protocol: 17}, udp(40000, 53, make([]byte, 40)...))},
	}
	for _, tt := range tests {
		for _, verify := range []bool{false, true} {
			name := tt.name
			if verify {
				name += "-checksum"
			}
			b.Run(name, func(b *testing.B) {
				parser := bpf.Parser{Link: bpf.LinkEthernet, VerifyChecksums: verify, Tunnels: true}
				b.ReportAllocs()
				for b.Loop() {
					if _, reason := parser.Parse(tt.frame, len(tt.frame), parsed[:]); reason != bpf.ReasonNone {
						b.Fatal("no packet")
					}
				}
			})
		}
	}
}
