// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"cmp"
	"math/bits"
	"slices"

	"conntap/tracker/internal/slab"
)

const (
	wheelShift  = 20 // a tick of the finest wheel: 1.05 ms
	wheelLevels = 6  // 268 ms, 69 s, 4.9 h, 52 days, 37 years a turn, and all the rest of an int64
	wheelBits   = 8
	wheelSlots  = 1 << wheelBits
)

// wheel is a hierarchical timer wheel. It hands a connection out when its due time
// has come; which of its timers that was is the connection's business. Due times
// are exact to the ns, and connections come out in their order, ties by order.
//
// A slot holds the due times that share all higher digits with now and differ in
// the digit of its level; so slots of a lower level always come first. It is a list
// of chunks of entries, and not of connections, so that turning it reads memory in
// a row. An entry holds only when the connection's due time is still the one that
// made it; so nothing is ever taken out.
type wheel struct {
	connections *slab.Array[warm]
	chunks      slab.Slab[wheelChunk]
	entries     int   // in all slots
	tick        int64 // where the wheel stands
	next        int64 // no due time is before it, ns
	heads       [wheelLevels][wheelSlots]uint32
	occupied    [wheelLevels][wheelSlots / 64]uint64
	// ready holds the connections of the current tick, the next one last.
	ready []readyEntry

	ahead   *slab.Array[hot] // read before the connections come out; nil: not
	unread  int              // so many of ready are to be read yet
	read    bool             // some were read since Tracker.readSlots
	touched uint64           // keeps the compiler from leaving the reads ahead out
}

// wheelChunk is a part of a slot.
type wheelChunk struct {
	next    uint32
	length  uint32
	entries [31]wheelEntry
}

// wheelEntry is a connection and the lower half of its due tick. The upper half is
// that of the wheel, but at the highest levels, 52 days away.
type wheelEntry struct{ index, tick uint32 }

type readyEntry struct {
	due   int64
	order uint64
	index uint32
}

// after puts the entry that is due first at the end.
func (e readyEntry) after(f readyEntry) int {
	if e.due != f.due {
		return cmp.Compare(f.due, e.due)
	}
	return cmp.Compare(f.order, e.order)
}

// schedule makes the connection come out at due, and not at any time that it was
// to come out at before.
func (w *wheel) schedule(i uint32, c *warm, due int64) {
	c.due = due
	w.next = min(w.next, due)
	tick := due >> wheelShift
	if tick <= w.tick {
		e := readyEntry{due, c.order, i}
		at, _ := slices.BinarySearchFunc(w.ready, e, readyEntry.after)
		w.ready = slices.Insert(w.ready, at, e)
		return
	}
	w.push(i, tick)
}

func (w *wheel) push(i uint32, tick int64) {
	level := (bits.Len64(uint64(tick^w.tick)) - 1) / wheelBits
	slot := int(tick >> (level * wheelBits) & (wheelSlots - 1))
	head := &w.heads[level][slot]
	if *head == 0 || w.chunks.At(*head).length == uint32(len(wheelChunk{}.entries)) {
		n, chunk := w.chunks.Get()
		chunk.next = *head
		*head = n
		w.occupied[level][slot/64] |= 1 << (slot % 64)
	}
	chunk := w.chunks.At(*head)
	chunk.entries[chunk.length] = wheelEntry{i, uint32(tick)}
	chunk.length++
	w.entries++
}

// entriesSpare is how many entries that hold no more the wheel may have at least.
const entriesSpare = 1 << 16

// limit keeps the entries that hold no more from becoming many times those of so many
// connections: in a flood they are evicted long before they are due. It reads few
// entries for each one that was added since.
func (w *wheel) limit(connections int) {
	if w.entries > 4*connections+entriesSpare {
		w.purge()
	}
}

// purge throws out the entries that hold no more.
func (w *wheel) purge() {
	for level := range wheelLevels {
		for slot := range wheelSlots {
			i := w.heads[level][slot]
			w.heads[level][slot] = 0
			w.occupied[level][slot/64] &^= 1 << (slot % 64)
			w.keepValid(i)
		}
	}
}

// keepValid puts what holds in a list of chunks back into the wheel. That never comes
// before where the wheel stands, nor to a slot that is still to be looked at: to the
// same slot, or to one of a lower level.
func (w *wheel) keepValid(i uint32) {
	for i != 0 {
		chunk := *w.chunks.At(i)
		w.chunks.Put(i)
		w.entries -= int(chunk.length)
		for _, e := range chunk.entries[:chunk.length] {
			if c := w.connections.At(e.index); c.due != never && uint32(c.due>>wheelShift) == e.tick {
				w.push(e.index, c.due>>wheelShift)
			}
		}
		i = chunk.next
	}
}

