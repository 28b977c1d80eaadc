// SPDX-License-Identifier: Apache-2.0

// Package slab keeps values by index, in memory that never moves and that the
// garbage collector never looks into: the values must hold no pointers.
package slab

import "unsafe"

const (
	chunkShift = 10
	chunkSize  = 1 << chunkShift // values

	// heapChunks is how many chunks come from Go's heap, one at a time. Who needs
	// more gets pages of its own.
	heapChunks = 2
)

// Array holds values by index. They are zero at first. The zero Array is empty. An
// Array must not be copied.
type Array[T any] struct {
	chunks []*[chunkSize]T
	pages  []byte // what is left for further chunks
	mapped int    // bytes of the last pages
}

// At returns the value of an index up to one that was passed to Reach.
func (a *Array[T]) At(i uint32) *T {
	return &a.chunks[i>>chunkShift][i&(chunkSize-1)]
}

// Reach makes room for an index, the next one at most, and returns its value.
func (a *Array[T]) Reach(i uint32) *T {
	if int(i>>chunkShift) == len(a.chunks) {
		a.chunks = append(a.chunks, a.chunk())
	}
	return a.At(i)
}

func (a *Array[T]) chunk() *[chunkSize]T {
	size := int(unsafe.Sizeof([chunkSize]T{}))
	if len(a.chunks) < heapChunks {
		return new([chunkSize]T)
	}
	if len(a.pages) < size {
		a.mapped = max(min(2*a.mapped, maxPages), size)
		pages := newPages(a.mapped)
		release(a, pages)
		a.pages = pages.data
	}
	chunk := (*[chunkSize]T)(unsafe.Pointer(unsafe.SliceData(a.pages)))
	a.pages = a.pages[size:]
	return chunk
}

// Slab is an Array that hands out its indexes. Index 0 is never handed out: it
// stands for none. A pointer to a value is good until its index is given back.
type Slab[T any] struct {
	Array[T]
	free []uint32
	next uint32 // the lowest index never handed out
}

// Get returns an index with a zero value.
func (s *Slab[T]) Get() (uint32, *T) {
	i, v := s.Take()
	var zero T
	*v = zero
	return i, v
}

// Take is Get for who sets the value: it may be an old one.
func (s *Slab[T]) Take() (uint32, *T) {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i, s.At(i)
	}
	s.next = max(s.next, 1)
	i := s.next
	s.next++
	return i, s.Reach(i)
}

// Put takes an index back.
func (s *Slab[T]) Put(i uint32) { s.free = append(s.free, i) }

// Free are the indexes that were taken back, not to be changed.
func (s *Slab[T]) Free() []uint32 { return s.free }

// Used is how many values are handed out.
func (s *Slab[T]) Used() int { return int(s.End()) - 1 - len(s.free) }

// End is above all indexes that were ever handed out.
func (s *Slab[T]) End() uint32 { return max(s.next, 1) }
