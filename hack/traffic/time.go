// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"time"
)

// timeRequests makes n requests for a small page, one after another and each on a
// connection of its own, and prints the median and the 99th percentile of how long
// they took, in microseconds.
func timeRequests(server string, n int) error {
	took := make([]time.Duration, n)
	for i := range took {
		begin := time.Now()
		if err := get(server, "/1200"); err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	fmt.Println(took[n/2].Microseconds(), took[n*99/100].Microseconds())
	return nil
}
