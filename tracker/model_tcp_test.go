// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"cmp"
	"regexp"
	"slices"

	"conntap/bpf"
	"conntap/tracker"
)

// modelEndpoint is the TCP of a host. Full numbers are wraps<<32 + number; relative
// ones count from start, so that the first byte of data is 1.
type modelEndpoint struct {
	state, previous     tracker.TCPState
	start               int64
	last, ack           uint32
	lastWraps, ackWraps uint64
	fins                int
	finEnd              int64 // relative, one past the FIN
	didClose            bool
	lettersAt           [3]int64 // relative numbers of the last S or H, F and R

	// The reassembler.
	blocks          []modelBlock // sorted, without overlaps
	delivered, trim int64        // relative
	skip, ended     bool
}

// modelBlock is a range of relative numbers.
type modelBlock struct{ from, to int64 }

const (
	modelTooFar        = 1 << 20  // a SYN's, RST's or zero ACK's distance that is not believed
	modelInitialWindow = 16384    // bytes that may come before any ACK
	modelMostBuffered  = 10 << 20 // bytes that may wait for ACKs
)

func delta(a, b uint32) int64 { return int64(int32(a - b)) }

func (e *modelEndpoint) fullLast() uint64 { return e.lastWraps<<32 + uint64(e.last) }
func (e *modelEndpoint) fullAck() uint64  { return e.ackWraps<<32 + uint64(e.ack) }

func (e *modelEndpoint) nothingAcked() bool {
	return e.fullAck() == uint64(e.start) || e.fullAck() == uint64(e.start+1)
}

func (e *modelEndpoint) size(peer *modelSide) uint64 {
	if e.previous == tracker.TCPSynSent && e.state == tracker.TCPReset &&
		peer.state == tracker.TCPInactive && !e.nothingAcked() {
		return 0
	}
	size := max(e.fullLast(), e.fullAck()) - uint64(e.start)
	if size != 0 {
		size--
	}
	if size != 0 && e.fins > 0 {
		size--
	}
	return size
}

// relative is a number's place in e's stream, as seen from a reference near it;
// negative only if it comes before the start.
func (e *modelEndpoint) relative(number, reference uint32, wraps uint64) (place int64, underflow bool) {
	d := delta(number, reference)
	if d < 0 && wraps > 0 && number > reference {
		wraps--
	} else if d > 0 && number < reference {
		wraps++
	}
	if wraps == 0 {
		d = delta(number, uint32(e.start))
		return d, d < 0
	}
	return int64(wraps<<32+uint64(number)) - e.start, false
}

// reusedBy tells whether a packet opens a new connection on this one's five-tuple.
func (c *modelConn) reusedBy(p *bpf.Packet) bool {
	if p.State&bpf.StateShortOffset != 0 || !p.Flags.Has(bpf.SYN) {
		return false
	}
	o, r, plain := c.orig, c.resp, !p.Flags.Has(bpf.ACK)
	start := o.start
	if !plain {
		if o.state != tracker.TCPInactive {
			return false
		}
		start = r.start
	}
	if o.didClose || r.didClose {
		return true
	}
	if p.Seq == uint32(start) {
		return false
	}
	reversed := plain && o.state == tracker.TCPSynAckSent && r.state == tracker.TCPInactive && p.Seq == uint32(r.start)
	return !reversed
}

