// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sandbox

import "errors"

// Enter returns an error: there is no sandbox on this system.
func Enter(Config) (*Result, error) { return nil, errors.ErrUnsupported }
