// SPDX-License-Identifier: Apache-2.0

package slab

import (
	"runtime"
	"unsafe"
)

const (
	hugePage = 2 << 20 // bytes, of amd64 and arm64
	maxPages = 64 << 20
)

// pages is zeroed memory, in huge pages where the system has them: a million
// connections in small ones are a miss of the TLB each. It is not Go's heap that
// it comes from, whose size thus does not delay a collection.
type pages struct {
	data   []byte // starts at a huge page
	mapped []byte // all of it; nil: Go's memory
}

// release frees the pages when their owner is gone.
func release[T any](owner *T, p pages) runtime.Cleanup {
	return runtime.AddCleanup(owner, unmap, p.mapped)
}

// Words is a slice of zeroed words that is freed by hand, or with its owner.
type Words struct {
	pages   pages
	cleanup runtime.Cleanup
}

// NewWords returns n words. They are freed with their owner at the latest.
func NewWords[T any](owner *T, n int) (Words, []uint64) {
	const word = int(unsafe.Sizeof(uint64(0)))
	if n*word < hugePage {
		return Words{}, make([]uint64, n)
	}
	p := newPages(n * word)
	w := Words{pages: p, cleanup: release(owner, p)}
	return w, unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(p.data))), n)
}

// Free gives the words back. Their slice must not be used any more.
func (w *Words) Free() {
	w.cleanup.Stop()
	unmap(w.pages.mapped)
	*w = Words{}
}

// heapPages are pages of Go's heap, for systems without others.
func heapPages(size int) pages {
	words := make([]uint64, (size+7)/8)
	return pages{data: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), size)}
}
