// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package bench

import (
	"context"
	"errors"
)

var errNotLinux = errors.New("bench measures live capture, which needs Linux")

// Measure returns an error: there is no live capture on this system.
func Measure(context.Context, Config) (*Report, error) { return nil, errNotLinux }

// Generate returns an error: there is no live capture on this system.
func Generate(context.Context, Load, string) (*Generated, error) { return nil, errNotLinux }
