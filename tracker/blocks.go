// SPDX-License-Identifier: Apache-2.0

package tracker

const (
	// maxInitialWindow is how much data may go unacknowledged before it is clear
	// that acknowledgments are not seen (Zeek tcp_max_initial_window), and
	// maxAboveHole how much may wait in all (tcp_max_above_hole_without_acks,
	// tcp_excessive_data).
	maxInitialWindow = 16384
	maxBuffered      = 10 << 20
)

// block is data [start, end) beyond a hole, in a list in order of position.
type block struct {
	start, end uint64
	next       uint32
}

// holds tells whether data of this side waits: delivered and not acknowledged, or
// beyond a hole.
func (t *Tracker) holds(c connection, side int) bool {
	return c.endpoint[side].bits&bitSkip == 0 &&
		(t.delivered(c.hot, side) > t.trim(c.hot, side) || c.cold != 0 && t.cold.At(c.cold).side[side].blocks != 0)
}

// data takes the payload [from, to) of a side (Zeek TCP_Reassembler.cc, DataSent;
// Reassem.cc, NewBlock).
func (t *Tracker) data(c connection, side int, from, to uint64) {
	trim := t.trim(c.hot, side)
	if c.endpoint[side].bits&bitSkip != 0 || to <= trim {
		return
	}
	from = max(from, trim)
	nothingAcked := t.nothingAcked(c.hot, side)
	switch delivered := t.delivered(c.hot, side); {
	case from > delivered:
		t.insertBlock(c, side, from, to)
	case to > delivered:
		t.setDelivered(c.hot, side, to)
		t.joinBlocks(c, side)
		if nothingAcked && t.size(c.hot, side) > maxInitialWindow {
			t.setTrim(c.hot, side, t.delivered(c.hot, side))
		}
	}
	t.limitBuffered(c, side, nothingAcked)
}

// limitBuffered gives reassembly up when data beyond a hole will evidently never
// be acknowledged, or when too much waits.
func (t *Tracker) limitBuffered(c connection, side int, nothingAcked bool) {
	e := &c.endpoint[side]
	delivered := t.delivered(c.hot, side)
	waiting := delivered - min(t.trim(c.hot, side), delivered)
	if c.cold == 0 {
		if waiting > maxBuffered {
			e.bits |= bitSkip
		}
		return
	}
	d := &t.cold.At(c.cold).side[side]
	if nothingAcked && d.blocks != 0 && t.lastBlockEnd(d)-delivered > maxInitialWindow ||
		waiting+d.buffered > maxBuffered {
		t.freeBlocks(d)
		e.bits |= bitSkip
	}
}

func (t *Tracker) lastBlockEnd(d *coldSide) uint64 {
	for i := d.blocks; ; {
		b := t.blocks.At(i)
		if b.next == 0 {
			return b.end
		}
		i = b.next
	}
}

// insertBlock adds what no block covers of [from, to), which begins beyond
// delivered. Blocks that touch become one: what counts are the holes.
func (t *Tracker) insertBlock(c connection, side int, from, to uint64) {
	d := &t.coldOf(c.hot).side[side]
	var before uint32
	at := d.blocks
	for at != 0 && t.blocks.At(at).end < from {
		before, at = at, t.blocks.At(at).next
	}
	for at != 0 && t.blocks.At(at).start <= to {
		b := t.blocks.At(at)
		from, to = min(from, b.start), max(to, b.end)
		d.buffered -= b.end - b.start
		next := b.next
		t.blocks.Put(at)
		at = next
	}
	i, b := t.blocks.Get()
	*b = block{from, to, at}
	d.buffered += to - from
	if before == 0 {
		d.blocks = i
	} else {
		t.blocks.At(before).next = i
	}
}

// joinBlocks moves delivered over the blocks that have become contiguous with it.
func (t *Tracker) joinBlocks(c connection, side int) {
	if c.cold == 0 {
		return
	}
	d := &t.cold.At(c.cold).side[side]
	if d.blocks == 0 {
		return
	}
	delivered := t.delivered(c.hot, side)
	for i := d.blocks; i != 0 && t.blocks.At(i).start <= delivered; i = d.blocks {
		delivered = max(delivered, t.blocks.At(i).end)
		t.dropFirstBlock(d)
	}
	t.setDelivered(c.hot, side, delivered)
}

func (t *Tracker) dropFirstBlock(d *coldSide) {
	i := d.blocks
	b := t.blocks.At(i)
	d.buffered -= b.end - b.start
	d.blocks = b.next
	t.blocks.Put(i)
}

func (t *Tracker) freeBlocks(d *coldSide) {
	for d.blocks != 0 {
		t.dropFirstBlock(d)
	}
}

// acked takes an acknowledgment of a side's data up to position (Zeek
// TCP_Reassembler.cc, AckReceived).
func (t *Tracker) acked(c connection, side int, position uint64) {
	if c.endpoint[side].bits&bitFin != 0 {
		position = min(position, t.cold.At(c.cold).side[side].finAt-1)
	}
	if position <= t.trim(c.hot, side) {
		return
	}
	if position > t.delivered(c.hot, side) {
		t.undelivered(c, side, position)
	}
	if c.cold != 0 {
		d := &t.cold.At(c.cold).side[side]
		for i := d.blocks; i != 0 && t.blocks.At(i).end <= position; i = d.blocks {
			t.dropFirstBlock(d)
		}
	}
	t.setTrim(c.hot, side, position)
	t.joinBlocks(c, side)
	t.checkEndOfData(c, side)
}

// undelivered gives up what is missing before position, which was acknowledged.
func (t *Tracker) undelivered(c connection, side int, position uint64) {
	if position <= 2 && c.bits&bitPartial != 0 {
		return // the stream's beginning was made up from this very number
	}
	if c.endpoint[side].bits&bitSkip == 0 {
		if c.cold != 0 {
			d := &t.cold.At(c.cold).side[side]
			for i := d.blocks; i != 0 && t.blocks.At(i).start < position; i = d.blocks {
				start, delivered := t.blocks.At(i).start, t.delivered(c.hot, side)
				if start > delivered {
					t.gap(c, side, start-delivered)
					t.setDelivered(c.hot, side, start)
				}
				t.joinBlocks(c, side)
			}
		}
		if delivered := t.delivered(c.hot, side); position > delivered {
			t.gap(c, side, position-delivered)
		}
	}
	t.setDelivered(c.hot, side, max(t.delivered(c.hot, side), position))
}

// gap books missing bytes of a side, if both sides took part in the handshake and
// none has been reset (Zeek TCP_Reassembler.cc, Gap).
func (t *Tracker) gap(c connection, side int, length uint64) {
	if !c.endpoint[orig].clean() || !c.endpoint[resp].clean() {
		return
	}
	d := t.coldOf(c.hot)
	t.addScaled(c.hot, side, &d.side[side].gaps, 'G')
	d.missed += length
	t.stats.MissedBytes += length
}

func (e *endpoint) clean() bool {
	return e.state == TCPEstablished || e.state == TCPClosed && e.previous == TCPEstablished
}
