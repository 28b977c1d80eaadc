// SPDX-License-Identifier: Apache-2.0

package slab

import (
	"syscall"
	"unsafe"
)

// newPages maps anonymous memory and asks for huge pages; a page takes memory when
// it is first touched.
func newPages(size int) pages {
	// One huge page more than asked for, so that the rest can start at one.
	mapped, err := syscall.Mmap(-1, 0, size+hugePage, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return heapPages(size)
	}
	start := -int(uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))) & (hugePage - 1)
	data := mapped[start:][:size:size]
	_ = syscall.Madvise(data, syscall.MADV_HUGEPAGE) // small ones do as well
	return pages{data: data, mapped: mapped}
}

func unmap(mapped []byte) {
	if mapped != nil {
		_ = syscall.Munmap(mapped)
	}
}
