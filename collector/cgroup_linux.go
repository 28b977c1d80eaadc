// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// errNoCgroups means that control groups are out of reach.
var errNoCgroups = errors.New("cgroup version 2 is not mounted here: mount -t cgroup2 none /sys/fs/cgroup " +
	"(under ip netns exec it is hidden: use nsenter --net=/run/netns/NAME)")

// cgroupRoot is where the hierarchy of version 2 is mounted.
func cgroupRoot() (string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("looking for cgroups: %w", err)
	}
	root := findCgroupRoot(string(table))
	if root == "" {
		return "", errNoCgroups
	}
	return root, nil
}

// findCgroupRoot is the first mount point of a cgroup2 file system in the text of
// /proc/self/mountinfo (proc_pid_mountinfo(5)), "" if there is none.
func findCgroupRoot(table string) string {
	for line := range strings.Lines(table) {
		mount, super, found := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if found && len(fields) >= 5 && strings.HasPrefix(super, "cgroup2 ") {
			return mountUnescaper.Replace(fields[4])
		}
	}
	return ""
}

// mountUnescaper undoes what the kernel does to a path in a table of mounts.
var mountUnescaper = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

const (
	cgroupsMax     = 1 << 16     // paths that are kept, of groups that are gone too
	cgroupPatience = time.Second // between two looks at the whole hierarchy
)

// Cgroups knows control groups by their ids. Its methods may be called from any
// goroutine.
type Cgroups struct {
	root string

	mu     sync.Mutex
	paths  map[uint64]string
	looked time.Time
}

// OpenCgroups returns the control groups of version 2. An error says what to do.
func OpenCgroups() (*Cgroups, error) {
	root, err := cgroupRoot()
	if err != nil {
		return nil, err
	}
	c := &Cgroups{root: root}
	c.look()
	return c, nil
}

// Path is the path of a group, as /system.slice/nginx.service; "" if no such group
// was there when it was first asked for.
func (c *Cgroups) Path(id uint64) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	path, known := c.paths[id]
	if !known && time.Since(c.looked) >= cgroupPatience {
		c.look()
		path = c.paths[id]
	}
	return path
}

// look reads the hierarchy. Groups that are gone are remembered, as long as there is
// room: ids are not used again.
func (c *Cgroups) look() {
	found := make(map[uint64]string)
	_ = filepath.WalkDir(c.root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // it went away meanwhile
		}
		if info, err := entry.Info(); err == nil {
			found[info.Sys().(*syscall.Stat_t).Ino] = "/" + strings.TrimPrefix(path[len(c.root):], "/")
		}
		return nil
	})
	for id, path := range c.paths {
		if len(found) >= cgroupsMax {
			break
		}
		if _, there := found[id]; !there {
			found[id] = path
		}
	}
	c.paths, c.looked = found, time.Now()
}
