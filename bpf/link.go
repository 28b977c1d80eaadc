// SPDX-License-Identifier: Apache-2.0

package bpf

import "encoding/binary"

// LinkType says what a captured frame starts with: the link-layer header type of
// a capture file (LINKTYPE_ of the tcpdump group's list).
type LinkType uint16

// The link types that the parser reads. In place of any other it looks for an IP
// header, as Zeek does.
const (
	LinkNull      LinkType = 0 // BSD loopback
	LinkEthernet  LinkType = 1
	LinkPPP       LinkType = 9
	LinkFDDI      LinkType = 10
	LinkPPPSerial LinkType = 50
	LinkRawIP     LinkType = 101 // an IP header, of the version that its first nibble says
	LinkWLAN      LinkType = 105 // IEEE 802.11
	LinkSLL       LinkType = 113 // Linux "cooked" capture
	LinkRadiotap  LinkType = 127 // IEEE 802.11 behind a radiotap header
	LinkNFLOG     LinkType = 239
	LinkSLL2      LinkType = 276
)

const (
	ethernetLength   = 14
	vlanLength       = 4
	mplsLength       = 4
	pppoeLength      = 8 // session header and PPP protocol
	pbbLength        = 4 // I-TAG, without the addresses inside
	vntagLength      = 6
	fabricPathLength = 16 // before the Ethernet header that it replaces
	llcLength        = 3
	snapLength       = 5 // organisation, EtherType
	fddiLength       = 21
	sllLength        = 16
	sll2Length       = 20
	nullLength       = 4
	wlanLength       = 24
	amsduLength      = 14

	labelsMax = 32 // tags, labels and the like of one packet

	llcSNAP       = 0xaa // both service access points
	nflogPayload  = 9
	pppIPv4       = 0x0021
	pppIPv6       = 0x0057
	pppMPLS       = 0x0281
	typeLengthMax = 1500 // of IEEE 802.3: up to here it is no type but a length

	typeIPv4       = 0x0800
	typeARP        = 0x0806
	typeRARP       = 0x8035
	typeVLAN       = 0x8100
	typeIPv6       = 0x86dd
	typeMPLS       = 0x8847
	typeMPLSMulti  = 0x8848
	typePPPoEDisc  = 0x8863
	typePPPoE      = 0x8864
	typeVLANOuter  = 0x88a8
	typeLLDP       = 0x88cc
	typePBB        = 0x88e7
	typeFabricPath = 0x8903
	typeVNTag      = 0x8926
	typeQinQ       = 0x9100
)

// layerLink reads what stands at f.offset, a frame of the given type (Zeek:
// packet-protocols/root/main.zeek).
func (ps *Parser) layerLink(f *frame, link LinkType, p *Packet) Reason {
	switch link {
	case LinkEthernet:
		return ps.layerEthernet(f, p)
	case LinkRawIP, 12, 14, 228, 229: // BSD's numbers for it, and those of one version each
		return ps.layerIP(f, p)
	case LinkNull:
		return ps.layerNull(f, p)
	case LinkPPP:
		return ps.layerPPP(f, p)
	case LinkPPPSerial:
		return ps.layerPPPSerial(f, p)
	case LinkFDDI:
		return ps.layerFDDI(f, p)
	case LinkWLAN:
		return ps.layerWLAN(f, p)
	case LinkRadiotap:
		return ps.layerRadiotap(f, p)
	case LinkSLL:
		return ps.layerSLL(f, p)
	case LinkSLL2:
		return ps.layerSLL2(f, p)
	case LinkNFLOG:
		return ps.layerNFLOG(f, p)
	}
	if reason := ps.layerIP(f, p); reason != ReasonIPVersion {
		return reason
	}
	return ReasonLinkType
}

// hasMore tells whether the layer has a header of length bytes, and something
// after it: Zeek's minimum of every link layer.
func (f *frame) hasMore(length int) bool { return f.has(length) && f.offset+length < f.end }

