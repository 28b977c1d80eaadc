// SPDX-License-Identifier: Apache-2.0

package host

import (
	"math"

	"golang.org/x/sys/unix"
)

// clockReadings is how many times the clocks are read, to find a moment at which nothing
// came in between.
const clockReadings = 5

// ReadClocks reads the clocks. wall reads the wall clock; nil: the system's.
func ReadClocks(wall func() int64) (now Clocks) {
	if wall == nil {
		wall = func() int64 { return readClock(unix.CLOCK_REALTIME) }
	}
	tightest := int64(math.MaxInt64)
	for range clockReadings {
		before := readClock(unix.CLOCK_BOOTTIME)
		c := Clocks{Wall: wall(), Monotonic: readClock(unix.CLOCK_MONOTONIC)}
		after := readClock(unix.CLOCK_BOOTTIME)
		if spread := after - before; spread < tightest {
			tightest = spread
			c.Boot = before + spread/2
			now = c
		}
	}
	return now
}

func readClock(id int32) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic(err) // a kernel without these clocks is older than any with BPF
	}
	return t.Nano()
}
