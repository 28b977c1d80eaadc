// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestClockStep steps the wall clock that a running capture reads.
func TestClockStep(t *testing.T) {
	testClockStep(t, "conntap-stepped", func(run *os.Process, _ time.Duration) error { return run.Signal(unix.SIGUSR1) })
}

// TestMachine disturbs the time of the whole machine.
func TestMachine(t *testing.T) {
	t.Run("clock", testMachineClock)
	t.Run("sleep", testMachineSleep)
}

// requireOwnMachine skips the test where it would disturb others.
func requireOwnMachine(t *testing.T) {
	t.Helper()
	if os.Getenv("CONNTAP_TEST_MACHINE") != "1" {
		t.Skip("disturbs the whole machine: for virtual ones, with CONNTAP_TEST_MACHINE=1")
	}
}

func testMachineClock(t *testing.T) {
	requireOwnMachine(t)
	testClockStep(t, "conntap", func(_ *os.Process, step time.Duration) error {
		now := unix.NsecToTimespec(time.Now().Add(step).UnixNano())
		return unix.ClockSettime(unix.CLOCK_REALTIME, &now)
	})
}

// testClockStep steps the wall clock of a running capture by an hour, then back by three.
// A connection that goes on all the while must stay one, and as long as it is; others
// must begin when the clock of their time says.
func testClockStep(t *testing.T, command string, step func(run *os.Process, by time.Duration) error) {
	near, far := twoHosts(t)
	run, stdout, messages := startAs(t, near, command, "--format", "json", "--metrics", ":0")
	address := metricsAddress(t, messages)
	burst := burstOf(t, far)
	begin := time.Now()
	for i, want := range []string{"forward by 60 min", "back by 3.0 h"} {
		burst.send(t, 1, 1) // the one that goes on
		burst.send(t, uint16(10+i), 1)
		scrapeQuiet(t, near, address, burst.sent)
		must(t, step(run.Process, steps[i]))
		if i == 0 { // of the second it is said once a minute is over
			hearOf(t, messages, "conntap: clock: the wall clock was stepped "+want+";")
		}
		eventually(t, "the step is counted", func() bool {
			return scrape(t, near, address).sum("clock_steps_total") == uint64(1+i)
		})
		time.Sleep(1200 * time.Millisecond) // the collector looks at the clock once a second
	}
	burst.send(t, 1, 1)
	burst.send(t, 12, 1)
	scrapeQuiet(t, near, address, burst.sent)

	log, account := interrupted(t, run, stdout, messages)
	lasted := time.Since(begin)
	rows := map[uint16][]steppedRow{}
	for line := range strings.Lines(log) {
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
		if !strings.Contains(account, want) {
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

// testMachineSleep suspends the machine while a connection is open. That must go on, be
// as long as it took with the sleep, and begin when it did.
func testMachineSleep(t *testing.T) {
	requireOwnMachine(t)
	const least = 3 * time.Second // of what is asked for, as the alarm counts whole seconds
	near, far := twoHosts(t)
	run, stdout, messages := startRun(t, near, "--format", "json", "--metrics", ":0")
	address := metricsAddress(t, messages)
	burst := burstOf(t, far)
	begin := time.Now()
	burst.send(t, 1, 1)
	scrapeQuiet(t, near, address, burst.sent)
	must(t, os.WriteFile("/sys/class/rtc/rtc0/wakealarm", []byte("+5"), 0))
	must(t, os.WriteFile("/sys/power/state", []byte("mem"), 0)) // returns when the machine is awake again
	hearOf(t, messages, "conntap: suspend: the machine slept for ")
	if n := scrape(t, near, address).sum("suspends_total"); n != 1 {
		t.Errorf("want one suspend, got %d", n)
	}
	burst.send(t, 1, 1)
	scrapeQuiet(t, near, address, burst.sent)
	log, account := interrupted(t, run, stdout, messages)
	lasted := time.Duration(time.Now().UnixNano() - begin.UnixNano()) // the steady clock of time.Time stands still in sleep
	var row steppedRow
	must(t, json.Unmarshal([]byte(log), &row))
	start := time.UnixMicro(int64(row.Start * 1e6)).Sub(begin)
	if row.Packets != 2 || row.Duration < least.Seconds() || row.Duration > lasted.Seconds() || start < -time.Second || start > time.Second {
		t.Errorf("want one connection of 2 packets, %v to %v long, that begins at %v, got %+v", least, lasted, begin, row)
	}
	const told = "the machine slept: 1 time, "
	if !strings.Contains(account, told) || !strings.Contains(account, " + lost 0\n") || strings.Contains(account, "stepped") {
		t.Errorf("want %q in the account, and nothing that it may be taken for, got\n%s", told, account)
	}
}
