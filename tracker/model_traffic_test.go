// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"conntap/bpf"
)

// traffic makes random traces: what looks like traffic on a few hosts and ports, and
// what goes wrong with it.
type traffic struct{ *rand.Rand }

func (g *traffic) chance(percent int) bool { return g.IntN(100) < percent }

// anyOf returns one of some values.
func anyOf[T any](g *traffic, from ...T) T { return from[g.IntN(len(from))] }

// host is one of a few, IPv4 or IPv6.
func (g *traffic) host(v6 bool) bpf.Addr {
	n := byte(1 + g.IntN(3))
	if v6 {
		return bpf.Addr{0: 0x20, 1: 1, 2: 0xd, 3: 0xb8, 15: n}
	}
	return bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: n}
}

// flow is the packet that others of its flow are made from.
func (g *traffic) flow(protocol uint8, ports ...uint16) bpf.Packet {
	p := bpf.Packet{
		Time: modelBase, Kind: bpf.KindPacket, Protocol: protocol, State: bpf.StateComplete, HeaderLength: 20,
		Window: 1000,
	}
	v6 := g.chance(20)
	if v6 {
		p.State |= bpf.StateIPv6
		p.HeaderLength = 40
	}
	p.Src, p.Dst = g.host(v6), g.host(v6)
	if protocol == bpf.ProtocolTCP || protocol == bpf.ProtocolUDP {
		p.SrcPort, p.DstPort = anyOf[uint16](g, 40000, 40000, 40001, anyOf(g, ports...)), anyOf(g, ports...)
	}
	if g.chance(30) {
		p.Blocks |= bpf.BlockL2
		p.SrcMAC, p.DstMAC = bpf.MAC{2, 5: byte(g.IntN(3))}, bpf.MAC{2, 5: byte(g.IntN(3))}
		p.VLAN, p.InnerVLAN = uint16(g.IntN(3)), uint16(g.IntN(2))
	}
	switch protocol {
	case bpf.ProtocolTCP:
		p.HeaderLength += 20
	case bpf.ProtocolUDP, bpf.ProtocolICMP, bpf.ProtocolICMPv6:
		p.HeaderLength += 8
	}
	p.IPLength = uint32(p.HeaderLength)
	return p
}

// reversed is a packet of the other direction.
func reversed(p bpf.Packet) bpf.Packet {
	p.Src, p.Dst, p.SrcPort, p.DstPort, p.SrcMAC, p.DstMAC = p.Dst, p.Src, p.DstPort, p.SrcPort, p.DstMAC, p.SrcMAC
	return p
}

// pause is a time between packets of a flow, ns: short, or at the edge of a timer.
func (g *traffic) pause(edges int) int64 {
	if !g.chance(edges) {
		return anyOf[int64](g, 0, 1000, int64(g.IntN(200))*int64(time.Millisecond))
	}
	second := anyOf[int64](g, 1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 15, 17, 60, 61, 120, 299, 300, 301, 305, 3600, 3601, 90000)
	return max(0, second*modelSecond+anyOf[int64](g, 0, 0, -1000, 1000, -1, 1, -300e6, 100e6))
}

// session is one TCP connection, before anything went wrong with it.
type session struct {
	g        *traffic
	flow     bpf.Packet
	next     [2]uint32 // sequence numbers
	seen     [2]uint32 // acknowledgment numbers
	silent   [2]bool   // the capture lacks this side
	edges    int
	packets  []bpf.Packet
	now      int64
	segments []uint32
}

// send adds a packet of one side.
func (s *session) send(side int, flags bpf.Flags, payload uint32) {
	p := s.flow
	if side == 1 {
		p = reversed(p)
	}
	s.now += s.g.pause(s.edges)
	p.Time, p.Flags, p.Seq, p.IPLength = s.now, flags, s.next[side], uint32(p.HeaderLength)+payload
	if flags.Has(bpf.ACK) {
		p.Ack = s.seen[side]
	}
	s.next[side] += payload
	if flags&bpf.SYN != 0 {
		s.next[side]++
	}
	if flags&bpf.FIN != 0 {
		s.next[side]++
	}
	if !s.g.chance(5) {
		s.seen[1-side] = s.next[side]
	}
	if !s.silent[side] {
		s.packets = append(s.packets, p)
	}
}

var modelTCPPorts = []uint16{9999, 9999, 80, 22, 23, 443, 21, 513}

