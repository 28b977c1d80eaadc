// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReloadable holds the names against the flags.
func TestReloadable(t *testing.T) {
	c, _ := runCommand()
	for name := range reloadable {
		if c.Flags().Lookup(name) == nil {
			t.Errorf("no flag is called %s", name)
		}
	}
}

// TestReload changes the configuration of a running capture, then breaks it. What can
// be taken over must be, before the logs are reopened; what can't must be said; and with
// a mistake nothing may change.
func TestReload(t *testing.T) {
	near, far := twoHosts(t)
	dir := t.TempDir()
	path, log := filepath.Join(dir, "conntap.toml"), filepath.Join(dir, "log", "conn.log")
	configure := func(text string) {
		must(t, os.WriteFile(path, []byte("log-dir = '"+filepath.Dir(log)+"'\nmax-connections = 1\nshards = 1\nformat = 'json'\n"+text), 0o600))
	}
	configure("local-nets = 'none'\n")
	run, _, messages := startRun(t, near, "--config", path)
	burst := burstOf(t, far)
	// row waits for that of a flow: as only one may be open, the next one ends it.
	row := func(port uint16) (text string) {
		burst.send(t, port, 1)
		burst.send(t, port+1, 1)
		eventually(t, "a flow is logged", func() bool {
			all, _ := os.ReadFile(log)
			for line := range strings.Lines(string(all)) {
				if flow := connectionsByPort(t, []byte(line)); flow[port].Packets == 1 {
					text = line
				}
			}
			return text != ""
		})
		return text
	}
	if text := row(1); strings.Contains(text, "local_orig") {
		t.Errorf("want no local networks, got %s", text)
	}

	configure("capture = 'tcx'\naccount = 'full'\nwith = ['rtt']\nmax-rows-per-second = 1000000\nrotate-size = '1M'\n")
	must(t, os.Rename(log, log+".1"))
	must(t, run.Process.Signal(unix.SIGHUP))
	wantMessages(t, messages, "reload: changed, but of no effect before a restart: capture, with",
		"reloaded: local-nets, account, max-rows-per-second, rotate-size")
	if text := row(11); !strings.Contains(text, `"local_orig":true`) {
		t.Errorf("want 10.0.0.1 to be local, got %s", text)
	}
	must(t, run.Process.Signal(unix.SIGHUP)) // the same again
	wantMessages(t, messages, "reload: changed, but of no effect before a restart: capture, with", "reloaded: nothing")

	configure("local-nets = 'none'\nquite = true\n")
	must(t, run.Process.Signal(unix.SIGHUP))
	wantMessages(t, messages, "reload: "+path+`:6: no setting "quite", did you mean "quiet"?`,
		"reload: the configuration in force stays as it is")
	if text := row(21); !strings.Contains(text, `"local_orig":true`) {
		t.Errorf("want the networks of before, got %s", text)
	}

	must(t, run.Process.Signal(os.Interrupt))
	account, err := io.ReadAll(messages)
	must(t, err)
	must(t, run.Wait())
	if !strings.Contains(string(account), "  packets ") {
		t.Errorf("want the full account, got\n%s", account)
	}
}

func wantMessages(t *testing.T, messages *bufio.Reader, want ...string) {
	t.Helper()
	for _, want := range want {
		if got, err := messages.ReadString('\n'); got != "conntap: "+want+"\n" {
			t.Fatalf("want %q, got %q, %v", want, got, err)
		}
	}
}
