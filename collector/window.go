// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// windowSize is how much of a capture is read at once: large enough that the
// system calls don't count, small enough to stay in the processor's cache.
const windowSize = 512 << 10

// errRefill says that the window must be refilled before it can go on, which
// invalidates what it has handed out.
var errRefill = errors.New("window must be refilled")

// memory is what a window's bytes stand in. It is used again when the window and
// all that frames were handed to have dropped it.
type memory struct {
	bytes []byte
	users atomic.Int32
}

var memories = sync.Pool{New: func() any { return &memory{bytes: make([]byte, windowSize)} }}

// newMemory has room for n bytes, and one user.
func newMemory(n int) *memory {
	m := memories.Get().(*memory)
	if len(m.bytes) < n {
		m = &memory{bytes: make([]byte, n)}
	}
	m.users.Store(1)
	return m
}

// drop is for a user that needs it no more.
func (m *memory) drop() {
	if m.users.Add(-1) == 0 && len(m.bytes) == windowSize { // larger ones are rare
		memories.Put(m)
	}
}

// window is the stretch of a stream that is in memory. Bytes are handed out
// without copying and stay where they are until a refill; who keeps them beyond
// becomes a user of the memory, which a turn then leaves alone.
type window struct {
	source io.Reader
	memory *memory // nil before anything was read
	buffer []byte  // of memory
	start  int     // of what is not yet consumed
	end    int     // of what is there
	wanted int     // bytes that the last failed peek asked for
	err    error   // of source, to be told when everything before it is consumed
}

// peek returns the next n bytes, or errRefill. At the end of the stream it
// returns io.EOF if nothing is left, io.ErrUnexpectedEOF if less than n bytes
// are, and the error of a source that broke off.
func (w *window) peek(n int) ([]byte, error) {
	if n <= w.end-w.start {
		return w.buffer[w.start : w.start+n : w.start+n], nil
	}
	return nil, w.missing(n)
}

func (w *window) missing(n int) error {
	w.wanted = n
	switch {
	case w.err == nil:
		return errRefill
	case w.err == io.EOF && w.end > w.start:
		return io.ErrUnexpectedEOF
	}
	return w.err
}

// skip consumes n bytes that were peeked.
func (w *window) skip(n int) { w.start += n }

// turn moves what is not yet consumed to other memory, if this one has users
// besides, so that a refill leaves it alone.
func (w *window) turn() {
	if w.memory != nil && w.memory.users.Load() > 1 {
		w.move(len(w.buffer))
	}
}

// move goes on in other memory of at least n bytes.
func (w *window) move(n int) {
	old, rest := w.memory, w.buffer[w.start:w.end]
	w.memory = newMemory(n)
	w.buffer = w.memory.bytes
	w.start, w.end = 0, copy(w.buffer, rest)
	if old != nil {
		old.drop()
	}
}

// close gives the memory back.
func (w *window) close() {
	if w.memory != nil {
		w.memory.drop()
	}
	*w = window{}
}

// refill reads until the bytes of the last failed peek are there or the source
// ends. It doesn't wait for more than those, so that a pipe's packets come as
// soon as they are written.
func (w *window) refill() {
	w.end = copy(w.buffer, w.buffer[w.start:w.end])
	w.start = 0
	for w.end < w.wanted && w.err == nil {
		if w.end == len(w.buffer) {
			w.grow()
		}
		var n int
		n, w.err = w.source.Read(w.buffer[w.end:])
		w.end += n
	}
}

// grow doubles the buffer. It is called only when the buffer is full, so a
// length that no data stands behind costs no memory.
func (w *window) grow() {
	w.move(max(2*len(w.buffer), windowSize))
}

// rest returns a copy of what is there, n bytes at most.
func (w *window) rest(n int) []byte {
	return append([]byte(nil), w.buffer[w.start:min(w.end, w.start+n)]...)
}
