// SPDX-License-Identifier: Apache-2.0

package slab

import (
	"runtime"
	"testing"
)

type value struct {
	index uint32
	_     [13]uint32
}

// TestSlab fills a slab far into its pages, gives some values back, and finds the
// others as they were.
func TestSlab(t *testing.T) {
	const n = (heapChunks + 3) * chunkSize * 40
	var s Slab[value]
	at := map[uint32]*value{}
	for range n {
		i, v := s.Get()
		if i == 0 || *v != (value{}) {
			t.Fatalf("got index %d with %v, want a zero value", i, *v)
		}
		v.index = i
		at[i] = v
	}
	if len(at) != n || s.Used() != n || s.End() != n+1 {
		t.Fatalf("got %d indexes, %d used, end %d, want %d", len(at), s.Used(), s.End(), n)
	}
	for i := uint32(1); i < s.End(); i += 3 {
		s.Put(i)
		delete(at, i)
	}
	for i, v := range at {
		if s.At(i) != v || v.index != i {
			t.Fatalf("index %d has %v at %p, was at %p", i, *s.At(i), s.At(i), v)
		}
	}
	i, v := s.Take()
	if at[i] != nil || v.index != i {
		t.Errorf("got index %d with %v, want the old value of one that was given back", i, *v)
	}
	if i, v = s.Get(); at[i] != nil || *v != (value{}) {
		t.Errorf("got index %d with %v, want the zero value of one that was given back", i, *v)
	}
}

// TestArray follows a slab's indexes.
func TestArray(t *testing.T) {
	var a Array[value]
	for i := range uint32(3 * chunkSize) {
		if v := a.Reach(i); *v != (value{}) {
			t.Fatalf("index %d: got %v, want a zero value", i, *v)
		}
		a.At(i).index = i
	}
	for i := range uint32(3 * chunkSize) {
		if got := a.Reach(i).index; got != i {
			t.Errorf("index %d: got the value of %d", i, got)
		}
	}
}

func TestWords(t *testing.T) {
	owner := new(value)
	for _, n := range []int{1, 1 << 10, 1 << 20} {
		w, words := NewWords(owner, n)
		if len(words) != n {
			t.Fatalf("got %d words, want %d", len(words), n)
		}
		for i := range words {
			if words[i] != 0 {
				t.Fatalf("word %d of %d is %d", i, n, words[i])
			}
			words[i] = 1
		}
		w.Free()
		w.Free() // nothing more
	}
	runtime.KeepAlive(owner)
}
