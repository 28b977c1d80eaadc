// SPDX-License-Identifier: Apache-2.0

package bpf

import "encoding/binary"

const (
	portTeredo  = 3544
	portGRE     = 4754
	portVXLAN   = 4789
	portAYIYA   = 5072
	portGeneve  = 6081
	portGTPCtrl = 2123
	portGTPUser = 2152

	vxlanLength  = 8
	geneveLength = 8
	gtpLength    = 8
	ayiyaLength  = 8
	greLength    = 4
	teredoMin    = 40 // of a payload that is looked at without its port

	vxlanFlagID = 0x08

	greChecksum = 0x8000
	greRouting  = 0x4000
	greKey      = 0x2000
	greSequence = 0x1000
	greAck      = 0x0080
	greReserved = 0x0078
	greVersion  = 0x0007

	typeBridge    = 0x6558 // transparent Ethernet bridging
	typePPTP      = 0x880b
	typeERSPAN    = 0x88be
	typeERSPANIII = 0x22eb
	typeAruba     = 0x8200 // bits of Aruba's types, with the last digit 0
	typeArubaTest = 0x9000
)

// tunnelOnPort knows the UDP ports of tunnels (Zeek: packet-protocols/*/main.zeek).
func tunnelOnPort(port uint16) TunnelType {
	switch port {
	case portVXLAN:
		return TunnelVXLAN
	case portGeneve:
		return TunnelGeneve
	case portGTPUser, portGTPCtrl:
		return TunnelGTPv1
	case portTeredo:
		return TunnelTeredo
	case portAYIYA:
		return TunnelAYIYA
	case portGRE:
		return TunnelGREUDP
	}
	return TunnelNone
}

// layerTunnel looks for a packet in the packet p, which stands in dst already and
// whose transport header is at f.offset. That a tunnel is cut or carries nothing
// known is no reason against p.
func (ps *Parser) layerTunnel(f *frame, p *Packet) {
	if p.TunnelDepth >= TunnelDepthMax || f.n >= len(f.dst) {
		return
	}
	switch p.Protocol {
	case ProtocolUDP:
		ps.layerUDPTunnel(f, p)
	case ProtocolGRE:
		f.wire = f.end
		ps.layerGRE(f, p, TunnelGRE)
	default:
		ps.layerIPTunnel(f, p)
	}
}

// layerInner reads what stands in a tunnel at f.offset.
func (ps *Parser) layerInner(f *frame, carrier *Packet, tunnel TunnelType, id uint32, link LinkType) {
	before := f.n
	p := f.begin(carrier, tunnel, id)
	p.Kind, p.Blocks = KindInner, BlockIdentity|BlockTunnel
	f.captured = f.end
	f.tagged, f.labels = false, 0
	f.walked, f.routed, f.home = 0, false, false
	ps.layerLink(f, link, p)
	if f.n == before {
		f.note(carrier, tunnel, KindEmpty)
	}
}

// begin takes the next of dst for what is in a tunnel.
func (f *frame) begin(carrier *Packet, tunnel TunnelType, id uint32) *Packet {
	p := &f.dst[f.n]
	*p = Packet{TunnelType: tunnel, TunnelDepth: carrier.TunnelDepth + 1, TunnelID: id}
	return p
}

// note says of a tunnel that gives no packet what is the matter. Those over IP
// itself are not worth it: they make no connection that could learn from it.
func (f *frame) note(carrier *Packet, tunnel TunnelType, kind Kind) {
	switch tunnel {
	case TunnelIP, TunnelGRE, TunnelGREUDP:
		return
	}
	p := f.begin(carrier, tunnel, 0)
	p.Kind, p.Blocks = kind, BlockTunnel
	f.n++
}

// demand tells whether a tunnel's header has length bytes that are at hand. That
// the packet ends before is a violation.
func (f *frame) demand(length int, carrier *Packet, tunnel TunnelType) bool {
	if f.offset+length > f.end {
		f.note(carrier, tunnel, KindViolation)
		return false
	}
	return f.has(length)
}

