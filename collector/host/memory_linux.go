// SPDX-License-Identifier: Apache-2.0

package host

import "golang.org/x/sys/unix"

// Memory is how many bytes of memory the machine has, 0 if that is not known.
func Memory() uint64 {
	var system unix.Sysinfo_t
	if err := unix.Sysinfo(&system); err != nil {
		return 0
	}
	return uint64(system.Totalram) * uint64(system.Unit)
}
