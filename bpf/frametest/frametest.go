// SPDX-License-Identifier: Apache-2.0

// Package frametest makes frames for tests: well-formed ones from readable parts,
// and random ones, most of them broken somewhere. It knows nothing of the
// parsers.
package frametest

import "encoding/binary"

// EtherTypes.
const (
	TypeIPv4      = 0x0800
	TypeVLAN      = 0x8100
	TypeIPv6      = 0x86dd
	TypeVLANOuter = 0x88a8
	TypeQinQ      = 0x9100
)

// IP protocol numbers and IPv6 extension headers.
const (
	HopOptions   = 0
	ICMP         = 1
	IPIP         = 4
	TCP          = 6
	UDP          = 17
	Routing      = 43
	Fragment     = 44
	GRE          = 47
	ESP          = 50
	AH           = 51
	ICMPv6       = 58
	NoNext       = 59
	Destinations = 60
	SCTP         = 132
	Mobility     = 135
)

// The addresses of all frames made here.
var (
	DstMAC = [6]byte{2, 0, 0, 0, 0, 2}
	SrcMAC = [6]byte{2, 0, 0, 0, 0, 1}
	Src4   = [4]byte{10, 0, 0, 1}
	Dst4   = [4]byte{192, 0, 2, 2}
	Src6   = [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}
	Dst6   = [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 2}
)

// Join puts parts behind each other.
func Join(parts ...[]byte) []byte {
	var b []byte
	for _, part := range parts {
		b = append(b, part...)
	}
	return b
}

// Ethernet is a frame with the given type and content.
func Ethernet(etherType uint16, content ...[]byte) []byte {
	b := Join(DstMAC[:], SrcMAC[:])
	return append(binary.BigEndian.AppendUint16(b, etherType), Join(content...)...)
}

// Tag is the content of a VLAN tag's EtherType: the tag and the next type.
func Tag(tci, etherType uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tci), etherType)
}

// Pad lengthens a frame to at least 60 bytes, as a device does, with bytes that
// are no zeros.
func Pad(b []byte) []byte {
	for len(b) < 60 {
		b = append(b, 0xee)
	}
	return b
}

// IPv4 is a header to be filled in by Packet. Zero lengths are computed.
type IPv4 struct {
	Protocol uint8
	ID       uint16
	Fragment uint16 // flags and offset as on the wire
	Options  []byte
	Length   int // total length; -1: says 0
	IHL      int // header length in 4-byte words
	Version  int
	Checksum uint16 // added to the right one
}

// Packet is the header and the payload.
func (h IPv4) Packet(payload ...[]byte) []byte {
	content := Join(payload...)
	b := make([]byte, 20, 20+len(h.Options)+len(content))
	length := pick(h.Length, 20+len(h.Options)+len(content))
	b[0] = byte(pick(h.Version, 4)<<4 | pick(h.IHL, 5+len(h.Options)/4)&0xf)
	binary.BigEndian.PutUint16(b[2:], uint16(max(length, 0)))
	binary.BigEndian.PutUint16(b[4:], h.ID)
	binary.BigEndian.PutUint16(b[6:], h.Fragment)
	b[8], b[9] = 64, h.Protocol
	copy(b[12:], Src4[:])
	copy(b[16:], Dst4[:])
	b = append(b, h.Options...)
	binary.BigEndian.PutUint16(b[10:], Checksum(b)+h.Checksum)
	return append(b, content...)
}

// IPv6 is a header to be filled in by Packet. A zero length is computed.
type IPv6 struct {
	Next   uint8
	Flow   uint32
	Length int // of the payload; -1: says 0
}

// Packet is the header and the payload.
func (h IPv6) Packet(payload ...[]byte) []byte {
	content := Join(payload...)
	b := binary.BigEndian.AppendUint32(nil, 6<<28|h.Flow)
	b = binary.BigEndian.AppendUint16(b, uint16(max(pick(h.Length, len(content)), 0)))
	b = append(b, h.Next, 64)
	return Join(b, Src6[:], Dst6[:], content)
}

// Extension is an IPv6 extension header of the usual shape: content after the
// first two bytes, filled up with zeros to a multiple of 8.
func Extension(next uint8, content ...byte) []byte {
	b := append([]byte{next, 0}, content...)
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	b[1] = byte(len(b)/8 - 1)
	return b
}

// FragmentHeader is an IPv6 fragment header; offset in bytes.
func FragmentHeader(next uint8, offset uint16, more bool, id uint32) []byte {
	if more {
		offset |= 1
	}
	b := binary.BigEndian.AppendUint16([]byte{next, 0}, offset)
	return binary.BigEndian.AppendUint32(b, id)
}

// Segment is a TCP header to be filled in by Bytes.
type Segment struct {
	SrcPort, DstPort uint16
	Seq, Ack         uint32
	Offset           int // header length in 4-byte words; computed if 0, 0 if -1
	Flags            uint8
	Window           uint16
	Options          []byte
}

// Bytes is the header and the payload, without a checksum.
func (s Segment) Bytes(payload ...byte) []byte {
	b := ports(s.SrcPort, s.DstPort)
	b = binary.BigEndian.AppendUint32(b, s.Seq)
	b = binary.BigEndian.AppendUint32(b, s.Ack)
	b = append(b, byte(max(pick(s.Offset, 5+len(s.Options)/4), 0)<<4), s.Flags)
	b = binary.BigEndian.AppendUint16(b, s.Window)
	return Join(b, make([]byte, 4), s.Options, payload)
}

// Datagram is a UDP header and the payload, without a checksum.
func Datagram(srcPort, dstPort uint16, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint16(ports(srcPort, dstPort), uint16(8+len(payload)))
	return Join(b, make([]byte, 2), payload)
}

// Message is an ICMP header and the payload, without a checksum.
func Message(icmpType, code uint8, payload ...byte) []byte {
	return Join([]byte{icmpType, code, 0, 0, 0, 1, 0, 2}, payload)
}

// Seal4 stores the checksum of an IPv4 packet's transport header, at the given
// place in it, and returns the header and its payload.
func Seal4(protocol uint8, place int, transport []byte) []byte {
	return seal(place, transport, Join(Src4[:], Dst4[:], []byte{0, protocol}), protocol == ICMP)
}

// Seal6 is Seal4 for IPv6, with the addresses that the checksum covers.
func Seal6(protocol uint8, place int, transport []byte, src, dst [16]byte) []byte {
	return seal(place, transport, Join(src[:], dst[:], []byte{0, protocol}), false)
}

func seal(place int, transport, pseudo []byte, bare bool) []byte {
	b := Join(transport)
	b[place], b[place+1] = 0, 0
	covered := b
	if !bare {
		covered = Join(binary.BigEndian.AppendUint16(pseudo, uint16(len(b))), b)
	}
	binary.BigEndian.PutUint16(b[place:], Checksum(covered))
	return b
}

// Checksum is the Internet checksum (RFC 1071) of b, done the plain way.
func Checksum(b []byte) uint16 {
	var sum uint32
	for i, c := range b {
		if i%2 == 0 {
			sum += uint32(c) << 8
		} else {
			sum += uint32(c)
		}
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func ports(src, dst uint16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, src), dst)
}

// pick is what was said, or else what was computed.
func pick(said, computed int) int {
	if said != 0 {
		return said
	}
	return computed
}
