// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// withoutCapabilities runs f on a thread whose effective capabilities are put away
// meanwhile.
func withoutCapabilities(f func()) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held, none [2]unix.CapUserData
	if err := unix.Capget(&header, &held[0]); err != nil {
		return err
	}
	none = held
	none[0].Effective, none[1].Effective = 0, 0
	if err := unix.Capset(&header, &none[0]); err != nil {
		return err
	}
	f()
	return unix.Capset(&header, &held[0])
}
