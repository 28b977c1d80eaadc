// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"math/bits"
)

// sum adds the ones' complement sum of b (RFC 1071) to initial. It works on
// little-endian words, which give the sum with its bytes swapped: the same to
// whoever asks whether it is whole.
func sum(b []byte, initial uint64) uint64 {
	s, carry, all := initial, uint64(0), b
	for len(b) >= 64 {
		block := b[:64]
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(block[0:]), 0)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(block[8:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(block[16:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(block[24:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(block[32:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(block[40:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(block[48:]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(block[56:]), carry)
		s, carry = bits.Add64(s, 0, carry)
		s += carry
		b = b[64:]
	}
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s += carry
		b = b[8:]
	}
	if len(b) == 0 {
		return s
	}
	if len(all) < 8 {
		s, carry = bits.Add64(s, sumTail(b), 0)
	} else { // the last 8 bytes, without those that are in
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(all[len(all)-8:])>>(64-8*len(b)), 0)
	}
	return s + carry
}

// sumTail is the word that up to 7 bytes and zeros make.
func sumTail(b []byte) uint64 {
	var word uint64
	for i := len(b) - 1; i >= 0; i-- {
		word = word<<8 | uint64(b[i])
	}
	return word
}

// fold reduces a sum to 16 bits.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff
	s = s>>16&0xffff + s>>32 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// isWhole tells whether a sum over data and checksum is that of intact data.
func isWhole(s uint64) bool { return fold(s) == 0xffff }

// pseudoHeader is the sum of the header that TCP's, UDP's and ICMPv6's checksums
// cover beside their own (RFC 9293, section 3.1; RFC 8200, section 8.1); length
// is that of transport header and payload.
func pseudoHeader(p *Packet, length int) uint64 {
	s := uint64(p.Protocol)<<8 + uint64(bits.ReverseBytes32(uint32(length)))
	if p.State&StateIPv6 == 0 {
		return s + uint64(binary.LittleEndian.Uint32(p.Src[12:])) + uint64(binary.LittleEndian.Uint32(p.Dst[12:]))
	}
	return sum(p.Dst[:], sum(p.Src[:], s))
}

// AddSums adds two ones' complement sums, as Packet.FragmentSum is one. Fragments
// begin at even bytes, so the sum of a datagram is that of its fragments.
func AddSums(a, b uint16) uint16 { return fold(uint64(a) + uint64(b)) }

// vxlanPayloadMin is VXLAN's header and that of the frame inside.
const vxlanPayloadMin = vxlanLength + ethernetLength

// judgeChecksum stores what the transport checksum is worth, if all that it
// covers was captured. Zeek: TCP.cc, UDP.cc and ICMP.cc, DeliverPacket.
func (f *frame) judgeChecksum(p *Packet, ps *Parser) {
	length := f.transportLength()
	whole := f.has(length)
	if !whole && (f.sum == 0 || f.offset != 0) && !ps.SuperPackets {
		return
	}
	var initial uint64
	switch p.Protocol {
	case ProtocolTCP, ProtocolICMPv6:
		initial = pseudoHeader(p, length)
	case ProtocolUDP:
		if f.captured < f.wire || f.hasNoChecksum(p, length) {
			return
		}
		initial = pseudoHeader(p, length)
	case ProtocolICMP:
	default:
		return
	}
	if ps.PartialChecksums && initial != 0 && f.checksumField(p.Protocol) == fold(initial) {
		p.SetChecksum(ChecksumNotFinal)
		return
	}
	if ps.SuperPackets {
		return
	}
	if whole {
		initial = sum(f.data[f.offset:][:length], initial)
	} else {
		initial += uint64(f.sum)
	}
	if isWhole(initial) {
		p.SetChecksum(ChecksumGood)
	} else {
		p.SetChecksum(ChecksumBad)
	}
}

// checksumField is the field of a TCP, UDP or ICMPv6 header, in the byte order of
// sum.
func (f *frame) checksumField(protocol uint8) uint16 {
	place := 16
	switch protocol {
	case ProtocolUDP:
		place = 6
	case ProtocolICMPv6:
		place = 2
	}
	return binary.LittleEndian.Uint16(f.data[f.offset+place:])
}

// hasNoChecksum tells a UDP datagram that may leave its checksum out and did: over
// IPv4, or with VXLAN inside (RFC 7348, section 5; RFC 6935).
func (f *frame) hasNoChecksum(p *Packet, length int) bool {
	uh := f.data[f.offset:]
	if uh[6] != 0 || uh[7] != 0 {
		return false
	}
	return p.State&StateIPv6 == 0 || p.DstPort == portVXLAN &&
		length > udpLength+vxlanPayloadMin && len(uh) > udpLength && uh[udpLength]&vxlanFlagID != 0
}
