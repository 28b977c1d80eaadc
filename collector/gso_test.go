// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"testing"

	"conntap/bpf"
)

// superPacket is a TCP super-packet over IPv4 with 12 bytes of TCP options.
func superPacket(payload int, size, segments uint16, flags bpf.Flags) bpf.Packet {
	return bpf.Packet{
		Time: 7, Protocol: bpf.ProtocolTCP, Kind: bpf.KindPacket, Blocks: bpf.BlockGSO | bpf.BlockL2,
		HeaderLength: 52, IPLength: uint32(52 + payload), Seq: 0xfffffc00, Ack: 9, Window: 500, Flags: flags,
		GSOSize: size, GSOSegments: segments, Payload: []byte("0123456789"),
	}
}

func TestSegmenter(t *testing.T) {
	udp := superPacket(3000, 1400, 0, 0)
	udp.Protocol, udp.HeaderLength, udp.IPLength, udp.Window, udp.Seq, udp.Ack = bpf.ProtocolUDP, 28, 3028, 3008, 0, 0
	const all = bpf.CWR | bpf.ACK | bpf.PSH | bpf.FIN
	tests := []struct {
		name string
		p    bpf.Packet
		want []string // IP length, sequence number, flags, window, payload
	}{
		{"three segments, the last short", superPacket(3000, 1448, 3, all), []string{
			"1500 fffffc00 90 500 0123456789", "1500 1a8 10 500 ", "156 750 19 500 ",
		}},
		{"number of segments unknown", superPacket(2896, 1448, 0, bpf.ACK), []string{
			"1500 fffffc00 10 500 0123456789", "1500 1a8 10 500 ",
		}},
		{"number of segments impossible", superPacket(2896, 1448, 9, bpf.ACK), []string{
			"1500 fffffc00 10 500 0123456789", "1500 1a8 10 500 ",
		}},
		{"fewer than the payload says: every byte stays", superPacket(3000, 1448, 2, bpf.ACK), []string{
			"1500 fffffc00 10 500 0123456789", "1604 1a8 10 500 ",
		}},
		{"first segment shorter than the prefix", superPacket(10, 4, 0, bpf.ACK|bpf.PSH), []string{
			"56 fffffc00 10 500 0123", "56 fffffc04 10 500 ", "54 fffffc08 18 500 ",
		}},
		{"UDP: each its own length field", udp, []string{
			"1428 0 0 1408 0123456789", "1428 0 0 1408 ", "228 0 0 208 ",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s segmenter
			if !s.start(&tt.p) {
				t.Fatal("want a super-packet, got an ordinary one")
			}
			got := drain(t, &s, 1) // the hardest way: one at a time
			if len(got) != len(tt.want) {
				t.Fatalf("want %d segments, got %d", len(tt.want), len(got))
			}
			for i, p := range got {
				text := fmt.Sprintf("%d %x %x %d %s", p.IPLength, p.Seq, uint8(p.Flags), p.Window, p.Payload)
				if text != tt.want[i] {
					t.Errorf("segment %d:\nwant %s\ngot  %s", i, tt.want[i], text)
				}
				if p.Blocks != bpf.BlockL2 || p.GSOSize != 0 || p.GSOSegments != 0 || p.Time != 7 {
					t.Errorf("segment %d: want the super-packet's fields without GSO, got %+v", i, p)
				}
			}
		})
	}
}

func TestSegmenterOrdinaryPackets(t *testing.T) {
	plain := superPacket(3000, 1448, 3, bpf.ACK)
	plain.Blocks = 0
	fragment := superPacket(3000, 1448, 3, bpf.ACK)
	fragment.State = bpf.StateFragment
	tests := []struct {
		name string
		p    bpf.Packet
	}{
		{"no GSO block", plain},
		{"fragment", fragment},
		{"size 0", superPacket(3000, 0, 3, bpf.ACK)},
		{"one segment", superPacket(100, 1448, 1, bpf.ACK)},
		{"no payload", superPacket(0, 1448, 0, bpf.ACK)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s segmenter
			if s.start(&tt.p) {
				t.Error("want an ordinary packet, got a super-packet")
			}
			if s.fill(make([]bpf.Packet, 1)) != 0 {
				t.Error("want no segment")
			}
		})
	}
}

// TestSegmenterSums holds what the segments add up to against the super-packet,
// for many sizes and for dst of every length.
func TestSegmenterSums(t *testing.T) {
	for payload := 2; payload < 200000; payload = payload*3 + 1 {
		for _, size := range []uint16{1, 7, 536, 1448, 8948, 65535} {
			p := superPacket(payload, size, 0, bpf.ACK|bpf.FIN)
			var s segmenter
			if !s.start(&p) {
				continue
			}
			var bytes, fins uint32
			seq := p.Seq
			for _, segment := range drain(t, &s, 1+payload%100) {
				if segment.Seq != seq {
					t.Fatalf("payload %d, size %d: want sequence number %d, got %d", payload, size, seq, segment.Seq)
				}
				seq += segment.PayloadLength()
				bytes += segment.PayloadLength()
				if segment.Flags.Has(bpf.FIN) {
					fins++
				}
			}
			if bytes != uint32(payload) || fins != 1 {
				t.Errorf("payload %d, size %d: got %d bytes and %d FIN", payload, size, bytes, fins)
			}
		}
	}
}

func TestSegmenterAllocates(t *testing.T) {
	p := superPacket(65000, 1448, 0, bpf.ACK)
	dst := make([]bpf.Packet, 64)
	var s segmenter
	if n := testing.AllocsPerRun(100, func() { s.start(&p); s.fill(dst) }); n != 0 {
		t.Errorf("want no allocation, got %v", n)
	}
}

func drain(t *testing.T, s *segmenter, room int) []bpf.Packet {
	t.Helper()
	var all []bpf.Packet
	dst := make([]bpf.Packet, room)
	for {
		n := s.fill(dst)
		if n == 0 {
			return all
		}
		all = append(all, dst[:n]...)
	}
}
