// SPDX-License-Identifier: Apache-2.0

package collector

const (
	// stampApart is how far a stamp may lie outside of the time in which its packet
	// came, ns: the clocks are read one after the other, and CPUs that fill a block
	// together stamp in any order.
	stampApart = 100e3
	// lookInterval is how often the wall clock is looked at, at most, ns.
	lookInterval = 1e6
	// stepLeast is the least change of the wall clock that counts as a step, ns.
	// Smaller ones move no packet by more than themselves.
	stepLeast = 1e6
)

// stampClock turns the wall-clock time that the kernel stamps packets of a packet
// socket with into CLOCK_BOOTTIME, so that a step of the wall clock reaches neither
// timers nor durations.
type stampClock struct {
	wallClock
	before int64 // its offset before the last step
}

// look returns CLOCK_BOOTTIME, and looks at the wall clock now and then.
func (c *stampClock) look() int64 {
	now := bootTime()
	if c.checked == 0 || now-c.checked >= lookInterval {
		offset := c.offset
		c.wallClock.look(now)
		c.changed(offset)
	}
	return now
}

// changed notes a step of the offset from what it was.
func (c *stampClock) changed(offset int64) {
	switch step := c.offset - offset; {
	case offset == 0:
		c.before = c.offset
	case step >= stepLeast, step <= -stepLeast:
		c.before = offset
	}
}

// steady is the CLOCK_BOOTTIME of a stamp. The packet came after floor, when its
// ring was empty or had the packet before it, and before ceiling, when its block was
// found. The offset of the last look holds if that puts the stamp in between, else
// the one before the last step, if that does. What is left is cut: a step moves no
// packet by more than the time between floor and ceiling.
func (c *stampClock) steady(stamp, floor, ceiling int64) int64 {
	t := stamp - c.offset
	if t < floor-stampApart || t > ceiling+stampApart {
		if other := stamp - c.before; other >= floor-stampApart && other <= ceiling+stampApart {
			t = other
		}
	}
	return min(max(t, floor), ceiling)
}
