// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"conntap/collector"
)

// twoHosts makes two namespaces with a cable between them, and returns the one
// with near, 192.0.2.1, and the one with far, 192.0.2.2.
func twoHosts(t *testing.T) (near, far *namespace) {
	t.Helper()
	near, far = newNamespace(t), newNamespace(t)
	near.addVeth(t, "near", far, "far", 1500)
	near.addAddress(t, "near", "192.0.2.1/24")
	far.addAddress(t, "far", "192.0.2.2/24")
	return near, far
}

// startRun starts conntap run on near and waits until it is attached.
func startRun(t *testing.T, near *namespace, args ...string) (run *exec.Cmd, stdout io.ReadCloser, messages *bufio.Reader) {
	t.Helper()
	return startAs(t, near, "conntap", args...)
}

// startAs is startRun for a command that is conntap in all but what tests need.
func startAs(t *testing.T, near *namespace, name string, args ...string) (run *exec.Cmd, stdout io.ReadCloser, messages *bufio.Reader) {
	t.Helper()
	run = exec.Command(name, append([]string{"run", "-i", "near"}, args...)...)
	stdout, err := run.StdoutPipe()
	must(t, err)
	stderr, err := run.StderrPipe()
	must(t, err)
	near.do(t, run.Start)
	watchdog := time.AfterFunc(30*time.Second, func() { _ = run.Process.Kill() })
	t.Cleanup(func() { watchdog.Stop() })
	messages = bufio.NewReader(stderr)
	for _, want := range []string{"near (veth, 192.0.2.1", "memory: ", "tcp rows appear 5 s after"} {
		line, err := messages.ReadString('\n')
		for err == nil && (strings.HasPrefix(line, "conntap: filter: ") || strings.HasPrefix(line, "conntap: sandbox: ") ||
			strings.Contains(line, " was there already: ")) {
			line, err = messages.ReadString('\n')
		}
		if err != nil || !strings.HasPrefix(line, "conntap: "+want) {
			_ = run.Process.Kill()
			rest, _ := io.ReadAll(messages)
			t.Fatalf("want %q, got %q, %v\n%s", want, line, err, rest)
		}
	}
	return run, stdout, messages
}

// endRun lets the last packets come, ends what startRun has started, and returns the
// rows.
func endRun(t *testing.T, run *exec.Cmd, stdout io.Reader, messages io.Reader) string {
	t.Helper()
	time.Sleep(200 * time.Millisecond) // the kernel wakes the reader later
	rows, _ := interrupted(t, run, stdout, messages)
	return rows
}

// interrupted ends what startRun has started, and returns the rows, and what it said
// since messages were read.
func interrupted(t *testing.T, run *exec.Cmd, stdout, messages io.Reader) (rows, said string) {
	t.Helper()
	must(t, run.Process.Signal(os.Interrupt))
	log, err := io.ReadAll(stdout)
	must(t, err)
	rest, err := io.ReadAll(messages)
	must(t, err)
	must(t, run.Wait())
	return string(log), string(rest)
}

// refuse has far call a port of near on which nobody listens.
func refuse(t *testing.T, far *namespace) {
	t.Helper()
	far.do(t, func() error {
		conn, err := net.DialTimeout("tcp", "192.0.2.1:81", 5*time.Second)
		if err == nil {
			conn.Close()
			return fmt.Errorf("somebody listens on port 81")
		}
		return nil
	})
}

// TestRun captures a refused connection, which is open in the table until the
// interrupt: its row, the footer and a balanced account must come then.
func TestRun(t *testing.T) {
	near, far := twoHosts(t)
	run, stdout, messages := startRun(t, near, "--format", "tsv")
	refuse(t, far)
	time.Sleep(200 * time.Millisecond) // the kernel wakes the reader later
	must(t, run.Process.Signal(os.Interrupt))
	rows, err := io.ReadAll(stdout)
	must(t, err)
	account, err := io.ReadAll(messages)
	must(t, err)
	if err := run.Wait(); err != nil {
		t.Errorf("want exit code 0, got %v", err)
	}
	if want := regexp.MustCompile(`(?m)\t192\.0\.2\.2\t\d+\t192\.0\.2\.1\t81\ttcp\t.*\tREJ\t.*\tSr\t1\t\d+\t1\t40\t`); !want.Match(rows) {
		t.Errorf("want a row like %s, got\n%s", want, rows)
	}
	if !bytes.Contains(rows, []byte("\n#close\t")) {
		t.Errorf("want a footer, got\n%s", rows)
	}
	checkAccount(t, string(account))
}

// checkAccount: the connections are there, nothing is lost, and the sum is right.
// The kernel may have sent something of its own.
func checkAccount(t *testing.T, account string) {
	t.Helper()
	pattern := regexp.MustCompile(`^conntap: detached; \d open connections? written
  seen (\d+) = recorded (\d+) \+ filtered 0 \+ skipped (\d+)(?: \(arp \d+\))? \+ lost 0
  \d connections?   REJ 1`)
	match := pattern.FindStringSubmatch(account)
	if match == nil {
		t.Fatalf("want an account like\n%s\ngot\n%s", pattern, account)
	}
	var frames [3]int
	for i := range frames {
		n, err := strconv.Atoi(match[i+1])
		must(t, err)
		frames[i] = n
	}
	if seen, recorded, skipped := frames[0], frames[1], frames[2]; seen != recorded+skipped || recorded < 2 {
		t.Errorf("want seen = recorded + skipped, and two packets at least, got\n%s", account)
	}
}

// TestRunUnread: when nobody reads the rows any more, run detaches and ends
// without a word.
func TestRunUnread(t *testing.T) {
	near, far := twoHosts(t)
	run, stdout, messages := startRun(t, near, "--format", "tsv")
	must(t, stdout.Close())
	refuse(t, far)
	said, err := io.ReadAll(messages) // until the row, 5 s after the connection's end
	must(t, err)
	if err := run.Wait(); err != nil || len(said) > 0 {
		t.Errorf("want exit code 0 and no message, got %v, %s", err, said)
	}
}

// TestCheck: check says the same in words and in JSON.
func TestCheck(t *testing.T) {
	near, _ := twoHosts(t)
	check := func(args ...string) []byte {
		t.Helper()
		command := exec.Command("conntap", append([]string{"check"}, args...)...)
		var stdout bytes.Buffer
		command.Stdout, command.Stderr = &stdout, os.Stderr
		near.do(t, command.Start)
		if err := command.Wait(); err != nil {
			t.Errorf("check %q: want exit code 0, got %v", args, err)
		}
		return stdout.Bytes()
	}
	var report collector.Report
	if err := json.Unmarshal(check("-i", "near", "--json"), &report); err != nil {
		t.Fatal(err)
	}
	if !report.OK || report.Interface.Name != "near" {
		t.Errorf("want near to be fit for capture, got %+v", report)
	}
	want := "192.0.2.1  ->  in: " + report.Interface.Ingress + ", out: " + report.Interface.Egress
	for _, args := range [][]string{{"-i", "near"}, {}} {
		if text := check(args...); !bytes.Contains(text, []byte(want)) {
			t.Errorf("check %q: want %q, got\n%s", args, want, text)
		}
	}
}
