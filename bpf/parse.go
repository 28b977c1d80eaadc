// SPDX-License-Identifier: Apache-2.0

package bpf

import "encoding/binary"

// Parser makes packets of captured frames: the twin of parse.h, with the same
// rules in the same order. Its zero value reads frames without a link layer. A
// Parser has no state between frames; one may be used by many goroutines at a
// time.
type Parser struct {
	// Link is what the frames start with.
	Link LinkType
	// Tunnels has what is inside tunnels given too. Without it the outermost
	// packets come alone.
	Tunnels bool
	// VerifyChecksums has checksums judged, as far as the frame was captured
	// whole: a bad IPv4 header gives no packet, a bad transport checksum is
	// noted in the packet.
	VerifyChecksums bool
	// PartialChecksums takes a transport checksum that is just the sum of the
	// pseudo-header for one that the device was to complete (ChecksumNotFinal),
	// as the kernel's parser does. To Zeek, and without this, it is bad.
	PartialChecksums bool
	// IgnoreChecksums has none judged, whatever VerifyChecksums says, and takes
	// an IPv4 total length of 0 for that of the captured bytes: packets captured
	// on a sender that leaves both to its device (Zeek's -C).
	IgnoreChecksums bool
	// AssumePayload counts packets that a snap length cut as captured whole:
	// StateComplete is set whenever the frame had room for the packet on the
	// wire. Their checksums are not judged.
	AssumePayload bool
	// SuperPackets takes frames for what the stack hands around before it is cut
	// into segments, or after it was merged of them, as the kernel's parser does
	// where a gso_size is known: an IP length that the header can't say is that of
	// the frame on the wire (BIG TCP), and a transport checksum is final only if it
	// is the sum of the pseudo-header, else not judged.
	SuperPackets bool
}

// PacketsMax is the most packets that Parse and ParseDatagram give: a packet in as
// many tunnels as are followed, or an aggregate of frames (IEEE 802.11 A-MSDU).
const PacketsMax = 16

const (
	ipv4Length = 20
	ipv6Length = 40
	tcpLength  = 20
	udpLength  = 8
	icmpLength = 8

	extensionsMax = 32 // IPv6 extension headers and options in them

	protocolHopOptions   = 0
	protocolRouting      = 43
	protocolFragment     = 44
	protocolESP          = 50
	protocolAH           = 51
	protocolNone         = 59
	protocolDestinations = 60
	protocolMobility     = 135

	ipv4FragmentMask = 0x3fff // more fragments, or an offset
	optionPad1       = 0
	optionJumbo      = 0xc2
	optionHome       = 201
)

// frame is a captured frame while it is parsed; offset and the like count from
// its first byte, at whatever depth. Of a datagram put together from fragments,
// from the first byte of its payload.
type frame struct {
	data     []byte // what is at hand
	dst      []Packet
	n        int // packets in dst
	end      int // of what was captured of this layer; beyond data only where less is at hand
	captured int // end of what was captured of the frame, or of the tunnel's content
	wire     int // its end on the wire
	offset   int // of what comes next
	ipOffset int
	ipEnd    int    // ipOffset + Packet.IPLength
	sum      uint16 // of a datagram: AddSums of its fragments, 0 if not known
	protocol uint8
	tagged   bool  // the layer before was a VLAN tag
	walked   uint8 // extension headers and options so far
	labels   uint8 // tags, labels and the like so far
	routed   bool  // a routing header has replaced the destination
	home     bool  // a home address option has replaced the source
}

// Parse stores in dst what data, a frame's captured bytes, says of its packets; the
// frame had wireLength bytes on the wire. dst[0] is the outermost packet, then
// comes what is inside its tunnels, each right after its carrier; an aggregate of
// IEEE 802.11 has several outermost packets. dst must have room for [PacketsMax].
// Parse returns how many there are, or 0 and why. It sets all of each packet but
// Time, Ordinal, Hook and Interface, and never allocates. Payloads are part of
// data.
//
// BlockPayload, a matter of the wire format, is never set. BlockIdentity always
// is, but for violations and empty tunnels.
func (ps *Parser) Parse(data []byte, wireLength int, dst []Packet) (n int, reason Reason) {
	if ps.parseDirect(data, wireLength, &dst[:PacketsMax][0]) {
		return 1, ReasonNone
	}
	return ps.parseLayers(data, wireLength, dst)
}

