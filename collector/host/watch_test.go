// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestWatch has a clock that is stepped, and a control group whose quota is used up.
func TestWatch(t *testing.T) {
	root := tree(t, map[string]string{
		"proc/self/mountinfo":   "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
		"proc/self/cgroup":      "0::/a\n",
		"sys/fs/cgroup/a/a.txt": "",
	})
	throttled := func(text string) {
		if err := os.WriteFile(filepath.Join(root, "sys/fs/cgroup/a/cpu.stat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ahead := time.Duration(0)
	w := &Watch{group: groupBelow(root), wall: func() int64 { return time.Now().Add(ahead).UnixNano() }}
	throttled("nr_throttled 5\nthrottled_usec 70\n")
	w.Look()
	w.sum = Disturbances{} // what was before

	tests := []struct {
		name      string
		ahead     time.Duration
		throttled string
		want      Disturbances
	}{
		{"nothing", 0, "nr_throttled 5\nthrottled_usec 70\n", Disturbances{}},
		{"forward", time.Hour, "nr_throttled 5\nthrottled_usec 70\n", Disturbances{ForwardSteps: 1, Forward: time.Hour}},
		{"back, and throttled", 0, "nr_throttled 8\nthrottled_usec 100\n", Disturbances{
			BackSteps: 1, Back: time.Hour, Throttling: Throttling{3, 30 * time.Microsecond},
		}},
		{"in another group", 0, "nr_throttled 1\nthrottled_usec 1\n", Disturbances{}},
		{"and there", 0, "nr_throttled 2\nthrottled_usec 1\n", Disturbances{Throttling: Throttling{Periods: 1}}},
	}
	var sum Disturbances
	for _, tt := range tests {
		ahead = tt.ahead
		throttled(tt.throttled)
		got := w.Look()
		got.Forward, got.Back = got.Forward.Round(time.Minute), got.Back.Round(time.Minute)
		if got != tt.want {
			t.Errorf("%s: want %+v, got %+v", tt.name, tt.want, got)
		}
		sum.Add(&tt.want)
	}
	got := w.Sum()
	got.Forward, got.Back = got.Forward.Round(time.Minute), got.Back.Round(time.Minute)
	if got != sum {
		t.Errorf("in all: want %+v, got %+v", sum, got)
	}
}
