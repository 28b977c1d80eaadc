// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"math/bits"
)

// parseDirect is the short way for what most frames are: Ethernet, IPv4 without
// options or IPv6 without extension headers, and TCP or UDP, captured whole, sound
// and no tunnel. It does what the walk over the layers would, and tells whether the
// frame is of that kind; else dst may be half filled. Measured, it takes half the
// time.
func (ps *Parser) parseDirect(data []byte, wireLength int, p *Packet) bool {
	if len(data) < ethernetLength+ipv4Length+udpLength || ps.Link != LinkEthernet || ps.PartialChecksums {
		return false
	}
	iph := data[ethernetLength:]
	switch binary.BigEndian.Uint32(data[12:]) >> 8 { // EtherType, version and header length
	case typeIPv4<<8 | 0x45:
		length := int(binary.BigEndian.Uint16(iph[2:]))
		if length < ipv4Length || length > len(iph) || ethernetLength+length > wireLength ||
			binary.BigEndian.Uint16(iph[6:])&ipv4FragmentMask != 0 ||
			ps.verifies() && !isWhole(sumIPv4(iph)) {
			return false
		}
		*p = Packet{Kind: KindPacket, Blocks: BlockIdentity | BlockL2, State: StateComplete, IPLength: uint32(length)}
		mapIPv4(&p.Src, iph[12:16])
		mapIPv4(&p.Dst, iph[16:20])
		p.IPID = uint32(binary.BigEndian.Uint16(iph[4:]))
		p.Protocol = iph[9]
		initial := uint64(binary.LittleEndian.Uint32(iph[12:])) + uint64(binary.LittleEndian.Uint32(iph[16:]))
		p.DstMAC, p.SrcMAC = MAC(data[0:6]), MAC(data[6:12])
		return ps.directTransport(p, iph[ipv4Length:length], ipv4Length, initial, len(data) < wireLength)
	}
	if binary.BigEndian.Uint16(data[12:]) != typeIPv6 || iph[0]>>4 != 6 || len(iph) < ipv6Length {
		return false
	}
	length := int(binary.BigEndian.Uint16(iph[4:])) + ipv6Length
	if length > len(iph) || ethernetLength+length > wireLength {
		return false
	}
	*p = Packet{Kind: KindPacket, Blocks: BlockIdentity | BlockL2, State: StateComplete | StateIPv6, IPLength: uint32(length)}
	p.Src, p.Dst = Addr(iph[8:24]), Addr(iph[24:40])
	p.IPID = binary.BigEndian.Uint32(iph) & 0xfffff
	p.Protocol = iph[6]
	p.DstMAC, p.SrcMAC = MAC(data[0:6]), MAC(data[6:12])
	var initial uint64
	if ps.verifies() {
		initial = sum(iph[8:40], 0)
	}
	return ps.directTransport(p, iph[ipv6Length:length], ipv6Length, initial, len(data) < wireLength)
}

// sumIPv4 is the sum of an IPv4 header without options.
func sumIPv4(iph []byte) uint64 {
	iph = iph[:ipv4Length]
	s, carry := bits.Add64(binary.LittleEndian.Uint64(iph), binary.LittleEndian.Uint64(iph[8:]), 0)
	s, carry = bits.Add64(s, uint64(binary.LittleEndian.Uint32(iph[16:])), carry)
	return s + carry
}

// directTransport reads all that the IP packet has: transport header and payload.
// initial is the sum of the addresses; cut tells that bytes of the frame are missing
// after the packet.
func (ps *Parser) directTransport(p *Packet, b []byte, header uint16, initial uint64, cut bool) bool {
	judged := ps.verifies()
	switch p.Protocol {
	case ProtocolTCP:
		if len(b) < tcpLength {
			return false
		}
		length := uint16(b[12]>>4) * 4
		if length < tcpLength || int(length) > len(b) {
			return false
		}
		p.Seq = binary.BigEndian.Uint32(b[4:])
		p.Ack = binary.BigEndian.Uint32(b[8:])
		p.Flags = Flags(b[13])
		p.Window = binary.BigEndian.Uint16(b[14:])
		p.HeaderLength = header + length
		if int(length) < len(b) {
			p.Payload = b[length:len(b):len(b)]
		}
	case ProtocolUDP:
		if len(b) < udpLength {
			return false
		}
		if b[6]|b[7] == 0 {
			if judged && p.State&StateIPv6 != 0 {
				return false
			}
			judged = false
		}
		judged = judged && (!cut || ps.AssumePayload)
		p.Window = binary.BigEndian.Uint16(b[4:])
		p.HeaderLength = header + udpLength
		if udpLength < len(b) {
			p.Payload = b[udpLength:len(b):len(b)]
		}
	default:
		return false
	}
	p.SrcPort = binary.BigEndian.Uint16(b[0:])
	p.DstPort = binary.BigEndian.Uint16(b[2:])
	if p.Protocol == ProtocolUDP && ps.Tunnels && tunnelInUDP(p.SrcPort, p.DstPort, b[udpLength:]) != TunnelNone {
		return false
	}
	if judged {
		initial += uint64(p.Protocol)<<8 + uint64(bits.ReverseBytes32(uint32(len(b))))
		p.SetChecksum(ChecksumBad)
		if isWhole(sum(b, initial)) {
			p.SetChecksum(ChecksumGood)
		}
	}
	return true
}