// session returns the packets of one TCP connection.
func (g *traffic) session(start int64, edges int, segments []uint32) []bpf.Packet {
	isn := func() uint32 {
		return anyOf[uint32](g, g.Uint32(), 1000, 0, 1<<32-1, 1<<32-2, 1<<32-100, 1<<32-3000, 1<<31)
	}
	s := &session{
		g: g, flow: g.flow(bpf.ProtocolTCP, modelTCPPorts...), next: [2]uint32{isn(), isn()},
		edges: edges, now: start, segments: segments,
	}
	s.silent[g.IntN(2)] = g.chance(8)
	s.seen[0], s.seen[1] = s.next[1], s.next[0]
	s.open()
	for range g.IntN(8) {
		s.exchange()
	}
	s.end()
	return s.packets
}

func (s *session) open() {
	switch s.g.IntN(12) {
	case 0: // in midstream
	case 1: // simultaneous open
		s.send(0, bpf.SYN, 0)
		s.send(1, bpf.SYN, 0)
		s.next[0], s.next[1] = s.next[0]-1, s.next[1]-1
		s.send(0, bpf.SYN|bpf.ACK, 0)
		s.send(1, bpf.SYN|bpf.ACK, 0)
	case 2: // data in the SYN
		s.send(0, bpf.SYN, anyOf(s.g, s.segments...))
		s.send(1, bpf.SYN|bpf.ACK, 0)
		s.send(0, bpf.ACK, 0)
	case 3: // refused
		s.send(0, bpf.SYN, 0)
		s.send(1, bpf.RST|bpf.ACK, 0)
	case 4: // the SYN is missing
		s.next[0]++
		s.seen[1]++
		s.send(1, bpf.SYN|bpf.ACK, 0)
		s.send(0, bpf.ACK, 0)
	case 5: // the SYN after the SYN-ACK
		s.seen[1]++
		s.send(1, bpf.SYN|bpf.ACK, 0)
		s.send(0, bpf.SYN, 0)
		s.send(0, bpf.ACK, 0)
	case 6: // asked again and again
		for range s.g.IntN(4) {
			s.send(0, bpf.SYN, 0)
			s.next[0]--
		}
	default:
		s.send(0, bpf.SYN, 0)
		s.send(1, bpf.SYN|bpf.ACK, 0)
		s.send(0, bpf.ACK, 0)
	}
}

func (s *session) exchange() {
	side := s.g.IntN(2)
	size := anyOf(s.g, s.segments...)
	switch s.g.IntN(10) {
	case 0: // lost before the capture point, and acknowledged or not
		s.next[side] += size
	case 1: // a keep-alive, with and without its byte
		s.next[side]--
		s.send(side, bpf.ACK, uint32(s.g.IntN(2)))
		s.next[side] = s.seen[1-side]
	case 2: // again
		s.next[side] -= size
		s.send(side, bpf.ACK|bpf.PSH, size)
	case 3: // out of order
		s.next[side] += size
		s.send(side, bpf.ACK, size)
		s.next[side] -= 2 * size
		s.send(side, bpf.ACK, size)
		s.next[side] += size
		s.seen[1-side] = s.next[side]
	case 4: // a SYN of somebody, new or old
		old := s.next[side]
		s.next[side] = anyOf(s.g, 0, s.flow.Seq, s.g.Uint32())
		s.send(side, anyOf(s.g, bpf.SYN, bpf.SYN|bpf.ACK), 0)
		s.next[side] = old
	default:
		s.send(side, bpf.ACK|bpf.PSH, size)
	}
	if s.g.chance(60) {
		s.send(1-side, bpf.ACK, 0)
	}
}

func (s *session) end() {
	side := s.g.IntN(2)
	last := uint32(0)
	if s.g.chance(30) {
		last = anyOf(s.g, s.segments...)
	}
	switch s.g.IntN(8) {
	case 0: // left open
	case 1:
		s.send(side, bpf.RST|bpf.ACK, last)
	case 2:
		s.send(side, bpf.FIN|bpf.ACK, last)
	case 3:
		s.send(side, bpf.FIN|bpf.ACK, last)
		s.send(anyOf(s.g, 0, 1), bpf.RST, 0)
		s.send(anyOf(s.g, 0, 1), anyOf(s.g, bpf.RST, bpf.FIN|bpf.ACK), 0)
	default:
		s.send(side, bpf.FIN|bpf.ACK, last)
		if s.g.chance(50) {
			s.send(1-side, bpf.ACK, 0)
		}
		s.send(1-side, bpf.FIN|bpf.ACK, 0)
		s.send(side, bpf.ACK, 0)
	}
	if s.g.chance(15) { // the same again
		first := s.packets[:min(len(s.packets), s.g.IntN(5))]
		for _, p := range first {
			s.now += s.g.pause(s.edges)
			p.Time = s.now
			s.packets = append(s.packets, p)
		}
	}
	if s.g.chance(15) {
		s.exchange()
	}
}

