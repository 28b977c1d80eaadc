// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"sync/atomic"
	"unsafe"
)

// A sample's header in the ring (linux/bpf.h): its length with two bits on top,
// and a word that is the kernel's own.
const (
	sampleHeader  = 8
	sampleBusy    = 1 << 31 // reserved, not submitted yet
	sampleDiscard = 1 << 30
)

// ring is a BPF ring buffer as its mapping shows it. It hands samples out where
// they stand, so that a packet's bytes are copied by nobody, and gives their room
// back to the kernel when told so. It is for one goroutine, but for used and
// highest.
type ring struct {
	consumer *uint64 // what the kernel may overwrite ends here
	producer *uint64 // what the kernel has reserved ends here
	data     []byte  // twice in a row, so that no sample is cut by the end
	mask     uint64

	limit   uint64        // samples from here on are left for the next look
	highest atomic.Uint64 // bytes in use at any look
}

// look takes in what the kernel has put there up to now.
func (r *ring) look() {
	r.limit = atomic.LoadUint64(r.producer)
	if used := r.limit - atomic.LoadUint64(r.consumer); used > r.highest.Load() {
		r.highest.Store(used)
	}
}

// sample returns the sample at position, in ring memory, valid until it is
// released, and the position of the one after it. It returns nil and the same
// position at the limit, or when the sample is still being written; nil and
// another position if the kernel has thrown it away.
func (r *ring) sample(position uint64) (sample []byte, next uint64) {
	if position == r.limit {
		return nil, position
	}
	start := position & r.mask
	// Pairs with the kernel's xchg of the length on submission: behind it the
	// sample's bytes are there (kernel/bpf/ringbuf.c, bpf_ringbuf_commit).
	header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[start])))
	if header&sampleBusy != 0 {
		return nil, position
	}
	length := uint64(header &^ sampleDiscard)
	next = position + sampleHeader + (length+7)&^7
	if header&sampleDiscard != 0 {
		return nil, next
	}
	start += sampleHeader
	return r.data[start : start+length : start+length], next
}

// release gives the room before position back to the kernel.
func (r *ring) release(position uint64) {
	if atomic.LoadUint64(r.consumer) != position {
		atomic.StoreUint64(r.consumer, position)
	}
}

// used is how many bytes of the ring are in use.
func (r *ring) used() uint64 {
	consumer := atomic.LoadUint64(r.consumer) // first: the kernel goes on
	return atomic.LoadUint64(r.producer) - consumer
}

// size is how many bytes it has.
func (r *ring) size() uint64 { return r.mask + 1 }
