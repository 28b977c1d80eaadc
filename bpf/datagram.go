// SPDX-License-Identifier: Apache-2.0

package bpf

// ParseDatagram stores in dst the packets of a datagram that was put together from
// fragments, as Parse does. first is the fragment that came first: the datagram has
// its IP header. Its protocol is IPv4's, or what the IPv6 fragment header with
// offset 0 names; whoever has seen that one sets it. start is how the payload of the
// joined fragments begins, as much as is at hand; length is all of it, bytes, and
// sum is that of all of it, as [AddSums] adds up Packet.FragmentSum, or 0 if it is
// not known: a checksum is judged by start then, if that is all.
//
// The packets have first's kind, link layer and tunnel, and as little as those of
// Parse a Time, Ordinal, Hook and Interface. Payloads are part of start. The IP
// length is that of the whole, modulo 65,536 as in Zeek, and without the IPv6
// fragment header (RFC 8200, section 4.5; Zeek: Frag.cc, BlockInserted).
func (ps *Parser) ParseDatagram(first *Packet, start []byte, length int, sum uint16, dst []Packet) (n int, reason Reason) {
	header := int(first.HeaderLength)
	total := (header + length) & 0xffff
	if first.State&StateIPv6 != 0 {
		header -= 8
		total = (header-ipv6Length+length)&0xffff + ipv6Length
	}
	end := total - header
	f := frame{
		data: start[:max(min(len(start), end), 0)], dst: dst[:PacketsMax],
		end: end, captured: end, wire: end, ipOffset: -header, ipEnd: end, protocol: first.Protocol,
	}
	if end < 0 {
		return 0, ReasonIPLength
	}
	p := &f.dst[0]
	f.beginDatagram(first, p)
	p.IPLength = uint32(total)
	f.sum = sum
	if p.State&StateIPv6 != 0 && isExtension(f.protocol) {
		reason = ps.layerExtension(&f, p)
	} else {
		reason = ps.layerTransport(&f, p)
	}
	return f.n, reason
}

// beginDatagram takes from the first fragment what the datagram shares with it.
func (f *frame) beginDatagram(first, p *Packet) {
	*p = Packet{
		Kind: first.Kind, Blocks: BlockIdentity | first.Blocks&(BlockL2|BlockTunnel),
		State: first.State&StateIPv6 | StateComplete,
		Src:   first.Src, Dst: first.Dst, IPID: first.IPID,
		SrcMAC: first.SrcMAC, DstMAC: first.DstMAC, VLAN: first.VLAN, InnerVLAN: first.InnerVLAN,
		TunnelType: first.TunnelType, TunnelDepth: first.TunnelDepth, TunnelID: first.TunnelID,
	}
}
