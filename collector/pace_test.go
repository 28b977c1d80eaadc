// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	tests := []struct {
		name  string
		ring  uint64 // bytes per CPU
		bytes uint64 // that came since the last nap
		want  time.Duration
	}{
		{"nothing", 16 << 20, 0, napQuiet},
		{"a few", 16 << 20, busyBytes - 1, napQuiet},
		{"many", 16 << 20, busyBytes, napBusy},
		{"as many as a nap should find", 16 << 20, 1 << 20, napBusy},
		{"more", 16 << 20, 1<<20 + 1, napQuiet},
		{"a smaller ring: few", 8 << 20, 0, 8 << 20 / quietFill},
		{"a smaller ring: many", 8 << 20, busyBytes, 8 << 20 / busyFill},
		{"a small ring", 1 << 20, 0, 0},
		{"a small ring: many", 1 << 20, busyBytes, 1 << 20 / busyFill},
		{"a tiny ring", 64 << 10, busyBytes, 0},
		{"none of its own", 0, busyBytes, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPace(tt.ring)
			p.nap(1 << 40)
			if got := p.nap(1<<40 + tt.bytes); got != tt.want {
				t.Errorf("want %v, got %v", tt.want, got)
			}
		})
	}
}