// cancel keeps the connection from coming out. It may be gone afterwards.
func (w *wheel) cancel(c *warm) { c.due = never }

// pop returns a connection that is due at now, and when it was due, and takes it
// out; 0 if there is none.
func (w *wheel) pop(now int64) (i uint32, due int64) {
	for {
		for n := len(w.ready); n > 0; n = len(w.ready) {
			if n <= w.unread {
				w.readAhead()
			}
			e := w.ready[n-1]
			if c := w.connections.At(e.index); c.due == e.due && c.order == e.order {
				if e.due > now {
					w.next = e.due
					return 0, 0
				}
				c.due = never
				w.ready = w.ready[:n-1]
				return e.index, e.due
			}
			w.ready = w.ready[:n-1]
		}
		level, slot, tick := w.first()
		if level < 0 {
			w.next = never
			w.tick = max(w.tick, now>>wheelShift)
			return 0, 0
		}
		if tick > now>>wheelShift {
			w.next = tick << wheelShift
			w.tick = max(w.tick, now>>wheelShift)
			return 0, 0
		}
		w.turn(level, slot, tick)
	}
}

// first is the slot that comes next and the tick at which it does; level -1 if
// all are empty.
func (w *wheel) first() (level, slot int, tick int64) {
	for level := range wheelLevels {
		shift := level * wheelBits
		from := int(w.tick>>shift) & (wheelSlots - 1)
		if slot := w.firstOccupied(level, from); slot >= 0 {
			return level, slot, w.tick>>(shift+wheelBits)<<(shift+wheelBits) | int64(slot)<<shift
		}
	}
	return -1, 0, 0
}

func (w *wheel) firstOccupied(level, from int) int {
	word := from / 64
	set := w.occupied[level][word] >> (from % 64) << (from % 64)
	for {
		if set != 0 {
			return word*64 + bits.TrailingZeros64(set)
		}
		if word++; word == wheelSlots/64 {
			return -1
		}
		set = w.occupied[level][word]
	}
}

// turn moves the wheel to the tick of a slot and hands its entries down: to the
// slots of lower levels, or to ready.
func (w *wheel) turn(level, slot int, tick int64) {
	w.tick = max(w.tick, tick)
	i := w.heads[level][slot]
	w.heads[level][slot] = 0
	w.occupied[level][slot/64] &^= 1 << (slot % 64)
	if level > 0 {
		i = w.reverse(i)
	}
	for i != 0 {
		chunk := w.chunks.At(i)
		entries := chunk.entries[:chunk.length]
		w.entries -= len(entries)
		if level > 0 {
			for _, e := range entries {
				w.handDown(e, level)
			}
		} else { // the next one last, as in ready: what is nearly in order is sorted soon
			for k := len(entries) - 1; k >= 0; k-- {
				w.handDown(entries[k], level)
			}
		}
		next := chunk.next
		w.chunks.Put(i)
		i = next
	}
	slices.SortFunc(w.ready, readyEntry.after)
	w.unread = len(w.ready)
}

// reverse turns a slot's list around, so that the first in comes first.
func (w *wheel) reverse(i uint32) (head uint32) {
	for i != 0 {
		chunk := w.chunks.At(i)
		next := chunk.next
		chunk.next = head
		head, i = i, next
	}
	return head
}

// readAhead reads the next of ready, so that the waits for memory overlap.
func (w *wheel) readAhead() {
	to := len(w.ready)
	w.unread, w.read = max(to-lookAhead, 0), true
	if w.ahead == nil {
		return
	}
	var touched uint64
	for _, e := range w.ready[w.unread:to] {
		h := w.ahead.At(e.index)
		touched += uint64(h.bits) + uint64(h.endpoint[resp].start)
	}
	w.touched = touched
}

func (w *wheel) handDown(e wheelEntry, level int) {
	tick := w.tick>>32<<32 | int64(e.tick)
	if level*wheelBits >= 32 {
		if tick = w.connections.At(e.index).due >> wheelShift; uint32(tick) != e.tick {
			return
		}
	}
	if tick > w.tick {
		w.push(e.index, tick)
	} else if c := w.connections.At(e.index); c.due>>wheelShift == tick {
		w.ready = append(w.ready, readyEntry{c.due, c.order, e.index})
	}
}
