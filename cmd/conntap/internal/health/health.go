// SPDX-License-Identifier: Apache-2.0

// Package health knows whether the stages of a capture move on.
package health

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Stage is a part of a capture that comes round again and again, with packets or
// without.
type Stage int

// The stages.
const (
	Reader Stage = iota // a batch came from the source, perhaps an empty one, and went to the tracker
	Writer              // the rows so far were made readable
	stageCount
)

var stageNames = [stageCount]string{"the reader of packets", "the writer of the log"}

func (s Stage) String() string { return stageNames[s] }

// Monitor takes down when each stage came round. Its methods may be called from any
// goroutine. Time is the kernel's monotonic one: that which passes in suspend is no
// standstill.
type Monitor struct {
	started time.Time
	last    [stageCount]atomic.Int64 // ns since started
}

// New is a monitor whose stages all have just come round.
func New() *Monitor { return &Monitor{started: time.Now()} }

// Moved says that a stage came round.
func (m *Monitor) Moved(s Stage) { m.last[s].Store(int64(time.Since(m.started))) }

// Stuck is an error if a stage has not come round for longer than patience: about the
// one that stands longest, for which the others may be waiting.
func (m *Monitor) Stuck(patience time.Duration) error {
	now := time.Since(m.started)
	stage, stands := Stage(0), time.Duration(0)
	for s := range m.last {
		if d := now - time.Duration(m.last[s].Load()); d > stands {
			stage, stands = Stage(s), d
		}
	}
	if stands <= patience {
		return nil
	}
	return fmt.Errorf("%s has stood still for %v", stage, stands.Round(100*time.Millisecond))
}
