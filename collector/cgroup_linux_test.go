// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestFindCgroupRoot(t *testing.T) {
	tests := []struct{ name, table, want string }{
		{"version 2", "24 1 0:22 / /proc rw - proc proc rw\n31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"},
		{"both versions", "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw", "/sys/fs/cgroup/unified"},
		{"a blank in the path", `41 31 0:38 / /mnt/my\040groups rw - cgroup2 none rw`, "/mnt/my groups"},
		{"version 1 alone", "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", ""},
		{"no table", "", ""},
		{"damaged", "41 31 - cgroup2 none rw\n - \n", ""},
	}
	for _, tt := range tests {
		if got := findCgroupRoot(tt.table); got != tt.want {
			t.Errorf("%s: want %q, got %q", tt.name, tt.want, got)
		}
	}
}

// TestCgroups looks into a tree of folders, as a hierarchy of groups is one.
func TestCgroups(t *testing.T) {
	root := t.TempDir()
	makeGroup := func(path string) uint64 {
		must(t, os.MkdirAll(filepath.Join(root, path), 0o755))
		info, err := os.Stat(filepath.Join(root, path))
		must(t, err)
		return info.Sys().(*syscall.Stat_t).Ino
	}
	top, early := makeGroup("/"), makeGroup("/a.slice/b.scope")
	c := &Cgroups{root: root}
	c.look()
	check := func(name string, id uint64, want string) {
		t.Helper()
		if got := c.Path(id); got != want {
			t.Errorf("%s: want %q, got %q", name, want, got)
		}
	}
	check("root", top, "/")
	check("a group", early, "/a.slice/b.scope")
	late := makeGroup("/c.slice")
	check("a new one, right after a look", late, "")
	c.looked = c.looked.Add(-cgroupPatience)
	check("a new one, later", late, "/c.slice")
	must(t, os.RemoveAll(filepath.Join(root, "a.slice")))
	c.looked = c.looked.Add(-cgroupPatience)
	check("none", 1<<63, "")
	check("one that is gone", early, "/a.slice/b.scope")
}
