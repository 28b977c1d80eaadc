// SPDX-License-Identifier: Apache-2.0

package affinity

import (
	"slices"
	"testing"
)

func TestList(t *testing.T) {
	tests := []struct {
		in   string
		want []int
		text string
	}{
		{"2", []int{2}, "2"},
		{"0-3,8", []int{0, 1, 2, 3, 8}, "0-3,8"},
		{"8, 3,2,2-4", []int{2, 3, 4, 8}, "2-4,8"},
		{"5-5", []int{5}, "5"},
		{"", nil, ""},
		{"a", nil, ""},
		{"3-", nil, ""},
		{"-1", nil, ""},
		{"3-1", nil, ""},
		{"0-99999999", nil, ""},
		{"1,,2", nil, ""},
	}
	for _, tt := range tests {
		var l CPUs
		err := l.Set(tt.in)
		if (err != nil) != (tt.want == nil) || !slices.Equal(l, tt.want) || l.String() != tt.text {
			t.Errorf("%q: want %v, %q, got %v, %q, %v", tt.in, tt.want, tt.text, l, l.String(), err)
		}
	}
}
