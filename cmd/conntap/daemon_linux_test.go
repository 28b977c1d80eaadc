// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// serviceManager listens for what a service says, as systemd does, and tells of it in
// the environment.
func serviceManager(t *testing.T, watchdog time.Duration) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { manager.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(watchdog.Microseconds(), 10))
	return manager
}

// hear waits until the service says a line that begins with text.
func hear(t *testing.T, manager *net.UnixConn, text string) {
	t.Helper()
	must(t, manager.SetReadDeadline(time.Now().Add(20*time.Second)))
	datagram := make([]byte, 4096)
	for {
		n, err := manager.Read(datagram)
		if err != nil {
			t.Fatalf("the service never said %s: %v", text, err)
		}
		for line := range strings.SplitSeq(string(datagram[:n]), "\n") {
			if strings.HasPrefix(line, text) {
				return
			}
		}
	}
}

// TestService runs as a service does, whose rows nobody takes for a while: the
// watchdog must get nothing meanwhile.
func TestService(t *testing.T) {
	near, far := twoHosts(t)
	manager := serviceManager(t, 2*time.Second)
	settings := filepath.Join(t.TempDir(), "conntap.toml")
	must(t, os.WriteFile(settings, nil, 0o600))
	t.Setenv("CONNTAP_CONFIG", settings)
	run, stdout, messages := startRun(t, near, "--format", "tsv", "--metrics", ":0", "--max-connections", "1", "--shards", "1")
	address := metricsAddress(t, messages)
	hear(t, manager, "READY=1")
	hear(t, manager, "WATCHDOG=1")
	if status, text := healthz(t, near, address); status != http.StatusOK || text != "ok\n" {
		t.Errorf("want 200 and ok, got %d and %q", status, text)
	}

	burst := burstOf(t, far)
	for port := range uint16(4000) { // each ends the connection before it: more than a pipe holds
		burst.send(t, 1+port, 1)
	}
	hear(t, manager, "STATUS=the writer of the log has stood still for")
	first := make([]byte, 1)
	_, err := io.ReadFull(stdout, first)
	must(t, err)
	rest := make(chan string)
	go func() {
		text, _ := io.ReadAll(stdout)
		rest <- string(text)
	}()
	hear(t, manager, "WATCHDOG=1")
	must(t, run.Process.Signal(syscall.SIGHUP))
	hear(t, manager, "RELOADING=1")
	hear(t, manager, "READY=1")
	must(t, run.Process.Signal(os.Interrupt))
	hear(t, manager, "STOPPING=1")
	if rows := <-rest; strings.Count(rows, "\tudp\t") < 4000 {
		t.Errorf("want 4000 rows, got %d", strings.Count(rows, "\tudp\t"))
	}
	_, _ = io.Copy(io.Discard, messages)
	must(t, run.Wait())
}

// healthz asks after the health of a run in a namespace.
func healthz(t *testing.T, n *namespace, address string) (status int, text string) {
	t.Helper()
	n.do(t, func() error {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: near\r\nConnection: close\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		status, text = answer.StatusCode, string(body)
		return err
	})
	return status, text
}