// deliverTCP books one TCP packet. It tells whether the packet was good.
func (m *model) deliverTCP(c *modelConn, p *bpf.Packet, e *modelSide) bool {
	if p.State&bpf.StateMalformed != 0 {
		return false
	}
	if p.Checksum() == bpf.ChecksumBad {
		c.scaled(e, 'C')
		return false
	}
	syn, fin, rst, ack := p.Flags.Has(bpf.SYN), p.Flags.Has(bpf.FIN), p.Flags.Has(bpf.RST), p.Flags.Has(bpf.ACK)
	peer, role, payload := c.peer(e), c.role(e), int64(p.PayloadLength())
	c.judgePartial(role, p.Flags)
	length := payload
	if rst {
		length = 0
	}
	if syn {
		length++
	}
	if fin {
		length++
	}
	past := p.Seq + uint32(length)
	e.begin(p.Seq, past, syn)
	place, underflow := e.relative(p.Seq, e.last, e.lastWraps)
	c.mainLetter(e, p.Flags, place, payload)
	if p.Window == 0 && !rst && peer.state != tracker.TCPClosed && e.state != tracker.TCPReset {
		c.scaled(e, 'W')
	}
	if !e.didClose || !peer.didClose {
		c.last = p.Time
	}
	if fin {
		e.fins++
		e.finEnd = place + length
	}
	acked := int64(0)
	if ack {
		acked = peer.acknowledge(p.Ack, rst)
	}
	c.advance(e, p, past, payload)
	closing := m.transition(c, e, p, payload)
	if ack {
		m.acked(c, peer, acked)
	}
	c.firstSeen[role] = true
	if payload > 0 && !rst && !underflow && p.State&bpf.StateComplete != 0 {
		if syn {
			place++
		}
		e.data(place, place+payload)
	}
	m.endOfData(c, e)
	if closing {
		m.closed(c, e)
	}
	e.count(p)
	if c.established {
		c.established = false
		m.interactive(c)
	}
	return true
}

func (c *modelConn) judgePartial(role int, flags bpf.Flags) {
	if c.firstSeen[role] {
		return
	}
	if role == modelOrig {
		c.partial = !flags.Has(bpf.SYN) || flags.Has(bpf.ACK)
	} else if !c.partial {
		c.partial = !flags.Has(bpf.SYN)
	}
}

// begin gives an endpoint its first numbers, or others.
func (e *modelEndpoint) begin(seq, past uint32, syn bool) {
	again := false
	switch e.state {
	case tracker.TCPInactive:
		again = syn
		if !syn {
			e.start, e.ack, e.last = int64(seq-1), seq-1, seq
		}
	case tracker.TCPSynSent, tracker.TCPSynAckSent:
		again = syn && seq != uint32(e.start)
	case tracker.TCPEstablished, tracker.TCPPartial:
		again = syn
	case tracker.TCPReset:
		again = syn && e.previous == tracker.TCPInactive
	}
	if again {
		e.start, e.ack, e.last = int64(seq), seq, past
	}
}

// acknowledge takes an ACK for e's data, and returns its relative number.
func (e *modelEndpoint) acknowledge(ack uint32, rst bool) int64 {
	if e.state == tracker.TCPInactive {
		e.start, e.ack, e.last = int64(ack-1), ack-1, ack-1
		return 1
	}
	place, underflow := e.relative(ack, e.ack, e.ackWraps)
	if underflow {
		return 0
	}
	d := delta(ack, e.ack)
	if !rst && d > 0 && (ack != 0 || d <= modelTooFar) {
		if ack < e.ack {
			e.ackWraps++
		}
		e.ack = ack
	}
	return place
}

// advance moves the highest number sent, or finds a retransmission.
func (c *modelConn) advance(e *modelSide, p *bpf.Packet, past uint32, payload int64) {
	d := delta(past, e.last)
	switch {
	case (p.Flags.Has(bpf.SYN) || p.Flags.Has(bpf.RST)) && (d > modelTooFar || d < -modelTooFar):
	case p.Flags.Has(bpf.FIN) && e.last == uint32(e.start)+1, e.state != tracker.TCPReset && d > 0:
		if past < e.last {
			e.lastWraps++
		}
		e.last = past
	case e.state == tracker.TCPReset:
	case payload > 0:
		c.scaled(e, 'T')
	}
}

// mainLetter writes the letter that stands for the packet itself.
func (c *modelConn) mainLetter(e *modelSide, flags bpf.Flags, place, payload int64) {
	syn, fin, rst := flags.Has(bpf.SYN), flags.Has(bpf.FIN), flags.Has(bpf.RST)
	switch {
	case fin && rst:
		c.letterOnce(e, "I", "I")
	case syn && (fin || rst):
		c.letterOnce(e, "Q", "Q")
	case syn && flags.Has(bpf.ACK):
		c.letterAt(e, 0, "SH", "H", place)
	case syn:
		c.letterAt(e, 0, "SH", "S", place)
	case fin:
		c.letterAt(e, 1, "F", "F", place+payload)
	case rst:
		c.letterAt(e, 2, "R", "R", place)
	case payload > 0:
		c.flipLoneSYNACK()
		c.letterOnce(e, "D", "D")
	case flags.Has(bpf.ACK):
		c.flipLoneSYNACK()
		c.letterOnce(e, "A", "A")
	}
}

