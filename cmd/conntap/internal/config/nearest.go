// SPDX-License-Identifier: Apache-2.0

package config

import "github.com/spf13/pflag"

// distanceMost is how many letters a name may be off to be taken for a slip.
const distanceMost = 2

// nearest is the setting that a name is a slip of; "" if it is like none.
func (s *Settings) nearest(name string) (near string) {
	most := min(distanceMost, (len(name)+1)/3) + 1
	s.visit(func(f *pflag.Flag) {
		if d := distance(name, f.Name); d < most {
			near, most = f.Name, d
		}
	})
	return near
}

// distance is how many bytes must be inserted, removed or replaced to make b of a
// (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // distances of the part of a so far to all parts of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
