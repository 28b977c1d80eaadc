// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"conntap/bpf"
)

const (
	// readTimeout is how long Read waits for packets. With TransportPerPacket the
	// kernel wakes it seldom, so that this bounds how old the last packets get.
	readTimeout = 100 * time.Millisecond
	// heldPause is how long packets wait at least, until those that they must not overtake
	// are looked for again. The kernel's word about their ring says nothing then.
	heldPause = time.Millisecond
	// stampMargin is more than passes between a packet's time stamp and its place
	// in the ring, even if the (virtual) CPU is taken away in between.
	stampMargin = int64(10 * time.Millisecond)
)

// Read implements Source. It waits for 100 ms at most.
func (l *Live) Read(dst []bpf.Packet) (int, error) {
	if l.drained.Load() {
		return 0, io.EOF
	}
	if l.pin != nil {
		if err := pinReader(l.pin); err != nil {
			return 0, err
		}
		l.pin = nil
	}
	l.streams.payloads.turn()
	detached := l.detached.Load() // before the rings are found empty
	if detached {
		l.streams.finish()
	}
	n, err := l.fill(dst)
	if n == 0 && err == nil && !detached {
		n, err = l.fillLater(dst)
	}
	if n == 0 && err == nil && detached {
		return l.end()
	}
	if n > 0 {
		l.packets.Store(l.streams.packets)
		l.latency.add(n, bootTime()-l.streams.oldest)
	}
	return n, err
}

// pinReader gives the calling goroutine a thread of its own, on the CPUs asked for.
func pinReader(cpus []int) error {
	runtime.LockOSThread() // for good: with the goroutine the thread ends
	if err := goTo(cpus...); err != nil {
		return fmt.Errorf("keeping the reader to CPUs %v: %w", cpus, err)
	}
	return nil
}

// advance moves Now on, if it is not there yet.
func (l *Live) advance(now int64) {
	if now > l.now.Load() {
		l.now.Store(now)
		l.clock.refresh(now)
		l.offset.Store(l.clock.offset)
	}
}

// end returns resources after the last packet.
func (l *Live) end() (int, error) {
	l.noteLosses(bootTime())
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.release(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// fillLater waits for the kernel and tries again, also for what the packets that are
// there must wait for.
func (l *Live) fillLater(dst []bpf.Packet) (n int, err error) {
	if !l.streams.waiting() {
		time.Sleep(l.nap() - time.Duration(bootTime()-l.looked))
		if err := l.poll.wait(l.patience()); err != nil {
			return 0, err
		}
		now := bootTime() // before the rings are found empty
		n, err = l.fill(dst)
		if n == 0 && err == nil && !l.streams.waiting() {
			l.noteLosses(now)
		}
	}
	for n == 0 && err == nil && l.streams.waiting() {
		time.Sleep(max(l.nap(), heldPause))
		n, err = l.fill(dst)
	}
	return n, err
}

// nap is how long to sleep before the rings, which are empty, are looked at again.
func (l *Live) nap() time.Duration {
	var bytes uint64
	for _, r := range l.rings {
		bytes += r.limit
	}
	return l.pace.nap(bytes)
}

// patience is how long Read waits for the kernel's word. Threads that flush say nothing
// of batches that are full; timers do.
func (l *Live) patience() time.Duration {
	if t := l.loader.transport; !t.config.perPacket() && !t.timers {
		return 2 * t.config.flush
	}
	return readTimeout
}

// fill stores what is there in dst.
func (l *Live) fill(dst []bpf.Packet) (int, error) {
	now := bootTime() // before the rings are looked at
	l.looked = now
	l.streams.look(now)
	n, err := l.streams.fill(dst)
	if !l.streams.merged() {
		l.advance(l.singleNow(now, n))
	} else if complete := l.streams.complete(); err == nil {
		l.advance(complete)
	}
	return n, err
}

// singleNow is what Now is to be if all CPUs share a ring, in which nothing announces
// the packets that are on their way.
func (l *Live) singleNow(now int64, n int) int64 {
	if n == 0 && l.rings[0].used() == 0 {
		return now - stampMargin
	}
	return l.streams.complete() - stampMargin
}

// Now implements Source. It trails time by what is announced and not yet there, or
// with TransportPerPacket by 10 ms: a packet stamped a little earlier may still be
// on its way into the ring.
func (l *Live) Now() int64 { return l.now.Load() }

// ClockOffset implements Source.
func (l *Live) ClockOffset() int64 { return l.offset.Load() }
