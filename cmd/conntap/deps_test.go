// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os/exec"
	"strings"
	"testing"
)

// rooms say what each room may import beyond the standard library and itself.
var rooms = map[string][]string{
	"conntap/bpf": {},
	"conntap/collector": {
		"conntap/bpf", "conntap/collector/host", "conntap/collector/thread", "github.com/cilium/ebpf", "github.com/klauspost/compress", "github.com/vishvananda/netlink",
		"golang.org/x/sys",
	},
	"conntap/collector/host":        {"golang.org/x/sys"},
	"conntap/collector/thread":      {"golang.org/x/sys"},
	"conntap/tracker":               {"conntap/bpf", "conntap/tracker/service", "conntap/tracker/internal/slab"},
	"conntap/tracker/service":       {"conntap/tracker/internal/slab"},
	"conntap/tracker/internal/slab": {},
	"conntap/tracker/connlog":       {"conntap/bpf", "conntap/tracker", "github.com/klauspost/compress"},
}

// TestImports keeps the arrows between the rooms pointing inward.
func TestImports(t *testing.T) {
	for _, pkg := range strings.Fields(list(t, "{{.ImportPath}}", "conntap/bpf/...", "conntap/collector/...", "conntap/tracker/...")) {
		room := pkg
		for rooms[room] == nil && strings.Contains(room, "/") {
			room = room[:strings.LastIndexByte(room, '/')] // a package below belongs to its room
		}
		for _, path := range imports(t, pkg) {
			if path != room && !within(path, rooms[room]) {
				t.Errorf("%s imports %s, want nothing outside %q", pkg, path, rooms[room])
			}
		}
	}
}

// imports lists what a package imports beyond the standard library.
func imports(t *testing.T, pkg string) []string {
	t.Helper()
	var outside []string
	for path := range strings.FieldsSeq(list(t, `{{join .Imports "\n"}}`, pkg)) {
		first, _, _ := strings.Cut(path, "/")
		if strings.Contains(first, ".") || first == "conntap" {
			outside = append(outside, path)
		}
	}
	return outside
}

// list is the output of go list for Linux.
func list(t *testing.T, format string, packages ...string) string {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-f", format}, packages...)...)
	command.Env = append(command.Environ(), "GOOS=linux")
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", packages, err)
	}
	return string(out)
}

func within(path string, roots []string) bool {
	for _, root := range roots {
		if path == root || strings.HasPrefix(path, root+"/") {
			return true
		}
	}
	return false
}
