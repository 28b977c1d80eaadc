// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/tracker/internal/slab"

const (
	idleShift = 28 // 268 ms: as exact as the order of idle connections is kept
	idleSlots = 1 << 14

	// idleList marks a link that leads to the list itself instead of to a
	// connection, so that the first and the last know which list they end.
	idleList = 1 << 31
	// unanswered is the list of connections that nobody answered; list 1+s is that
	// of slot s.
	unanswered = 0
)

// idleQueue says which connection goes first when the table is full: of those
// that nobody answered the oldest, then the one that has been idle the longest.
// Unanswered connections stand in a list by age. Answered ones stand in the list
// of the time at which they were last looked at; one whose last packet came later
// is moved there when its turn comes, so that a packet never has to touch the
// queue. The slots span 73 minutes, more than any inactivity timeout.
type idleQueue struct {
	connections *slab.Slab[hot]
	links       slab.Array[idleLinks] // by the index of the connection
	lists       []idleEnds
	oldest      int64 // no answered connection stands before this slot
}

type idleEnds struct{ head, tail uint32 }

// idleLinks are a connection's neighbours in its list.
type idleLinks struct{ next, prev uint32 }

func newIdleQueue(connections *slab.Slab[hot]) *idleQueue {
	q := &idleQueue{connections: connections, lists: make([]idleEnds, 1+idleSlots)}
	for i := range q.lists {
		q.lists[i] = idleEnds{idleList | uint32(i), idleList | uint32(i)}
	}
	return q
}

func (q *idleQueue) setNext(link, next uint32) {
	if link&idleList != 0 {
		q.lists[link&^idleList].head = next
	} else {
		q.links.At(link).next = next
	}
}

func (q *idleQueue) setPrev(link, prev uint32) {
	if link&idleList != 0 {
		q.lists[link&^idleList].tail = prev
	} else {
		q.links.At(link).prev = prev
	}
}

func (q *idleQueue) append(list, i uint32) {
	end := idleList | list
	l := q.links.At(i)
	l.prev, l.next = q.lists[list].tail, end
	q.setNext(l.prev, i)
	q.setPrev(end, i)
}

func (q *idleQueue) unlink(i uint32) {
	l := *q.links.At(i)
	q.setNext(l.prev, l.next)
	q.setPrev(l.next, l.prev)
}

// place puts an answered connection into the list of a slot.
func (q *idleQueue) place(i uint32, slot int64) {
	q.append(1+uint32(max(slot, q.oldest)&(idleSlots-1)), i)
}

// opened adds a new connection.
func (q *idleQueue) opened(i uint32, now int64) {
	q.turn(now >> idleShift)
	q.links.Reach(i)
	q.append(unanswered, i)
}

// turn frees the slots that the time to come needs: who stands there was last
// looked at a whole turn ago.
func (q *idleQueue) turn(latest int64) {
	first := latest - idleSlots + 1
	for n := 0; q.oldest < first && n < idleSlots; n++ {
		ends := q.lists[1+q.oldest&(idleSlots-1)]
		q.oldest++
		for i := ends.head; i&idleList == 0; {
			next := q.links.At(i).next
			q.unlink(i)
			q.place(i, min(max(q.connections.At(i).last>>idleShift, first), latest)) // perhaps into the same list
			if i == ends.tail {
				break
			}
			i = next
		}
	}
	q.oldest = max(q.oldest, first)
}

// answered moves a connection to those that were answered.
func (q *idleQueue) answered(i uint32, now int64) {
	q.unlink(i)
	q.place(i, now>>idleShift)
}

// closed takes a connection out.
func (q *idleQueue) closed(i uint32) { q.unlink(i) }

// victim is the connection to go; 0 if there is none.
func (q *idleQueue) victim(now int64) (i uint32, answered bool) {
	if i := q.lists[unanswered].head; i&idleList == 0 {
		return i, false
	}
	latest := now >> idleShift
	q.turn(latest)
	for ; q.oldest <= latest; q.oldest++ {
		l := &q.lists[1+q.oldest&(idleSlots-1)]
		for l.head&idleList == 0 {
			i := l.head
			slot := min(q.connections.At(i).last>>idleShift, latest)
			if slot <= q.oldest {
				return i, true
			}
			q.unlink(i)
			q.place(i, slot)
		}
	}
	return 0, false
}
