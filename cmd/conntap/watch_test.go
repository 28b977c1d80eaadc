// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"conntap/collector/host"
)

// steps are those that the wall clock of steppedMain takes.
var steps = []time.Duration{time.Hour, -3 * time.Hour}

// steppedMain is conntap with a wall clock that each SIGUSR1 steps. The machine's own is
// not the tests' to set.
func steppedMain() {
	var ahead atomic.Int64
	wallClock = func() int64 { return time.Now().UnixNano() + ahead.Load() }
	signals := make(chan os.Signal, len(steps))
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for _, step := range steps {
			<-signals
			ahead.Add(int64(step))
		}
	}()
	main()
}

// TestWatcher says each kind at once, then once a minute, and nothing twice.
func TestWatcher(t *testing.T) {
	var ahead time.Duration
	w := &watcher{Watch: host.NewWatch(func() int64 { return time.Now().Add(ahead).UnixNano() })}
	w.Look()
	now := time.Now()
	const after = "; connections from now on begin by the new time, open ones keep the old, and no duration is off"
	tests := []struct {
		ahead time.Duration
		later time.Duration
		want  []string
	}{
		{0, 0, nil},
		{time.Hour, 0, []string{"clock: the wall clock was stepped forward by 60 min" + after}},
		{time.Hour, time.Second, nil},
		{0, time.Second, nil},
		{time.Hour, time.Second, nil},
		{time.Hour, time.Minute, []string{"clock: the wall clock was stepped forward by 60 min and back by 60 min" + after}},
		{0, time.Hour, []string{"clock: the wall clock was stepped back by 60 min" + after}},
		{0, time.Hour, nil},
	}
	for i, tt := range tests {
		ahead, now = tt.ahead, now.Add(tt.later)
		got := slices.DeleteFunc(w.sentences(now), func(s string) bool { return s[:9] == "throttled" }) // by the machine of the test
		if !slices.Equal(got, tt.want) {
			t.Errorf("%d: want %q, got %q", i, tt.want, got)
		}
	}
	w.untold.Suspends, w.untold.Suspended = 1, 8*time.Hour
	w.untold.Throttling = host.Throttling{Periods: 20, Time: 2 * time.Second}
	w.throttling = time.Time{}
	if got := w.sentences(now); len(got) != 2 || got[0] != "suspend: the machine slept for 8.0 h; what it missed is in no count" {
		t.Errorf("want suspend and throttling, got %q", got)
	}
	if got := w.sentences(now); len(got) != 0 {
		t.Errorf("want nothing twice, got %q", got)
	}
}
