// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"math"

	"conntap/bpf"
)

// udpHeaderLength is the UDP header's length, bytes (RFC 768).
const udpHeaderLength = 8

// segmenter cuts a super-packet, which the stack hands around as one, into the
// packets that cross the wire, as the kernel's tcp_gso_segment and
// __udp_gso_segment do. It hands them out piecemeal, because one super-packet
// gives up to 65,535 of them. One in tunnels gives as many of each carrier: each
// segment has all headers before it again (skb_udp_tunnel_segment, gre_gso_segment).
//
// The segments of TCP are handed out as a run, as they differ in nothing but what can be
// told of all of them at once. The first one has a place of its own if it is unlike the
// others: if it has a CWR, or payload bytes.
type segmenter struct {
	apart bool // no runs: each segment by itself

	// records are those of the frame: up to the cut one as the next segment has
	// them, with the lengths of headers alone.
	records [bpf.PacketsMax]bpf.Packet
	count   int // of records
	cut     int // the record whose payload is cut, -1 for none
	at      int // the record to hand out next

	first   bool   // the segment is the first one: what stands behind cut is in it
	payload uint32 // left to hand out, bytes
	size    uint32 // payload of each segment but the last
	left    uint32 // segments to hand out
	last    bpf.Flags
}

// isRun makes a run of p, if all segments of its frame, of which it is the only record,
// are one: that of most super-packets, which need not be copied here.
func (s *segmenter) isRun(p *bpf.Packet) bool {
	if s.apart || p.Protocol != bpf.ProtocolTCP || p.Flags&(bpf.FIN|bpf.CWR) != 0 || len(p.Payload) > 0 {
		return false
	}
	n := segmentCount(p)
	if n < 2 || n > math.MaxUint16 {
		return false
	}
	p.GSOSegments = uint16(n)
	return true
}

// take begins a frame with its first record. What was taken before must have been
// handed out. The others come by next and keep, then start must be called.
func (s *segmenter) take(p *bpf.Packet) {
	s.records[0], s.count = *p, 1
}

// next is where the frame's next record is to be stored, nil without room.
func (s *segmenter) next() *bpf.Packet {
	if s.count == len(s.records) {
		return nil
	}
	return &s.records[s.count]
}

// keep adds what was stored in next.
func (s *segmenter) keep() { s.count++ }

// start makes ready to hand out: segments, or the records as they are if there is
// no super-packet among them.
func (s *segmenter) start() {
	s.at, s.first, s.left = 0, true, 1
	s.cut = s.findCut()
	for i := range s.records[:s.count] {
		s.records[i].Blocks &^= bpf.BlockGSO
	}
	if s.cut < 0 {
		return
	}
	p := &s.records[s.cut]
	s.payload, s.size, s.left = p.PayloadLength(), uint32(p.GSOSize), segmentCount(p)
	s.last = p.Flags
	if p.Protocol == bpf.ProtocolTCP {
		p.Flags &^= bpf.FIN | bpf.PSH
		s.last &^= bpf.CWR
	}
	for i := range s.records[:s.cut+1] {
		p := &s.records[i]
		p.GSOSize, p.GSOSegments = 0, 0
		p.IPLength -= s.payload
	}
}

// findCut is the innermost super-packet, -1 if there is none. Where a datagram of
// a UDP super-packet carries a packet, it is the carrier: each of its datagrams
// has one, of which the first alone is recorded.
func (s *segmenter) findCut() int {
	for i := s.count - 1; i >= 0; i-- {
		p := &s.records[i]
		if p.Blocks&bpf.BlockGSO == 0 || segmentCount(p) < 2 {
			continue
		}
		if i < s.count-1 && s.records[i+1].Kind == bpf.KindInner && s.records[i+1].IPLength > uint32(p.GSOSize) {
			return -1 // a frame of one segment, whose headers make the carrier longer
		}
		for j := range s.records[:i] {
			if s.records[j].IPLength < p.IPLength {
				return -1
			}
		}
		return i
	}
	return -1
}

// segmentCount is how many packets p is on the wire. The device's own count
// holds where it is plausible: of a tunnelled super-packet whose inside was not
// recorded, the payload is more than the sum of what its segments carry.
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

// fill stores packets in dst, as many as fit and are left, and says how many.
// Only the first one of a super-packet carries payload bytes.
func (s *segmenter) fill(dst []bpf.Packet) int {
	n := 0
	for ; n < len(dst) && s.left > 0; n++ {
		s.emit(&dst[n])
	}
	return n
}

func (s *segmenter) emit(dst *bpf.Packet) {
	if n := s.runLength(); n > 1 {
		s.emitRun(dst, n)
		return
	}
	length := min(s.size, s.payload)
	if s.left == 1 {
		length = s.payload
	}
	*dst = s.records[s.at]
	if s.at <= s.cut {
		s.shape(dst, length, 1)
	}
	s.at++
	if s.at == s.count || s.at > s.cut && !s.first {
		s.at, s.first = 0, false
		s.payload -= length
		s.left--
	}
}

// runLength is how many segments can be handed out as a run now. One with a FIN stands
// by itself.
func (s *segmenter) runLength() uint32 {
	if s.apart || s.first || s.cut != 0 || s.count != 1 || s.records[0].Protocol != bpf.ProtocolTCP {
		return 0
	}
	n := s.left
	if s.last.Has(bpf.FIN) {
		n--
	}
	return min(n, math.MaxUint16)
}

func (s *segmenter) emitRun(dst *bpf.Packet, n uint32) {
	length := n * s.size
	if n == s.left {
		length = s.payload
	}
	*dst = s.records[0]
	s.shape(dst, length, n)
	dst.Blocks |= bpf.BlockGSO
	dst.GSOSize, dst.GSOSegments = uint16(s.size), uint16(n)
	s.payload -= length
	s.left -= n
}

// shape makes dst a packet of the next n segments, of which length bytes of payload
// are, and the record that of the one after them.
func (s *segmenter) shape(dst *bpf.Packet, length, n uint32) {
	record := &s.records[s.at]
	dst.IPLength += length
	dst.Payload = dst.Payload[:min(len(dst.Payload), int(dst.PayloadLength()))]
	record.Payload = nil
	if record.Blocks&bpf.BlockIdentity != 0 && record.State&bpf.StateIPv6 == 0 {
		record.IPID = uint32(uint16(record.IPID + n)) // as inet_gso_segment counts
	}
	if dst.Protocol == bpf.ProtocolUDP {
		dst.Window = uint16(udpHeaderLength + dst.PayloadLength())
	}
	if s.at < s.cut {
		return
	}
	if s.left == n {
		dst.Flags = s.last
	}
	if dst.Protocol == bpf.ProtocolTCP {
		record.Seq += length
		record.Flags &^= bpf.CWR
	}
}
