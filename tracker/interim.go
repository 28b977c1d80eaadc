// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"math"
	"slices"
	"time"

	"conntap/bpf"
)

// Interim records say what is known of connections that have been open for long. A
// timer of the connection makes them, so that a packet costs no more for it. They
// change nothing of the connection, nor when it ends.

const interimUnit = int64(time.Second) // of warm.interim

// ages are in whole seconds and ascending order, without what a connection can't hold.
func ages(wish []time.Duration) (ages []uint32) {
	for _, d := range wish {
		if age := int64(d) / interimUnit; age > 0 && age <= math.MaxUint32 {
			ages = append(ages, uint32(age))
		}
	}
	slices.Sort(ages)
	return slices.Compact(ages)
}

// armInterim arms the timer of a new connection: one whose first packet is from long
// ago has no records of the time since.
func (t *Tracker) armInterim(c connection) {
	c.interim = 0
	if len(t.ages) > 0 {
		past := (max(t.now-c.start, 0) + interimUnit - 1) / interimUnit
		c.interim = uint32(min(max(past, int64(t.ages[0])), math.MaxUint32))
	}
}

// interimAfter is the next age after one that had its record; 0 for none.
func (t *Tracker) interimAfter(age uint32) uint32 {
	for _, next := range t.ages {
		if next > age {
			return next
		}
	}
	next := age + t.ages[len(t.ages)-1]
	if next < age {
		return 0
	}
	return next
}

// interimAt is when the next interim record is due.
func (w *warm) interimAt() int64 {
	if w.interim == 0 {
		return never
	}
	age := int64(w.interim) * interimUnit
	return w.start + min(age, never-w.start)
}

// interimBefore makes the interim records that are due before a time. Where no packet
// lets time pass, several may be, and so may those of a connection that has ended
// meanwhile.
func (t *Tracker) interimBefore(c connection, before int64) {
	for c.interimAt() < before {
		if !c.isOver() {
			t.fillRow(c)
			t.row.Interim = true
			t.stats.Interim++
			t.emit(&t.row)
		}
		c.interim = t.interimAfter(c.interim)
	}
}

// isOver tells whether only the close delay keeps the connection.
func (h *hot) isOver() bool { return h.protocol == bpf.ProtocolTCP && h.bits&bitClosing != 0 }
