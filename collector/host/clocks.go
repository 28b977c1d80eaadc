// SPDX-License-Identifier: Apache-2.0

package host

import "time"

// Clocks are three clocks at one moment, ns.
type Clocks struct {
	Wall      int64 // since 1970
	Boot      int64 // steady, and goes on in suspend
	Monotonic int64 // steady, and stands still in suspend
}

// TimeWatch finds out what happened to time from one look at the clocks to the next. It
// is for one goroutine.
type TimeWatch struct {
	last Clocks
}

const (
	// stepLeast is the least change that counts as a step of the wall clock, beside
	// what slewing it at the fastest rate (10 %, adjtimex(2)) can do.
	stepLeast = 100 * time.Millisecond
	slewMost  = 10 // the time awake between two looks, divided by it
	// suspendLeast is the least time that counts as suspend. What the readings are
	// apart is less.
	suspendLeast = 100 * time.Millisecond
)

// Look compares the clocks with those of the last look, and returns by how much the wall
// clock was stepped, forward if positive, and for how long the machine was suspended: 0
// for not.
func (w *TimeWatch) Look(now Clocks) (step, suspended time.Duration) {
	last := w.last
	w.last = now
	if last == (Clocks{}) {
		return 0, 0
	}
	elapsed, awake := now.Boot-last.Boot, now.Monotonic-last.Monotonic
	step = time.Duration(now.Wall - last.Wall - elapsed)
	if tolerated := stepLeast + time.Duration(awake/slewMost); step > -tolerated && step < tolerated {
		step = 0
	}
	suspended = time.Duration(elapsed - awake)
	if suspended < suspendLeast {
		suspended = 0
	}
	return step, suspended
}
