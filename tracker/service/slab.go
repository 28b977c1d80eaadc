// SPDX-License-Identifier: Apache-2.0

package service

const (
	slabShift = 7
	slabChunk = 1 << slabShift
)

// slab hands out values by index. Values hold no pointers, so the garbage
// collector never looks inside, and they never move. Index 0 stands for none.
type slab[T any] struct {
	chunks []*[slabChunk]T
	free   []uint32
	next   uint32 // the lowest index never handed out
}

func (s *slab[T]) at(i uint32) *T {
	return &s.chunks[i>>slabShift][i&(slabChunk-1)]
}

// get returns an index whose value is to be set: it may be an old one.
func (s *slab[T]) get() (uint32, *T) {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i, s.at(i)
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

// used is how many values are handed out.
func (s *slab[T]) used() int { return int(max(s.next, 1)) - 1 - len(s.free) }

// chunkSize is how many bytes of a stream a chunk holds: a full segment.
const chunkSize = 1520

// chunk is a piece of a stream: the beginning of a unit that has not come in
// full, or what came too early.
type chunk struct {
	start  uint64 // position of the first byte
	length uint16
	data   [chunkSize]byte
}

// chunksLimit is how many chunks there may be: what does not fit is missing, as if
// the capture had cut it off.
const chunksLimit = 1 << 14

// takeChunk returns an empty chunk for a stream from a position on; index 0 if there
// are too many.
func (m *Monitor) takeChunk(start uint64) (uint32, *chunk) {
	if m.chunks.used() >= chunksLimit {
		return 0, nil
	}
	i, c := m.chunks.get()
	c.start, c.length = start, 0
	return i, c
}

func (c *chunk) bytes() []byte { return c.data[:c.length] }

func (c *chunk) end() uint64 { return c.start + uint64(c.length) }

// fill appends what fits and returns how much that is.
func (c *chunk) fill(b []byte) int {
	n := copy(c.data[c.length:], b)
	c.length += uint16(n)
	return n
}

// drop takes n bytes away from the front.
func (c *chunk) drop(n int) {
	c.length = uint16(copy(c.data[:], c.data[n:c.length]))
	c.start += uint64(n)
}
