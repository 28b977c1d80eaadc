// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// run takes a run of segments: as a whole if that comes to the same, else one by one.
func (t *Tracker) run(p *bpf.Packet, at lookedUp, l *layer) {
	n := p.Segments()
	t.stats.Records += uint64(n) - 1
	if l.depth == 0 {
		t.stats.IPBytes += p.WireLength() - uint64(p.IPLength) // p's own length is counted
	}
	if i, side := t.find(at, p); i != 0 && l.depth == 0 {
		if c := t.connectionAt(i); t.tcpRun(c, side, p) {
			t.stats.Packets += uint64(n)
			t.finish(i, c, p)
			return
		}
	}
	one := *p
	one.Blocks &^= bpf.BlockGSO
	one.Flags &^= bpf.PSH
	left, header := p.PayloadLength(), p.IPLength-p.PayloadLength()
	for ; n > 0; n-- {
		length := min(uint32(p.GSOSize), left)
		if n == 1 {
			length, one.Flags = left, p.Flags
		}
		one.IPLength = header + length
		t.packet(&one, lookedUp{at.hash, t.table.candidate(at.hash)}, l)
		one.Seq += length
		left -= length
		if n > 1 && l.depth == 0 {
			t.Advance(p.Time) // as before each packet: what came late may have timed out
		}
	}
}

// tcpRun books a run of segments that go on where their sender's data ends, with the
// acknowledgment that came last: that is what they do behind the first segment of their
// super-packet. It does what tcp would with one after the other, and tells whether the
// run is of that kind; if not it has done nothing.
func (t *Tracker) tcpRun(c connection, side int, p *bpf.Packet) bool {
	if c.protocol != bpf.ProtocolTCP || len(p.Payload) > 0 ||
		p.Flags&(bpf.SYN|bpf.FIN|bpf.RST|bpf.ACK) != bpf.ACK || p.Window == 0 ||
		p.State&(bpf.StateMalformed|bpf.StateFragment|bpf.StateNoLength|bpf.StateComplete) != bpf.StateComplete ||
		p.Checksum() == bpf.ChecksumBad {
		return false
	}
	e, peer := &c.endpoint[side&1], &c.endpoint[side&1^1]
	const both = bitSeenOrig | bitSeenResp
	if c.bits&(both|bitRoundTrip|bitTunnelled) != both || e.letters&letterData == 0 ||
		e.state != TCPEstablished || peer.state != TCPEstablished || (e.bits|peer.bits)&^bitSkip != 0 ||
		p.Seq != e.last || p.Ack != peer.ack {
		return false
	}
	past := p.Seq + p.PayloadLength()
	if past <= p.Seq {
		return false // 2^32 lies in it
	}
	wraps := t.upper(c.hot, side).lastWraps
	from, underflow := relative(p.Seq, e.last, wraps, e.start)
	if _, ends := relative(past-1, e.last, wraps, e.start); ends != underflow {
		return false
	}
	to := from + uint64(p.PayloadLength())
	if c.cold != 0 {
		// What waits must end before the run: else a segment in its midst could be
		// what is too much, and none behind it.
		if d := &t.cold.At(c.cold).side[side]; d.blocks != 0 && t.lastBlockEnd(d) > from {
			return false
		}
	}
	c.last = p.Time
	t.advance(c.hot, side, past)
	if !underflow {
		t.data(c, side, from, to)
	}
	t.bookRun(c.hot, side, p)
	return true
}
