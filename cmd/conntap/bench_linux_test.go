// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"conntap/cmd/conntap/internal/bench"
)

// runBench runs conntap bench, and returns its exit code and what it said.
func runBench(t *testing.T, where *namespace, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	command := exec.Command("conntap", append([]string{"bench"}, args...)...)
	var out, messages bytes.Buffer
	command.Stdout, command.Stderr = &out, &messages
	start := command.Start
	if where != nil {
		start = func() error { return where.call(command.Start) }
	}
	must(t, start())
	watchdog := time.AfterFunc(2*time.Minute, func() { _ = command.Process.Kill() })
	defer watchdog.Stop()
	_ = command.Wait()
	return command.ProcessState.ExitCode(), out.String(), messages.String()
}

// surroundings are the interfaces and named network namespaces that a bench in
// this namespace could leave behind.
func surroundings(t *testing.T) string {
	t.Helper()
	interfaces, err := net.Interfaces()
	must(t, err)
	named, _ := os.ReadDir("/run/netns") // need not exist
	text := ""
	for _, i := range interfaces {
		if strings.HasPrefix(i.Name, "bench") {
			text += i.Name + " "
		}
	}
	for _, entry := range named {
		if strings.Contains(entry.Name(), "bench") {
			text += entry.Name() + " "
		}
	}
	return text
}

// TestBench: each way in is measured, every packet accounted for, and nothing
// stays. How fast it was is no matter.
func TestBench(t *testing.T) {
	requireRoot(t)
	before := surroundings(t)
	const packets = 200_000
	plot := t.TempDir() + "/bench.svg"
	code, stdout, stderr := runBench(t, nil, "--packets", "200k", "--rounds", "1", "--lossless=false", "--json", "--svg", plot)
	if code != exitOK || stderr != "" {
		t.Fatalf("want exit code 0 and no message, got %d, %s", code, stderr)
	}
	var report bench.Report
	must(t, json.Unmarshal([]byte(stdout), &report))
	if want := 1 + (len(bench.Captures)-1)*len(bench.Transports) + 1; len(report.Rows) != want { // AF_PACKET has one
		t.Errorf("want %d rows, got %d", want, len(report.Rows))
	}
	for i := range report.Rows {
		row := &report.Rows[i]
		if sent := row.Account.Offered + row.Account.Refused; sent < packets {
			t.Errorf("%s: want %d packets sent at least, got %+v", row, packets, row.Account)
		}
		if row.Missing != 0 || row.OfferedRate == 0 {
			t.Errorf("%s: want a balance and a rate, %d missing of %+v", row, row.Missing, row.Account)
		}
	}
	checkPlot(t, plot, len(report.Rows))
	if after := surroundings(t); after != before {
		t.Errorf("want nothing left behind, got %s", after)
	}
}

// checkPlot: the plot is XML and names every row.
func checkPlot(t *testing.T, name string, rows int) {
	t.Helper()
	file, err := os.Open(name)
	must(t, err)
	defer file.Close()
	decoder, bars := xml.NewDecoder(file), 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "rect" {
			bars++
		}
	}
	if bars < rows {
		t.Errorf("want a bar for each of %d rows, got %d", rows, bars)
	}
}

// TestBenchTable: the table's first line names machine and load, and two producers
// that compete with the reader still balance.
func TestBenchTable(t *testing.T) {
	requireRoot(t)
	code, stdout, stderr := runBench(t, nil, "--packets", "200k", "--rounds", "1", "--modes", "xdp", "--producers", "2",
		"--flows", "300", "--size", "128", "--lossless=false")
	if code != exitOK || stderr != "" {
		t.Fatalf("want exit code 0 and no message, got %d, %s", code, stderr)
	}
	for _, want := range []string{
		"128-byte UDP frames, 300 flows, as fast as 2 CPUs can make them; 200,000 packets, one round\nmode ",
		"\nbaseline ", "\nxdp ", "\nall rounds: offered ",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("want %q, got\n%s", want, stdout)
		}
	}
}

// TestBenchInterface measures an interface as it is.
func TestBenchInterface(t *testing.T) {
	near, far := twoHosts(t)
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-over:
				return
			case <-time.After(10 * time.Millisecond):
				_ = far.call(func() error { _, err := net.DialTimeout("tcp", "192.0.2.1:81", time.Second); return err })
			}
		}
	}()
	code, stdout, stderr := runBench(t, near, "-i", "near", "--duration", "400ms", "--json")
	close(over)
	<-done
	if code != exitOK || stderr != "" {
		t.Fatalf("want exit code 0 and no message, got %d, %s", code, stderr)
	}
	var report bench.Report
	must(t, json.Unmarshal([]byte(stdout), &report))
	if len(report.Rows) != 1 || report.Rows[0].Account.Logged == 0 || report.Rows[0].Missing != 0 {
		t.Errorf("want one row with packets that balance, got %s", stdout)
	}
}

// TestBenchGenerate: into veth interfaces only; what has no reader is refused.
func TestBenchGenerate(t *testing.T) {
	near, _ := twoHosts(t)
	code, stdout, stderr := runBench(t, near, "--generate-only", "-i", "near", "--packets", "20k", "--json")
	var sent bench.Generated
	if err := json.Unmarshal([]byte(stdout), &sent); err != nil || code != exitOK || sent.Frames != 20_000 || sent.Taken != 0 {
		t.Errorf("want 20,000 frames and none taken, got %d, %s%s (%v)", code, stdout, stderr, err)
	}
	code, _, stderr = runBench(t, near, "--generate-only", "-i", "lo", "--packets", "20k")
	if want := "lo is no veth interface"; code != exitFailure || !strings.Contains(stderr, want) {
		t.Errorf("want exit code 1 and %q, got %d, %s", want, code, stderr)
	}
}

// TestBenchInterrupted: Ctrl-C ends a long run at once.
func TestBenchInterrupted(t *testing.T) {
	requireRoot(t)
	before := surroundings(t)
	command := exec.Command("conntap", "bench", "--duration", "1h", "--rounds", "1", "--modes", "xdp", "--baseline=false")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	must(t, command.Start())
	watchdog := time.AfterFunc(time.Minute, func() { _ = command.Process.Kill() })
	defer watchdog.Stop()
	time.Sleep(500 * time.Millisecond)
	must(t, command.Process.Signal(os.Interrupt))
	_ = command.Wait()
	want := "conntap: interrupted; nothing of bench is left behind\n"
	if code := command.ProcessState.ExitCode(); code != exitFailure || stderr.String() != want {
		t.Errorf("want exit code 1 and %q, got %d, %q", want, code, stderr.String())
	}
	if after := surroundings(t); after != before {
		t.Errorf("want nothing left behind, got %s", after)
	}
}

// TestBenchWithoutRights says what to do.
func TestBenchWithoutRights(t *testing.T) {
	requireRoot(t)
	binary, err := exec.LookPath("conntap")
	must(t, err)
	command := exec.Command("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", binary, "bench")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	must(t, command.Start())
	_ = command.Wait()
	want := fmt.Sprintf("conntap: making a network namespace: %v: run it as root (sudo conntap bench)\n", syscall.EPERM)
	if code := command.ProcessState.ExitCode(); code != exitFailure || stderr.String() != want {
		t.Errorf("want exit code 1 and %q, got %d, %q", want, code, stderr.String())
	}
}
