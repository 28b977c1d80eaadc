// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package host

import "time"

// Memory is not known here.
func Memory() uint64 { return 0 }

// ReadClocks reads the wall clock alone: there is no live capture here that others
// matter for.
func ReadClocks(wall func() int64) Clocks {
	now := time.Now().UnixNano()
	if wall != nil {
		now = wall()
	}
	return Clocks{Wall: now, Boot: now, Monotonic: now}
}