// letterAt writes a letter that comes again at another place.
func (c *modelConn) letterAt(e *modelSide, i int, kind, letter string, place int64) {
	if c.letterOnce(e, kind, letter) {
		e.lettersAt[i] = place
	} else if place != e.lettersAt[i] {
		e.lettersAt[i] = place
		c.letter(e, letter)
	}
}

func (c *modelConn) flipLoneSYNACK() {
	if c.history == "H" {
		c.flip()
		c.history = "^h"
		c.firstSeen[modelOrig] = true
	}
}

func handshaking(s tracker.TCPState) bool {
	return s == tracker.TCPInactive || s == tracker.TCPSynSent || s == tracker.TCPSynAckSent
}

func (m *model) setState(c *modelConn, e *modelSide, state tracker.TCPState) {
	if state == e.state {
		return
	}
	if handshaking(e.state) && !handshaking(state) && handshaking(c.peer(e).state) {
		m.setTimeout(c, 300*modelSecond)
	}
	e.previous, e.state = e.state, state
}

// transition moves the state of e, and tells whether it asks for a close.
func (m *model) transition(c *modelConn, e *modelSide, p *bpf.Packet, payload int64) (closing bool) {
	syn, fin, rst := p.Flags.Has(bpf.SYN), p.Flags.Has(bpf.FIN), p.Flags.Has(bpf.RST)
	switch e.state {
	case tracker.TCPInactive:
		switch {
		case !syn && !fin && !rst:
			m.firstInMidstream(c, e, p.Flags, payload)
			return false
		case syn && e == c.orig:
			m.firstOfOriginator(c, e, p)
		case syn:
			m.firstOfResponder(c, e, p)
		}
		if fin {
			m.setState(c, e, tracker.TCPClosed)
		}
		if rst {
			m.setState(c, e, tracker.TCPReset)
		}
		return fin || rst
	case tracker.TCPSynSent, tracker.TCPSynAckSent:
		if fin {
			m.setState(c, e, tracker.TCPClosed)
		}
		if rst {
			m.setState(c, e, tracker.TCPReset)
			c.active = false
		}
		return fin || rst
	case tracker.TCPEstablished, tracker.TCPPartial:
		return m.transitionEstablished(c, e, p.Flags)
	case tracker.TCPClosed:
		if rst && c.peer(e).state != tracker.TCPClosed {
			m.setState(c, e, tracker.TCPReset)
			return !e.didClose
		}
	}
	return false
}

func (m *model) firstOfOriginator(c *modelConn, e *modelSide, p *bpf.Packet) {
	state := tracker.TCPSynSent
	if p.Flags.Has(bpf.ACK) {
		state = tracker.TCPSynAckSent
	}
	m.setState(c, e, state)
	m.arm(c, modelAttempt, p.Time+5*modelSecond)
}

func (m *model) firstOfResponder(c *modelConn, e *modelSide, p *bpf.Packet) {
	peer := c.peer(e)
	if !p.Flags.Has(bpf.ACK) && peer.state == tracker.TCPSynAckSent && p.Seq == uint32(e.start) {
		c.partial = false
		c.flip()
		m.setState(c, peer, tracker.TCPEstablished)
		c.firstSeen[modelOrig] = true
	}
	if peer.state == tracker.TCPSynSent {
		m.setState(c, peer, tracker.TCPEstablished)
	}
	m.setState(c, e, tracker.TCPEstablished)
	c.established = peer.state != tracker.TCPPartial
}

func (m *model) firstInMidstream(c *modelConn, e *modelSide, flags bpf.Flags, payload int64) {
	peer := c.peer(e)
	switch {
	case e == c.resp && payload == 0 && c.orig.state == tracker.TCPSynSent:
	case flags.Has(bpf.ACK) && peer.state == tracker.TCPEstablished:
		m.setState(c, e, tracker.TCPEstablished)
		c.partial = false
	default:
		m.setState(c, e, tracker.TCPPartial)
	}
}

