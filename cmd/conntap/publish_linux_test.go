// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRunHidesAddresses: with --anonymize neither the rows nor what is said beside
// them has an address of the network.
func TestRunHidesAddresses(t *testing.T) {
	near, far := twoHosts(t)
	key := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(key, []byte("32-char-str-for-AES-key-and-pad."), 0o600))
	run := exec.Command("conntap", "run", "-i", "near", "--format", "json", "--sensor", "lab", "--anonymize", "cryptopan:"+key, "--account", "full")
	var rows strings.Builder
	run.Stdout = &rows
	stderr, err := run.StderrPipe()
	must(t, err)
	near.do(t, run.Start)
	watchdog := time.AfterFunc(30*time.Second, func() { _ = run.Process.Kill() })
	t.Cleanup(func() { watchdog.Stop() })
	messages, said := bufio.NewReader(stderr), ""
	for !strings.Contains(said, "tcp rows appear") {
		line, err := messages.ReadString('\n')
		said += line
		if err != nil {
			t.Fatalf("it ended with %v after\n%s", err, said)
		}
	}
	refuse(t, far)
	time.Sleep(200 * time.Millisecond) // the kernel wakes the reader later
	must(t, run.Process.Signal(os.Interrupt))
	rest, err := io.ReadAll(messages)
	must(t, err)
	must(t, run.Wait())
	said += string(rest)
	// The address is what the README of yacryptopan has for 192.0.2.1 and that key.
	for _, want := range []string{`"id.resp_h":"192.0.125.244"`, `"conn_state":"REJ"`, `"local_resp":true`, `"sensor":"lab"`} {
		if !strings.Contains(rows.String(), want) {
			t.Errorf("want %s in\n%s", want, rows.String())
		}
	}
	if strings.Contains(rows.String()+said, "192.0.2.") || !strings.Contains(said, "near (veth, 1 queue") {
		t.Errorf("want no address, but near, in\n%s%s", rows.String(), said)
	}
}
