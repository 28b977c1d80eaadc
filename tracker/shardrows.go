// SPDX-License-Identifier: Apache-2.0

package tracker

import "math"

const (
	rowsPerChunk = 256
	rowChunks    = 4 // of a shard, on their way to who merges them
)

// rowPlace is a place in the order of rows: at a packet, 0 for the timers that fire
// before it, 1 for itself, more for what is in a datagram that it completes.
type rowPlace struct {
	position uint64 // counted over all batches
	turn     uint8
}

// rowKey is a row's place, and among the rows of timers that fire at one moment
// that in the order of the wheel.
type rowKey struct {
	rowPlace
	expiry
}

// rowChunk is rows of one shard in their order, with copies of what the tracker
// uses again.
type rowChunk struct {
	rows    []Conn
	keys    []rowKey
	history []byte
	parents []UID
	until   rowPlace // all rows before it are here, or were in chunks before
}

// newRowChunk returns a chunk whose parents are never nil, as an empty set is not.
func newRowChunk() *rowChunk { return &rowChunk{parents: []UID{}} }

// add copies a row. What grew while it was filled stays valid in its old place.
func (b *rowChunk) add(c *Conn, key rowKey) {
	history, parents := len(b.history), len(b.parents)
	b.history = append(b.history, c.History...)
	b.parents = append(b.parents, c.TunnelParents...)
	b.rows = append(b.rows, *c)
	b.keys = append(b.keys, key)
	row := &b.rows[len(b.rows)-1]
	row.History = b.history[history:]
	if row.TunnelParents != nil { // nil is unset, and no empty set
		row.TunnelParents = b.parents[parents:]
	}
}

func (b *rowChunk) clear() {
	b.rows, b.keys, b.history, b.parents = b.rows[:0], b.keys[:0], b.history[:0], b.parents[:0]
}

// rowSender is a shard's end of the way of rows.
type rowSender struct {
	full, spare chan *rowChunk
	current     *rowChunk
}

func newRowSender() rowSender {
	return rowSender{full: make(chan *rowChunk, rowChunks), spare: make(chan *rowChunk, rowChunks), current: newRowChunk()}
}

// add takes a row, which the caller may use again.
func (r *rowSender) add(c *Conn, place rowPlace, popped expiry) {
	key := rowKey{rowPlace: place}
	if place.turn == 0 || place.position == endOfRows {
		key.expiry = popped
	}
	r.current.add(c, key)
	if len(r.current.rows) == rowsPerChunk {
		r.handOver(place)
	}
}

// handOver sends the rows so far. No later one has a place before until.
func (r *rowSender) handOver(until rowPlace) {
	r.current.until = until
	r.full <- r.current
	select {
	case r.current = <-r.spare:
		r.current.clear()
	default:
		r.current = newRowChunk()
	}
}

func (r *rowSender) close() {
	r.handOver(rowPlace{position: math.MaxUint64})
	close(r.full)
}

// rowMerger puts the rows of all shards into one order.
type rowMerger struct {
	heads []rowHead
	emit  func(*Conn)
}

// rowHead is what comes next of a shard: a row, or what it has not said yet.
type rowHead struct {
	full, spare chan *rowChunk
	chunk       *rowChunk // nil before the first one, and after the last
	next        int       // row of the chunk
	key         rowKey    // of that row, or a bound of what comes later
	ended       bool
}

// endOfRows is the position of rows of connections that are open at the end.
const endOfRows = math.MaxUint64 - 1

// run emits rows until all shards have sent their last ones.
func (m *rowMerger) run() {
	for {
		first, second := m.least()
		h := &m.heads[first]
		switch {
		case h.ended:
			return
		case h.isBound():
			h.receive()
		default:
			for {
				m.emit(&h.chunk.rows[h.next])
				h.advance()
				if h.isBound() || !h.key.before(&second) {
					break
				}
			}
		}
	}
}

// least finds the shard with the least key, and the least key of the others.
func (m *rowMerger) least() (first int, second rowKey) {
	second = rowKey{rowPlace: rowPlace{position: math.MaxUint64}}
	for i := 1; i < len(m.heads); i++ {
		switch key := &m.heads[i].key; {
		case m.heads[first].ended, !m.heads[i].ended && m.heads[i].comesBefore(&m.heads[first]):
			if !m.heads[first].ended {
				second = m.heads[first].key
			}
			first = i
		case !m.heads[i].ended && key.before(&second):
			second = *key
		}
	}
	return first, second
}

// isBound tells whether nothing has come of what is next.
func (h *rowHead) isBound() bool { return h.chunk == nil || h.next == len(h.chunk.rows) }

// comesBefore tells whether h is to be looked at first: of the same key, who has
// not said yet what comes.
func (h *rowHead) comesBefore(other *rowHead) bool {
	if h.isBound() && !other.isBound() {
		return !other.key.before(&h.key)
	}
	return h.key.before(&other.key)
}

func (h *rowHead) advance() {
	h.next++
	h.setKey()
}

func (h *rowHead) setKey() {
	if h.next < len(h.chunk.rows) {
		h.key = h.chunk.keys[h.next]
	} else {
		h.key = rowKey{h.chunk.until, expiry{due: math.MinInt64}}
	}
}

// receive waits for the next chunk.
func (h *rowHead) receive() {
	if h.chunk != nil {
		select {
		case h.spare <- h.chunk:
		default:
		}
	}
	h.next = 0
	var more bool
	if h.chunk, more = <-h.full; !more {
		h.chunk, h.ended = nil, true
		return
	}
	h.setKey()
}

func (k *rowKey) before(other *rowKey) bool {
	switch {
	case k.position != other.position:
		return k.position < other.position
	case k.turn != other.turn:
		return k.turn < other.turn
	case k.due != other.due:
		return k.due < other.due
	}
	return k.expiry.order < other.expiry.order
}
