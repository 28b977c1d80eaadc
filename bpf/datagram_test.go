// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// fragments cuts an IPv4 packet without options into pieces of size bytes.
func fragments(packet []byte, size int) (pieces [][]byte) {
	payload := packet[20:]
	for at := 0; at < len(payload); at += size {
		end := min(at+size, len(payload))
		fragment := uint16(at / 8)
		if end < len(payload) {
			fragment |= 1 << 13
		}
		pieces = append(pieces, frametest.IPv4{Protocol: packet[9], ID: 77, Fragment: fragment}.Packet(payload[at:end]))
	}
	return pieces
}

// TestParseDatagram cuts packets into fragments: what the datagram gives is what the
// packet gives.
func TestParseDatagram(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789abcdef"), 40)
	sealed := frametest.Seal4(6, 16, tcp(payload...))
	tests := []struct {
		name   string
		packet []byte
	}{
		{"tcp", frametest.IPv4{Protocol: 6, ID: 77}.Packet(sealed)},
		{"tcp, bad", frametest.IPv4{Protocol: 6, ID: 77}.Packet(set(sealed, 30, 0))},
		{"icmp", frametest.IPv4{Protocol: 1, ID: 77}.Packet(frametest.Seal4(1, 2, frametest.Message(8, 0, payload...)))},
		{"udp with vxlan", frametest.IPv4{Protocol: 17, ID: 77}.Packet(udp(1, 4789, frametest.VXLAN(5, ethernet(0x0800, v4(6, sealed)))...))},
		{"gre", frametest.IPv4{Protocol: 47, ID: 77}.Packet(frametest.GREHeader(0, 0x0800, v4(6, sealed)))},
		{"too short", frametest.IPv4{Protocol: 6, ID: 77}.Packet(sealed[:12])},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame := ethernet(0x0800, tt.packet)
			parser := bpf.Parser{Link: bpf.LinkEthernet, Tunnels: true, VerifyChecksums: true}
			n, wantReason := parser.Parse(frame, len(frame), parsed[:])
			want := append([]bpf.Packet(nil), parsed[:n]...)
			var first bpf.Packet
			var joined []byte
			for i, piece := range fragments(tt.packet, 8*(1+len(tt.packet)/40)) {
				var p bpf.Packet
				if reason := parseOne(&parser, ethernet(0x0800, piece), 14+len(piece), &p); reason != bpf.ReasonNone || p.State&bpf.StateFragment == 0 {
					t.Fatalf("fragment %d: %v, %+v", i, reason, p)
				}
				if i == 0 {
					first = p
				}
				joined = append(joined, p.Payload...)
			}
			n, reason := parser.ParseDatagram(&first, joined, len(joined), 0, parsed[:])
			if reason != wantReason || !reflect.DeepEqual(append([]bpf.Packet(nil), parsed[:n]...), want) {
				t.Errorf("want %v, %+v\ngot  %v, %+v", wantReason, want, reason, parsed[:n])
			}
			assertNoAllocation(t, func() { parser.ParseDatagram(&first, joined, len(joined), 0, parsed[:]) })
		})
	}
}

// TestParseDatagramStart has the start of a datagram alone, as it comes live.
func TestParseDatagramStart(t *testing.T) {
	payload := make([]byte, 3000)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	sealed := frametest.Seal4(17, 6, udp(40000, 2152, frametest.GTP(9, 0, v4(6, tcp(payload...)))...))
	var sum uint16
	for at := 0; at < len(sealed); at += 1480 {
		piece := sealed[at:min(at+1480, len(sealed))]
		sum = bpf.AddSums(sum, littleEndianSum(piece))
	}
	first := bpf.Packet{Kind: bpf.KindPacket, Protocol: 17, HeaderLength: 20, Src: src4, Dst: dst4}
	tests := []struct {
		name string
		sum  uint16
		want bpf.Checksum
		n    int
	}{
		{"good", sum, bpf.ChecksumGood, 2},
		{"bad", bpf.AddSums(sum, 1), bpf.ChecksumBad, 1},
		{"not known", 0, bpf.ChecksumUnchecked, 2},
	}
	parser := bpf.Parser{Tunnels: true, VerifyChecksums: true}
	for _, tt := range tests {
		n, reason := parser.ParseDatagram(&first, sealed[:256], len(sealed), tt.sum, parsed[:])
		if reason != bpf.ReasonNone || n != tt.n || parsed[0].Checksum() != tt.want {
			t.Errorf("%s: %d packets, %v, checksum %d", tt.name, n, reason, parsed[0].Checksum())
		}
		if p := &parsed[1]; n == 2 && (p.PayloadLength() != 3000 || p.State != bpf.StateComplete || p.TunnelID != 9) {
			t.Errorf("%s: inner packet %+v", tt.name, p)
		}
	}
}