// type16 is the word in network byte order at some place after f.offset.
func (f *frame) type16(place int) uint16 { return binary.BigEndian.Uint16(f.data[f.offset+place:]) }

// isVLAN tells a VLAN tag's EtherType: any of three outside, 802.1Q alone inside
// another tag (Zeek: protocol/vlan/main.zeek).
func (f *frame) isVLAN(etherType uint16) bool {
	return etherType == typeVLAN || !f.tagged && (etherType == typeVLANOuter || etherType == typeQinQ)
}

// addVLAN books one tag. A priority tag (id 0) gives its place to the next one, and
// the third tag takes that of the second.
func (f *frame) addVLAN(tci uint16, p *Packet) {
	if p.VLAN == 0 {
		p.VLAN = tci & 0xfff
	} else {
		p.InnerVLAN = tci & 0xfff
	}
	f.tagged = true
}

func (ps *Parser) layerEthernet(f *frame, p *Packet) Reason {
	// Zeek wants two bytes more than the header has (Ethernet.cc).
	if !f.hasMore(ethernetLength + 2) {
		return ReasonShortFrame
	}
	eth := f.data[f.offset:][:ethernetLength]
	etherType := binary.BigEndian.Uint16(eth[12:])
	if etherType == typeFabricPath {
		if !f.hasMore(fabricPathLength + ethernetLength) {
			return ReasonShortFrame
		}
		f.offset += fabricPathLength
		eth = f.data[f.offset:][:ethernetLength]
		etherType = binary.BigEndian.Uint16(eth[12:])
	}
	p.Blocks |= BlockL2
	p.DstMAC = MAC(eth[0:6])
	p.SrcMAC = MAC(eth[6:12])
	f.tagged = false
	f.offset += ethernetLength
	if etherType == typeIPv4 || etherType == typeIPv6 {
		return ps.layerIP(f, p)
	}
	return ps.layerType(f, p, etherType)
}

// layerType goes on after the addresses, or after a tag, where the frame says
// what comes.
func (ps *Parser) layerType(f *frame, p *Packet, etherType uint16) Reason {
	for f.isVLAN(etherType) {
		if !f.hasMore(vlanLength) {
			return ReasonShortFrame
		}
		if f.labels++; f.labels > labelsMax {
			return ReasonLinkDepth
		}
		tag := f.data[f.offset:][:vlanLength]
		f.addVLAN(binary.BigEndian.Uint16(tag), p)
		etherType = binary.BigEndian.Uint16(tag[2:])
		f.offset += vlanLength
	}
	if etherType == typeIPv4 || etherType == typeIPv6 {
		return ps.layerIP(f, p)
	}
	if etherType <= typeLengthMax {
		return ps.layerSNAP(f, p, int(etherType))
	}
	switch etherType {
	case typeMPLS:
		return ps.layerMPLS(f, p)
	case typePPPoE:
		return ps.layerPPPoE(f, p)
	case typePBB:
		return ps.layerPBB(f, p)
	case typeVNTag:
		return ps.layerVNTag(f, p)
	}
	return judgeType(etherType)
}

// judgeType says why an EtherType gives no packet.
func judgeType(etherType uint16) Reason {
	switch etherType {
	case typeARP, typeRARP:
		return ReasonARP
	case typeLLDP:
		return ReasonLLDP
	case typeMPLSMulti:
		return ReasonMPLS
	case typePPPoEDisc:
		return ReasonPPPoE
	}
	return ReasonEtherType
}

// layerBareType goes on where nothing but IP may follow an EtherType.
func (ps *Parser) layerBareType(f *frame, p *Packet, etherType uint16) Reason {
	if etherType == typeIPv4 || etherType == typeIPv6 {
		return ps.layerIP(f, p)
	}
	return judgeType(etherType)
}

