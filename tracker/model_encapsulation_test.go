// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"encoding/binary"

	"conntap/bpf"
)

// fragments are datagrams that came in pieces, in any order, twice or not at all.
func (g *traffic) fragments() []modelFrame {
	var packets []bpf.Packet
	now := modelBase
	for id := range uint32(2 + g.IntN(8)) {
		flow := g.flow(anyOf[uint8](g, bpf.ProtocolUDP, bpf.ProtocolTCP, bpf.ProtocolICMP, 132), 9999, 53)
		now += g.pause(20)
		packets = append(packets, g.fragment(flow, id, now)...)
	}
	return g.inOrder(packets)
}

// fragment cuts a datagram of a flow.
func (g *traffic) fragment(flow bpf.Packet, id uint32, now int64) (pieces []bpf.Packet) {
	whole := g.transport(&flow, anyOf(g, 0, 30, 1000))
	for at := 0; at < len(whole); {
		size := min(8*(1+g.IntN(1+len(whole)/16)), len(whole)-at)
		p := flow
		now += g.pause(3)
		p.Time, p.State, p.Blocks = now, flow.State|bpf.StateFragment, flow.Blocks|bpf.BlockFragment
		p.SrcMAC[5] = byte(g.IntN(3))
		p.FragmentID, p.FragmentOffset, p.FragmentMore = id, uint16(at), at+size < len(whole)
		p.Payload = whole[at : at+size]
		p.SrcPort, p.DstPort, p.Window, p.Seq, p.Ack, p.Flags = 0, 0, 0, 0, 0, 0
		if p.HeaderLength = anyOf[uint16](g, 20, 20, 24); p.State&bpf.StateIPv6 != 0 {
			p.HeaderLength = 48
		}
		p.IPLength = uint32(p.HeaderLength) + uint32(size)
		pieces = append(pieces, p)
		if g.chance(10) && at > 8 { // overlaps what went before
			at -= 8
		}
		at += size
	}
	g.Shuffle(len(pieces), func(i, j int) {
		if g.chance(30) {
			pieces[i].Time, pieces[j].Time = pieces[j].Time, pieces[i].Time
		}
	})
	return g.spoilPieces(pieces)
}

func (g *traffic) spoilPieces(pieces []bpf.Packet) (spoiled []bpf.Packet) {
	for _, p := range pieces {
		if g.chance(4) {
			continue
		}
		spoiled = append(spoiled, p)
		if g.chance(4) {
			spoiled = append(spoiled, p)
		}
	}
	return spoiled
}

// transport is a transport header and a payload, in bytes.
func (g *traffic) transport(p *bpf.Packet, payload int) []byte {
	b := make([]byte, 20+payload)
	binary.BigEndian.PutUint16(b, p.SrcPort)
	binary.BigEndian.PutUint16(b[2:], p.DstPort)
	switch p.Protocol {
	case bpf.ProtocolTCP:
		binary.BigEndian.PutUint32(b[4:], 1000+uint32(g.IntN(2)))
		binary.BigEndian.PutUint32(b[8:], 5000)
		b[12], b[13], b[15] = 5<<4, byte(anyOf(g, bpf.SYN, bpf.ACK, bpf.FIN|bpf.ACK)), 1
	case bpf.ProtocolUDP:
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
		b[10] = byte(anyOf(g, 0, 0x80)) // a reply of DNS
	case bpf.ProtocolICMP:
		b[0], b[1], b[2], b[3] = byte(anyOf(g, 8, 0, 3)), 0, 0, 0
	}
	return b
}

// tunnels are packets in packets.
func (g *traffic) tunnels() []modelFrame {
	var frames []modelFrame
	now := modelBase
	for ordinal := range 1 + g.IntN(25) {
		now += g.pause(3)
		frame := g.nest(g.carrier(), 0)
		for i := range frame {
			frame[i].Time, frame[i].Ordinal = now, uint64(ordinal+1)
		}
		frames = append(frames, frame)
	}
	return frames
}

// carrier is a packet that others may stand in.
func (g *traffic) carrier() bpf.Packet {
	p := g.flow(anyOf[uint8](g, bpf.ProtocolUDP, bpf.ProtocolUDP, bpf.ProtocolGRE, bpf.ProtocolIPIP, bpf.ProtocolIPv6), 4789, 4789, 6081, 2152, 2123, 3544, 5072, 4754, 9999)
	p.Window = 108
	p.IPLength += 100
	if g.chance(30) {
		p = reversed(p)
	}
	if p.Protocol == bpf.ProtocolUDP && g.chance(4) {
		p.SetChecksum(bpf.ChecksumBad)
	}
	return p
}

// nest puts packets into a packet at a depth.
func (g *traffic) nest(p bpf.Packet, depth uint8) modelFrame {
	frame := modelFrame{p}
	kind := tunnelOf(&p)
	if kind == bpf.TunnelGTPv1 && p.TunnelType == kind { // parsers call it a violation
		kind = bpf.TunnelNone
	}
	if kind == bpf.TunnelNone || depth == bpf.TunnelDepthMax || g.chance(5) {
		return frame
	}
	inner := g.flow(anyOf[uint8](g, bpf.ProtocolTCP, bpf.ProtocolUDP, bpf.ProtocolICMP), 9999, 80)
	inner.IPLength += 10
	inner.Src[15], inner.Dst[15] = 1, 2
	switch {
	case inner.Protocol == bpf.ProtocolTCP:
		inner.Flags, inner.Seq = anyOf(g, bpf.SYN, bpf.ACK), 1000
	case inner.Protocol == bpf.ProtocolUDP:
		inner.Window = 18
	default:
		inner.Window = 8 << 8
	}
	if g.chance(30) {
		inner = reversed(inner)
	}
	if g.chance(40) {
		inner = g.carrier()
	}
	inner.Kind, inner.TunnelType, inner.TunnelDepth = bpf.KindInner, kind, depth+1
	inner.Blocks = bpf.BlockTunnel
	if g.chance(6) {
		said := bpf.Packet{Kind: anyOf(g, bpf.KindViolation, bpf.KindEmpty), Blocks: bpf.BlockTunnel, TunnelType: kind, TunnelDepth: depth + 1}
		return append(frame, said)
	}
	return append(frame, g.nest(inner, depth+1)...)
}

// tunnelOf is the tunnel that a parser sees in a packet: by its protocol, or by the
// port of its destination before that of its source.
func tunnelOf(p *bpf.Packet) bpf.TunnelType {
	switch p.Protocol {
	case bpf.ProtocolIPIP, bpf.ProtocolIPv6:
		return bpf.TunnelIP
	case bpf.ProtocolGRE:
		return bpf.TunnelGRE
	case bpf.ProtocolUDP:
		for _, port := range []uint16{p.DstPort, p.SrcPort} {
			for kind, ports := range modelTunnelPorts {
				if ports[0] == port || ports[len(ports)-1] == port {
					return kind
				}
			}
		}
	}
	return bpf.TunnelNone
}
