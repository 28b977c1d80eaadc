// SPDX-License-Identifier: Apache-2.0

package frametest

import (
	"encoding/binary"
	"math/rand/v2"
)

// Random is a frame of 14 to some 700 bytes with random layers: tags, IP headers
// with options or extension headers, transport headers, and now and then a length
// that lies, a cut, a flipped byte or padding.
func Random(r *rand.Rand) []byte {
	b := randomEthernet(r)
	switch r.IntN(12) {
	case 0:
		b = b[:14+r.IntN(len(b)-13)]
	case 1:
		b = Pad(b)
	case 2:
		b = append(b, randomBytes(r, r.IntN(40))...)
	case 3:
		b[12+r.IntN(len(b)-12)] = byte(r.Uint32())
	}
	return b
}

func randomEthernet(r *rand.Rand) []byte {
	types := []uint16{TypeVLAN, TypeVLANOuter, TypeQinQ}
	var tags []uint16
	for n := r.IntN(8) - 4; n > 0; n-- {
		tag := types[r.IntN(len(types))]
		if len(tags) > 0 {
			tag = oddly(r, TypeVLAN, tag) // as it should be inside
		}
		tags = append(tags, tag)
	}
	content, etherType := randomContent(r)
	if r.IntN(20) == 0 {
		content, etherType = randomSNAP(r, content, etherType)
	}
	for i := len(tags) - 1; i >= 0; i-- {
		tci := uint16(r.Uint32())
		if r.IntN(4) == 0 {
			tci &= 0xf000
		}
		content, etherType = Join(Tag(tci, etherType), content), tags[i]
	}
	return Ethernet(etherType, content)
}

func randomContent(r *rand.Rand) ([]byte, uint16) {
	switch n := r.IntN(20); {
	case n == 0:
		others := []uint16{0x0806, 0x8035, 0x88cc, 0x8847, 0x8864, 0x8903, 1501, 1500, 46, 0x88e7}
		return randomBytes(r, 1+r.IntN(60)), others[r.IntN(len(others))]
	case n < 10:
		return randomIPv4(r), oddly[uint16](r, TypeIPv4, TypeIPv6)
	default:
		return randomIPv6(r), oddly[uint16](r, TypeIPv6, TypeIPv4)
	}
}

// randomSNAP puts content behind an IEEE 802.3 length and LLC and SNAP headers.
func randomSNAP(r *rand.Rand, content []byte, etherType uint16) ([]byte, uint16) {
	header := []byte{0xaa, 0xaa, 3, 0, 0, 0}
	if r.IntN(3) == 0 {
		header = []byte{0xaa, 0xaa, byte(r.Uint32()), 0, 0, 0, 0}
	}
	at := r.IntN(len(header))
	header[at] = oddly(r, header[at], byte(r.Uint32()))
	header = Join(header, []byte{byte(etherType >> 8), byte(etherType)})
	length := min(len(header)+len(content), 1500)
	return Join(header, content), uint16(oddly(r, length, length+r.IntN(60)))
}

// oddly is nearly always the first.
func oddly[T any](r *rand.Rand, usual, odd T) T {
	if r.IntN(30) == 0 {
		return odd
	}
	return usual
}

func randomIPv4(r *rand.Rand) []byte {
	h := IPv4{Protocol: randomProtocol(r), ID: uint16(r.Uint32())}
	if r.IntN(4) == 0 {
		h.Options = randomBytes(r, 4*r.IntN(11))
	}
	if r.IntN(8) == 0 {
		h.Fragment = uint16(r.Uint32())
	}
	transport := randomTransport(r, h.Protocol)
	h.Length = oddly(r, 0, r.IntN(80)-1)
	h.IHL = oddly(r, 0, r.IntN(16))
	h.Version = oddly(r, 0, r.IntN(16))
	h.Checksum = oddly(r, 0, uint16(1))
	return h.Packet(transport)
}

func randomIPv6(r *rand.Rand) []byte {
	next := randomProtocol(r)
	content := randomTransport(r, next)
	for n := randomChain(r); n > 0; n-- {
		next, content = randomExtension(r, next, content)
	}
	h := IPv6{Next: next, Flow: r.Uint32() & 0xfffff}
	h.Length = oddly(r, 0, r.IntN(120)-1)
	return h.Packet(content)
}

