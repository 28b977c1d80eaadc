// SPDX-License-Identifier: Apache-2.0

package tracker

// farAway is how far a sequence or acknowledgment number may jump in packets
// whose numbers are often made up (Zeek TSA, TOO_LARGE_SEQ_DELTA).
const farAway = 1 << 20

// seqDelta is a - b in sequence space (RFC 9293, section 3.4): negative if a is
// before b. There is no other comparison of sequence numbers.
func seqDelta(a, b uint32) int32 { return int32(a - b) }

// relative is the position of v in a stream that begins at start, given a number
// near it and how often that one has wrapped. Before the first wrap a value
// before start is an underflow. Position 0 is the SYN.
func relative(v, near uint32, wraps uint16, start uint32) (position uint64, underflow bool) {
	d := seqDelta(v, near)
	switch {
	case d < 0 && wraps > 0 && v > near:
		wraps--
	case d > 0 && v < near:
		wraps++
	}
	if wraps == 0 {
		d := int64(seqDelta(v, start))
		return uint64(d), d < 0
	}
	return uint64(wraps)<<32 + uint64(v) - uint64(start), false
}

// begin starts the endpoint's sequence space.
func (e *endpoint) begin(start, last uint32) {
	e.start, e.ack, e.last = start, start, last
}

// lastFull and ackFull are last and ack with their wraps.
func (e *endpoint) lastFull() uint64 { return uint64(e.lastWraps)<<32 | uint64(e.last) }
func (e *endpoint) ackFull() uint64  { return uint64(e.ackWraps)<<32 | uint64(e.ack) }

// advance moves last to a number at or beyond it in sequence space.
func (e *endpoint) advance(last uint32) {
	if last < e.last {
		e.lastWraps++
	}
	e.last = last
}

// nothingAcked tells whether no data of this side was acknowledged.
func (e *endpoint) nothingAcked() bool {
	a := e.ackFull()
	return a == uint64(e.start) || a == uint64(e.start)+1
}

// size is how many payload bytes the endpoint sent, by its sequence numbers and
// its peer's acknowledgments (Zeek TCP_Endpoint.cc, Size).
func (e *endpoint) size(peer *endpoint) uint64 {
	if e.previous == TCPSynSent && e.state == TCPReset && peer.state == TCPInactive && !e.nothingAcked() {
		return 0 // half-open
	}
	size := max(e.lastFull(), e.ackFull()) - uint64(e.start)
	if size != 0 {
		size-- // the SYN, or what was made its stand-in
	}
	if e.bits&bitFin != 0 && size != 0 {
		size--
	}
	return size
}