// layerSNAP goes on after an IEEE 802.3 length: an LLC header of 3 bytes, or of 4
// if it is numbered, and a SNAP header may bring an EtherType after all. After the
// addresses the frame must hold as many bytes, after a tag it need not (Zeek:
// Ethernet.cc, VLAN.cc, SNAP.cc).
func (ps *Parser) layerSNAP(f *frame, p *Packet, length int) Reason {
	if !f.tagged && f.offset+length > f.end || !f.has(llcLength) {
		return ReasonLLC
	}
	rest := f.data[f.offset:min(f.end, len(f.data))]
	if rest[0] != llcSNAP || rest[1] != llcSNAP {
		return ReasonLLC
	}
	header := llcLength
	if rest[2]&3 != 3 {
		header++
	}
	if len(rest) < header+snapLength || rest[header] != 0 || rest[header+1] != 0 || rest[header+2] != 0 {
		return ReasonLLC
	}
	f.offset += header + snapLength
	reason := ps.layerBareType(f, p, binary.BigEndian.Uint16(rest[header+3:]))
	if reason == ReasonEtherType || reason == ReasonLLDP || reason == ReasonMPLS || reason == ReasonPPPoE {
		return ReasonLLC
	}
	return reason
}

// layerMPLS takes labels off down to the bottom of the stack. What is below is
// always taken for IP (Zeek: MPLS.cc).
func (ps *Parser) layerMPLS(f *frame, p *Packet) Reason {
	for bottom := false; !bottom; f.offset += mplsLength {
		if !f.hasMore(mplsLength) {
			return ReasonMPLS
		}
		if f.labels++; f.labels > labelsMax {
			return ReasonLinkDepth
		}
		bottom = f.data[f.offset+2]&1 != 0
	}
	return ps.layerIP(f, p)
}

// layerPPPoE ends the packet where the session header says (Zeek: PPPoE.cc).
func (ps *Parser) layerPPPoE(f *frame, p *Packet) Reason {
	if !f.hasMore(pppoeLength) {
		return ReasonPPPoE
	}
	length, protocol := int(f.type16(4)), f.type16(6)
	f.offset += pppoeLength
	f.end = min(f.end, f.offset+max(length-2, 0))
	if protocol == pppIPv4 || protocol == pppIPv6 {
		return ps.layerIP(f, p)
	}
	return ReasonPPP
}

// layerPBB takes a backbone tag off: after it comes a whole Ethernet frame (IEEE
// 802.1ah; Zeek: PBB.cc).
func (ps *Parser) layerPBB(f *frame, p *Packet) Reason {
	if !f.hasMore(pbbLength + ethernetLength) {
		return ReasonShortFrame
	}
	if f.labels++; f.labels > labelsMax {
		return ReasonLinkDepth
	}
	f.offset += pbbLength
	return ps.layerEthernet(f, p)
}

// layerVNTag takes a VN-Tag off. Only a VLAN tag may follow (Zeek: VNTag.cc,
// packet-protocols/vntag/main.zeek).
func (ps *Parser) layerVNTag(f *frame, p *Packet) Reason {
	if !f.hasMore(vntagLength) {
		return ReasonShortFrame
	}
	if f.labels++; f.labels > labelsMax {
		return ReasonLinkDepth
	}
	etherType := f.type16(4)
	f.offset += vntagLength
	f.tagged = false
	if !f.isVLAN(etherType) {
		return judgeType(etherType)
	}
	return ps.layerType(f, p, etherType)
}

// layerNull reads BSD's loopback header: an address family in the byte order of a
// little-endian host, with three numbers for IPv6 (Zeek: Null.cc).
func (ps *Parser) layerNull(f *frame, p *Packet) Reason {
	if !f.hasMore(nullLength) {
		return ReasonShortFrame
	}
	family := binary.LittleEndian.Uint32(f.data[f.offset:])
	f.offset += nullLength
	switch family {
	case 2, 24, 28, 30:
		return ps.layerIP(f, p)
	}
	return ReasonLinkHeader
}

