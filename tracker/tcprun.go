// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// run takes a run of segments: as a whole if that comes to the same, or all behind the
// first one, which may have something to say, else one by one.
func (t *Tracker) run(p *bpf.Packet, at lookedUp, l *layer) {
	n := p.Segments()
	t.stats.Records += uint64(n) - 1
	if l.depth == 0 {
		t.stats.IPBytes += p.WireLength() - uint64(p.IPLength) // p's own length is counted
	}
	if t.wholeRun(p, at, l) {
		return
	}
	one, rest := &t.segment, &t.unsegmented
	*rest = *p
	header := p.IPLength - p.PayloadLength()
	for i := range n {
		*one = *rest
		one.Blocks &^= bpf.BlockGSO
		if i < n-1 {
			one.Flags &^= bpf.PSH
			one.IPLength = header + min(uint32(p.GSOSize), rest.PayloadLength())
		}
		again := lookedUp{at.hash, t.table.candidate(at.hash)}
		t.packet(one, again, l)
		if i == n-1 {
			return
		}
		rest.Seq += one.PayloadLength()
		rest.IPLength -= one.PayloadLength()
		rest.GSOSegments--
		if l.depth == 0 {
			t.Advance(p.Time) // as before each packet: what came late may have timed out
		}
		if again.candidate = t.table.candidate(at.hash); i == 0 && t.wholeRun(rest, again, l) {
			return
		}
	}
}

// wholeRun books a run at once if that comes to the same as one segment after the other.
func (t *Tracker) wholeRun(p *bpf.Packet, at lookedUp, l *layer) bool {
	i, side := t.find(at, p)
	if i == 0 || l.depth != 0 {
		return false
	}
	c := t.connectionAt(i)
	if !t.tcpRun(c, side, p) {
		return false
	}
	t.stats.Packets += uint64(p.Segments())
	t.finish(i, c, p)
	return true
}

// tcpRun books a run of segments that go on where their sender's data ends, with the
// acknowledgment that came last, as in a transfer in one direction, or behind the first
// segment of their super-packet. It does what tcp would with one after the other, and
// tells whether the run is of that kind; if not it has done nothing.
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
