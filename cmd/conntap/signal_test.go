// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestInterruptedRead feeds a capture by a pipe that stays open: rows must be
// readable while conntap waits for more, and an interrupt must end the log well.
func TestInterruptedRead(t *testing.T) {
	capture, err := os.ReadFile("../../hack/first.pcap")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("conntap", "read", "--format", "tsv", "-")
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(20*time.Second, func() { _ = command.Process.Kill() })
	defer watchdog.Stop()
	if _, err := stdin.Write(capture); err != nil {
		t.Fatal(err)
	}

	rows := bufio.NewReader(stdout)
	for line := ""; !strings.Contains(line, "\tREJ\t"); {
		if line, err = rows.ReadString('\n'); err != nil {
			t.Fatalf("no row of the refused connection while the input is open: %v", err)
		}
	}
	if err := command.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("want exit code 0, got %v", err)
	}
	for _, want := range []string{"\tRSTO\t", "\n#close\t"} {
		if !strings.Contains(string(rest), want) {
			t.Errorf("want %q after the interrupt, got\n%s", want, rest)
		}
	}
	if want := "standard input, interrupted: 60 packets"; !strings.Contains(stderr.String(), want) {
		t.Errorf("want %q, got %q", want, stderr.String())
	}
}
