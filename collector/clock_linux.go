// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"math"

	"golang.org/x/sys/unix"
)

const (
	// clockRefresh is how often the wall clock is looked at, ns.
	clockRefresh = 1e9
	// clockSamples is how many readings each look takes.
	clockSamples = 5
)

// wallClock knows how far the wall clock is ahead of CLOCK_BOOTTIME, the clock
// that stamps packets in the kernel and goes on while the machine sleeps.
type wallClock struct {
	offset  int64        // to be added to CLOCK_BOOTTIME, ns
	checked int64        // CLOCK_BOOTTIME of the last look
	wall    func() int64 // nil: the system's
}

// refresh looks at the wall clock if the last look is a while ago.
func (c *wallClock) refresh(now int64) {
	if c.checked == 0 || now-c.checked >= clockRefresh {
		c.look(now)
	}
}

// look looks at the wall clock. The offset moves only by more than the look can
// err, so that it stands still until the wall clock is stepped or slewed.
func (c *wallClock) look(now int64) {
	c.checked = now
	wall := wallTime
	if c.wall != nil {
		wall = c.wall
	}
	offset, err := sampleOffset(bootTime, wall)
	if c.offset == 0 || offset < c.offset-err || offset > c.offset+err {
		c.offset = offset
	}
}

// sampleOffset reads the two clocks in turns and takes the tightest of several
// readings: another task may have run in the middle of any. It is off by err at
// most.
func sampleOffset(boot, wall func() int64) (offset, err int64) {
	err = math.MaxInt64
	before := boot()
	for range clockSamples {
		middle := wall()
		after := boot()
		if spread := after - before; spread < err {
			offset, err = middle-(before+spread/2), spread
		}
		before = after
	}
	return offset, err
}

// bootTime is CLOCK_BOOTTIME in ns, as bpf_ktime_get_boot_ns reads it.
func bootTime() int64 { return readClock(unix.CLOCK_BOOTTIME) }

// wallTime is ns since 1970.
func wallTime() int64 { return readClock(unix.CLOCK_REALTIME) }

func readClock(id int32) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err) // a kernel without these clocks is older than any with BPF
	}
	return t.Nano()
}