// littleEndianSum is the ones' complement sum of b in little-endian words, done the
// plain way: frametest's is of big-endian ones, inverted.
func littleEndianSum(b []byte) uint16 {
	sum := ^frametest.Checksum(b)
	return sum<<8 | sum>>8
}

// TestParseDatagramIPv6 has the lengths and the headers that change.
func TestParseDatagramIPv6(t *testing.T) {
	options := frametest.Extension(6, 1, 4, 0, 0, 0, 0)
	segment := tcp(1, 2, 3)
	packet := packet6(frametest.IPv6{Next: 0}, frametest.Extension(44), frametest.FragmentHeader(60, 0, false, 9), options, segment)
	parser := bpf.Parser{Link: bpf.LinkEthernet}
	var first bpf.Packet
	if reason := parseOne(&parser, packet, len(packet), &first); reason != bpf.ReasonNone || first.FragmentID != 9 {
		t.Fatal(reason)
	}
	payload := join(options, segment)
	n, reason := parser.ParseDatagram(&first, payload, len(payload), 0, parsed[:])
	if n != 1 || reason != bpf.ReasonNone {
		t.Fatalf("%d packets, %v", n, reason)
	}
	p := parsed[0]
	if p.IPLength != uint32(len(packet)-14-8) || p.HeaderLength != 40+8+8+20 || p.Protocol != 6 || string(p.Payload) != "\x01\x02\x03" {
		t.Errorf("length %d, header %d, protocol %d, payload %x", p.IPLength, p.HeaderLength, p.Protocol, p.Payload)
	}
	// A second fragment header inside is none of Zeek's cases.
	payload = join(frametest.FragmentHeader(6, 0, false, 9), segment)
	first.Protocol = 44
	if n, reason := parser.ParseDatagram(&first, payload, len(payload), 0, parsed[:]); n != 0 || reason == bpf.ReasonNone {
		t.Errorf("a fragment in a datagram: %d packets, %v", n, reason)
	}
}

// TestParseDatagramLength has a datagram longer than any IP packet.
func TestParseDatagramLength(t *testing.T) {
	first := bpf.Packet{Kind: bpf.KindPacket, Protocol: 17, HeaderLength: 20}
	payload := join(udp(1, 2), make([]byte, 65600))
	parser := bpf.Parser{}
	tests := []struct {
		length int
		want   uint32 // 0: no packet
	}{
		{65515, 65535},
		{65516, 0},
		{65535, 0},
		{65544, 28},
	}
	for _, tt := range tests {
		n, reason := parser.ParseDatagram(&first, payload[:tt.length], tt.length, 0, parsed[:])
		if n != min(1, int(tt.want)) || n == 1 && parsed[0].IPLength != tt.want || n == 0 && reason == bpf.ReasonNone {
			t.Errorf("%d bytes: %d packets, %v, length %d", tt.length, n, reason, parsed[0].IPLength)
		}
	}
}

func FuzzParseDatagram(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		b := frametest.RandomPacket(r)
		f.Add(b, len(b), uint8(r.Uint32()), uint16(r.Uint32()), false, uint8(20))
	}
	f.Fuzz(func(t *testing.T, start []byte, length int, protocol uint8, sum uint16, six bool, header uint8) {
		first := bpf.Packet{Kind: bpf.KindPacket, Protocol: protocol, HeaderLength: 20 + uint16(header)}
		if six {
			first.State, first.HeaderLength = bpf.StateIPv6, 48+uint16(header)
		}
		length = length & 0x1ffff
		parser := bpf.Parser{Tunnels: true, VerifyChecksums: true}
		n, reason := parser.ParseDatagram(&first, start[:min(len(start), length)], length, sum, parsed[:])
		checkPackets(t, parsed[:n], reason, len(start), 65575)
	})
}