// spoil does to packets what networks and capture points do.
func (g *traffic) spoil(packets []bpf.Packet, percent int) (spoiled []bpf.Packet) {
	for _, p := range packets {
		copies := 1
		if g.chance(percent) {
			switch g.IntN(13) {
			case 0:
				copies = 0
			case 1:
				copies = anyOf(g, 2, 2, 3, 11)
			case 2:
				p.Time += g.pause(50)
			case 3:
				p.Time -= anyOf[int64](g, 1, 1000, 1e6, modelSecond, 6*modelSecond)
			case 4:
				p.Flags ^= anyOf(g, bpf.SYN, bpf.FIN, bpf.RST, bpf.ACK, bpf.ACK|bpf.RST, bpf.SYN|bpf.FIN)
			case 5:
				p.SetChecksum(anyOf(g, bpf.ChecksumBad, bpf.ChecksumBad, bpf.ChecksumGood, bpf.ChecksumNotFinal))
			case 6:
				p.State &^= bpf.StateComplete
			case 7:
				g.malform(&p)
			case 8:
				p.Window = 0
				copies = anyOf(g, 1, 10)
			case 9:
				p.Seq += anyOf[uint32](g, 1, 1<<32-1, 1<<20, 1<<20+1, 1<<31, 10, 1<<32-20, -p.Seq)
			case 10:
				p.Ack += anyOf[uint32](g, 1, 1<<32-1, 1<<20, 1<<20+1, 1<<31, 10, 1<<32-20, -p.Ack)
			case 11:
				p.Flags = bpf.Flags(g.IntN(256))
			case 12:
				p.IPLength += anyOf[uint32](g, 1, 9, 1460)
			}
		}
		for range copies {
			spoiled = append(spoiled, p)
		}
	}
	return spoiled
}

func (g *traffic) malform(p *bpf.Packet) {
	switch {
	case p.Protocol != bpf.ProtocolTCP:
		p.State |= bpf.StateNoLength
	case g.chance(50):
		p.State |= bpf.StateMalformed
	default:
		p.State |= bpf.StateMalformed | bpf.StateShortOffset
	}
}

// inOrder sorts packets by time, now and then lets the clock step back, and makes a
// frame of each.
func (g *traffic) inOrder(packets []bpf.Packet) (frames []modelFrame) {
	slices.SortStableFunc(packets, func(a, b bpf.Packet) int { return int(max(-1, min(1, a.Time-b.Time))) })
	for i := range packets {
		if p := &packets[i]; g.chance(1) {
			p.Time -= anyOf[int64](g, 1, 1000, modelSecond, 5*modelSecond, 10*modelSecond, 61*modelSecond, 301*modelSecond)
		}
	}
	for i, p := range packets {
		p.Ordinal = uint64(i + 1)
		frames = append(frames, modelFrame{p})
		if g.chance(2) {
			frames = append(frames, modelFrame{{Time: p.Time + g.pause(50), Ordinal: uint64(i + 1)}})
		}
	}
	return frames
}

// sessions are TCP connections on few five-tuples, side by side.
func (g *traffic) sessions() []modelFrame {
	var packets []bpf.Packet
	percent := anyOf(g, 0, 3, 10, 25)
	for range 1 + g.IntN(8) {
		segments := anyOf(g, []uint32{1, 10, 10, 100}, []uint32{1, 1460, 1460}, []uint32{10, 1460, 9000})
		packets = append(packets, g.session(modelBase+int64(g.IntN(20))*modelSecond, anyOf(g, 0, 5, 15), segments)...)
	}
	return g.inOrder(g.spoil(packets, percent))
}

// timers are short TCP sessions with long pauses.
func (g *traffic) timers() []modelFrame {
	var packets []bpf.Packet
	for range 1 + g.IntN(6) {
		packets = append(packets, g.session(modelBase+g.pause(50), 40, []uint32{10})...)
	}
	return g.inOrder(g.spoil(packets, anyOf(g, 0, 5, 20)))
}

// windows are TCP sessions whose data fills the limits of the reassembler.
func (g *traffic) windows() []modelFrame {
	segments := anyOf(g, []uint32{1, 8000, 16383, 16384, 16385}, []uint32{65000, 65000, 5000}, []uint32{1 << 20, 10 << 20, 10<<20 + 1, 1 << 30})
	var packets []bpf.Packet
	for range 1 + g.IntN(3) {
		packets = append(packets, g.session(modelBase, 0, segments)...)
	}
	return g.inOrder(g.spoil(packets, anyOf(g, 0, 10, 25)))
}

