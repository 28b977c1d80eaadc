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
	"time"

	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// errNoCgroups means that control groups are out of reach.
var errNoCgroups = errors.New("cgroup version 2 is not mounted here: mount -t cgroup2 none /sys/fs/cgroup " +
	"(under ip netns exec it is hidden: use nsenter --net=/run/netns/NAME)")

// cgroupRoot is where the hierarchy of version 2 is mounted, or what can be seen of it.
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

// findCgroupRoot is the mount point of the cgroup2 file system that shows the most, in the
// text of /proc/self/mountinfo (proc_pid_mountinfo(5)), "" if there is none.
func findCgroupRoot(table string) (point string) {
	most := -1
	for line := range strings.Lines(table) {
		mount, super, found := strings.Cut(line, " - ")
		fields := strings.Fields(mount)
		if !found || len(fields) < 5 || !strings.HasPrefix(super, "cgroup2 ") {
			continue
		}
		if shows := cgroupsShown(fields[3]); shows > most {
			most, point = shows, mountUnescaper.Replace(fields[4])
		}
	}
	return point
}

// cgroupsShown is how much a mount shows whose root is a path as seen from the cgroup
// namespace: 0 a part of that, 1 all, more what is around it, as /../.. does.
func cgroupsShown(root string) int {
	if root == "/" {
		return 1
	}
	return 2 * strings.Count(root, "/..")
}

// mountUnescaper undoes what the kernel does to a path in a table of mounts.
var mountUnescaper = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

const (
	cgroupsMax     = 1 << 16                // paths that are kept, of groups that are gone too
	cgroupPatience = 200 * time.Millisecond // between two looks at the whole hierarchy
	cgroupsFresh   = 256                    // owners that wait
)

// cgroups knows the paths of control groups by their ids. It learns them when packets
// bring them, on a goroutine of its own: when a row is written, a container may be
// gone.
type cgroups struct {
	root  string
	fresh chan bpf.Owner // whose groups are to be learned

	looked time.Time // learn's own

	mu    sync.Mutex // guards paths
	paths map[uint64]string
}

// openCgroups returns what there is below root. It must be closed.
func openCgroups(root string) *cgroups {
	c := &cgroups{root: root, fresh: make(chan bpf.Owner, cgroupsFresh)}
	c.look()
	go func() {
		for owner := range c.fresh {
			c.learn(&owner)
		}
	}()
	return c
}

// close ends the learning. What was learned stays; fresh takes no more.
func (c *cgroups) close() { close(c.fresh) }

// path is the path of a group, as /system.slice/nginx.service; "" if it is not known.
func (c *cgroups) path(id uint64) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths[id]
}

// learn finds out the path of an owner's group: the process knows it, if it is still
// there and in that group; otherwise all have to be looked at.
func (c *cgroups) learn(owner *bpf.Owner) {
	if c.path(owner.Cgroup) != "" {
		return
	}
	path := cgroupOf(readWord(fmt.Sprintf("/proc/%d/cgroup", owner.PID)))
	if path != "" && inodeOf(filepath.Join(c.root, path)) == owner.Cgroup && c.add(owner.Cgroup, path) {
		return
	}
	time.Sleep(cgroupPatience - time.Since(c.looked))
	c.look()
}

// add stores a path, if there is room.
func (c *cgroups) add(id uint64, path string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.paths) >= cgroupsMax {
		return false
	}
	c.paths[id] = path
	return true
}

// cgroupOf is the group of version 2 in the text of /proc/PID/cgroup (cgroups(7)), ""
// if it is none below the root of the reader's.
func cgroupOf(text string) string {
	for line := range strings.Lines(text) {
		if path, found := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); found && !strings.HasPrefix(path, "/..") {
			return path
		}
	}
	return ""
}

// inodeOf is the number of a file, 0 if there is none. A group's folder has the
// group's id.
func inodeOf(path string) uint64 {
	var stat unix.Stat_t
	if unix.Lstat(path, &stat) != nil {
		return 0
	}
	return stat.Ino
}

// look reads the whole hierarchy. Groups that are gone are remembered as long as there
// is room: ids are not used again.
func (c *cgroups) look() {
	found := make(map[uint64]string)
	_ = filepath.WalkDir(c.root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() { // otherwise it went away meanwhile
			found[inodeOf(path)] = "/" + strings.TrimPrefix(path[len(c.root):], "/")
		}
		return nil
	})
	c.looked = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, path := range c.paths {
		if len(found) >= cgroupsMax {
			break
		}
		if _, there := found[id]; !there {
			found[id] = path
		}
	}
	c.paths = found
}