// layerIPTunnel reads IP in IP, whose length must be that of all that is left
// (Zeek: IPTunnel.cc, IP.cc ParsePacket).
func (ps *Parser) layerIPTunnel(f *frame, p *Packet) {
	version := uint8(4)
	if p.Protocol == ProtocolIPv6 {
		version = 6
	}
	if f.isWholeIP(version) {
		f.wire = f.end
		ps.layerInner(f, p, TunnelIP, 0, LinkRawIP)
	}
}

// isWholeIP tells whether an IP header of the version stands at f.offset and says
// that its packet ends where the layer does.
func (f *frame) isWholeIP(version uint8) bool {
	if !f.has(ipv4Length) || f.data[f.offset]>>4 != version {
		return false
	}
	if version == 4 {
		return f.offset+int(f.type16(2)) == f.end
	}
	return f.has(ipv6Length) && f.offset+ipv6Length+int(f.type16(4)) == f.end
}

// layerUDPTunnel goes by the ports or else by content. A datagram whose checksum is
// bad carries nothing (Zeek: UDP.cc, DeliverPacket).
func (ps *Parser) layerUDPTunnel(f *frame, p *Packet) {
	if p.Checksum() == ChecksumBad {
		return
	}
	end := min(f.offset+f.transportLength(), f.end)
	f.wire += end - f.captured
	f.end = end
	f.offset += udpLength
	var payload []byte
	if to := min(f.end, len(f.data)); f.offset < to {
		payload = f.data[f.offset:to]
	}
	switch tunnelInUDP(p.SrcPort, p.DstPort, payload) {
	case TunnelVXLAN:
		ps.layerVXLAN(f, p)
	case TunnelGeneve:
		ps.layerGeneve(f, p)
	case TunnelGTPv1:
		ps.layerGTP(f, p)
	case TunnelTeredo:
		ps.layerTeredo(f, p)
	case TunnelAYIYA:
		ps.layerAYIYA(f, p)
	case TunnelGREUDP:
		f.wire = f.end
		ps.layerGRE(f, p, TunnelGREUDP)
	}
}

// tunnelInUDP knows tunnels by their port, the destination's before the source's,
// or else by the first bytes of their payload (Zeek: AYIYA.cc, DetectProtocol).
func tunnelInUDP(src, dst uint16, payload []byte) TunnelType {
	if tunnel := tunnelOnPort(dst); tunnel != TunnelNone {
		return tunnel
	}
	if tunnel := tunnelOnPort(src); tunnel != TunnelNone {
		return tunnel
	}
	if len(payload) >= 3 && payload[1] == 0x52 && payload[2] == 0x11 {
		return TunnelAYIYA
	}
	if len(payload) >= teredoMin && isTeredo(payload) {
		return TunnelTeredo
	}
	return TunnelNone
}

// isTeredo knows IPv6 from or to 2001::/32, and the two headers that may stand
// before IPv6 (RFC 4380, sections 5.1.1 and 2.6). The second of the first two bytes
// counts even if the first is IPv6's (Zeek: Teredo.cc, DetectProtocol).
func isTeredo(b []byte) bool {
	if b[0]>>4 != 6 && (b[0] != 0 || b[1] > 1) {
		return false
	}
	if b[0]>>4 == 6 && (isTeredoPrefix(b[8:]) || isTeredoPrefix(b[24:])) {
		return true
	}
	if b[1] == 1 {
		length := 13 + int(b[2]) + int(b[3])
		if len(b) < length+ipv6Length || b[length] != 0 || b[length+1] != 0 {
			return false
		}
		b = b[length:]
	} else if b[1] != 0 {
		return false
	}
	return len(b) >= 8+ipv6Length && b[8]>>4 == 6
}

func isTeredoPrefix(b []byte) bool { return binary.BigEndian.Uint32(b) == 0x20010000 }

// layerVXLAN reads RFC 7348, section 5 (Zeek: VXLAN.cc).
func (ps *Parser) layerVXLAN(f *frame, p *Packet) {
	if !f.demand(vxlanLength, p, TunnelVXLAN) {
		return
	}
	header := f.data[f.offset:][:vxlanLength]
	if header[0]&vxlanFlagID == 0 {
		f.note(p, TunnelVXLAN, KindViolation)
		return
	}
	f.offset += vxlanLength
	ps.layerInner(f, p, TunnelVXLAN, binary.BigEndian.Uint32(header[4:])>>8, LinkEthernet)
}

