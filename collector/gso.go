// SPDX-License-Identifier: Apache-2.0

package collector

import "conntap/bpf"

// udpHeaderLength is the UDP header's length, bytes (RFC 768).
const udpHeaderLength = 8

// segmenter cuts a super-packet, which the stack hands around as one, into the
// packets that cross the wire, as the kernel's tcp_gso_segment and
// __udp_gso_segment do. It hands them out piecemeal, because one super-packet
// gives up to 65,535 of them.
type segmenter struct {
	next bpf.Packet // the segment to hand out next, but for its lengths and flags
	// header is the IP and transport headers that each segment repeats, bytes;
	// payload is what is left to hand out.
	header, payload uint32
	size            uint32 // payload of each segment but the last
	left            uint32 // segments to hand out
	last            bpf.Flags
}

// start takes p for cutting and tells whether it is a super-packet at all: if
// not, p itself is what went over the wire, and the segmenter is left alone.
// What was taken before must have been handed out.
func (s *segmenter) start(p *bpf.Packet) bool {
	if p.Blocks&bpf.BlockGSO == 0 {
		return false
	}
	payload, count := p.PayloadLength(), segmentCount(p)
	if count < 2 {
		return false
	}
	s.next = *p
	s.next.Blocks &^= bpf.BlockGSO
	s.next.GSOSize, s.next.GSOSegments = 0, 0
	s.last = s.next.Flags
	if p.Protocol == bpf.ProtocolTCP {
		s.next.Flags &^= bpf.FIN | bpf.PSH
		s.last &^= bpf.CWR
	}
	s.header, s.payload = uint32(p.HeaderLength), payload
	s.size, s.left = uint32(p.GSOSize), count
	return true
}

// segmentCount is how many packets p is on the wire. The device's own count
// holds where it is plausible: of a tunnelled super-packet the payload is more
// than the sum of what its segments carry.
func segmentCount(p *bpf.Packet) uint32 {
	if p.GSOSize == 0 || p.State&(bpf.StateMalformed|bpf.StateFragment) != 0 {
		return 1
	}
	size := uint32(p.GSOSize)
	count := (p.PayloadLength() + size - 1) / size
	if known := uint32(p.GSOSegments); known != 0 && known < count {
		return known
	}
	return count
}

// fill stores segments in dst, as many as fit and are left, and says how many.
// Only the first one of a super-packet carries payload bytes.
func (s *segmenter) fill(dst []bpf.Packet) int {
	n := min(len(dst), int(s.left))
	for i := range n {
		s.emit(&dst[i])
	}
	return n
}

func (s *segmenter) emit(dst *bpf.Packet) {
	length := min(s.size, s.payload)
	if s.left == 1 {
		length = s.payload
		s.next.Flags = s.last
	}
	*dst = s.next
	dst.IPLength = s.header + length
	dst.Payload = dst.Payload[:min(len(dst.Payload), int(length))]
	if dst.Protocol == bpf.ProtocolUDP {
		dst.Window = uint16(udpHeaderLength + length)
	}

	s.next.Payload = nil
	if s.next.Protocol == bpf.ProtocolTCP {
		s.next.Seq += length
		s.next.Flags &^= bpf.CWR
	}
	s.payload -= length
	s.left--
}
