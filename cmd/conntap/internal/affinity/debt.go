// SPDX-License-Identifier: Apache-2.0

package affinity

import (
	"sync/atomic"
	"time"
)

// owedMost is how much of its time a process gives away before it wants some back.
const owedMost = 2 * time.Millisecond

// debt is the time that a process has given away and not got back: with each moment
// that it keeps it gets one back. Times are since some moment of the past. Threads that
// add at once may forget each other's, which is small.
type debt struct{ even atomic.Int64 } // when it is paid, ns

// mayGrow tells whether more may be given.
func (d *debt) mayGrow(now time.Duration) bool {
	return time.Duration(d.even.Load())-now <= owedMost
}

// add notes what was given away just now, in which nothing was got back.
func (d *debt) add(from, to time.Duration) {
	d.even.Store(max(d.even.Load(), int64(from)) + 2*int64(to-from))
}
