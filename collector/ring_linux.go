// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mappedRing is a ring buffer of the kernel's, mapped.
type mappedRing struct {
	ring
	mappings [2][]byte
}

// openRing maps the ring buffer m, which must outlive it.
func openRing(m *ebpf.Map) (*mappedRing, error) {
	page, size := os.Getpagesize(), int(m.MaxEntries())
	consumer, err := unix.Mmap(m.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the ring's consumer page: %w", err)
	}
	producer, err := unix.Mmap(m.FD(), int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mapping the ring: %w", err), unix.Munmap(consumer))
	}
	return &mappedRing{
		ring: ring{
			consumer: (*uint64)(unsafe.Pointer(&consumer[0])),
			producer: (*uint64)(unsafe.Pointer(&producer[0])),
			data:     producer[page:],
			mask:     uint64(size - 1),
		},
		mappings: [2][]byte{consumer, producer},
	}, nil
}

func (r *mappedRing) close() error {
	return errors.Join(unix.Munmap(r.mappings[0]), unix.Munmap(r.mappings[1]))
}

// ringPoll waits for the kernel's word that there is something in a ring. It waits as
// goroutines do, and not in a system call: of a thread that sits in one Go's monitor
// wants to know, thousands of times a second.
type ringPoll struct {
	file *os.File // an epoll set
	conn syscall.RawConn
}

// newRingPoll waits for any of the rings.
func newRingPoll(rings []*ebpf.Map) (*ringPoll, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("polling the rings: %w", err)
	}
	for _, m := range rings {
		event := unix.EpollEvent{Events: unix.EPOLLIN}
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, m.FD(), &event); err != nil {
			return nil, errors.Join(fmt.Errorf("polling the rings: %w", err), unix.Close(epoll))
		}
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // which os.NewFile goes by
		return nil, errors.Join(fmt.Errorf("polling the rings: %w", err), unix.Close(epoll))
	}
	p := &ringPoll{file: os.NewFile(uintptr(epoll), "rings")}
	if p.conn, err = p.file.SyscallConn(); err != nil {
		return nil, errors.Join(fmt.Errorf("polling the rings: %w", err), p.file.Close())
	}
	return p, nil
}

// somethingReady tells whether one of an epoll set is ready. An error is found by who
// reads then.
func somethingReady(epoll uintptr) bool {
	var events [1]unix.EpollEvent
	n, err := unix.EpollWait(int(epoll), events[:], 0)
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

// wait returns when there are samples, or after timeout. Who waits while some come
// is told when the kernel sees fit, which is sparing with its word. What was read
// must have been released.
func (p *ringPoll) wait(timeout time.Duration) error {
	err := p.file.SetReadDeadline(time.Now().Add(timeout))
	if err == nil {
		err = p.conn.Read(somethingReady)
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("waiting for the rings: %w", err)
	}
	return nil
}

func (p *ringPoll) close() error { return p.file.Close() }

// RingBytes is how many bytes the rings of all CPUs take together if wish is
// [LiveConfig].RingBytes, and how many CPUs there may be.
func RingBytes(wish int) (cpus, bytes int, err error) {
	if cpus, err = ebpf.PossibleCPU(); err != nil {
		return 0, 0, fmt.Errorf("counting CPUs: %w", err)
	}
	size, err := ringSize(wish, cpus, cpus)
	return cpus, cpus * int(size), err
}
