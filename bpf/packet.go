// SPDX-License-Identifier: Apache-2.0

package bpf

// Addr is an IP address in network byte order; IPv4 in its mapped form
// (::ffff:a.b.c.d), so that one comparison serves both families, as in Zeek's
// connection key.
type Addr = [16]byte

// MAC is a link-layer address; all zero when it is not known.
type MAC = [6]byte

// Packet is what one IP packet says of itself: the decoded, wide form of a
// record, and what the Go parser makes of a captured frame. All integers are in
// host byte order. A Packet belongs to whoever owns the slice it stands in.
type Packet struct {
	// Time is ns of the source's steady clock: CLOCK_BOOTTIME live, the
	// capture's time since 1970, truncated to microseconds, for files.
	Time int64
	// Ordinal tells frames of one run apart, the same in every run over the
	// same input; all packets of a frame share it. Files: the frame's position
	// in the merged input, from 1. Live: CPU and hook in the top 16 bits, the
	// frame's sequence number there below.
	Ordinal uint64

	// Src and Dst are the effective addresses: after an IPv6 routing header or
	// home address option.
	Src, Dst Addr

	// Payload is what is at hand of the transport payload (of a fragment: of its
	// payload), from its first byte: all that was captured in a file, a bounded
	// prefix live. It is the source's memory; see collector.Source for how long it is valid.
	Payload []byte

	// Owner is the local process that made the packet; nil if it is not known, and
	// always without BlockOwner. It is the source's memory, as Payload is.
	Owner *Owner

	// IPLength is the IPv4 total length or the IPv6 payload length + 40, bytes. With
	// StateNoLength the header says 0 and this is what was captured: it gives the
	// payload its length, but adds nothing to a connection's IP bytes.
	IPLength uint32
	// HeaderLength is the distance from the start of the IP header to the
	// transport payload, bytes. Not valid with StateMalformed.
	HeaderLength uint16

	// SrcPort and DstPort are valid for TCP and UDP, else 0.
	SrcPort, DstPort uint16
	// Window is TCP's unscaled window, UDP's length field, ICMP's
	// type << 8 | code.
	Window uint16
	// Seq and Ack are valid for TCP; Ack as it stands, ACK flag or not.
	Seq, Ack uint32

	// Protocol is the IP protocol number of the transport header. A packet of 4,
	// 41 or 47 is a tunnel, not a flow of its own.
	Protocol uint8
	// Flags are TCP's, byte 13 of its header.
	Flags Flags
	// State tells what the parser found.
	State State
	// Kind tells an outermost packet from a tunnel's inner one. Of any other kind
	// nothing is valid but Time, Ordinal and what Kind says.
	Kind Kind
	// Blocks says which of the following optional fields are valid.
	Blocks Block
	// Hook is where a live packet was seen.
	Hook Hook
	// Interface is the slot of the interface in this run; for files the number of the
	// interface that captured it, counted over all files.
	Interface uint16

	// SrcMAC, DstMAC, VLAN and InnerVLAN are valid with BlockL2. The VLAN ids
	// are 12 bits, 0 for none.
	SrcMAC, DstMAC  MAC
	VLAN, InnerVLAN uint16

	// GSOSize and GSOSegments are valid with BlockGSO: payload bytes of each
	// segment but the last, and the number of segments, 0 when not known. What a
	// collector.Source hands out with BlockGSO is a run: so many segments of TCP, at
	// least 1, in the order of their sequence numbers, without payload bytes. But for
	// their lengths and sequence numbers they are alike; the last one has a PSH of p.
	GSOSize, GSOSegments uint16

	// The fragment fields are valid with BlockFragment. FragmentOffset is in
	// bytes.
	FragmentID     uint32
	FragmentOffset uint16
	FragmentMore   bool
	// FragmentSum is the ones' complement sum of a fragment's payload, as
	// [AddSums] adds them up; 0 where it was not asked for, and in files, whose
	// payloads are at hand. A payload of zeros has 0xffff, which is the same.
	FragmentSum uint16

	// IPID is valid with BlockIdentity.
	IPID uint32

	// The tunnel fields are valid with BlockTunnel, which inner packets,
	// violations and empty tunnels have. TunnelDepth is 1 directly inside the
	// outermost packet; TunnelID is the VNI, GRE key, PPTP call or TEID, 0
	// without. A packet's carrier is the last one before it that is one less
	// deep.
	TunnelID    uint32
	TunnelType  TunnelType
	TunnelDepth uint8
}

// PayloadLength is the transport payload's length by the IP lengths, bytes:
// never the frame's, whose padding is no payload.
func (p *Packet) PayloadLength() uint32 {
	if uint32(p.HeaderLength) > p.IPLength {
		return 0
	}
	return p.IPLength - uint32(p.HeaderLength)
}

// Segments is how many packets p, of a collector.Source, is on the wire: more than one
// of a run.
func (p *Packet) Segments() uint32 {
	if p.Blocks&BlockGSO == 0 {
		return 1
	}
	return max(uint32(p.GSOSegments), 1)
}

// WireLength is the sum of the IP lengths of the packets that p is on the wire, bytes.
func (p *Packet) WireLength() uint64 {
	return uint64(p.IPLength) + uint64(p.Segments()-1)*uint64(p.HeaderLength)
}

// Checksum is what the parser found of the transport checksum.
func (p *Packet) Checksum() Checksum {
	return Checksum(p.State & StateChecksum >> stateChecksumShift)
}

// SetChecksum stores what a parser found of the transport checksum.
func (p *Packet) SetChecksum(c Checksum) {
	p.State = p.State&^StateChecksum | State(c)<<stateChecksumShift
}
