// SPDX-License-Identifier: Apache-2.0

package collector

import "testing"

// TestSampleOffset feeds clocks that another task interrupts in all readings
// but one.
func TestSampleOffset(t *testing.T) {
	boots := []int64{1000, 5000, 9000, 9100, 20000, 30000}
	walls := []int64{104000, 105100, 109050, 119000, 121000}
	next := func(list *[]int64) func() int64 {
		return func() int64 {
			v := (*list)[0]
			*list = (*list)[1:]
			return v
		}
	}
	offset, err := sampleOffset(next(&boots), next(&walls))
	if offset != 100000 || err != 100 {
		t.Errorf("want offset 100000, error 100; got %d, %d", offset, err)
	}
}

func TestWallClock(t *testing.T) {
	var c wallClock
	c.refresh(bootTime())
	first := c.offset
	if off := wallTime() - bootTime() - first; off < -1e8 || off > 1e8 {
		t.Errorf("offset is %d ns off", off)
	}

	tests := []struct {
		name    string
		offset  int64 // what the clock believed before
		elapsed int64 // since the last look
		keeps   bool
	}{
		{"too early to look", first - 5e9, clockRefresh - 1, true},
		{"a step is seen", first - 5e9, clockRefresh, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := wallClock{offset: tt.offset, checked: 1}
			c.refresh(1 + tt.elapsed)
			if kept := c.offset == tt.offset; kept != tt.keeps {
				t.Errorf("want kept %v, got %v (offset %d)", tt.keeps, kept, c.offset)
			}
		})
	}
}
