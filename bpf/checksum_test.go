// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"math/rand/v2"
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// seal4 and seal6 store the right checksum in a transport header.
func seal4(protocol uint8, place int, b []byte) []byte { return frametest.Seal4(protocol, place, b) }

func seal6(protocol uint8, place int, b []byte) []byte {
	return frametest.Seal6(protocol, place, b, frametest.Src6, frametest.Dst6)
}

// spoilt is b with one bit turned over.
func spoilt(b []byte, at int) []byte {
	b = frametest.Join(b)
	b[at] ^= 1
	return b
}

func TestParseChecksum(t *testing.T) {
	const (
		tcpPlace, udpPlace, icmpPlace = 16, 6, 2
		unchecked, good, bad          = bpf.ChecksumUnchecked, bpf.ChecksumGood, bpf.ChecksumBad
	)
	segment := tcp([]byte("odd")...)
	datagram := udp(40000, 53, []byte("hello")...)
	vxlan := udp(40000, 4789, append([]byte{8, 7: 0}, make([]byte, 15)...)...)
	message := frametest.Message(8, 0, 1, 2, 3)
	tcp4, udp4, icmp4 := frametest.IPv4{Protocol: 6}, frametest.IPv4{Protocol: 17}, frametest.IPv4{Protocol: 1}
	tcp6, udp6, icmp6 := frametest.IPv6{Next: 6}, frametest.IPv6{Next: 17}, frametest.IPv6{Next: 58}
	home := frametest.Extension(6, append([]byte{201, 16, 0xfe, 0x80}, make([]byte, 18)...)...)
	fromHome := frametest.Seal6(6, tcpPlace, segment, bpf.Addr{0xfe, 0x80}, frametest.Dst6)
	tests := []struct {
		name  string
		frame []byte
		cut   int // bytes at the end that were not captured
		want  bpf.Checksum
	}{
		{"tcp over ipv4", packet4(tcp4, seal4(6, tcpPlace, segment)), 0, good},
		{"tcp over ipv4, padded", frametest.Pad(packet4(tcp4, seal4(6, tcpPlace, segment))), 0, good},
		{"tcp over ipv4, bad", packet4(tcp4, spoilt(seal4(6, tcpPlace, segment), 22)), 0, bad},
		{"tcp over ipv4, cut", packet4(tcp4, segment), 1, unchecked},
		{"tcp over ipv4, padding cut", frametest.Pad(packet4(tcp4, seal4(6, tcpPlace, segment))), 3, good},
		{"tcp over ipv4, malformed", packet4(tcp4, frametest.Segment{Offset: 4}.Bytes()), 0, unchecked},
		{"tcp over ipv6", packet6(tcp6, seal6(6, tcpPlace, segment)), 0, good},
		{"tcp over ipv6, bad", packet6(tcp6, spoilt(seal6(6, tcpPlace, segment), 4)), 0, bad},
		{"tcp over ipv6 from a home address", packet6(frametest.IPv6{Next: 60}, home, fromHome), 0, good},
		{"udp over ipv4", packet4(udp4, seal4(17, udpPlace, datagram)), 0, good},
		{"udp over ipv4, bad", packet4(udp4, spoilt(seal4(17, udpPlace, datagram), 9)), 0, bad},
		{"udp over ipv4, none", packet4(udp4, datagram), 0, unchecked},
		{"udp over ipv4, padding cut", frametest.Pad(packet4(udp4, seal4(17, udpPlace, datagram))), 3, unchecked},
		{"udp over ipv6", packet6(udp6, seal6(17, udpPlace, datagram)), 0, good},
		{"udp over ipv6, none", packet6(udp6, datagram), 0, bad},
		{"vxlan over ipv6, none", packet6(udp6, vxlan), 0, unchecked},
		{"vxlan over ipv6, none, too short", packet6(udp6, udp(1, 4789, append([]byte{8}, make([]byte, 21)...)...)), 0, bad},
		{"vxlan over ipv6, bad", packet6(udp6, spoilt(seal6(17, udpPlace, vxlan), 10)), 0, bad},
		{"vxlan's port over ipv6, none, no flag", packet6(udp6, spoilt(udp(1, 4789, make([]byte, 23)...), 9)), 0, bad},
		{"icmp", packet4(icmp4, seal4(1, icmpPlace, message)), 0, good},
		{"icmp, bad", packet4(icmp4, spoilt(seal4(1, icmpPlace, message), 1)), 0, bad},
		{"icmpv6", packet6(icmp6, seal6(58, icmpPlace, message)), 0, good},
		{"icmpv6, bad", packet6(icmp6, spoilt(seal6(58, icmpPlace, message), 10)), 0, bad},
		{"another protocol", packet4(frametest.IPv4{Protocol: 132}, segment), 0, unchecked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			captured := tt.frame[:len(tt.frame)-tt.cut]
			parser := bpf.Parser{Link: bpf.LinkEthernet, VerifyChecksums: true}
			var p bpf.Packet
			wire := len(tt.frame)
			if reason := parseOne(&parser, captured, wire, &p); reason != bpf.ReasonNone {
				t.Fatalf("no packet: %v", reason)
			}
			if got := p.Checksum(); got != tt.want {
				t.Errorf("want %v\ngot  %v", tt.want, got)
			}
			assertNoAllocation(t, func() { parseOne(&parser, captured, wire, &p) })
			parser.IgnoreChecksums = true
			if parseOne(&parser, captured, wire, &p); p.Checksum() != unchecked {
				t.Errorf("judged although it is to be ignored")
			}
		})
	}
}

func TestParseIPChecksum(t *testing.T) {
	frame := packet4(frametest.IPv4{Protocol: 6, Checksum: 1, Options: make([]byte, 12)}, tcp())
	tests := []struct {
		name   string
		parser bpf.Parser
		want   bpf.Reason
	}{
		{"not asked for", bpf.Parser{Link: bpf.LinkEthernet}, bpf.ReasonNone},
		{"verified", bpf.Parser{Link: bpf.LinkEthernet, VerifyChecksums: true}, bpf.ReasonIPChecksum},
		{"ignored", bpf.Parser{Link: bpf.LinkEthernet, VerifyChecksums: true, IgnoreChecksums: true}, bpf.ReasonNone},
	}
	for _, tt := range tests {
		var p bpf.Packet
		if got := parseOne(&tt.parser, frame, len(frame), &p); got != tt.want {
			t.Errorf("%s: want %v\ngot  %v", tt.name, tt.want, got)
		}
	}
}

// Any length, and any start in memory, agrees with the plain way of summing up.
func TestChecksumLengths(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	parser := bpf.Parser{Link: bpf.LinkEthernet, VerifyChecksums: true}
	for n := range 200 {
		payload := make([]byte, n)
		for i := range payload {
			payload[i] = byte(r.Uint32() | 0xf0*uint32(n&1)) // many ones: carries
		}
		frame := packet4(frametest.IPv4{Protocol: 6}, seal4(6, 16, tcp(payload...)))
		for _, b := range [][]byte{frame, append([]byte{0}, frame...)[1:]} {
			var p bpf.Packet
			if reason := parseOne(&parser, b, len(b), &p); reason != bpf.ReasonNone || p.Checksum() != bpf.ChecksumGood {
				t.Fatalf("payload of %d: %v, checksum %v, want good", n, reason, p.Checksum())
			}
		}
	}
}
