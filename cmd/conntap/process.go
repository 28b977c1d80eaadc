// SPDX-License-Identifier: Apache-2.0

package main

import "slices"

// processFields are the columns of --with process.
var processFields = []string{"pid", "process", "process_uid", "cgroup", "container"}

// wantsProcess tells whether the log has anything of who made a connection.
func (f *logFlags) wantsProcess() bool {
	return f.with.has("process") || slices.ContainsFunc(f.fields, func(name string) bool {
		return slices.Contains(processFields, name)
	})
}