// layerPPP reads PPP, with or without HDLC-like framing (Zeek: PPP.cc).
func (ps *Parser) layerPPP(f *frame, p *Packet) Reason {
	if !f.hasMore(2) {
		return ReasonShortFrame
	}
	if f.type16(0) != 0xff03 {
		f.offset += 2
		return ps.layerPPPProtocol(f, p, binary.BigEndian.Uint16(f.data[f.offset-2:]))
	}
	return ps.layerPPPSerial(f, p)
}

// layerPPPSerial reads PPP in HDLC-like framing, whatever its first two bytes are
// (Zeek: PPPSerial.cc).
func (ps *Parser) layerPPPSerial(f *frame, p *Packet) Reason {
	if !f.hasMore(4) {
		return ReasonShortFrame
	}
	f.offset += 4
	return ps.layerPPPProtocol(f, p, binary.BigEndian.Uint16(f.data[f.offset-2:]))
}

func (ps *Parser) layerPPPProtocol(f *frame, p *Packet, protocol uint16) Reason {
	switch protocol {
	case pppIPv4, pppIPv6:
		return ps.layerIP(f, p)
	case pppMPLS:
		return ps.layerMPLS(f, p)
	}
	return ReasonPPP
}

// layerFDDI skips the header and hopes for IP, as Zeek does (FDDI.cc).
func (ps *Parser) layerFDDI(f *frame, p *Packet) Reason {
	if !f.hasMore(fddiLength) {
		return ReasonShortFrame
	}
	f.offset += fddiLength
	return ps.layerIP(f, p)
}

// layerSLL reads a header of Linux's "any" device, which has the sender's address
// alone (Zeek: LinuxSLL.cc).
func (ps *Parser) layerSLL(f *frame, p *Packet) Reason {
	if !f.hasMore(sllLength) {
		return ReasonShortFrame
	}
	p.Blocks |= BlockL2
	p.SrcMAC = MAC(f.data[f.offset+6:][:6])
	etherType := f.type16(14)
	f.offset += sllLength
	return ps.layerBareType(f, p, etherType)
}

// layerSLL2 reads the second version of layerSLL's header (Zeek: LinuxSLL2.cc).
func (ps *Parser) layerSLL2(f *frame, p *Packet) Reason {
	if !f.hasMore(sll2Length) {
		return ReasonShortFrame
	}
	p.Blocks |= BlockL2
	p.SrcMAC = MAC(f.data[f.offset+12:][:6])
	etherType := f.type16(0)
	f.offset += sll2Length
	return ps.layerBareType(f, p, etherType)
}

// layerNFLOG skips attributes, in the byte order of a little-endian host and padded
// to 4 bytes, up to the packet (Zeek: NFLog.cc).
func (ps *Parser) layerNFLOG(f *frame, p *Packet) Reason {
	if !f.hasMore(4) {
		return ReasonShortFrame
	}
	family, version := f.data[f.offset], f.data[f.offset+1]
	if version != 0 || family != 2 && family != 10 {
		return ReasonLinkHeader
	}
	f.offset += 4
	for f.hasMore(4) {
		attribute := f.data[f.offset:]
		length, kind := int(binary.LittleEndian.Uint16(attribute)), binary.LittleEndian.Uint16(attribute[2:])
		if kind == nflogPayload {
			f.offset += 4
			return ps.layerIP(f, p)
		}
		if length < 4 {
			break
		}
		f.offset += (length + 3) &^ 3
	}
	return ReasonLinkHeader
}

func (ps *Parser) layerRadiotap(f *frame, p *Packet) Reason {
	if !f.hasMore(3) || !f.has(4) {
		return ReasonShortFrame
	}
	length := int(binary.LittleEndian.Uint16(f.data[f.offset+2:]))
	if !f.hasMore(length) {
		return ReasonShortFrame
	}
	f.offset += length
	return ps.layerWLAN(f, p)
}

