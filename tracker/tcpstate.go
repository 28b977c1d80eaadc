// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// tcpReused tells whether a packet opens a new connection on the five-tuple of
// this one (Zeek TSA, IsReuse). It is asked before the packet is judged in any
// other way, so a corrupted SYN cuts a connection in two.
func (c *hot) tcpReused(p *bpf.Packet) bool {
	if p.State&bpf.StateShortOffset != 0 || !p.Flags.Has(bpf.SYN) {
		return false
	}
	o, r := &c.endpoint[orig], &c.endpoint[resp]
	start := o.start
	if p.Flags.Has(bpf.ACK) {
		if o.state != TCPInactive {
			return false
		}
		start = r.start
	}
	if (o.bits|r.bits)&bitDidClose != 0 {
		return true
	}
	if p.Seq == start {
		return false
	}
	reversal := !p.Flags.Has(bpf.ACK) && o.state == TCPSynAckSent && r.state == TCPInactive && p.Seq == r.start
	return !reversal
}

// handshaking tells whether an endpoint has not yet left the handshake.
func (e *endpoint) handshaking() bool { return e.state <= TCPSynAckSent }

// setState changes a side's state. The first side to leave the handshake gives
// the connection five minutes of silence (Zeek TCP_Endpoint.cc, SetState).
func (t *Tracker) setState(c connection, side int, state TCPState) {
	e := &c.endpoint[side]
	if e.state == state {
		return
	}
	was := e.handshaking()
	e.previous, e.state = e.state, state
	if was && !e.handshaking() && c.endpoint[1-side].handshaking() {
		t.setTimeout(c, timeoutTCP)
	}
}

// transition runs the sender's state machine (Zeek TSA, UpdateStateMachine). It
// returns the sender's side, which a reversed handshake flips, and whether the
// sender has closed.
func (t *Tracker) transition(c connection, side int, p *bpf.Packet, payload uint32) (int, bool) {
	switch c.endpoint[side].state {
	case TCPInactive:
		return t.fromInactive(c, side, p, payload)
	case TCPSynSent, TCPSynAckSent:
		return side, t.fromHandshake(c, side, p)
	case TCPEstablished, TCPPartial:
		return side, t.fromEstablished(c, side, p)
	case TCPClosed:
		return side, t.fromClosed(c, side, p)
	}
	return side, false
}

func (t *Tracker) fromInactive(c connection, side int, p *bpf.Packet, payload uint32) (int, bool) {
	closing := false
	if p.Flags.Has(bpf.SYN) {
		if side == orig {
			t.opening(c, p)
		} else {
			side = t.answering(c, p)
		}
	}
	if p.Flags.Has(bpf.FIN) {
		t.setState(c, side, TCPClosed)
		closing = true
	}
	if p.Flags.Has(bpf.RST) {
		t.setState(c, side, TCPReset)
		closing = true
	}
	if p.Flags&(bpf.SYN|bpf.FIN|bpf.RST) != 0 {
		return side, closing
	}
	switch peer := &c.endpoint[1-side]; {
	case side == resp && payload == 0 && peer.state == TCPSynSent:
		// An odd answer to a SYN: wait for a real one.
	case p.Flags.Has(bpf.ACK) && peer.state == TCPEstablished:
		c.bits &^= bitPartial
		t.setState(c, side, TCPEstablished)
	default:
		t.setState(c, side, TCPPartial)
	}
	return side, false
}

// opening is the originator's SYN or SYN-ACK.
func (t *Tracker) opening(c connection, p *bpf.Packet) {
	if p.Flags.Has(bpf.ACK) {
		t.setState(c, orig, TCPSynAckSent)
	} else {
		t.setState(c, orig, TCPSynSent)
	}
	c.bits &^= bitClosing
	c.closeAt = t.after(p.Time, attemptDelay)
	t.armed = true
}

// answering is the responder's SYN or SYN-ACK. A SYN after the other side's
// SYN-ACK is its handshake seen in the wrong order: the roles flip.
func (t *Tracker) answering(c connection, p *bpf.Packet) (side int) {
	side = resp
	if !p.Flags.Has(bpf.ACK) && c.endpoint[orig].state == TCPSynAckSent && p.Seq == c.endpoint[resp].start {
		c.bits &^= bitPartial
		t.flip(c)
		side = orig
		t.setState(c, resp, TCPEstablished)
		c.bits |= bitSeenOrig
	}
	peer := 1 - side
	if c.endpoint[peer].state == TCPSynSent {
		t.setState(c, peer, TCPEstablished)
	}
	t.setState(c, side, TCPEstablished)
	if c.endpoint[peer].state != TCPPartial {
		t.established(c)
	}
	return side
}

