// SPDX-License-Identifier: Apache-2.0

package affinity

import (
	"testing"
	"time"
)

// TestDebt shares a CPU with a program that takes so much of it each time.
func TestDebt(t *testing.T) {
	const chunk = 20 * time.Microsecond
	tests := []struct {
		name    string
		takes   time.Duration
		pause   time.Duration // that the program sleeps in between
		least   float64       // share of the time that is kept
		longest time.Duration // that the program waits
	}{
		{"nobody waits", 0, 0, 1, 0},
		{"requests", 100 * time.Microsecond, 150 * time.Microsecond, 0.5, chunk},
		{"a hog", 3 * time.Millisecond, 0, 0.49, 10 * time.Millisecond},
		{"a hog with long slices", 100 * time.Millisecond, 0, 0.45, 200 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d debt
			var now, kept, longest time.Duration
			ready := time.Duration(0) // when the program wants to run again
			for now < 10*time.Second {
				now += chunk
				kept += chunk
				if tt.takes == 0 || now < ready || !d.mayGrow(now) {
					continue
				}
				longest = max(longest, now-ready)
				d.add(now, now+tt.takes)
				now += tt.takes
				ready = now + tt.pause
			}
			if share := float64(kept) / float64(now); share < tt.least {
				t.Errorf("kept %.3f of the time, want at least %.3f", share, tt.least)
			}
			if longest > tt.longest {
				t.Errorf("the program waited for %v, want %v at most", longest, tt.longest)
			}
		})
	}
}
