// SPDX-License-Identifier: Apache-2.0

// Package sandbox takes from the process what a capture that runs does not need any
// more: capabilities, new privileges, and by Landlock the file system and new
// connections. What is taken is taken from all threads, for good.
package sandbox

import (
	"strings"

	"conntap/collector"
)

// Config says what the process is to keep.
type Config struct {
	// Keep are capabilities that capture still takes.
	Keep []collector.Capability
	// Read are files and directories that may be read, beside /proc, /sys and the time
	// zones. Of a file that may be replaced by another its directory must be named.
	Read []string
	// Write are directories in which files may be made, written, renamed and removed.
	// They must be there: one of the same name that comes later is another one.
	Write []string
	// GiveAway says that files are given to another owner.
	GiveAway bool
}

// Result is what was done.
type Result struct {
	Capabilities []string // that are left, such as CAP_NET_ADMIN
	Landlock     int      // the version of Landlock's interface that is in force; 0: none
	Write        []string // as in Config
}

// String is the result in the words of a start line.
func (r *Result) String() string {
	text := "no capabilities"
	if len(r.Capabilities) > 0 {
		text = strings.Join(r.Capabilities, ", ") + " and no other capability"
	}
	switch {
	case r.Landlock == 0:
		return text + "; this kernel has no Landlock: the file system stays as open as it is to the user"
	case len(r.Write) == 0:
		return text + ", file system read-only"
	}
	return text + ", file system read-only but for " + strings.Join(r.Write, ", ")
}
