// SPDX-License-Identifier: Apache-2.0

package service

// chunkSize is how many bytes of a stream a chunk holds: a full segment.
const chunkSize = 1520

// chunk is a piece of a stream: the beginning of a unit that has not come in
// full, or what came too early.
type chunk struct {
	start  uint64 // position of the first byte
	length uint16
	data   [chunkSize]byte
}

// chunksLimit is how many chunks there may be, 12 MiB: what does not fit is missing,
// as if the capture had cut it off.
const chunksLimit = 1 << 13

// takeChunk returns an empty chunk for a stream from a position on; index 0 if there
// are too many.
func (m *Monitor) takeChunk(start uint64) (uint32, *chunk) {
	if m.chunks.Used() >= m.chunksLimit {
		return 0, nil
	}
	i, c := m.chunks.Take()
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
