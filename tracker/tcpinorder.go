// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// tcpInOrder books a packet that brings nothing new but data in order or an
// acknowledgment, to an established connection that has nothing out of the ordinary:
// most packets of most captures. It does what the steps of tcp would, and tells
// whether the packet is of that kind; if not it has done nothing.
func (t *Tracker) tcpInOrder(c *hot, side int, p *bpf.Packet) bool {
	if p.Flags&(bpf.SYN|bpf.FIN|bpf.RST|bpf.ACK) != bpf.ACK || p.Window == 0 ||
		p.State&(bpf.StateMalformed|bpf.StateComplete|bpf.StateNoLength) != bpf.StateComplete ||
		p.Checksum() == bpf.ChecksumBad {
		return false
	}
	e, peer := &c.endpoint[side&1], &c.endpoint[side&1^1]
	const both = bitSeenOrig | bitSeenResp
	if c.cold != 0 || c.bits&(both|bitRoundTrip) != both ||
		e.state != TCPEstablished || peer.state != TCPEstablished || e.bits|peer.bits != 0 {
		return false
	}
	payload, letter, letterText := p.PayloadLength(), letterAck, byte('A')
	if payload > 0 {
		letter, letterText = letterData, 'D'
	}
	// Without a cold part no number has gone through 2^32, and positions are
	// differences as they stand.
	from, to, acked := p.Seq-e.start, p.Seq+payload-e.start, p.Ack-peer.start
	if p.Seq != e.last || p.Seq+payload < p.Seq || from != e.delivered ||
		int32(to) < 0 || e.trim > from || to-e.trim > maxBuffered ||
		p.Ack < peer.ack || int32(acked) < 0 || acked > peer.delivered {
		return false
	}
	if e.letters&letter == 0 {
		t.addOnce(c, side, letter, letterText)
	}
	c.last = p.Time
	e.last += payload
	e.delivered = to
	if payload > 0 && e.ack-e.start <= 1 && to-1 > maxInitialWindow {
		e.trim = to // acknowledgments of it are not seen
	}
	peer.ack = p.Ack
	peer.trim = max(peer.trim, acked)
	t.book(c, side, p.IPLength)
	return true
}

// tcpPayload shows the payload of a packet that tcpInOrder has booked to the
// analyzers.
func (t *Tracker) tcpPayload(c connection, side int, p *bpf.Packet) {
	if len(p.Payload) > 0 && !c.service.Decided() {
		position := uint64(p.Seq - c.endpoint[side].start)
		t.applicationData(c, side, position, position, p)
	}
}
