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
func (t *Tracker) holds(c *connection, side int) bool {
	e := &c.endpoint[side]
	return e.bits&bitSkip == 0 && (e.delivered > e.trim || c.cold != 0 && t.cold.at(c.cold).blocks[side] != 0)
}

// data takes the payload [from, to) of a side (Zeek TCP_Reassembler.cc, DataSent;
// Reassem.cc, NewBlock).
func (t *Tracker) data(c *connection, side int, from, to uint64) {
	e := &c.endpoint[side]
	if e.bits&bitSkip != 0 || to <= e.trim {
		return
	}
	from = max(from, e.trim)
	nothingAcked := e.nothingAcked()
	switch {
	case from > e.delivered:
		t.insertBlock(c, side, from, to)
	case to > e.delivered:
		e.delivered = to
		t.joinBlocks(c, side)
		if nothingAcked && e.size(&c.endpoint[1-side]) > maxInitialWindow {
			e.trim = e.delivered
		}
	}
	t.limitBuffered(c, side, nothingAcked)
}

// limitBuffered gives reassembly up when data beyond a hole will evidently never
// be acknowledged, or when too much waits.
func (t *Tracker) limitBuffered(c *connection, side int, nothingAcked bool) {
	e := &c.endpoint[side]
	waiting := e.delivered - min(e.trim, e.delivered)
	if c.cold == 0 {
		if waiting > maxBuffered {
			e.bits |= bitSkip
		}
		return
	}
	d := t.cold.at(c.cold)
	if nothingAcked && d.blocks[side] != 0 && t.lastBlockEnd(d, side)-e.delivered > maxInitialWindow ||
		waiting+d.buffered[side] > maxBuffered {
		t.freeBlocks(d, side)
		e.bits |= bitSkip
	}
}

func (t *Tracker) lastBlockEnd(d *cold, side int) uint64 {
	for i := d.blocks[side]; ; {
		b := t.blocks.at(i)
		if b.next == 0 {
			return b.end
		}
		i = b.next
	}
}

// insertBlock adds what no block covers of [from, to), which begins beyond
// delivered. Blocks that touch become one: what counts are the holes.
func (t *Tracker) insertBlock(c *connection, side int, from, to uint64) {
	d := t.coldOf(c)
	var before uint32
	at := d.blocks[side]
	for at != 0 && t.blocks.at(at).end < from {
		before, at = at, t.blocks.at(at).next
	}
	for at != 0 && t.blocks.at(at).start <= to {
		b := t.blocks.at(at)
		from, to = min(from, b.start), max(to, b.end)
		d.buffered[side] -= b.end - b.start
		next := b.next
		t.blocks.put(at)
		at = next
	}
	i, b := t.blocks.get()
	*b = block{from, to, at}
	d.buffered[side] += to - from
	if before == 0 {
		d.blocks[side] = i
	} else {
		t.blocks.at(before).next = i
	}
}

// joinBlocks moves delivered over the blocks that have become contiguous with it.
func (t *Tracker) joinBlocks(c *connection, side int) {
	if c.cold == 0 {
		return
	}
	e, d := &c.endpoint[side], t.cold.at(c.cold)
	for i := d.blocks[side]; i != 0 && t.blocks.at(i).start <= e.delivered; i = d.blocks[side] {
		e.delivered = max(e.delivered, t.blocks.at(i).end)
		t.dropFirstBlock(d, side)
	}
}

func (t *Tracker) dropFirstBlock(d *cold, side int) {
	i := d.blocks[side]
	b := t.blocks.at(i)
	d.buffered[side] -= b.end - b.start
	d.blocks[side] = b.next
	t.blocks.put(i)
}

func (t *Tracker) freeBlocks(d *cold, side int) {
	for d.blocks[side] != 0 {
		t.dropFirstBlock(d, side)
	}
}

// acked takes an acknowledgment of a side's data up to position (Zeek
// TCP_Reassembler.cc, AckReceived).
func (t *Tracker) acked(c *connection, side int, position uint64) {
	e := &c.endpoint[side]
	if e.bits&bitFin != 0 {
		position = min(position, t.cold.at(c.cold).finAt[side]-1)
	}
	if position <= e.trim {
		return
	}
	if position > e.delivered {
		t.undelivered(c, side, position)
	}
	if c.cold != 0 {
		d := t.cold.at(c.cold)
		for i := d.blocks[side]; i != 0 && t.blocks.at(i).end <= position; i = d.blocks[side] {
			t.dropFirstBlock(d, side)
		}
	}
	e.trim = position
	t.joinBlocks(c, side)
	t.checkEndOfData(c, side)
}

// undelivered gives up what is missing before position, which was acknowledged.
func (t *Tracker) undelivered(c *connection, side int, position uint64) {
	e := &c.endpoint[side]
	if position <= 2 && c.bits&bitPartial != 0 {
		return // the stream's beginning was made up from this very number
	}
	if e.bits&bitSkip == 0 {
		if c.cold != 0 {
			d := t.cold.at(c.cold)
			for i := d.blocks[side]; i != 0 && t.blocks.at(i).start < position; i = d.blocks[side] {
				if start := t.blocks.at(i).start; start > e.delivered {
					t.gap(c, side, start-e.delivered)
					e.delivered = start
				}
				t.joinBlocks(c, side)
			}
		}
		if position > e.delivered {
			t.gap(c, side, position-e.delivered)
		}
	}
	e.delivered = max(e.delivered, position)
}

// gap books missing bytes of a side, if both sides took part in the handshake and
// none has been reset (Zeek TCP_Reassembler.cc, Gap).
func (t *Tracker) gap(c *connection, side int, length uint64) {
	if !c.endpoint[orig].clean() || !c.endpoint[resp].clean() {
		return
	}
	d := t.coldOf(c)
	t.addScaled(c, side, &d.gaps[side], 'G')
	d.missed += length
	t.stats.MissedBytes += length
}

func (e *endpoint) clean() bool {
	return e.state == TCPEstablished || e.state == TCPClosed && e.previous == TCPEstablished
}
