// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"conntap/tracker"
)

// TestControlGroup runs in a control group with a limit of memory and, for a while, next
// to no CPU, so that the ring overflows: memory must be planned by the one, the other
// noticed, and every packet logged or counted as lost.
func TestControlGroup(t *testing.T) {
	near, far := twoHosts(t)
	group := newGroup(t)
	path := filepath.Join(t.TempDir(), "enter")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\nfor group in "+strings.Join(group.folders, " ")+
		"; do echo $$ >$group/cgroup.procs || exit; done\nexec conntap \"$@\"\n"), 0o700))
	run, stdout, messages := startAs(t, near, path, "--format", "json", "--metrics", ":0", "--ring-size", "64K")
	address := metricsAddress(t, messages)
	rows := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(stdout)
		rows <- all
	}()
	// Three fourths of the limit, less what is not for connections.
	var config tracker.Config
	most := uint64(192<<20-ownBytes) / uint64(config.ConnectionBytes())
	if n := scrape(t, near, address).sum("connections_limit"); n < most-most/50 || n > most {
		t.Errorf("want as many connections as three fourths of 256 MiB hold, %d, got %d", most, n)
	}
	group.starve(t)
	burst := burstOf(t, far)
	eventually(t, "packets are lost and the throttling is counted", func() bool {
		burst.send(t, 1, 2000)
		s := scrape(t, near, address)
		return s.sum("frames_lost_total") > 0 && s.sum("cpu_throttled_periods_total") > 0
	})
	group.feed(t)
	final := scrapeQuiet(t, near, address, burst.sent)
	must(t, run.Process.Signal(os.Interrupt))
	account, err := io.ReadAll(messages)
	must(t, err)
	var counted uint64
	for _, row := range connectionsByPort(t, <-rows) {
		counted += row.Packets
	}
	must(t, run.Wait())
	seen, skipped, lost := final.sum("frames_seen_total"), final.sum("frames_skipped_total"), final.sum("frames_lost_total")
	if counted+skipped+lost != seen || seen < burst.sent {
		t.Errorf("want %d frames, %d of them sent, got %d in rows, %d skipped and %d lost", seen, burst.sent, counted, skipped, lost)
	}
	for _, want := range []string{"conntap: throttled: the CPU quota of the control group was used up in ", "  throttled by the CPU quota: "} {
		if !strings.Contains(string(account), want) {
			t.Errorf("want %q, got\n%s", want, account)
		}
	}
}

// group is a control group of the machine's kind.
type group struct {
	folders     []string // for processes
	quota       string   // file
	full, least string   // its values
}

// newGroup makes a group with 256 MiB of memory, or skips the test.
func newGroup(t *testing.T) *group {
	t.Helper()
	name := fmt.Sprintf("conntap-test-%d", os.Getpid())
	v1 := []string{"/sys/fs/cgroup/memory/" + name, "/sys/fs/cgroup/cpu/" + name}
	v2 := "/sys/fs/cgroup/" + name
	g := &group{folders: v1, quota: v1[1] + "/cpu.cfs_quota_us", full: "-1", least: "2000"}
	limit := v1[0] + "/memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		g = &group{folders: []string{v2}, quota: v2 + "/cpu.max", full: "max 100000", least: "2000 100000"}
		limit = v2 + "/memory.max"
		_ = os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpu +memory"), 0)
	}
	for _, folder := range g.folders {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Skipf("no control groups to be made here: %v", err)
		}
		t.Cleanup(func() {
			eventually(t, "the group is removed", func() bool { return os.Remove(folder) == nil })
		})
	}
	must(t, os.WriteFile(limit, []byte("256M"), 0))
	return g
}

// starve takes the CPU away, but for 2 ms in 100; feed gives it back.
func (g *group) starve(t *testing.T) { must(t, os.WriteFile(g.quota, []byte(g.least), 0)) }
func (g *group) feed(t *testing.T)   { must(t, os.WriteFile(g.quota, []byte(g.full), 0)) }