// parseLayers does what Parse does, layer by layer.
func (ps *Parser) parseLayers(data []byte, wireLength int, dst []Packet) (n int, reason Reason) {
	var f frame
	f.data, f.dst = data, dst[:PacketsMax]
	f.end, f.captured, f.wire = len(data), len(data), wireLength
	if ps.AssumePayload {
		f.end, f.captured = max(f.end, f.wire), max(f.captured, f.wire)
	}
	p := &f.dst[0]
	*p = Packet{}
	p.Kind, p.Blocks = KindPacket, BlockIdentity
	reason = ps.layerLink(&f, ps.Link, p)
	if f.n != 0 { // of an aggregate the last one may have failed
		reason = ReasonNone
	}
	return f.n, reason
}

// has tells whether the next length bytes belong to the layer and are at hand.
func (f *frame) has(length int) bool {
	return f.offset+length <= f.end && f.offset+length <= len(f.data)
}

func isExtension(protocol uint8) bool {
	switch protocol {
	case protocolHopOptions, protocolRouting, protocolFragment, protocolESP, protocolAH,
		protocolDestinations, protocolMobility:
		return true
	}
	return false
}

// transportLength is the bytes of transport header and payload: by the IP length
// or, where that leaves none, all that was captured (Zeek: TCP.cc, UDP.cc,
// ICMP.cc, DeliverPacket).
func (f *frame) transportLength() int {
	if f.ipEnd > f.offset {
		return f.ipEnd - f.offset
	}
	return f.end - f.offset
}

// hasTransport tells whether a transport header of minimum bytes has room (Zeek:
// IPBasedAnalyzer.cc, CheckHeaderTrunc).
func (f *frame) hasTransport(minimum int) bool {
	return f.has(minimum) && f.transportLength() >= minimum
}

func (f *frame) fillTCP(p *Packet) {
	th := f.data[f.offset:][:tcpLength]
	length := int(th[12]>>4) * 4
	p.SrcPort = binary.BigEndian.Uint16(th[0:])
	p.DstPort = binary.BigEndian.Uint16(th[2:])
	p.Seq = binary.BigEndian.Uint32(th[4:])
	p.Ack = binary.BigEndian.Uint32(th[8:])
	p.Flags = Flags(th[13])
	p.Window = binary.BigEndian.Uint16(th[14:])
	if length < tcpLength {
		p.State |= StateMalformed | StateShortOffset
	} else if length > f.transportLength() || f.offset+length > f.end {
		p.State |= StateMalformed
	}
	p.HeaderLength = uint16(f.offset - f.ipOffset + length)
}

func (f *frame) fillUDP(p *Packet) {
	uh := f.data[f.offset:][:udpLength]
	p.SrcPort = binary.BigEndian.Uint16(uh[0:])
	p.DstPort = binary.BigEndian.Uint16(uh[2:])
	p.Window = binary.BigEndian.Uint16(uh[4:])
	p.HeaderLength = uint16(f.offset - f.ipOffset + udpLength)
}

func (f *frame) fillICMP(p *Packet) {
	p.Window = binary.BigEndian.Uint16(f.data[f.offset:])
	p.HeaderLength = uint16(f.offset - f.ipOffset + icmpLength)
}

// fillPayload takes what was captured of the payload, nothing beyond the IP
// length: the rest of the frame is padding.
func (f *frame) fillPayload(p *Packet) {
	start, end := f.ipOffset+int(p.HeaderLength), min(f.ipEnd, f.end, len(f.data))
	if start < end {
		p.Payload = f.data[start:end:end]
	}
}

// layerIP goes by the version nibble, whatever the EtherType said (Zeek: IP.cc,
// AnalyzePacket).
func (ps *Parser) layerIP(f *frame, p *Packet) Reason {
	f.ipOffset = f.offset
	if !f.has(ipv4Length) {
		return ReasonIPHeader
	}
	switch f.data[f.offset] >> 4 {
	case 4:
		return ps.layerIPv4(f, p)
	case 6:
		return ps.layerIPv6(f, p)
	}
	return ReasonIPVersion
}

// setIPLength takes the length that the header says; false if it can't be.
func (f *frame) setIPLength(p *Packet, length int) bool {
	p.IPLength = uint32(length)
	f.ipEnd = f.ipOffset + length
	if f.ipEnd <= f.end {
		p.State |= StateComplete
	}
	return length != 0 && f.ipEnd <= f.wire
}