// alphabet is wholly random TCP on one or two five-tuples.
func (g *traffic) alphabet() []modelFrame {
	flows := []bpf.Packet{g.flow(bpf.ProtocolTCP, modelTCPPorts...), g.flow(bpf.ProtocolTCP, modelTCPPorts...)}
	number := func() uint32 {
		return anyOf[uint32](g, 1000, 1000, 1001, 1001, 1011, 1021, 1002, 999, 0, 1<<32-1, 1<<31, 1<<20+1000, 1<<20+1001, 5000)
	}
	var packets []bpf.Packet
	now, edges, common := modelBase, anyOf(g, 0, 5, 30), g.chance(70)
	for range 1 + g.IntN(30) {
		p := flows[g.IntN(len(flows))]
		if g.chance(45) {
			p = reversed(p)
		}
		now += g.pause(edges)
		p.Time, p.Seq, p.Ack = now, number(), number()
		p.IPLength += anyOf[uint32](g, 0, 0, 1, 10, 10, 20)
		p.Flags = bpf.Flags(g.IntN(32))
		if common {
			p.Flags = anyOf(g, bpf.SYN, bpf.SYN|bpf.ACK, bpf.ACK, bpf.ACK, bpf.ACK|bpf.PSH, bpf.FIN|bpf.ACK, bpf.RST, bpf.FIN, 0)
		}
		packets = append(packets, p)
	}
	return g.inOrder(g.spoil(packets, anyOf(g, 0, 5)))
}

// datagrams are UDP, ICMP and other protocols.
func (g *traffic) datagrams() []modelFrame {
	var packets []bpf.Packet
	for range 1 + g.IntN(10) {
		protocol := anyOf[uint8](g, bpf.ProtocolUDP, bpf.ProtocolUDP, bpf.ProtocolUDP, bpf.ProtocolICMP, bpf.ProtocolICMPv6, 132, 2)
		flow := g.flow(protocol, 9999, 53, 53, 123, 123, 137, 5353, 5355, 443, 67, 68, 5060)
		if protocol == bpf.ProtocolUDP && g.chance(10) {
			flow.Dst = anyOf(g, bpf.Addr{10: 255, 11: 255, 12: 224, 15: 251}, bpf.Addr{10: 255, 11: 255, 12: 239, 15: 251},
				bpf.Addr{0: 0xff, 15: 0xfb}, bpf.Addr{10: 255, 11: 255, 12: 255, 13: 255, 14: 255, 15: 255})
		}
		now, edges, replies := modelBase, anyOf(g, 0, 20, 60), anyOf(g, 0, 30, 50, 90)
		for range 1 + g.IntN(9) {
			now += g.pause(edges)
			p := flow
			if g.chance(replies) {
				p = reversed(p)
			}
			p.Time = now
			g.content(&p)
			packets = append(packets, p)
		}
	}
	return g.inOrder(g.spoil(packets, anyOf(g, 0, 5, 15)))
}

// content fills a packet that is not TCP.
func (g *traffic) content(p *bpf.Packet) {
	length := anyOf[uint32](g, 0, 1, 10, 56, 1400)
	switch p.Protocol {
	case bpf.ProtocolICMP:
		p.Window = anyOf[uint16](g, 8, 0, 8, 0, 13, 14, 15, 16, 10, 9, 17, 18, 3, 5, 11)<<8 | uint16(g.IntN(3))
	case bpf.ProtocolICMPv6:
		p.Window = anyOf[uint16](g, 128, 129, 128, 129, 133, 134, 135, 136, 130, 131, 132, 139, 140, 144, 145, 1, 8, 0)<<8 | uint16(g.IntN(3))
	case bpf.ProtocolUDP:
		p.Payload = g.payload(p)
		length = max(uint32(len(p.Payload)), length*uint32(g.IntN(2)))
		p.Window = uint16(8 + length)
		if g.chance(5) {
			p.Window = anyOf[uint16](g, 0, 4, 7, 8, 65535)
		}
	}
	p.IPLength += length
}

// payload is what a UDP port calls for: a DNS header, an NTP packet, or nothing.
func (g *traffic) payload(p *bpf.Packet) []byte {
	on := func(ports ...uint16) bool {
		return slices.Contains(ports, p.SrcPort) || slices.Contains(ports, p.DstPort)
	}
	switch {
	case g.chance(10):
		return nil
	case on(123):
		b := make([]byte, 48)
		b[0] = 4<<3 | byte(anyOf(g, 3, 3, 4, 4, 1, 2, 5))
		return b
	case on(53, 137, 5353, 5355):
		b := make([]byte, anyOf(g, 12, 12, 12, 30, 11))
		b[2] = byte(anyOf(g, 0, 0, 0, 0x80, 0x80, 0x28, 0xa8, 0x01))
		binary.BigEndian.PutUint16(b[4:], anyOf[uint16](g, 0, 0, 1, 1, 1, 25, 26, 1000))
		return b
	}
	return nil
}