func (m *model) transitionEstablished(c *modelConn, e *modelSide, flags bpf.Flags) (closing bool) {
	peer := c.peer(e)
	if flags.Has(bpf.SYN) && !flags.Has(bpf.ACK) && e.state == tracker.TCPPartial && peer.state == tracker.TCPInactive {
		m.setState(c, e, tracker.TCPSynSent)
	}
	if flags.Has(bpf.FIN) && !flags.Has(bpf.RST) {
		m.setState(c, e, tracker.TCPClosed)
		if peer.state == tracker.TCPReset && peer.previous == tracker.TCPClosed {
			m.setState(c, peer, tracker.TCPClosed)
		}
		closing = true
	}
	if flags.Has(bpf.RST) {
		m.setState(c, e, tracker.TCPReset)
		// A reset stops the expire check here too (Zeek TSA, UpdateEstablishedState:
		// ConnectionReset), which no trace pins.
		if peer.state != tracker.TCPReset || peer.previous != tracker.TCPEstablished {
			c.active = false
		}
		closing = true
	}
	return closing
}

// interactive gives an established connection of some ports an hour.
func (m *model) interactive(c *modelConn) {
	port, likely := c.resp.port, modelLikely[bpf.ProtocolTCP]
	if c.orig.state == tracker.TCPInactive && !slices.Contains(likely, port) && slices.Contains(likely, c.orig.port) {
		port = c.orig.port
	}
	if slices.Contains([]uint16{21, 22, 23, 513}, port) {
		m.setTimeout(c, 3600*modelSecond)
	}
}

// pending tells whether data of e, or acknowledgments by it, are still missing.
func (c *modelConn) pending(e *modelSide) bool {
	delivered := uint64(e.start + e.delivered)
	if e.skip || e.fullLast() < delivered {
		return false
	}
	return delivered != e.fullLast() && delivered != e.fullLast()-1 ||
		e.state != tracker.TCPReset && len(c.peer(e).blocks) > 0
}

// closed is a side's wish to close.
func (m *model) closed(c *modelConn, e *modelSide) {
	if c.pending(e) {
		c.deferred = true
		return
	}
	c.deferred = false // the other side's too
	if e.didClose {
		return
	}
	e.didClose = true
	peer := c.peer(e)
	if e.state == tracker.TCPReset || peer.didClose || peer.state == tracker.TCPInactive {
		m.cancel(c, modelAttempt, modelExpire, modelDelete)
		m.arm(c, modelDelete, c.last+5*modelSecond)
	} else if e.previous != tracker.TCPInactive {
		m.arm(c, modelExpire, c.last+6*modelSecond)
	}
}

// endOfData carries out a close that waited for e's data.
func (m *model) endOfData(c *modelConn, e *modelSide) {
	over := e.fins > 0 || e.state == tracker.TCPClosed || e.state == tracker.TCPReset
	if e.ended || !over || c.pending(e) {
		return
	}
	e.ended = true
	if c.deferred {
		c.deferred = false
		m.closed(c, e)
	}
}

// data has arrived.
func (e *modelEndpoint) data(from, to int64) {
	if e.skip || to <= e.trim {
		return
	}
	for at := max(from, e.trim); at < to; {
		next := to // where the next known block begins
		inside := false
		for _, b := range e.blocks {
			if b.from <= at && at < b.to {
				at, inside = b.to, true
				break
			}
			if at < b.from {
				next = min(next, b.from)
			}
		}
		if !inside {
			e.blocks = append(e.blocks, modelBlock{at, next})
			at = next
		}
	}
	slices.SortFunc(e.blocks, func(a, b modelBlock) int { return cmp.Compare(a.from, b.from) })
	if e.deliver() && e.nothingAcked() && e.sizeAlone() > modelInitialWindow {
		e.trimTo(e.delivered)
	}
	// The reference counts a block until its last byte is acknowledged, which can
	// differ by less than one packet.
	buffered, end := int64(0), e.delivered
	for _, b := range e.blocks {
		buffered, end = buffered+b.to-max(b.from, e.trim), b.to
	}
	if e.nothingAcked() && end-e.delivered > modelInitialWindow || buffered > modelMostBuffered {
		e.blocks, e.skip = nil, true
	}
}

