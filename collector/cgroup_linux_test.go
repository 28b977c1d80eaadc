// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"conntap/bpf"
)

func TestFindCgroupRoot(t *testing.T) {
	tests := []struct{ name, table, want string }{
		{"version 2", "24 1 0:22 / /proc rw - proc proc rw\n31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup"},
		{"both versions", "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw", "/sys/fs/cgroup/unified"},
		{"a blank in the path", `41 31 0:38 / /mnt/my\040groups rw - cgroup2 none rw`, "/mnt/my groups"},
		{
			"a container with the host's groups beside its own",
			"31 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n32 23 0:28 /../../.. /host/cgroup ro - cgroup2 cgroup rw\n", "/host/cgroup",
		},
		{
			"a part before all", "31 23 0:28 /a.slice /srv/a rw - cgroup2 cgroup rw\n32 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
			"/sys/fs/cgroup",
		},
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

func TestCgroupOf(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"version 2", "0::/system.slice/a.service\n", "/system.slice/a.service"},
		{"both versions", "9:name=systemd:/x\n1:cpu:/y\n0::/\n", "/"},
		{"version 1 alone", "1:cpu:/y\n", ""},
		{"outside of what is seen here", "0::/../../b.slice\n", ""},
		{"gone", "", ""},
	}
	for _, tt := range tests {
		if got := cgroupOf(tt.text); got != tt.want {
			t.Errorf("%s: want %q, got %q", tt.name, tt.want, got)
		}
	}
}

// TestCgroups looks into a tree of folders, as a hierarchy of groups is one.
func TestCgroups(t *testing.T) {
	root := t.TempDir()
	makeGroup := func(path string) uint64 {
		must(t, os.MkdirAll(filepath.Join(root, path), 0o755))
		return inodeOf(filepath.Join(root, path))
	}
	top, early := makeGroup("/"), makeGroup("/a.slice/b.scope")
	c := openCgroups(root)
	defer c.close()
	check := func(name string, id uint64, want string) {
		t.Helper()
		if got := c.path(id); got != want {
			t.Errorf("%s: want %q, got %q", name, want, got)
		}
	}
	check("root", top, "/")
	check("a group", early, "/a.slice/b.scope")

	brief := makeGroup("/c.scope") // there while its packet is read, gone when its row comes
	notes := groupNotes{fresh: c.fresh}
	notes.note(&bpf.Owner{PID: 1 << 30, Cgroup: brief})
	for c.path(brief) == "" {
		time.Sleep(time.Millisecond)
	}
	// Moved away, lest its number is used again, as that of a group is not.
	must(t, os.Rename(filepath.Join(root, "c.scope"), filepath.Join(t.TempDir(), "c.scope")))
	late := makeGroup("/a.slice/d.scope")
	notes.note(&bpf.Owner{PID: 1 << 30, Cgroup: late})
	for c.path(late) == "" {
		time.Sleep(time.Millisecond)
	}
	check("one that came later", late, "/a.slice/d.scope")
	check("one that is gone", brief, "/c.scope")
	check("none", 1<<63, "")
}