// layerGeneve reads RFC 8926, section 3.4 (Zeek: Geneve.cc).
func (ps *Parser) layerGeneve(f *frame, p *Packet) {
	if !f.demand(geneveLength, p, TunnelGeneve) {
		return
	}
	header := f.data[f.offset:][:geneveLength]
	if header[0]>>6 != 0 { // no violation to Zeek
		return
	}
	length := geneveLength + int(header[0]&0x3f)*4
	if !f.demand(length, p, TunnelGeneve) {
		return
	}
	f.offset += length
	id := binary.BigEndian.Uint32(header[4:]) >> 8
	switch binary.BigEndian.Uint16(header[2:]) {
	case typeBridge:
		ps.layerInner(f, p, TunnelGeneve, id, LinkEthernet)
	case typeIPv4, typeIPv6:
		ps.layerInner(f, p, TunnelGeneve, id, LinkRawIP)
	default:
		f.note(p, TunnelGeneve, KindEmpty)
	}
}

// layerGTP reads a user plane packet (3GPP TS 29.281, section 5; Zeek:
// gtpv1-protocol.pac, gtpv1-analyzer.pac, GTPv1.cc).
func (ps *Parser) layerGTP(f *frame, p *Packet) {
	if !f.demand(gtpLength, p, TunnelGTPv1) {
		return
	}
	header := f.data[f.offset:][:gtpLength]
	f.offset += gtpLength
	f.walked = 0
	if !f.skipGTPOptions(header[0], p) {
		return
	}
	if p.TunnelType == TunnelGTPv1 || header[0]>>5 != 1 {
		f.note(p, TunnelGTPv1, KindViolation)
		return
	}
	if header[0]&0x10 == 0 || header[1] != 0xff { // GTP', or no packet of a user
		return
	}
	if !f.isWholeIP(4) && !f.isWholeIP(6) {
		if f.end <= len(f.data) {
			f.note(p, TunnelGTPv1, KindViolation)
		}
		return
	}
	ps.layerInner(f, p, TunnelGTPv1, binary.BigEndian.Uint32(header[4:]), LinkRawIP)
}

// skipGTPOptions passes over the optional fields and the extension headers that the
// flags announce. False: they are not all there.
func (f *frame) skipGTPOptions(flags uint8, p *Packet) bool {
	if flags&7 == 0 {
		return true
	}
	if !f.demand(4, p, TunnelGTPv1) {
		return false
	}
	f.offset += 4
	for next := flags & 4; next != 0; {
		if f.walked++; f.walked > extensionsMax {
			return false
		}
		if !f.demand(1, p, TunnelGTPv1) {
			return false
		}
		length := int(f.data[f.offset]) * 4
		if length == 0 {
			f.note(p, TunnelGTPv1, KindViolation)
			return false
		}
		if !f.demand(length, p, TunnelGTPv1) {
			return false
		}
		f.offset += length
		next = f.data[f.offset-1]
	}
	return true
}

// layerTeredo reads up to two headers before IPv6 (RFC 4380, section 5.1.1; Zeek:
// Teredo.cc).
func (ps *Parser) layerTeredo(f *frame, p *Packet) {
	if !f.skipTeredoHeaders(p) || !f.demand(ipv6Length, p, TunnelTeredo) {
		return
	}
	length := int(f.type16(4))
	end := f.offset + ipv6Length + length
	bubble := length == 0 && f.data[f.offset+6] == protocolNone // what follows is no matter
	if end > f.end || end < f.end && !bubble {
		f.note(p, TunnelTeredo, KindViolation)
		return
	}
	ps.layerInner(f, p, TunnelTeredo, 0, LinkRawIP)
}

