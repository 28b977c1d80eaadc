// SPDX-License-Identifier: Apache-2.0

package tracker

const (
	slabShift = 9
	slabChunk = 1 << slabShift
)

// slab hands out values by index. Values hold no pointers, so the garbage
// collector never looks inside; chunks never move, so a pointer from at stays
// valid until the index is given back. Index 0 is never handed out: it stands
// for none.
type slab[T any] struct {
	chunks []*[slabChunk]T
	free   []uint32
	next   uint32 // the lowest index never handed out
}

func (s *slab[T]) at(i uint32) *T {
	return &s.chunks[i>>slabShift][i&(slabChunk-1)]
}

// get returns a zeroed value and its index.
func (s *slab[T]) get() (uint32, *T) {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		v := s.at(i)
		var zero T
		*v = zero
		return i, v
	}
	s.next = max(s.next, 1)
	i := s.next
	s.next++
	if int(i>>slabShift) == len(s.chunks) {
		s.chunks = append(s.chunks, new([slabChunk]T))
	}
	return i, s.at(i)
}

func (s *slab[T]) put(i uint32) { s.free = append(s.free, i) }