// established gives interactive protocols an hour of silence (Zeek
// scripts/base/protocols/conn/inactivity.zeek).
func (t *Tracker) established(c connection) {
	port := c.port[resp]
	if c.endpoint[orig].state == TCPInactive && !likelyTCP.has(port) && likelyTCP.has(c.port[orig]) {
		port = c.port[orig]
	}
	if isInteractive(port) {
		t.setTimeout(c, timeoutInteractive)
	}
}

func (t *Tracker) fromHandshake(c connection, side int, p *bpf.Packet) (closing bool) {
	if p.Flags.Has(bpf.FIN) {
		t.setState(c, side, TCPClosed)
		closing = true
	}
	if p.Flags.Has(bpf.RST) {
		t.setState(c, side, TCPReset)
		c.bits |= bitInactive
		closing = true
	}
	return closing
}

func (t *Tracker) fromEstablished(c connection, side int, p *bpf.Packet) (closing bool) {
	e, peer := &c.endpoint[side], &c.endpoint[1-side]
	if p.Flags.Has(bpf.SYN) && !p.Flags.Has(bpf.ACK) && e.state == TCPPartial && peer.state == TCPInactive {
		t.setState(c, side, TCPSynSent)
	}
	if p.Flags.Has(bpf.FIN) && !p.Flags.Has(bpf.RST) {
		t.setState(c, side, TCPClosed)
		if peer.state == TCPReset && peer.previous == TCPClosed {
			t.setState(c, 1-side, TCPClosed)
		}
		closing = true
	}
	if p.Flags.Has(bpf.RST) {
		t.setState(c, side, TCPReset)
		if peer.state != TCPReset || peer.previous != TCPEstablished { // Zeek TSA, ConnectionReset
			c.bits |= bitInactive
		}
		closing = true
	}
	return closing
}

func (t *Tracker) fromClosed(c connection, side int, p *bpf.Packet) (closing bool) {
	if !p.Flags.Has(bpf.RST) || c.endpoint[1-side].state == TCPClosed {
		return false
	}
	t.setState(c, side, TCPReset)
	return c.endpoint[side].bits&bitDidClose == 0
}

// closeSide handles the close of a side, or puts it off until its data is
// complete (Zeek TSA, ConnectionClosed).
func (t *Tracker) closeSide(c connection, side int) {
	if t.dataPending(c, side) {
		c.bits |= bitCloseDeferred
		return
	}
	c.bits &^= bitCloseDeferred
	e, peer := &c.endpoint[side], &c.endpoint[1-side]
	if e.bits&bitDidClose != 0 {
		return
	}
	e.bits |= bitDidClose
	if e.state == TCPReset || peer.bits&bitDidClose != 0 || peer.state == TCPInactive {
		t.scheduleRemoval(c)
	} else if e.previous != TCPInactive {
		t.armSecondCheck(c, t.after(c.last, sessionTimer))
	}
}

// dataPending tells whether the end of a side's data has not come yet (Zeek
// TCP_Reassembler.cc, DataPending).
func (t *Tracker) dataPending(c connection, side int) bool {
	e := &c.endpoint[side]
	delivered, last := uint64(e.start)+t.delivered(c.hot, side), t.lastFull(c.hot, side)
	if e.bits&bitSkip != 0 || last < delivered {
		return false
	}
	if last != delivered && last != delivered+1 {
		return true
	}
	return e.state != TCPReset && t.holds(c, 1-side)
}

// checkEndOfData carries out a deferred close when a side that is closing has
// delivered all its data (Zeek TCP_Reassembler.cc, CheckEOF; TSA, EndpointEOF).
func (t *Tracker) checkEndOfData(c connection, side int) {
	e := &c.endpoint[side]
	if e.bits&bitEndOfData != 0 || e.bits&bitFin == 0 && e.state != TCPClosed && e.state != TCPReset {
		return
	}
	if t.dataPending(c, side) {
		return
	}
	e.bits |= bitEndOfData
	if c.service != 0 && !c.service.Decided() {
		t.applicationEnd(c, side)
	}
	if c.bits&bitCloseDeferred != 0 {
		c.bits &^= bitCloseDeferred
		t.closeSide(c, side)
	}
}