// skipTeredoHeaders passes over an authentication header and an origin indication,
// at most one of each, in this order. False: what follows is not IPv6.
func (f *frame) skipTeredoHeaders(p *Packet) bool {
	for origin, authentication := false, false; ; {
		if !f.demand(2, p, TunnelTeredo) {
			return false
		}
		tag, length := f.type16(0), 0
		switch {
		case tag>>12 == 6:
			return true
		case tag == 0 && !origin:
			origin, length = true, 8
		case tag == 1 && !origin && !authentication:
			if !f.demand(4, p, TunnelTeredo) {
				return false
			}
			authentication, length = true, 13+int(f.data[f.offset+2])+int(f.data[f.offset+3])
		default:
			f.note(p, TunnelTeredo, KindViolation)
			return false
		}
		if !f.demand(length, p, TunnelTeredo) {
			return false
		}
		f.offset += length
	}
}

// layerAYIYA reads draft-massar-v6ops-ayiya-02, section 3 (Zeek: AYIYA.cc).
func (ps *Parser) layerAYIYA(f *frame, p *Packet) {
	if !f.demand(ayiyaLength, p, TunnelAYIYA) {
		return
	}
	header := f.data[f.offset:][:ayiyaLength]
	length := ayiyaLength + 1<<(header[0]>>4) + int(header[1]>>4)*4
	if f.offset+length > f.end {
		f.note(p, TunnelAYIYA, KindViolation)
		return
	}
	if header[2]&0xf != 1 { // not to be forwarded
		return
	}
	f.offset += length
	switch header[3] {
	case ProtocolIPIP, ProtocolIPv6:
		ps.layerInner(f, p, TunnelAYIYA, 0, LinkRawIP)
	default:
		f.note(p, TunnelAYIYA, KindEmpty)
	}
}

// layerGRE reads RFC 2784, RFC 2890 and, in version 1, RFC 2637 (Zeek: GRE.cc).
func (ps *Parser) layerGRE(f *frame, p *Packet, tunnel TunnelType) {
	if !f.has(greLength) {
		return
	}
	flags, etherType := f.type16(0), f.type16(2)
	length := greLength
	var id uint32
	if flags&greChecksum != 0 {
		length += 4
	}
	if flags&greKey != 0 {
		if f.has(length + 4) {
			id = binary.BigEndian.Uint32(f.data[f.offset+length:])
		}
		length += 4
	}
	if flags&greSequence != 0 {
		length += 4
	}
	if flags&greAck != 0 {
		length += 4
	}
	if flags&(greRouting|greReserved) != 0 || !f.has(length) {
		return
	}
	f.offset += length
	switch flags & greVersion {
	case 0:
		ps.layerGREContent(f, p, tunnel, id, etherType, flags)
	case 1:
		ps.layerPPTP(f, p, tunnel, id, etherType)
	}
}

// layerGREContent goes by the protocol type: Ethernet, mirrored Ethernet (ERSPAN,
// draft-foschiano-erspan-03), Aruba's IEEE 802.11, and IP of any other.
func (ps *Parser) layerGREContent(f *frame, p *Packet, tunnel TunnelType, id uint32, etherType, flags uint16) {
	link := LinkEthernet
	switch {
	case etherType == typeBridge:
	case etherType == typeERSPAN && flags&greSequence == 0: // type I has no header
	case etherType == typeERSPAN:
		f.offset += 8
	case etherType == typeERSPANIII:
		if !f.has(12) {
			return
		}
		f.offset += 12
		if f.data[f.offset-1]&1 != 0 { // a platform's own header
			f.offset += 8
		}
	case etherType&typeAruba == typeAruba && etherType&0xf == 0, etherType == typeArubaTest:
		link = LinkWLAN
	default:
		link = LinkRawIP
	}
	ps.layerInner(f, p, tunnel, id, link)
}

// layerPPTP reads PPP with address and control fields. The key's lower half is the
// call.
func (ps *Parser) layerPPTP(f *frame, p *Packet, tunnel TunnelType, id uint32, etherType uint16) {
	if etherType != typePPTP || !f.has(4) {
		return
	}
	protocol, version := f.type16(2), uint8(4)
	if protocol == pppIPv6 {
		version = 6
	}
	f.offset += 4
	if protocol != pppIPv4 && protocol != pppIPv6 || !f.isWholeIP(version) {
		return
	}
	ps.layerInner(f, p, tunnel, id&0xffff, LinkRawIP)
}
