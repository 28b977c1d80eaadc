// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package notify

import (
	"errors"
	"time"
)

func monotonic() (time.Duration, error) { return 0, errors.ErrUnsupported }