// The frame control field of IEEE 802.11, as its two bytes.
const (
	wlanData      = 0x08 // type: data
	wlanNoData    = 0x40 // subtype: without data
	wlanQoS       = 0x80 // subtype: with a QoS field
	wlanToDS      = 0x01
	wlanFromDS    = 0x02
	wlanProtected = 0x40
	qosAMSDU      = 0x80 // the QoS field's: an aggregate
)

// layerWLAN reads a data frame of IEEE 802.11 (Zeek: IEEE802_11.cc).
func (ps *Parser) layerWLAN(f *frame, p *Packet) Reason {
	if !f.hasMore(wlanLength) {
		return ReasonShortFrame
	}
	header, length, aggregate := f.data[f.offset:], wlanLength, false
	if header[0]&wlanData == 0 || header[0]&wlanNoData != 0 {
		return ReasonWLAN
	}
	if header[1]&(wlanToDS|wlanFromDS) == wlanToDS|wlanFromDS {
		length += 6
	}
	if !f.hasMore(length) {
		return ReasonShortFrame
	}
	if header[0]&wlanQoS != 0 {
		if !f.has(length + 1) {
			return ReasonShortFrame
		}
		aggregate = header[length]&qosAMSDU != 0
		length += 2
		if header[1]&wlanProtected != 0 {
			return ReasonWLAN
		}
	}
	if !f.hasMore(length) {
		return ReasonShortFrame
	}
	fillWLAN(p, header)
	f.offset += length
	if aggregate {
		return ps.layerAMSDU(f, p)
	}
	return ps.layerWLANBody(f, p)
}

// fillWLAN takes the addresses, whose places depend on the direction.
func fillWLAN(p *Packet, header []byte) {
	p.Blocks |= BlockL2
	switch header[1] & (wlanToDS | wlanFromDS) {
	case 0:
		p.SrcMAC, p.DstMAC = MAC(header[10:16]), MAC(header[4:10])
	case wlanToDS:
		p.SrcMAC, p.DstMAC = MAC(header[10:16]), MAC(header[16:22])
	case wlanFromDS:
		p.SrcMAC, p.DstMAC = MAC(header[16:22]), MAC(header[4:10])
	default:
		p.SrcMAC, p.DstMAC = MAC(header[24:30]), MAC(header[16:22])
	}
}

// layerWLANBody reads what follows the header: LLC and SNAP of one form.
func (ps *Parser) layerWLANBody(f *frame, p *Packet) Reason {
	if !f.has(llcLength + snapLength) {
		return ReasonLLC
	}
	if [6]byte(f.data[f.offset:][:6]) != [6]byte{llcSNAP, llcSNAP, 3} {
		return ReasonLLC
	}
	etherType := f.type16(6)
	f.offset += llcLength + snapLength
	return ps.layerBareType(f, p, etherType)
}

// layerAMSDU walks an aggregate up to its first packet that fails. p has the
// addresses of all of them. Padding is as Zeek computes it.
func (ps *Parser) layerAMSDU(f *frame, p *Packet) Reason {
	template, end, captured, wire := *p, f.end, f.captured, f.wire
	before, reason := f.n, ReasonNone
	for f.offset < end && f.n < len(f.dst) {
		if !f.has(amsduLength) {
			return ReasonShortFrame
		}
		length := int(f.type16(12))
		f.offset += amsduLength
		next := f.offset + length
		if next > end {
			return ReasonShortFrame
		}
		f.dst[f.n] = template
		f.end = next
		f.walked, f.routed, f.home = 0, false, false
		switch reason = ps.layerWLANBody(f, &f.dst[f.n]); reason {
		case ReasonNone, ReasonARP, ReasonESPMobility:
		default:
			return reason
		}
		f.end, f.captured, f.wire = end, captured, wire
		f.offset = next
		if next+length%4 <= end {
			f.offset += length % 4
		}
	}
	if f.n > before {
		return ReasonNone
	}
	return reason
}
