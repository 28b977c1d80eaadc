// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"math/rand/v2"
	"testing"
	"time"

	"conntap/bpf"
)

// TestLosses checks what is said of periods before, around, within and after
// losses of two streams.
func TestLosses(t *testing.T) {
	const ms = int64(time.Millisecond)
	l := newLosses()
	for _, h := range []struct {
		cpu  uint16
		hook bpf.Hook
		ms   int64
		lost uint64
	}{
		{0, bpf.HookXDP, 100, 0},
		{1, bpf.HookXDP, 105, 0},
		{0, bpf.HookXDP, 120, 7}, // between 100 and 120
		{0, bpf.HookXDP, 200, 7},
		{1, bpf.HookXDP, 300, 20}, // between 105 and 300
		{1, bpf.HookTCEgress, 310, 0},
		{0, bpf.HookXDP, 400, 8}, // between 200 and 400
	} {
		l.noteBatch(&bpf.BatchHeader{CPU: h.cpu, Hook: h.hook, BaseNs: uint64(h.ms * ms), Lost: h.lost})
	}
	tests := []struct {
		from, to int64 // ms
		want     uint64
	}{
		{0, 90, 0},
		{0, 102, 7},
		{0, 500, 28},
		{110, 110, 27},
		{130, 140, 20},
		{140, 130, 20},
		{130, 250, 21},
		{310, 500, 1},
		{410, 500, 0},
	}
	for _, tt := range tests {
		if got := l.between(tt.from*ms, tt.to*ms); got != tt.want {
			t.Errorf("from %d to %d ms: want %d, got %d", tt.from, tt.to, tt.want, got)
		}
	}
	// What a counter says between two batches is not said again by the next one.
	l.note(lossStream(0, bpf.HookXDP), 10, 450*ms, 460*ms)
	l.noteBatch(&bpf.BatchHeader{BaseNs: uint64(600 * ms), Lost: 10})
	l.noteBatch(&bpf.BatchHeader{BaseNs: uint64(700 * ms), Lost: 11})
	// A CPU that comes late has lost nothing before the counters were last read.
	l.settle(800 * ms)
	l.noteBatch(&bpf.BatchHeader{CPU: 7, BaseNs: uint64(900 * ms), Lost: 100})
	for _, tt := range []struct{ from, to, want int64 }{
		{430, 440, 2}, {470, 590, 0}, {610, 620, 1}, {0, 790, 31}, {800, 810, 100}, {0, 1000, 131},
	} {
		if got := l.between(tt.from*ms, tt.to*ms); got != uint64(tt.want) {
			t.Errorf("from %d to %d ms: want %d, got %d", tt.from, tt.to, tt.want, got)
		}
	}
}

// TestLossesAreBounded checks that losses without end fill no memory, and that what
// is said of a period is never below the truth, and no further above it than the
// distance of the steps explains.
func TestLossesAreBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	l := newLosses()
	const batches = 8 * lossStepsMax
	type loss struct {
		after, before int64
		n             uint64
	}
	var all []loss
	var lost [2]uint64
	var last [2]int64
	now := int64(1e15)
	for range batches {
		now += r.Int64N(int64(4 * time.Millisecond))
		cpu := r.IntN(2)
		n := r.Uint64N(3)
		lost[cpu] += n
		all = append(all, loss{last[cpu], now, n})
		last[cpu] = now
		l.noteBatch(&bpf.BatchHeader{CPU: uint16(cpu), BaseNs: uint64(now), Lost: lost[cpu]})
	}
	for _, s := range []*lossSteps{&l.earliest, &l.latest} {
		if n := len(s.steps); n > lossStepsMax || n < lossStepsMax/8 {
			t.Errorf("want at most %d steps and not far fewer, got %d", lossStepsMax, n)
		}
	}
	step := int64(1) << max(l.earliest.shift, l.latest.shift)
	for range 100 {
		from := int64(1e15) + r.Int64N(now-1e15)
		to := from + r.Int64N(now-from+1)
		var least, most uint64
		for _, x := range all {
			if x.after <= to && x.before > from {
				least += x.n
			}
			if x.after <= to+step && x.before > from-step {
				most += x.n
			}
		}
		if got := l.between(from, to); got < least || got > most {
			t.Errorf("from %d to %d: want %d to %d, got %d", from, to, least, most, got)
		}
	}
}
