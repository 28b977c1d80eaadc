// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// tcp books one TCP packet of a connection: side is its sender's. The order of
// the steps is Zeek's (src/packet_analysis/protocol/tcp/TCP.cc, DeliverPacket;
// TCPSessionAdapter.cc, Process) and shows in the log.
func (t *Tracker) tcp(c connection, side int, p *bpf.Packet) {
	if p.State&bpf.StateMalformed != 0 {
		t.stats.Malformed++
		return
	}
	if p.Checksum() == bpf.ChecksumBad {
		t.badChecksum(c, side)
		return
	}
	seen := connectionBits(bitSeenOrig) << side
	c.notePartial(seen, side, p.Flags)
	payload := p.PayloadLength()
	past := p.Seq + segmentLength(p.Flags, payload)
	e := &c.endpoint[side]
	e.initialize(p, past)
	position, underflow := relative(p.Seq, e.last, t.upper(c.hot, side).lastWraps, e.start)
	side = t.tcpLetter(c, side, p, position, payload)
	e = &c.endpoint[side]
	peer := &c.endpoint[1-side]
	if p.Window == 0 && p.Flags&bpf.RST == 0 && peer.state != TCPClosed && e.state != TCPReset {
		t.addScaled(c.hot, side, &t.coldOf(c.hot).side[side].zeroWindows, 'W')
	}
	if e.bits&peer.bits&bitDidClose == 0 {
		c.last = p.Time
	}
	if p.Flags.Has(bpf.FIN) {
		e.bits |= bitFin
		t.coldOf(c.hot).side[side].finAt = position + uint64(segmentLength(p.Flags, payload))
	}
	acked := t.acknowledge(c.hot, 1-side, p)
	if t.updateLast(c.hot, side, p.Flags, past, payload) {
		t.addScaled(c.hot, side, &t.coldOf(c.hot).side[side].retransmits, 'T')
	}
	if t.config.hasExtra() {
		t.measureHandshake(c, side, p)
	}
	side, closing := t.transition(c, side, p, payload)
	if p.Flags.Has(bpf.ACK) {
		t.acked(c, 1-side, acked)
	}
	c.bits |= seen
	if payload > 0 && p.Flags&bpf.RST == 0 && !underflow && p.State&bpf.StateComplete != 0 {
		from := position
		if p.Flags.Has(bpf.SYN) {
			from++
		}
		delivered := t.delivered(c.hot, side)
		t.data(c, side, from, from+uint64(payload))
		if !c.service.Decided() && len(p.Payload) > 0 {
			t.applicationData(c, side, delivered, from, p)
		}
	}
	t.checkEndOfData(c, side)
	if closing {
		t.closeSide(c, side)
	}
	t.count(c.hot, side, p)
}

// segmentLength is how much sequence space a segment takes. A reset's payload
// takes none.
func segmentLength(flags bpf.Flags, payload uint32) uint32 {
	n := payload
	if flags&bpf.RST != 0 {
		n = 0
	}
	if flags&bpf.SYN != 0 {
		n++
	}
	if flags&bpf.FIN != 0 {
		n++
	}
	return n
}

// notePartial decides by each side's first packet whether the connection was
// picked up in midstream (Zeek TSA, SetPartialStatus).
func (c *hot) notePartial(seen connectionBits, side int, flags bpf.Flags) {
	if c.bits&seen != 0 {
		return
	}
	syn := flags.Has(bpf.SYN)
	if side == orig {
		c.bits &^= bitPartial
		if !syn || flags.Has(bpf.ACK) {
			c.bits |= bitPartial
		}
	} else if !syn {
		c.bits |= bitPartial
	}
}

// initialize starts the sequence space with the endpoint's first packet, and
// again with a SYN that contradicts it (Zeek TSA, init_endpoint).
func (e *endpoint) initialize(p *bpf.Packet, past uint32) {
	syn := p.Flags.Has(bpf.SYN)
	switch e.state {
	case TCPInactive:
		if !syn {
			e.begin(p.Seq-1, p.Seq)
			return
		}
	case TCPSynSent, TCPSynAckSent:
		if !syn || p.Seq == e.start {
			return
		}
	case TCPEstablished, TCPPartial:
		if !syn {
			return
		}
	case TCPReset:
		if !syn || e.previous != TCPInactive {
			return
		}
	default:
		return
	}
	e.begin(p.Seq, past)
}

// acknowledge takes the packet's acknowledgment of a side's data and
// returns its position, 0 if there is none (Zeek TSA, Process). An endpoint that
// has not sent yet gets made-up numbers, until it does.
func (t *Tracker) acknowledge(c *hot, side int, p *bpf.Packet) uint64 {
	if !p.Flags.Has(bpf.ACK) {
		return 0
	}
	e := &c.endpoint[side]
	if e.state == TCPInactive {
		e.begin(p.Ack-1, p.Ack-1)
		return 1
	}
	position, underflow := relative(p.Ack, e.ack, t.upper(c, side).ackWraps, e.start)
	if underflow {
		return 0
	}
	if p.Flags&bpf.RST != 0 {
		return position
	}
	if d := seqDelta(p.Ack, e.ack); d > 0 && !(p.Ack == 0 && d > farAway) {
		if p.Ack < e.ack {
			t.wideOf(c, side).ackWraps++
		}
		e.ack = p.Ack
	}
	return position
}

// updateLast moves the end of what a side sent, and tells whether the
// packet is a retransmission (Zeek TSA, update_last_seq).
func (t *Tracker) updateLast(c *hot, side int, flags bpf.Flags, past, payload uint32) (retransmission bool) {
	e := &c.endpoint[side]
	d := seqDelta(past, e.last)
	switch {
	case flags&(bpf.SYN|bpf.RST) != 0 && (d > farAway || d < -farAway):
	case flags.Has(bpf.FIN) && e.last == e.start+1:
		t.advance(c, side, past)
	case e.state == TCPReset:
	case d > 0:
		t.advance(c, side, past)
	default:
		return payload > 0
	}
	return false
}

// count books a packet that is valid to a side (Zeek
// src/analyzer/protocol/conn-size/ConnSize.cc, DeliverPacket).
func (t *Tracker) count(c *hot, side int, p *bpf.Packet) {
	n := p.IPLength
	if p.State&bpf.StateNoLength != 0 { // what the header says counts, and it says 0
		n = 0
	}
	t.book(c, side, n)
}

// measureHandshake notes how long the handshake's packets took. A packet that
// was sent twice makes it ambiguous which one was answered (Karn's algorithm).
func (t *Tracker) measureHandshake(c connection, side int, p *bpf.Packet) {
	const ambiguous = -1
	x := t.extra.At(c.extra)
	syn, ack := p.Flags.Has(bpf.SYN), p.Flags.Has(bpf.ACK)
	switch {
	case syn && !ack && side == orig:
		if x.synAt != 0 {
			x.synAt = ambiguous
		} else {
			x.synAt = p.Time
		}
	case syn && ack && side == resp:
		if x.synAckAt != 0 {
			x.synAckAt = ambiguous
			c.bits &^= bitRoundTrip
			return
		}
		x.synAckAt = p.Time
		c.bits |= bitRoundTrip
		if x.synAt > 0 && p.Time > x.synAt {
			x.rtt[resp] = p.Time - x.synAt
		}
	case !syn && ack && side == orig && x.rtt[orig] == 0 && x.synAckAt > 0:
		x.rtt[orig] = max(p.Time-x.synAckAt, 0)
		x.synAckAt = ambiguous
		c.bits &^= bitRoundTrip
	}
}
