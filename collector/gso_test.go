// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
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
			s := segmenter{apart: true}
			if !start(&s, tt.p) {
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

// cutRuns takes runs apart, by their own account.
func cutRuns(packets []bpf.Packet) (segments []bpf.Packet) {
	for _, p := range packets {
		if p.Blocks&bpf.BlockGSO == 0 {
			segments = append(segments, p)
			continue
		}
		one, payload := p, p.PayloadLength()
		one.Blocks, one.GSOSize, one.GSOSegments = p.Blocks&^bpf.BlockGSO, 0, 0
		one.Flags &^= bpf.PSH
		for n := range uint32(p.GSOSegments) {
			length := min(uint32(p.GSOSize), payload)
			if n+1 == uint32(p.GSOSegments) {
				length, one.Flags = payload, p.Flags
			}
			one.IPLength = uint32(p.HeaderLength) + length
			segments = append(segments, one)
			one.Seq += length
			one.IPID = uint32(uint16(one.IPID + 1))
			payload -= length
		}
	}
	return segments
}

// TestSegmenterRuns compares runs with the segments that they stand for.
func TestSegmenterRuns(t *testing.T) {
	wholes := 0
	for _, flags := range []bpf.Flags{bpf.ACK, bpf.ACK | bpf.PSH, bpf.ACK | bpf.PSH | bpf.FIN | bpf.CWR, bpf.ACK | bpf.FIN} {
		for payload := 2; payload < 200000; payload = payload*3 + 1 {
			for _, size := range []uint16{1, 7, 536, 1448, 8948, 65535} {
				for _, bytes := range [][]byte{nil, []byte("0123456789")} {
					p := superPacket(payload, size, 0, flags)
					p.IPID, p.Blocks, p.Payload = 0xfff0, p.Blocks|bpf.BlockIdentity, bytes
					if compareRuns(t, p) {
						wholes++
					}
				}
			}
		}
	}
	if wholes == 0 {
		t.Error("no super-packet was a run as it came")
	}
}

// compareRuns cuts one super-packet both ways, and tells whether it was a run as it came.
func compareRuns(t *testing.T, p bpf.Packet) bool {
	t.Helper()
	apart, together := segmenter{apart: true}, segmenter{}
	if !start(&apart, p) {
		return false
	}
	runs := []bpf.Packet{p}
	whole := together.isRun(&runs[0])
	if whole && (len(p.Payload) > 0 || p.Flags&(bpf.FIN|bpf.CWR) != 0) {
		t.Errorf("%+v: its segments are not alike, and it was taken for a run", p)
	}
	if !whole {
		start(&together, p)
		runs = drain(t, &together, 2)
	}
	payload, size := int(p.PayloadLength()), int(p.GSOSize)
	if len(runs) > 3+payload/size/0xffff {
		t.Errorf("payload %d, size %d: want a segment, a run and what has a FIN, got %d packets", payload, size, len(runs))
	}
	want, got := drain(t, &apart, 100), cutRuns(runs)
	if sent := countOutermost(runs); sent != uint64(len(want)) {
		t.Errorf("payload %d, size %d: want %d packets on the wire, got %d", payload, size, len(want), sent)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("payload %d, size %d, flags %x: want\n%+v\ngot\n%+v", payload, size, uint8(p.Flags), want, got)
	}
	return whole
}

// TestSegmenterIdentity counts IPv4's identification as the kernel does, and leaves
// IPv6's flow label.
func TestSegmenterIdentity(t *testing.T) {
	for _, tt := range []struct {
		name  string
		state bpf.State
		want  []uint32
	}{{"IPv4", 0, []uint32{0xffff, 0, 1}}, {"IPv6", bpf.StateIPv6, []uint32{0xffff, 0xffff, 0xffff}}} {
		p := superPacket(3000, 1448, 3, bpf.ACK)
		p.IPID, p.Blocks, p.State = 0xffff, p.Blocks|bpf.BlockIdentity, tt.state
		s := segmenter{apart: true}
		if !start(&s, p) {
			t.Fatal("want a super-packet, got an ordinary one")
		}
		var got []uint32
		for _, segment := range drain(t, &s, 1) {
			got = append(got, segment.IPID)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: want %x, got %x", tt.name, tt.want, got)
		}
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
			if start(&s, tt.p) {
				t.Error("want an ordinary packet, got a super-packet")
			}
			tt.p.Blocks &^= bpf.BlockGSO
			if got := drain(t, &s, 3); len(got) != 1 || !reflect.DeepEqual(got[0], tt.p) {
				t.Errorf("want the packet as it is, got %+v", got)
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
			s := segmenter{apart: payload%2 == 0}
			if !start(&s, p) {
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
	if n := testing.AllocsPerRun(100, func() { s.take(&p); s.start(); s.fill(dst) }); n != 0 {
		t.Errorf("want no allocation, got %v", n)
	}
}

// TestSegmenterTunnels: each segment of a super-packet in tunnels has all carriers.
func TestSegmenterTunnels(t *testing.T) {
	tcp := superPacket(3000, 1448, 3, bpf.ACK|bpf.PSH)
	tcp.Kind, tcp.TunnelDepth = bpf.KindInner, 1
	deeper := tcp
	deeper.TunnelDepth = 2
	small := superPacket(1000, 1448, 1, bpf.ACK)
	small.Kind = bpf.KindInner
	violation := bpf.Packet{Kind: bpf.KindViolation, TunnelDepth: 1, Blocks: bpf.BlockTunnel}
	tests := []struct {
		name  string
		frame []bpf.Packet
		want  []string // kind, protocol, IP length, payload length, sequence number, flags, window, payload
	}{
		{"VXLAN", []bpf.Packet{carrierOf(&tcp, bpf.ProtocolUDP, 28, 22), tcp}, []string{
			"1 17 1550 1522 0 0 1530 0123456789", "2 6 1500 1448 fffffc00 10 500 0123456789",
			"1 17 1550 1522 0 0 1530 ", "2 6 1500 1448 1a8 10 500 ",
			"1 17 206 178 0 0 186 ", "2 6 156 104 750 18 500 ",
		}},
		{"GRE", []bpf.Packet{carrierOf(&tcp, bpf.ProtocolGRE, 20, 4), tcp}, []string{
			"1 47 1524 1504 0 0 0 0123456789", "2 6 1500 1448 fffffc00 10 500 0123456789",
			"1 47 1524 1504 0 0 0 ", "2 6 1500 1448 1a8 10 500 ",
			"1 47 180 160 0 0 0 ", "2 6 156 104 750 18 500 ",
		}},
		{"two carriers", twoCarriers(&deeper), []string{
			"1 4 1570 1550 0 0 0 0123456789", "2 17 1550 1522 0 0 1530 0123456789", "2 6 1500 1448 fffffc00 10 500 0123456789",
			"1 4 1570 1550 0 0 0 ", "2 17 1550 1522 0 0 1530 ", "2 6 1500 1448 1a8 10 500 ",
			"1 4 226 206 0 0 0 ", "2 17 206 178 0 0 186 ", "2 6 156 104 750 18 500 ",
		}},
		{"datagrams that each carry a packet", []bpf.Packet{udpSuperPacket(2000, 800), inDatagram(700)}, []string{
			"1 17 828 800 0 0 808 0123456789", "2 6 700 660 0 0 0 ", "1 17 828 800 0 0 808 ", "1 17 428 400 0 0 408 ",
		}},
		{"datagrams that break the rules", []bpf.Packet{udpSuperPacket(1000, 800), violation}, []string{
			"1 17 828 800 0 0 808 0123456789", "3 0 0 0 0 0 0 ", "1 17 228 200 0 0 208 ",
		}},
		{"one segment", []bpf.Packet{carrierOf(&small, bpf.ProtocolUDP, 28, 22), small}, []string{
			"1 17 1102 1074 0 0 1082 0123456789", "2 6 1052 1000 fffffc00 10 500 0123456789",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for room := 1; room <= 10; room++ {
				var s segmenter
				start(&s, tt.frame...)
				var got []string
				for _, p := range drain(t, &s, room) {
					got = append(got, fmt.Sprintf("%d %d %d %d %x %x %d %s",
						p.Kind, p.Protocol, p.IPLength, p.PayloadLength(), p.Seq, uint8(p.Flags), p.Window, p.Payload))
				}
				if !reflect.DeepEqual(got, tt.want) {
					t.Fatalf("room for %d:\nwant\n%s\ngot\n%s", room, strings.Join(tt.want, "\n"), strings.Join(got, "\n"))
				}
			}
		})
	}
}

// carrierOf is a packet that carries p, with header bytes before its payload and
// further ones of the tunnel's own.
func carrierOf(p *bpf.Packet, protocol uint8, header uint16, further uint32) bpf.Packet {
	carrier := *p
	carrier.Kind, carrier.TunnelDepth = bpf.KindPacket, 0
	carrier.Protocol, carrier.HeaderLength = protocol, header
	carrier.IPLength = uint32(header) + further + p.IPLength
	carrier.Seq, carrier.Ack, carrier.Flags, carrier.Window = 0, 0, 0, 0
	if protocol == bpf.ProtocolUDP {
		carrier.Window = uint16(8 + further + p.IPLength)
	}
	return carrier
}

// twoCarriers is p in VXLAN in IP.
func twoCarriers(p *bpf.Packet) []bpf.Packet {
	vxlan := carrierOf(p, bpf.ProtocolUDP, 28, 22)
	vxlan.Kind, vxlan.TunnelDepth = bpf.KindInner, 1
	return []bpf.Packet{carrierOf(&vxlan, bpf.ProtocolIPIP, 20, 0), vxlan, *p}
}

// udpSuperPacket is several datagrams.
func udpSuperPacket(payload int, size uint16) bpf.Packet {
	p := superPacket(payload, size, 0, 0)
	return carrierOf(&p, bpf.ProtocolUDP, 28, uint32(payload)-p.IPLength)
}

// inDatagram is the packet that the first of several datagrams carries.
func inDatagram(length uint32) bpf.Packet {
	return bpf.Packet{
		Protocol: bpf.ProtocolTCP, Kind: bpf.KindInner, TunnelDepth: 1, Blocks: bpf.BlockGSO | bpf.BlockTunnel,
		HeaderLength: 40, IPLength: length, GSOSize: 800,
	}
}

// start has s take a frame and tells whether there is a super-packet in it.
func start(s *segmenter, frame ...bpf.Packet) bool {
	s.take(&frame[0])
	for i := range frame[1:] {
		*s.next() = frame[1+i]
		s.keep()
	}
	s.start()
	return s.cut >= 0
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
