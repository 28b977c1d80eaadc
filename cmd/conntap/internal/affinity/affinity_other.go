// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package affinity

import "errors"

// Yield does nothing: this system is not asked for it.
func Yield() error { return nil }

// GiveWay does nothing, as Yield.
func GiveWay() {}

// Confine returns an error: this system is not asked for it.
func Confine(cpus []int) error { return wrap(cpus, errors.New("works on Linux alone")) }