func (ps *Parser) layerIPv4(f *frame, p *Packet) Reason {
	iph := f.data[f.offset:][:ipv4Length]
	header := int(iph[0]&0xf) * 4
	length := int(binary.BigEndian.Uint16(iph[2:]))
	if length == 0 && ps.SuperPackets {
		length = f.wire - f.offset
	} else if length == 0 && ps.IgnoreChecksums {
		p.State |= StateNoLength
		length = f.captured - f.offset
	}
	if !f.setIPLength(p, length) || header > length {
		return ReasonIPLength
	}
	if !f.has(header) || header < ipv4Length {
		return ReasonIPHeader
	}
	if ps.verifies() && !isWhole(sum(f.data[f.offset:][:header], 0)) {
		return ReasonIPChecksum
	}
	mapIPv4(&p.Src, iph[12:16])
	mapIPv4(&p.Dst, iph[16:20])
	p.IPID = uint32(binary.BigEndian.Uint16(iph[4:]))
	f.protocol = iph[9]
	f.offset += header
	fragment := binary.BigEndian.Uint16(iph[6:])
	if fragment&ipv4FragmentMask == 0 {
		return ps.layerTransport(f, p)
	}
	p.FragmentID = p.IPID
	p.FragmentOffset = fragment << 3
	p.FragmentMore = fragment>>13&1 != 0
	return ps.layerFragment(f, p)
}

// mapIPv4 stores the IPv4-mapped form of an address (RFC 4291, section 2.5.5.2),
// as two words: half the time of byte by byte.
func mapIPv4(to *Addr, a []byte) {
	binary.LittleEndian.PutUint64(to[:8], 0)
	binary.LittleEndian.PutUint64(to[8:], 0xffff<<16|uint64(binary.LittleEndian.Uint32(a))<<32)
}

// layerFragment ends the walk at a fragment, whose transport header is not read.
// One that was not captured whole can't be reassembled: the first then stands
// for the datagram, others for nothing (Zeek: IP.cc, AnalyzePacket).
func (ps *Parser) layerFragment(f *frame, p *Packet) Reason {
	if p.State&StateComplete == 0 {
		if p.FragmentOffset != 0 {
			return ReasonFragment
		}
		p.FragmentID, p.FragmentMore = 0, false
		return ps.layerTransport(f, p)
	}
	if f.ipOffset < 0 { // in a datagram that was put together already
		return ReasonFragment
	}
	p.State |= StateFragment
	p.Blocks |= BlockFragment
	p.Protocol = f.protocol
	p.HeaderLength = uint16(f.offset - f.ipOffset)
	f.fillPayload(p)
	f.n++
	return ReasonNone
}

func (ps *Parser) layerIPv6(f *frame, p *Packet) Reason {
	if !f.has(ipv6Length) {
		return ReasonIPHeader
	}
	ip6h := f.data[f.offset:][:ipv6Length]
	length := int(binary.BigEndian.Uint16(ip6h[4:])) + ipv6Length
	if length == ipv6Length && ps.SuperPackets {
		length = f.wire - f.offset
	}
	if !f.setIPLength(p, length) {
		return ReasonIPLength
	}
	p.State |= StateIPv6
	p.Src = Addr(ip6h[8:24])
	p.Dst = Addr(ip6h[24:40])
	p.IPID = binary.BigEndian.Uint32(ip6h) & 0xfffff
	f.protocol = ip6h[6]
	f.offset += ipv6Length
	if isExtension(f.protocol) {
		return ps.layerExtension(f, p)
	}
	return ps.layerTransport(f, p)
}

// replaceDestination takes the last address of a routing header of type 0 or 2
// that still has a way to go (RFC 2460, section 4.4; RFC 6275, section 6.4).
func (f *frame) replaceDestination(p *Packet, ext []byte) {
	type0 := ext[2] == 0 && ext[1] >= 2 && ext[1]%2 == 0
	type2 := ext[2] == 2 && ext[1] == 2
	if f.routed || ext[3] == 0 || !(type0 || type2) {
		return
	}
	f.routed = true
	p.Dst = Addr(ext[len(ext)-16:])
}

