// SPDX-License-Identifier: Apache-2.0

package collector

import "math"

// merge is a heap of sources by the time of what each has next, the earliest
// first; of equal times the source with the lower number. Within one source the
// order stays as it is, even where its time steps back. Capture files are merged
// by it, and the packets of several CPUs.
type merge []head

// head is what a source has next.
type head struct {
	time   int64 // ns, on one scale for all sources
	source int32
}

func (h head) before(other head) bool {
	if h.time != other.time {
		return h.time < other.time
	}
	return h.source < other.source
}

// push adds a source.
func (m *merge) push(h head) {
	*m = append(*m, h)
	for i := len(*m) - 1; i > 0; {
		parent := (i - 1) / 2
		if !(*m)[i].before((*m)[parent]) {
			return
		}
		m.swap(i, parent)
		i = parent
	}
}

// advance moves the first source to its place, now that it has something of
// another time next.
func (m merge) advance(time int64) {
	m[0].time = time
	m.settle()
}

// pop removes the first source.
func (m *merge) pop() {
	last := len(*m) - 1
	m.swap(0, last)
	*m = (*m)[:last]
	m.settle()
}

// runEnd is the time before which the first source comes before all others: so
// far nothing need be compared.
func (m merge) runEnd() int64 {
	switch len(m) {
	case 1:
		return math.MaxInt64
	case 2:
		return m.yields(1)
	}
	return min(m.yields(1), m.yields(2))
}

// yields is the time before which the first source comes before m[i].
func (m merge) yields(i int) int64 {
	if m[0].source < m[i].source {
		return m[i].time + 1
	}
	return m[i].time
}

func (m merge) settle() {
	for i := 0; ; {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m); child++ {
			if m[child].before(m[first]) {
				first = child
			}
		}
		if first == i {
			return
		}
		m.swap(i, first)
		i = first
	}
}

func (m merge) swap(i, j int) { m[i], m[j] = m[j], m[i] }
