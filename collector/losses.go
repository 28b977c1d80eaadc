// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"slices"
	"sort"
	"sync"
	"time"

	"conntap/bpf"
)

// losses remembers when frames were lost for want of room in a ring. A batch's
// header says how many its CPU and hook had lost by then: those since the batch
// before were lost between the two. Notes are for one goroutine, between is for any.
type losses struct {
	streams []lossMark // by CPU and hook
	settled int64      // what was lost before is noted, of all CPUs and hooks

	mu sync.Mutex // guards what follows
	// Each loss stands in earliest with the first moment at which it may have come,
	// and in latest with the last one.
	earliest, latest lossSteps
}

// lossMark says that so many frames were lost up to a time.
type lossMark struct {
	lost uint64
	time int64
}

func newLosses() *losses {
	l := &losses{}
	l.earliest.shift, l.latest.shift = lossShiftLeast, lossShiftLeast
	l.latest.up = true
	return l
}

// noteBatch takes a batch's header, in the order of its CPU and hook.
func (l *losses) noteBatch(h *bpf.BatchHeader) {
	l.note(lossStream(int(h.CPU), h.Hook), h.Lost, int64(h.BaseNs), int64(h.BaseNs))
}

// lossStream is the index of a CPU and hook.
func lossStream(cpu int, hook bpf.Hook) int { return cpu*bpf.HookCount + int(hook) }

// note takes how many frames a CPU and hook have lost: all that were lost before
// from, and none that was lost after to.
func (l *losses) note(stream int, lost uint64, from, to int64) {
	for stream >= len(l.streams) {
		l.streams = append(l.streams, lossMark{})
	}
	before := l.streams[stream]
	before.time = max(before.time, l.settled)
	if lost > before.lost {
		l.mu.Lock()
		l.earliest.add(before.time, lost-before.lost)
		l.latest.add(to, lost-before.lost)
		l.mu.Unlock()
	}
	l.streams[stream] = lossMark{max(lost, before.lost), max(from, before.time)}
}

// settle says that all that was lost before a time has been noted.
func (l *losses) settle(until int64) { l.settled = max(l.settled, until) }

// between is how many frames were lost from one time to another, at most: when a
// frame was lost is known to about a batch and a millisecond.
func (l *losses) between(from, to int64) uint64 {
	from, to = min(from, to), max(from, to)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.earliest.at(to) - l.latest.at(from)
}

// settleInterval is how long to wait, ns, before the counters of all CPUs are read
// again.
const settleInterval = int64(50 * time.Millisecond)

const (
	lossShiftLeast = 20 // steps are 2^20 ns apart: 1 ms
	lossStepsMax   = 1 << 14
)

// lossSteps is a number of frames that grows over time, by steps at multiples of
// 2^shift ns. When there are too many, the distance is doubled: a day of continuous
// losses is known to 10 s.
type lossSteps struct {
	shift uint8
	up    bool // a time is rounded up instead of down
	steps []lossStep
}

// lossStep says how many frames there are from its time on.
type lossStep struct {
	time int64
	sum  uint64
}

func (s *lossSteps) round(time int64) int64 {
	if s.up {
		time += 1<<s.shift - 1
	}
	return time >> s.shift << s.shift
}

// at is the number at a time.
func (s *lossSteps) at(time int64) uint64 {
	i := sort.Search(len(s.steps), func(i int) bool { return s.steps[i].time > time })
	if i == 0 {
		return 0
	}
	return s.steps[i-1].sum
}

// add lets the number grow by n at a time.
func (s *lossSteps) add(time int64, n uint64) {
	time = s.round(time)
	i := sort.Search(len(s.steps), func(i int) bool { return s.steps[i].time >= time })
	if i == len(s.steps) || s.steps[i].time != time {
		s.steps = slices.Insert(s.steps, i, lossStep{time, s.at(time)})
	}
	for ; i < len(s.steps); i++ { // times come nearly in order: this is the last one, or near it
		s.steps[i].sum += n
	}
	for len(s.steps) > lossStepsMax {
		s.thin()
	}
}

// thin doubles the distance between steps.
func (s *lossSteps) thin() {
	s.shift++
	kept := s.steps[:0]
	for _, step := range s.steps {
		step.time = s.round(step.time)
		if n := len(kept); n > 0 && kept[n-1].time == step.time {
			kept[n-1] = step
		} else {
			kept = append(kept, step)
		}
	}
	s.steps = kept
}
