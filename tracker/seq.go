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

// lastFull and ackFull are a side's last and ack with their wraps.
func (t *Tracker) lastFull(c *hot, side int) uint64 {
	return uint64(t.upper(c, side).lastWraps)<<32 | uint64(c.endpoint[side].last)
}

func (t *Tracker) ackFull(c *hot, side int) uint64 {
	return uint64(t.upper(c, side).ackWraps)<<32 | uint64(c.endpoint[side].ack)
}

// delivered and trim are a side's positions of these names.
func (t *Tracker) delivered(c *hot, side int) uint64 {
	return uint64(t.upper(c, side).delivered)<<32 | uint64(c.endpoint[side].delivered)
}

func (t *Tracker) trim(c *hot, side int) uint64 {
	return uint64(t.upper(c, side).trim)<<32 | uint64(c.endpoint[side].trim)
}

func (t *Tracker) setDelivered(c *hot, side int, position uint64) {
	c.endpoint[side].delivered = uint32(position)
	if upper := uint32(position >> 32); upper != 0 || c.bits&bitWide != 0 {
		t.wideOf(c, side).delivered = upper
	}
}

func (t *Tracker) setTrim(c *hot, side int, position uint64) {
	c.endpoint[side].trim = uint32(position)
	if upper := uint32(position >> 32); upper != 0 || c.bits&bitWide != 0 {
		t.wideOf(c, side).trim = upper
	}
}

// advance moves a side's last to a number at or beyond it in sequence space.
func (t *Tracker) advance(c *hot, side int, last uint32) {
	e := &c.endpoint[side]
	if last < e.last {
		t.wideOf(c, side).lastWraps++
	}
	e.last = last
}

// nothingAcked tells whether no data of a side was acknowledged.
func (t *Tracker) nothingAcked(c *hot, side int) bool {
	start := uint64(c.endpoint[side].start)
	a := t.ackFull(c, side)
	return a == start || a == start+1
}

// size is how many payload bytes a side sent, by its sequence numbers and its
// peer's acknowledgments (Zeek TCP_Endpoint.cc, Size).
func (t *Tracker) size(c *hot, side int) uint64 {
	e, peer := &c.endpoint[side], &c.endpoint[1-side]
	if e.previous == TCPSynSent && e.state == TCPReset && peer.state == TCPInactive && !t.nothingAcked(c, side) {
		return 0 // half-open
	}
	size := max(t.lastFull(c, side), t.ackFull(c, side)) - uint64(e.start)
	if size != 0 {
		size-- // the SYN, or what was made its stand-in
	}
	if e.bits&bitFin != 0 && size != 0 {
		size--
	}
	return size
}
