// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestAppendJSONDouble(t *testing.T) {
	tests := []struct {
		v    float64
		want string
	}{
		{0, "0.0"},
		{1, "1.0"},
		{1e20, "100000000000000000000.0"},
		{1e21, "1e21"},
		{1.5e22, "1.5e22"},
		{0.5, "0.5"},
		{1e-6, "0.000001"},
		{9.5367431640625e-7, "9.5367431640625e-7"},
		{5e-324, "5e-324"},
		{1.7976931348623157e308, "1.7976931348623157e308"},
		{1700000000.123456, "1700000000.123456"},
		// From published logs of Zeek.
		{1.2656450271606445, "1.2656450271606445"},
		{2.2717180252075195, "2.2717180252075195"},
		{0.25411510467529297, "0.25411510467529297"},
		{65.45066595077515, "65.45066595077515"},
		// Where Grisu2's last digit isn't the nearest.
		{0.0014848709106445312, "0.0014848709106445313"},
		{4.9114227294921875e-05, "0.000049114227294921875"},
	}
	for _, tt := range tests {
		if got := string(appendJSONDouble(nil, tt.v)); got != tt.want {
			t.Errorf("want %s, got %s", tt.want, got)
		}
	}
}

// TestJSONDoubleReadsBack: the digits give the same double, and are at most one
// more than needed.
func TestJSONDoubleReadsBack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		start := seconds(random.Int64N(4e18))
		v := start + random.Float64()*1e3 - start
		if v == 0 {
			continue
		}
		text := string(appendJSONDouble(nil, v))
		back, err := strconv.ParseFloat(text, 64)
		if err != nil || back != v {
			t.Fatalf("%v became %s, which reads as %v (%v)", v, text, back, err)
		}
	}
}
