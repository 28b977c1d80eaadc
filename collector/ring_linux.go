// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A sample's header in the ring (linux/bpf.h): its length with two bits on top,
// and a word that is the kernel's own.
const (
	sampleHeader  = 8
	sampleBusy    = 1 << 31 // reserved, not submitted yet
	sampleDiscard = 1 << 30
)

// ring reads a BPF ring buffer through its mapping. It hands samples out where
// they stand, so that a packet's bytes are copied by nobody, and gives their room
// back to the kernel when told so. It is for one goroutine.
type ring struct {
	consumer *uint64 // what the kernel may overwrite ends here
	producer *uint64 // what the kernel has reserved ends here
	data     []byte  // twice in a row, so that no sample is cut by the end
	mask     uint64
	last     uint64 // what next returned last starts here
	position uint64 // and ends here
	mappings [2][]byte
	epoll    int
}

// openRing maps the ring buffer m, which must outlive it.
func openRing(m *ebpf.Map) (*ring, error) {
	page, size := os.Getpagesize(), int(m.MaxEntries())
	consumer, err := unix.Mmap(m.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the ring's consumer page: %w", err)
	}
	producer, err := unix.Mmap(m.FD(), int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mapping the ring: %w", err), unix.Munmap(consumer))
	}
	r := &ring{
		consumer: (*uint64)(unsafe.Pointer(&consumer[0])),
		producer: (*uint64)(unsafe.Pointer(&producer[0])),
		data:     producer[page:],
		mask:     uint64(size - 1),
		mappings: [2][]byte{consumer, producer},
	}
	r.position = atomic.LoadUint64(r.consumer)
	if r.epoll, err = pollable(m.FD()); err != nil {
		return nil, errors.Join(err, r.unmap())
	}
	return r, nil
}

// pollable is an epoll instance that waits for fd to be readable.
func pollable(fd int) (int, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("polling the ring: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return -1, errors.Join(fmt.Errorf("polling the ring: %w", err), unix.Close(epoll))
	}
	return epoll, nil
}

// next returns the next sample, in ring memory, valid until release; nil when
// there is none, or when one is still being written.
func (r *ring) next() []byte {
	for r.position != atomic.LoadUint64(r.producer) {
		start := r.position & r.mask
		// Pairs with the kernel's xchg of the length on submission: behind it the
		// sample's bytes are there (kernel/bpf/ringbuf.c, bpf_ringbuf_commit).
		header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[start])))
		if header&sampleBusy != 0 {
			return nil
		}
		length := uint64(header &^ (sampleBusy | sampleDiscard))
		r.last = r.position
		r.position += sampleHeader + (length+7)&^7
		if header&sampleDiscard == 0 {
			start += sampleHeader
			return r.data[start : start+length : start+length]
		}
	}
	return nil
}

// empty tells whether nothing is reserved beyond what next has returned.
func (r *ring) empty() bool { return r.position == atomic.LoadUint64(r.producer) }

// release gives the room of all samples so far back to the kernel, but for the
// last one if that is still in use.
func (r *ring) release(keepLast bool) {
	end := r.position
	if keepLast {
		end = r.last
	}
	atomic.StoreUint64(r.consumer, end)
}

// used is how many bytes of the ring are in use.
func (r *ring) used() uint64 { return atomic.LoadUint64(r.producer) - atomic.LoadUint64(r.consumer) }

// wait returns when the kernel says that there are samples, or after timeout:
// the kernel is sparing with its word, so samples may be there without. It
// releases what was read, or the kernel would not wait.
func (r *ring) wait(timeout time.Duration) error {
	r.release(false)
	var events [1]unix.EpollEvent
	_, err := unix.EpollWait(r.epoll, events[:], int(timeout.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("waiting for the ring: %w", err)
	}
	return nil
}

func (r *ring) close() error { return errors.Join(unix.Close(r.epoll), r.unmap()) }

func (r *ring) unmap() error {
	return errors.Join(unix.Munmap(r.mappings[0]), unix.Munmap(r.mappings[1]))
}
