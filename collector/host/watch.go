// SPDX-License-Identifier: Apache-2.0

package host

import (
	"sync"
	"time"
)

// Disturbances are what happened to this process's time.
type Disturbances struct {
	// ForwardSteps and BackSteps are how many times the wall clock was stepped, by Forward and
	// Back in all.
	ForwardSteps, BackSteps uint64
	Forward, Back           time.Duration
	// Suspends is how many times the machine was suspended, for Suspended in all.
	Suspends  uint64
	Suspended time.Duration
	// Throttling is what the CPU quotas of the control groups did.
	Throttling Throttling
}

// Add adds what came later.
func (d *Disturbances) Add(later *Disturbances) {
	d.ForwardSteps += later.ForwardSteps
	d.BackSteps += later.BackSteps
	d.Forward += later.Forward
	d.Back += later.Back
	d.Suspends += later.Suspends
	d.Suspended += later.Suspended
	d.Throttling.Periods += later.Throttling.Periods
	d.Throttling.Time += later.Throttling.Time
}

// Watch notices disturbances. Look is for one goroutine, Sum for any.
type Watch struct {
	group *Group
	wall  func() int64
	time  TimeWatch
	last  Throttling

	mu  sync.Mutex
	sum Disturbances
}

// NewWatch begins to watch. wall reads the wall clock, ns since 1970; nil: the system's.
func NewWatch(wall func() int64) *Watch {
	w := &Watch{group: OwnGroup(), wall: wall}
	w.time.Look(ReadClocks(wall))
	w.last = w.group.Throttling()
	return w
}

// Look returns what happened since the last look, or since the beginning. Several
// steps between two looks are one: best look every second or so.
func (w *Watch) Look() (news Disturbances) {
	step, suspended := w.time.Look(ReadClocks(w.wall))
	switch {
	case step > 0:
		news.ForwardSteps, news.Forward = 1, step
	case step < 0:
		news.BackSteps, news.Back = 1, -step
	}
	if suspended > 0 {
		news.Suspends, news.Suspended = 1, suspended
	}
	now := w.group.Throttling()
	if now.Periods >= w.last.Periods && now.Time >= w.last.Time { // else the process was moved
		news.Throttling = Throttling{now.Periods - w.last.Periods, now.Time - w.last.Time}
	}
	w.last = now
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sum.Add(&news)
	return news
}

// Sum is all that was found by now.
func (w *Watch) Sum() Disturbances {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sum
}
