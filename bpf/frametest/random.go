// SPDX-License-Identifier: Apache-2.0

package frametest

import (
	"encoding/binary"
	"math/rand/v2"
)

// Random is a frame of 14 to some 2,000 bytes with random layers: tags, labels, IP
// headers with options or extension headers, transport headers, tunnels in each
// other, and now and then a length that lies, a cut, a flipped byte or padding.
func Random(r *rand.Rand) []byte {
	b := randomEthernet(r, 0)
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

// RandomPacket is an IP packet as they are in the frames of Random.
func RandomPacket(r *rand.Rand) []byte {
	b, _ := randomIP(r, 0)
	return b
}

// randomEthernet is a frame in so many tunnels.
func randomEthernet(r *rand.Rand, depth int) []byte {
	types := []uint16{TypeVLAN, TypeVLANOuter, TypeQinQ}
	var tags []uint16
	for n := r.IntN(8) - 4; n > 0; n-- {
		tag := types[r.IntN(len(types))]
		if len(tags) > 0 {
			tag = oddly(r, TypeVLAN, tag) // as it should be inside
		}
		tags = append(tags, tag)
	}
	content, etherType := randomContent(r, depth)
	for r.IntN(10) == 0 {
		content, etherType = randomLink(r, content, etherType)
	}
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
	if r.IntN(40) == 0 {
		return Join(FabricPath(), Ethernet(etherType, content))
	}
	return Ethernet(etherType, content)
}

// randomLink puts content behind another link-layer header, mostly one that may
// stand there.
func randomLink(r *rand.Rand, content []byte, etherType uint16) ([]byte, uint16) {
	switch r.IntN(5) {
	case 0:
		for n := r.IntN(oddly(r, 4, 40)); n > 0; n-- {
			content = Join(Label(r.Uint32()>>12, false), content)
		}
		end := len(content) - len(content)%4
		return Join(content[:end%4], Label(r.Uint32()>>12, true), content), TypeMPLS
	case 1:
		protocol := map[uint16]uint16{TypeIPv4: 0x21, TypeIPv6: 0x57}[etherType]
		b := PPPoE(oddly(r, protocol, uint16(r.IntN(0x60))), content)
		binary.BigEndian.PutUint16(b[4:], oddly(r, uint16(len(b)-6), uint16(r.IntN(len(b)))))
		return b, TypePPPoE
	case 2:
		return Join([]byte{0, 0, 0, 1}, Ethernet(etherType, content)), TypePBB
	case 3:
		tag := oddly[uint16](r, TypeVLAN, TypeIPv4)
		return Join(VNTag(tag), Tag(uint16(r.Uint32()), etherType), content), TypeVNTag
	default:
		return Join(Tag(uint16(r.Uint32()), etherType), content), oddly[uint16](r, TypeVLAN, TypeQinQ)
	}
}

func randomContent(r *rand.Rand, depth int) ([]byte, uint16) {
	if r.IntN(20) == 0 {
		others := []uint16{0x0806, 0x8035, 0x88cc, 0x8847, 0x8864, 0x8903, 1501, 1500, 46, 0x88e7}
		return randomBytes(r, 1+r.IntN(60)), others[r.IntN(len(others))]
	}
	b, etherType := randomIP(r, depth)
	return b, oddly(r, etherType, TypeIPv4^TypeIPv6^etherType)
}

func randomIP(r *rand.Rand, depth int) ([]byte, uint16) {
	if r.IntN(2) == 0 {
		return randomIPv4(r, depth), TypeIPv4
	}
	return randomIPv6(r, depth), TypeIPv6
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

func randomIPv4(r *rand.Rand, depth int) []byte {
	h := IPv4{ID: uint16(r.Uint32())}
	var transport []byte
	h.Protocol, transport = randomTransport(r, depth)
	if h.Fragment&0x3fff == 0 {
		sealRandomly(r, h.Protocol, transport, Join(Src4[:], Dst4[:]))
	}
	if r.IntN(4) == 0 {
		h.Options = randomBytes(r, 4*r.IntN(11))
	}
	if r.IntN(12) == 0 {
		h.Fragment = uint16(r.Uint32())
	}
	h.Length = oddly(r, 0, r.IntN(80)-1)
	h.IHL = oddly(r, 0, r.IntN(16))
	h.Version = oddly(r, 0, r.IntN(16))
	h.Checksum = oddly(r, 0, uint16(1))
	return h.Packet(transport)
}

func randomIPv6(r *rand.Rand, depth int) []byte {
	next, content := randomTransport(r, depth)
	sealRandomly(r, next, content, Join(Src6[:], Dst6[:]))
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

// sealRandomly stores the checksum of a transport header, the sum of its pseudo-header
// alone, or neither.
func sealRandomly(r *rand.Rand, protocol uint8, transport, addresses []byte) {
	place := map[uint8]int{TCP: 16, UDP: 6, ICMP: 2, ICMPv6: 2}[protocol]
	if place == 0 || len(transport) < place+2 || r.IntN(3) == 0 {
		return
	}
	pseudo := append(addresses, 0, protocol, byte(len(transport)>>8), byte(len(transport)))
	binary.BigEndian.PutUint16(transport[place:], ^Checksum(pseudo))
	if r.IntN(8) != 0 {
		copy(transport, seal(place, transport, append(addresses, 0, protocol), protocol == ICMP))
	}
}

// depthMax is the deepest packet that is put into tunnels: deeper than any parser
// goes.
const depthMax = 8

// randomTransport is a protocol and a packet of it, with another packet inside if
// depth allows.
func randomTransport(r *rand.Rand, depth int) (uint8, []byte) {
	if depth < depthMax && r.IntN(5) < 2 {
		return randomTunnel(r, depth+1)
	}
	protocol := randomProtocol(r)
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
	return protocol, b[:oddly(r, len(b), r.IntN(len(b)+1))]
}

// randomTunnel is a protocol and a packet of it that carries one of the given depth.
func randomTunnel(r *rand.Rand, depth int) (uint8, []byte) {
	switch r.IntN(10) {
	case 0, 1:
		b, etherType := randomIP(r, depth)
		protocol := map[uint16]uint8{TypeIPv4: IPIP, TypeIPv6: 41}[etherType]
		return oddly(r, protocol, IPIP^41^protocol), b
	case 2, 3:
		return GRE, randomGRE(r, depth)
	case 4:
		return UDP, randomDatagram(r, PortGRE, randomGRE(r, depth))
	case 5:
		b := VXLAN(r.Uint32()>>8, randomEthernet(r, depth))
		return UDP, randomDatagram(r, PortVXLAN, b)
	case 6:
		return UDP, randomDatagram(r, PortGeneve, randomGeneve(r, depth))
	case 7:
		b, _ := randomIP(r, depth)
		b = GTP(r.Uint32(), oddly(r, r.IntN(4), 40), b)
		return UDP, randomDatagram(r, oddly[uint16](r, PortGTP, PortGTPControl), b)
	case 8:
		port := uint16(PortTeredo)
		if r.IntN(2) == 0 {
			port = uint16(r.Uint32())
		}
		return UDP, randomDatagram(r, port, randomTeredo(r, depth))
	default:
		port := uint16(PortAYIYA)
		b, etherType := randomIP(r, depth)
		b = AYIYA(uint8(r.IntN(oddly(r, 5, 11))), uint8(r.IntN(6)), map[uint16]uint8{TypeIPv4: 4, TypeIPv6: 41}[etherType], b)
		if r.IntN(2) == 0 {
			port, b[1] = uint16(r.Uint32()), 0x52
		}
		return UDP, randomDatagram(r, port, b)
	}
}

// randomDatagram goes to a port, or comes from it, and has now and then a header
// that was tampered with or an end that is missing.
func randomDatagram(r *rand.Rand, port uint16, payload []byte) []byte {
	src, dst := randomPort(r), port
	if r.IntN(3) == 0 {
		src, dst = dst, src
	}
	if r.IntN(12) == 0 && len(payload) > 0 {
		payload[r.IntN(min(len(payload), 16))] = byte(r.Uint32())
	}
	payload = payload[:oddly(r, len(payload), r.IntN(len(payload)+1))]
	return Datagram(src, dst, payload...)
}

func randomGRE(r *rand.Rand, depth int) []byte {
	var flags uint16
	for _, bit := range []uint16{0x8000, 0x2000, 0x1000, 0x0080} {
		if r.IntN(3) == 0 {
			flags |= bit
		}
	}
	if r.IntN(20) == 0 {
		flags = uint16(r.Uint32())
	}
	switch r.IntN(6) {
	case 0:
		return GREHeader(flags, TypeBridge, randomEthernet(r, depth))
	case 1:
		var header []byte
		if flags&0x1000 != 0 {
			header = make([]byte, 8)
		}
		return GREHeader(flags, TypeERSPAN, header, randomEthernet(r, depth))
	case 2:
		header := make([]byte, 12+8*r.IntN(2))
		header[11] = byte(len(header) / 20)
		return GREHeader(flags, TypeERSPANIII, header, randomEthernet(r, depth))
	case 3:
		b, etherType := randomIP(r, depth)
		protocol := map[uint16]uint8{TypeIPv4: 0x21, TypeIPv6: 0x57}[etherType]
		return GREHeader(flags&^7|1, TypePPTP, []byte{0xff, 3, 0, protocol}, b)
	case 4:
		content, etherType := randomIP(r, depth)
		control := []byte{8 | byte(r.Uint32())&0x80, byte(r.IntN(4))}
		length := 22
		if control[1] == 3 {
			length += 6
		}
		header := append(control, randomBytes(r, length)...)
		if control[0]&0x80 != 0 {
			header = append(header, byte(r.Uint32())&0x7f, 0)
		}
		snap := binary.BigEndian.AppendUint16([]byte{0xaa, 0xaa, 3, 0, 0, 0}, etherType)
		return GREHeader(flags, 0x8200|uint16(r.IntN(7))<<4, header, snap, content)
	default:
		b, etherType := randomIP(r, depth)
		return GREHeader(flags, etherType, b)
	}
}

func randomGeneve(r *rand.Rand, depth int) []byte {
	options := randomBytes(r, 4*r.IntN(oddly(r, 4, 60)))
	if r.IntN(3) == 0 {
		b, etherType := randomIP(r, depth)
		return Geneve(r.Uint32()>>8, oddly(r, etherType, TypeARP), options, b)
	}
	return Geneve(r.Uint32()>>8, TypeBridge, options, randomEthernet(r, depth))
}

func randomTeredo(r *rand.Rand, depth int) []byte {
	b := randomIPv6(r, depth)
	if r.IntN(6) == 0 {
		b = IPv6{Next: NoNext}.Packet()
		if r.IntN(2) == 0 {
			b = append(b, randomBytes(r, r.IntN(20))...)
			b[4], b[5] = 0, 0
		}
	}
	if r.IntN(2) == 0 {
		copy(b[8+16*r.IntN(2):], []byte{0x20, 1, 0, 0})
	}
	if r.IntN(3) == 0 {
		b = Join(TeredoOrigin(), b)
	}
	if r.IntN(4) == 0 {
		b = Join(TeredoAuthentication(r.IntN(20), r.IntN(20)), b)
	}
	return b
}

func randomPort(r *rand.Rand) uint16 {
	known := []uint16{53, 123, 137, 5353, 5355, 80, 443, 4789, 2152, 3544}
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
