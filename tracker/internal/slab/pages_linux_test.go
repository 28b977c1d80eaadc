// SPDX-License-Identifier: Apache-2.0

package slab

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mark stands in the pages; whatever is mapped at their address later has none.
const mark = 0x636f6e6e74617021

// TestPagesGoWithTheirOwner waits until the kernel has taken the pages back.
func TestPagesGoWithTheirOwner(t *testing.T) {
	owner := new(Array[value])
	p := newPages(hugePage)
	address := uintptr(unsafe.Pointer(unsafe.SliceData(p.data)))
	if address%hugePage != 0 {
		t.Errorf("pages at %x do not start at a huge page", address)
	}
	*(*uint64)(unsafe.Pointer(unsafe.SliceData(p.data))) = mark
	if word, err := wordAt(address); word != mark || err != nil {
		t.Fatalf("word at %x is %x, %v", address, word, err)
	}
	release(owner, p)
	runtime.KeepAlive(owner)
	owner = nil
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		if word, err := wordAt(address); word != mark || err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("pages at %x were not freed with their owner", address)
		}
	}
}

// wordAt reads memory that may not be there: the kernel then says so.
func wordAt(address uintptr) (word uint64, err error) {
	local := unix.Iovec{Base: (*byte)(unsafe.Pointer(&word))}
	local.SetLen(int(unsafe.Sizeof(word)))
	remote := unix.RemoteIovec{Base: address, Len: int(unsafe.Sizeof(word))}
	_, err = unix.ProcessVMReadv(unix.Getpid(), []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
	return word, err
}
