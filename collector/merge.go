// SPDX-License-Identifier: Apache-2.0

package collector

// merge is a heap of captures, the one with the earliest current frame first;
// of equal times the file that was named first. Within one file the order stays
// as it is, even where its time steps back.
type merge []*capture

func (m merge) less(i, j int) bool {
	a, b := m[i], m[j]
	if a.frame.time != b.frame.time {
		return a.frame.time < b.frame.time
	}
	return a.order < b.order
}

// push adds a capture that has a current frame.
func (m *merge) push(c *capture) {
	*m = append(*m, c)
	for i := len(*m) - 1; i > 0; {
		parent := (i - 1) / 2
		if !m.less(i, parent) {
			return
		}
		m.swap(i, parent)
		i = parent
	}
}

// settle moves the first capture to its place after its frame changed.
func (m merge) settle() {
	for i := 0; ; {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m); child++ {
			if m.less(child, first) {
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

// pop removes the first capture.
func (m *merge) pop() {
	last := len(*m) - 1
	m.swap(0, last)
	(*m)[last] = nil
	*m = (*m)[:last]
	m.settle()
}

func (m merge) swap(i, j int) { m[i], m[j] = m[j], m[i] }
