// SPDX-License-Identifier: Apache-2.0

// Package host tells what the machine and the control groups within it grant to
// this process, and what they do to its time: CPU quotas that stop it, steps of the
// wall clock, suspend.
package host

import (
	"bufio"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Group is the control groups that this process is in, and those around them as far as
// they can be seen from here: a container often sees its own alone.
type Group struct {
	memory, cpu []string // folders
}

// OwnGroup finds the control groups, of version 1 and 2. Where there are none the Group
// is empty, and says nothing.
func OwnGroup() *Group { return groupBelow("/") }

// groupBelow is OwnGroup for a file system whose root is another folder.
func groupBelow(root string) *Group {
	g := &Group{}
	mounts := readMounts(filepath.Join(root, "proc/self/mountinfo"))
	for line := range lines(filepath.Join(root, "proc/self/cgroup")) {
		// hierarchy:controllers:path (cgroups(7)); version 2 has no controllers.
		_, rest, _ := strings.Cut(line, ":")
		controllers, group, found := strings.Cut(rest, ":")
		if !found {
			continue
		}
		for _, m := range mounts {
			if !m.has(controllers) {
				continue
			}
			folders := m.folders(root, group)
			if m.kind == "cgroup2" || m.options["memory"] {
				g.memory = append(g.memory, folders...)
			}
			if m.kind == "cgroup2" || m.options["cpu"] {
				g.cpu = append(g.cpu, folders...)
			}
			break // one mount is as good as another
		}
	}
	return g
}

// mount is a mounted hierarchy of control groups.
type mount struct {
	kind    string // file system
	group   string // that is mounted
	point   string
	options map[string]bool // of the hierarchy: the controllers
}

// has tells whether the hierarchy is that of a line in /proc/self/cgroup.
func (m *mount) has(controllers string) bool {
	if controllers == "" {
		return m.kind == "cgroup2"
	}
	first, _, _ := strings.Cut(controllers, ",")
	return m.kind == "cgroup" && m.options[first]
}

// folders are those of a group and of the ones around it, up to what is mounted.
func (m *mount) folders(root, group string) (folders []string) {
	inside, found := strings.CutPrefix(group, strings.TrimSuffix(m.group, "/"))
	if !found || strings.HasPrefix(group, "/..") {
		inside = "/" // of another namespace's view: what is mounted is all that we have
	}
	for inside = path.Clean("/" + inside); ; inside = path.Dir(inside) {
		folders = append(folders, filepath.Join(root, m.point, inside))
		if inside == "/" {
			return folders
		}
	}
}

// readMounts reads a file like /proc/self/mountinfo (proc(5)).
func readMounts(name string) (mounts []mount) {
	for line := range lines(name) {
		before, after, found := strings.Cut(line, " - ")
		fields, system := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(system) < 3 || !strings.HasPrefix(system[0], "cgroup") {
			continue
		}
		m := mount{kind: system[0], group: unescape(fields[3]), point: unescape(fields[4]), options: make(map[string]bool)}
		for option := range strings.SplitSeq(system[2], ",") {
			m.options[option] = true
		}
		mounts = append(mounts, m)
	}
	return mounts
}

// unescape undoes what the kernel does to blanks in paths.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// lines are the lines of a file; none if it can't be read.
func lines(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		file, err := os.Open(name)
		if err != nil {
			return
		}
		defer file.Close()
		for s := bufio.NewScanner(file); s.Scan(); {
			if !yield(s.Text()) {
				return
			}
		}
	}
}

// noLimit is from where on a number stands for no limit: version 1 writes the largest
// one that is a multiple of the page size.
const noLimit = 1 << 62

// MemoryLimit is the tightest limit of memory, bytes, 0 for none. That beyond which the
// kernel slows processes down (memory.high) counts as one.
func (g *Group) MemoryLimit() (tightest uint64) {
	for _, folder := range g.memory {
		for _, file := range []string{"memory.max", "memory.high", "memory.limit_in_bytes"} {
			text, err := os.ReadFile(filepath.Join(folder, file))
			if err != nil {
				continue
			}
			limit, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
			if err == nil && limit < noLimit && (tightest == 0 || limit < tightest) {
				tightest = limit
			}
		}
	}
	return tightest
}

// Throttling is how the CPU quotas of the control groups were used up so far.
type Throttling struct {
	// Periods is in how many of the quotas' periods, of 100 ms as a rule, processes of
	// the groups were stopped until the end of it.
	Periods uint64
	// Time is for how long, over all CPUs.
	Time time.Duration
}

// Throttling sums up what the groups' quotas did: to this process, or to others in the
// same group.
func (g *Group) Throttling() (sum Throttling) {
	for _, folder := range g.cpu {
		for line := range lines(filepath.Join(folder, "cpu.stat")) {
			name, number, _ := strings.Cut(line, " ")
			n, err := strconv.ParseUint(number, 10, 63)
			if err != nil || !slices.Contains([]string{"nr_throttled", "throttled_usec", "throttled_time"}, name) {
				continue
			}
			switch name {
			case "nr_throttled":
				sum.Periods += n
			case "throttled_usec":
				sum.Time += time.Duration(n) * time.Microsecond
			case "throttled_time": // of version 1, ns
				sum.Time += time.Duration(n)
			}
		}
	}
	return sum
}