// extensionLength is the length of an extension header whose second byte is
// length, bytes.
func extensionLength(protocol, length uint8) int {
	switch protocol {
	case protocolFragment, protocolESP:
		return 8
	case protocolAH:
		return (int(length) + 2) * 4
	}
	return (int(length) + 1) * 8
}

// layerExtension walks a chain of IPv6 extension headers. It ends after a
// fragment header, ESP or mobility, and before a header that was cut, whose
// number then stands for the transport protocol (Zeek: IP.cc,
// IPv6_Hdr_Chain::Init).
func (ps *Parser) layerExtension(f *frame, p *Packet) Reason {
	for isExtension(f.protocol) {
		f.walked++
		if f.walked > extensionsMax {
			return ReasonIPExtension
		}
		if !f.has(8) { // no extension header is shorter
			return ps.layerTransport(f, p)
		}
		end := f.offset + extensionLength(f.protocol, f.data[f.offset+1])
		if end > f.end || end > len(f.data) {
			return ps.layerTransport(f, p)
		}
		if end > f.ipEnd {
			return ReasonIPLength
		}
		ext := f.data[f.offset:end]
		switch f.protocol {
		case protocolESP, protocolMobility:
			return ReasonESPMobility
		case protocolFragment:
			p.FragmentID = binary.BigEndian.Uint32(ext[4:])
			p.FragmentOffset = binary.BigEndian.Uint16(ext[2:]) &^ 7
			p.FragmentMore = ext[3]&1 != 0
			f.protocol, f.offset = ext[0], end
			return ps.layerFragment(f, p)
		case protocolDestinations:
			if !f.layerOptions(p, ext[2:]) {
				return ReasonIPExtension
			}
		case protocolRouting:
			f.replaceDestination(p, ext)
		case protocolHopOptions:
			if ps.SuperPackets && ext[1] == 0 && ext[2] == optionJumbo {
				f.dropJumbo(p, len(ext))
			}
		}
		f.protocol, f.offset = ext[0], end
	}
	return ps.layerTransport(f, p)
}

// dropJumbo takes a super-packet's length option (RFC 2675) out, as the stack does
// when it cuts the segments: it never reaches the wire.
func (f *frame) dropJumbo(p *Packet, length int) {
	p.IPLength -= uint32(length)
	f.ipOffset += length
}

// layerOptions walks destination options: a home address is the source (RFC
// 6275, section 6.3). False: more of them than the bound.
func (f *frame) layerOptions(p *Packet, options []byte) bool {
	for {
		f.walked++
		if f.walked > extensionsMax {
			return false
		}
		if len(options) > 0 && options[0] == optionPad1 {
			options = options[1:]
			continue
		}
		if len(options) < 2 || len(options) < 2+int(options[1]) {
			return true
		}
		if options[0] == optionHome && options[1] == 16 && !f.home {
			f.home = true
			p.Src = Addr(options[2:18])
		}
		options = options[2+int(options[1]):]
	}
}

func (ps *Parser) layerTransport(f *frame, p *Packet) Reason {
	p.Protocol = f.protocol
	switch f.protocol {
	case ProtocolTCP:
		if !f.hasTransport(tcpLength) {
			return ReasonTransportHeader
		}
		f.fillTCP(p)
		if p.State&StateMalformed != 0 {
			f.n++
			return ReasonNone
		}
	case ProtocolUDP:
		if !f.hasTransport(udpLength) {
			return ReasonTransportHeader
		}
		f.fillUDP(p)
	case ProtocolICMP, ProtocolICMPv6:
		if !f.hasTransport(icmpLength) {
			return ReasonTransportHeader
		}
		f.fillICMP(p)
	case protocolNone:
		return ReasonNoNextHeader
	default:
		p.HeaderLength = uint16(f.offset - f.ipOffset)
	}
	f.fillPayload(p)
	if ps.verifies() {
		f.judgeChecksum(p, ps)
	}
	f.n++
	if ps.Tunnels && mayCarry(f.protocol) {
		ps.layerTunnel(f, p)
	}
	return ReasonNone
}

// mayCarry tells the protocols that packets stand in.
func mayCarry(protocol uint8) bool {
	switch protocol {
	case ProtocolUDP, ProtocolIPIP, ProtocolIPv6, ProtocolGRE:
		return true
	}
	return false
}

func (ps *Parser) verifies() bool { return ps.VerifyChecksums && !ps.IgnoreChecksums }