// randomChain is a number of extension headers: mostly few, now and then more
// than any parser walks.
func randomChain(r *rand.Rand) int {
	if r.IntN(20) == 0 {
		return r.IntN(40)
	}
	return r.IntN(5)
}

func randomExtension(r *rand.Rand, next uint8, content []byte) (uint8, []byte) {
	switch r.IntN(9) {
	case 0, 1:
		return HopOptions, Join(Extension(next, randomBytes(r, r.IntN(30))...), content)
	case 2, 3:
		return Routing, Join(randomRouting(r, next), content)
	case 4:
		return Destinations, Join(Extension(next, randomOptions(r)...), content)
	case 5:
		header := Extension(next, randomBytes(r, 4*r.IntN(8)+6)...)
		header[1] = byte(len(header)/4 - 2)
		return AH, Join(header, content)
	case 6:
		offset := oddly(r, uint16(0), uint16(r.Uint32()))
		return Fragment, Join(FragmentHeader(next, offset&^7, r.IntN(2) == 0, r.Uint32()), content)
	case 7:
		return oddly[uint8](r, Destinations, ESP), Join(Extension(next, randomOptions(r)...), content)
	default:
		return oddly[uint8](r, HopOptions, Mobility), Join(Extension(next, randomBytes(r, 6)...), content)
	}
}

func randomRouting(r *rand.Rand, next uint8) []byte {
	routing := append([]byte{byte(r.IntN(3)), byte(r.IntN(3)), 0, 0, 0, 0}, randomBytes(r, 16*r.IntN(3))...)
	header := Extension(next, routing...)
	header[1] = oddly(r, header[1], byte(r.IntN(6)))
	return header
}

// randomOptions has single bytes of padding, options of any kind, and home
// addresses, some of a wrong length.
func randomOptions(r *rand.Rand) []byte {
	var b []byte
	for n := r.IntN(5); n > 0; n-- {
		switch r.IntN(4) {
		case 0:
			b = append(b, 0)
		case 1:
			b = append(append(b, 201, oddly(r, 16, byte(r.IntN(20)))), randomBytes(r, 16)...)
		default:
			length := r.IntN(8)
			b = append(append(b, 1+byte(r.IntN(4)), byte(oddly(r, length, 200))), randomBytes(r, length)...)
		}
	}
	return b
}

func randomProtocol(r *rand.Rand) uint8 {
	usual := []uint8{TCP, TCP, TCP, TCP, UDP, UDP, UDP, ICMP, ICMPv6, SCTP}
	odd := []uint8{IPIP, 41, GRE, NoNext, ESP, AH, 2, 89}
	if r.IntN(12) == 0 {
		return odd[r.IntN(len(odd))]
	}
	return usual[r.IntN(len(usual))]
}

func randomTransport(r *rand.Rand, protocol uint8) []byte {
	payload := randomBytes(r, r.IntN(oddly(r, 40, 600)))
	var b []byte
	switch protocol {
	case TCP:
		s := Segment{SrcPort: randomPort(r), DstPort: randomPort(r), Seq: r.Uint32(), Ack: r.Uint32()}
		s.Flags, s.Window = uint8(r.Uint32()), uint16(r.Uint32())
		s.Options = randomBytes(r, 4*r.IntN(11))
		s.Offset = oddly(r, 0, r.IntN(17)-1)
		b = s.Bytes(payload...)
	case UDP:
		b = Datagram(randomPort(r), randomPort(r), payload...)
		binary.BigEndian.PutUint16(b[4:], oddly(r, uint16(len(b)), uint16(r.Uint32())))
	case ICMP, ICMPv6:
		b = Message(uint8(r.Uint32()), uint8(r.IntN(3)), payload...)
	default:
		b = payload
	}
	return b[:oddly(r, len(b), r.IntN(len(b)+1))]
}

func randomPort(r *rand.Rand) uint16 {
	known := []uint16{53, 123, 137, 5353, 5355, 80, 443, 4789}
	if r.IntN(4) == 0 {
		return known[r.IntN(len(known))]
	}
	return uint16(r.Uint32())
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
