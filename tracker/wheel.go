// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"cmp"
	"math/bits"
	"slices"
)

const (
	wheelShift  = 20 // a tick of the finest wheel: 1.05 ms
	wheelLevels = 6  // 268 ms, 69 s, 4.9 h, 52 days, 37 years a turn, and all the rest of an int64
	wheelBits   = 8
	wheelSlots  = 1 << wheelBits

	// slotNone and slotReady stand for a connection in no list, and in ready.
	slotNone  = 0xffff
	slotReady = 0xfffe
)

// wheel is a hierarchical timer wheel whose lists run through the connections
// themselves. It hands a connection out when its due time has come; which of its
// timers that was is the connection's business. Due times are exact to the ns,
// and connections come out in their order, ties by ordinal.
//
// A list holds the due times that share all higher digits with now and differ in
// the digit of its level; so lists of a lower level always come first.
type wheel struct {
	connections *slab[connection]
	tick        int64 // where the wheel stands
	next        int64 // no due time is before it, ns
	heads       [wheelLevels][wheelSlots]uint32
	occupied    [wheelLevels][wheelSlots / 64]uint64
	// ready holds the connections of the current tick, the next one last. An
	// entry whose connection has moved or gone since is stale.
	ready []readyEntry
}

type readyEntry struct {
	due     int64
	ordinal uint64
	index   uint32
}

// after puts the entry that is due first at the end.
func (e readyEntry) after(f readyEntry) int {
	if e.due != f.due {
		return cmp.Compare(f.due, e.due)
	}
	return cmp.Compare(f.ordinal, e.ordinal)
}

// schedule makes the connection come out at due. It must be in no list.
func (w *wheel) schedule(i uint32, c *connection, due int64) {
	c.due = due
	w.next = min(w.next, due)
	tick := due >> wheelShift
	if tick <= w.tick {
		c.slot = slotReady
		e := readyEntry{due, c.ordinal, i}
		at, _ := slices.BinarySearchFunc(w.ready, e, readyEntry.after)
		w.ready = slices.Insert(w.ready, at, e)
		return
	}
	w.push(i, c, tick)
}

func (w *wheel) push(i uint32, c *connection, tick int64) {
	level := (bits.Len64(uint64(tick^w.tick)) - 1) / wheelBits
	slot := int(tick >> (level * wheelBits) & (wheelSlots - 1))
	head := w.heads[level][slot]
	c.slot = uint16(level<<wheelBits | slot)
	c.prev, c.next = 0, head
	if head != 0 {
		w.connections.at(head).prev = i
	}
	w.heads[level][slot] = i
	w.occupied[level][slot/64] |= 1 << (slot % 64)
}

// cancel takes the connection out of its list.
func (w *wheel) cancel(c *connection) {
	switch c.slot {
	case slotNone:
		return
	case slotReady: // its entry is stale from now on
		c.slot = slotNone
		return
	}
	level, slot := int(c.slot>>wheelBits), int(c.slot&(wheelSlots-1))
	if c.next != 0 {
		w.connections.at(c.next).prev = c.prev
	}
	if c.prev != 0 {
		w.connections.at(c.prev).next = c.next
	} else {
		w.heads[level][slot] = c.next
		if c.next == 0 {
			w.occupied[level][slot/64] &^= 1 << (slot % 64)
		}
	}
	c.slot = slotNone
}

// pop returns a connection that is due at now, and takes it out; 0 if there is
// none.
func (w *wheel) pop(now int64) uint32 {
	for {
		for n := len(w.ready); n > 0; n = len(w.ready) {
			e := w.ready[n-1]
			c := w.connections.at(e.index)
			if c.slot == slotReady && c.due == e.due && c.ordinal == e.ordinal {
				if e.due > now {
					w.next = e.due
					return 0
				}
				c.slot = slotNone
				w.ready = w.ready[:n-1]
				return e.index
			}
			w.ready = w.ready[:n-1]
		}
		level, slot, tick := w.first()
		if level < 0 {
			w.next = never
			w.tick = max(w.tick, now>>wheelShift)
			return 0
		}
		if tick > now>>wheelShift {
			w.next = tick << wheelShift
			w.tick = max(w.tick, now>>wheelShift)
			return 0
		}
		w.turn(level, slot, tick)
	}
}

// first is the list that comes next and the tick at which it does; level -1 if
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

// turn moves the wheel to the tick of a list and hands its connections down: to
// the lists of lower levels, or to ready.
func (w *wheel) turn(level, slot int, tick int64) {
	w.tick = max(w.tick, tick)
	i := w.heads[level][slot]
	w.heads[level][slot] = 0
	w.occupied[level][slot/64] &^= 1 << (slot % 64)
	for i != 0 {
		c := w.connections.at(i)
		next := c.next
		if t := c.due >> wheelShift; t > w.tick {
			w.push(i, c, t)
		} else {
			c.slot = slotReady
			w.ready = append(w.ready, readyEntry{c.due, c.ordinal, i})
		}
		i = next
	}
	slices.SortFunc(w.ready, readyEntry.after)
}