// sizeAlone is the size of a side whose state is not judged.
func (e *modelEndpoint) sizeAlone() uint64 {
	return e.size(&modelSide{modelEndpoint: modelEndpoint{state: tracker.TCPPartial}})
}

// deliver moves over the blocks that follow, and tells whether there were any.
func (e *modelEndpoint) deliver() (moved bool) {
	for _, b := range e.blocks {
		if b.from == e.delivered {
			e.delivered, moved = b.to, true
		}
	}
	return moved
}

func (e *modelEndpoint) trimTo(place int64) {
	e.blocks = slices.DeleteFunc(e.blocks, func(b modelBlock) bool { return b.to <= place })
	e.trim = place
}

// acked hands an acknowledgment to the reassembler of the side that it is for.
func (m *model) acked(c *modelConn, e *modelSide, place int64) {
	if e.fins > 0 && e.finEnd > 0 && place >= e.finEnd { // a FIN before the start limits nothing
		place = e.finEnd - 1
	}
	if place <= e.trim {
		return
	}
	if place > e.delivered {
		c.undelivered(e, place)
	}
	e.trimTo(place)
	e.deliver()
	m.endOfData(c, e)
}

// undelivered is what was acknowledged and never seen.
func (c *modelConn) undelivered(e *modelSide, place int64) {
	if place <= 2 && c.partial {
		return
	}
	for _, b := range e.blocks {
		if !e.skip && b.from < place && b.to > e.delivered {
			if b.from > e.delivered {
				c.gap(e, b.from-e.delivered)
			}
			e.delivered = b.from
			e.deliver()
		}
	}
	if !e.skip && place > e.delivered {
		c.gap(e, place-e.delivered)
	}
	e.delivered = max(e.delivered, place)
}

func (c *modelConn) gap(e *modelSide, length int64) {
	for _, s := range []*modelSide{c.orig, c.resp} {
		clean := s.state == tracker.TCPEstablished || s.state == tracker.TCPClosed && s.previous == tracker.TCPEstablished
		if !clean {
			return
		}
	}
	c.scaled(e, 'G')
	c.missed += uint64(length)
}

// unanswered is what the attempt timer asks.
func (c *modelConn) unanswered() bool {
	o := c.orig.state
	return (o == tracker.TCPSynSent || o == tracker.TCPSynAckSent) && c.resp.state == tracker.TCPInactive
}

// lingers is what the expire check asks of a silent connection.
func (c *modelConn) lingers() bool {
	o, r := c.orig, c.resp
	inactive := func(s *modelSide) bool { return s.state == tracker.TCPInactive }
	if o.didClose || r.didClose {
		reset := o.state == tracker.TCPReset || r.state == tracker.TCPReset
		return o.didClose && r.didClose || reset || inactive(o) || inactive(r)
	}
	return inactive(o) && inactive(r)
}

var modelRSTOS0 = regexp.MustCompile(`^\^?S[^HAFGIQ]*R`)

func (c *modelConn) stateTCP() string {
	const (
		inactive, synSent, synAckSent = tracker.TCPInactive, tracker.TCPSynSent, tracker.TCPSynAckSent
		partial, established          = tracker.TCPPartial, tracker.TCPEstablished
		closed, reset                 = tracker.TCPClosed, tracker.TCPReset
	)
	o, r := c.orig.state, c.resp.state
	empty := c.orig.size(c.resp) == 0 && c.resp.size(c.orig) == 0
	switch {
	case r == reset && (o == synSent || o == synAckSent || o == reset && empty):
		return "REJ"
	case r == reset && (o == inactive || o == partial):
		return "RSTRH"
	case r == reset:
		return "RSTR"
	case o == reset && (r == inactive || r == partial) && modelRSTOS0.MatchString(c.history):
		return "RSTOS0"
	case o == reset && (r == inactive || r == partial):
		return "OTH"
	case o == reset:
		return "RSTO"
	case o == closed && r == closed:
		return "SF"
	case o == closed && (r == inactive || r == partial):
		return "SH"
	case o == closed:
		return "S2"
	case r == closed && (o == inactive || o == partial):
		return "SHR"
	case r == closed:
		return "S3"
	case o == synSent && r == inactive:
		return "S0"
	case o == established && r == established:
		return "S1"
	}
	return "OTH"
}
