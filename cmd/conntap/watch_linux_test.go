// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"conntap/tracker"
)

// TestClockStep steps the wall clock of a running capture by an hour, then back by three.
// A connection that goes on all the while must stay one, and as long as it is; others
// must begin when the clock of their time says.
func TestClockStep(t *testing.T) {
	near, far := twoHosts(t)
	run, stdout, messages := startAs(t, near, "conntap-stepped", "--format", "json", "--metrics", ":0")
	address := metricsAddress(t, messages)
	burst := burstOf(t, far)
	begin := time.Now()
	for i, want := range []string{"forward by 60 min", "back by 3.0 h"} {
		burst.send(t, 1, 1) // the one that goes on
		burst.send(t, uint16(10+i), 1)
		scrapeQuiet(t, near, address, burst.sent)
		must(t, run.Process.Signal(unix.SIGUSR1))
		if i == 0 { // of the second it is said once a minute is over
			wantStep(t, messages, want)
		}
		eventually(t, "the step is counted", func() bool {
			return scrape(t, near, address).sum("clock_steps_total") == uint64(1+i)
		})
		time.Sleep(1200 * time.Millisecond) // the collector looks at the clock once a second
	}
	burst.send(t, 1, 1)
	burst.send(t, 12, 1)
	scrapeQuiet(t, near, address, burst.sent)

	must(t, run.Process.Signal(os.Interrupt))
	log, err := io.ReadAll(stdout)
	must(t, err)
	account, err := io.ReadAll(messages)
	must(t, err)
	must(t, run.Wait())
	lasted := time.Since(begin)
	rows := map[uint16][]steppedRow{}
	for line := range strings.Lines(string(log)) {
		var row steppedRow
		must(t, json.Unmarshal([]byte(line), &row))
		rows[row.Port] = append(rows[row.Port], row)
	}
	for port, ahead := range map[uint16]time.Duration{1: 0, 10: 0, 11: time.Hour, 12: -2 * time.Hour} {
		if len(rows[port]) != 1 {
			t.Errorf("flow %d: want one row, got %d", port, len(rows[port]))
			continue
		}
		row := rows[port][0]
		if start := time.UnixMicro(int64(row.Start * 1e6)).Sub(begin.Add(ahead)); start < -time.Second || start > lasted+time.Second {
			t.Errorf("flow %d: want it to begin at %v, got %v later", port, begin.Add(ahead), start)
		}
		if row.Duration < 0 || row.Duration > lasted.Seconds() || port == 1 && row.Duration < 3 {
			t.Errorf("flow %d: want %v or less, 3 s at least of the one that went on, got %v s", port, lasted, row.Duration)
		}
	}
	if n := rows[1][0].Packets; n != 3 {
		t.Errorf("want 3 packets of the connection that went on, got %d", n)
	}
	for _, want := range []string{"the wall clock was stepped forward: 1 time, 60 min", "the wall clock was stepped back: 1 time, 3.0 h"} {
		if !strings.Contains(string(account), want) {
			t.Errorf("want %q in the account, got\n%s", want, account)
		}
	}
}

type steppedRow struct {
	Start    float64 `json:"ts"`
	Duration float64 `json:"duration"`
	Port     uint16  `json:"id.orig_p"`
	Packets  uint64  `json:"orig_pkts"`
}

// wantStep waits for the sentence; the machine of the test may be throttled, too.
func wantStep(t *testing.T, messages interface{ ReadString(byte) (string, error) }, want string) {
	t.Helper()
	for {
		line, err := messages.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "conntap: clock: the wall clock was stepped "+want+";") {
			return
		}
	}
}

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
