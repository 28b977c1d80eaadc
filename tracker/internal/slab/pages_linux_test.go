// SPDX-License-Identifier: Apache-2.0

package slab

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// TestPagesGoWithTheirOwner waits until the kernel knows nothing of the pages any
// more.
func TestPagesGoWithTheirOwner(t *testing.T) {
	owner := new(Array[value])
	p := newPages(hugePage)
	name := fmt.Sprintf("%x", uintptr(unsafe.Pointer(unsafe.SliceData(p.data))))
	if uintptr(unsafe.Pointer(unsafe.SliceData(p.data)))%hugePage != 0 {
		t.Errorf("pages at %s do not start at a huge page", name)
	}
	if !strings.Contains(maps(t), name) {
		t.Fatalf("no mapping has %s", name)
	}
	release(owner, p)
	runtime.KeepAlive(owner)
	owner = nil
	for deadline := time.Now().Add(10 * time.Second); strings.Contains(maps(t), name); {
		if time.Now().After(deadline) {
			t.Fatalf("pages at %s were not freed with their owner", name)
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

func maps(t *testing.T) string {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip(err)
	}
	return string(text)
}
