// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// processRow is what a row says of a connection and of who made it.
type processRow struct {
	Orig    string  `json:"id.orig_h"`
	Port    int     `json:"id.resp_p"`
	Proto   string  `json:"proto"`
	PID     int     `json:"pid"`
	Process string  `json:"process"`
	UID     *int    `json:"process_uid"`
	Cgroup  *string `json:"cgroup"`
}

// TestRunProcess captures on a host that is a router too. Its clients are this
// process's, inside of a tunnel too, but the tunnel is the kernel's; its server is
// conntap's own, for metrics, which listens before packets are captured; what it
// forwards is nobody's there, though it is a process of this machine.
func TestRunProcess(t *testing.T) {
	near, far := twoHosts(t)
	beyond := newNamespace(t)
	near.addVeth(t, "side", beyond, "beyond", 1500)
	near.addAddress(t, "side", "198.51.100.1/24")
	beyond.addAddress(t, "beyond", "198.51.100.2/24")
	beyond.addRoute(t, "192.0.2.0/24", "198.51.100.1/32")
	far.addRoute(t, "198.51.100.0/24", "192.0.2.1/32")
	near.do(t, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	near.addVXLAN(t, "tunnel", "near", "192.0.2.2")
	far.addVXLAN(t, "tunnel", "far", "192.0.2.1")
	near.addAddress(t, "tunnel", "203.0.113.1/24")
	far.addAddress(t, "tunnel", "203.0.113.2/24")
	go swallow(listen(t, far, "192.0.2.2", 7))
	go swallow(listen(t, far, "203.0.113.2", 7))

	run, stdout, messages := startRun(t, near, "--format", "json", "--with", "process", "--metrics", "192.0.2.1:9100")
	near.do(t, func() error { return send("tcp4", "192.0.2.2:7") })
	near.do(t, func() error { return send("udp4", "192.0.2.2:8") })
	near.do(t, func() error { return send("tcp4", "203.0.113.2:7") })
	beyond.do(t, func() error { return send("tcp4", "192.0.2.2:7") })
	beyond.do(t, func() error { return send("udp4", "192.0.2.2:8") })
	far.do(t, func() error { return fetch("192.0.2.1:9100") })

	name, err := os.ReadFile("/proc/self/comm")
	must(t, err)
	own := fmt.Sprintf("%d %s", os.Getpid(), strings.TrimSpace(string(name)))
	checkProcesses(t, endRun(t, run, stdout, messages), map[string]string{
		"192.0.2.1 7 tcp": own, "192.0.2.1 8 udp": own,
		"203.0.113.1 7 tcp": own, "192.0.2.1 4789 udp": "0 ",
		"198.51.100.2 7 tcp": "0 ", "198.51.100.2 8 udp": "0 ",
		"192.0.2.2 9100 tcp": fmt.Sprintf("%d conntap", run.Process.Pid),
	})
}

// checkProcesses looks for a row of each connection, with its pid and name.
func checkProcesses(t *testing.T, rows string, want map[string]string) {
	t.Helper()
	for line := range strings.Lines(rows) {
		var row processRow
		must(t, json.Unmarshal([]byte(line), &row))
		key := fmt.Sprintf("%s %d %s", row.Orig, row.Port, row.Proto)
		process, expected := want[key]
		if !expected {
			continue // what the kernel sends by itself
		}
		delete(want, key)
		if got := fmt.Sprintf("%d %s", row.PID, row.Process); got != process {
			t.Errorf("%s: want process %q, got %q", key, process, got)
		}
		known := row.PID != 0
		if (row.UID != nil) != known || (row.Cgroup != nil) != known || known && (*row.UID != os.Getuid() || !strings.HasPrefix(*row.Cgroup, "/")) {
			t.Errorf("%s: want the user and the path of the group where the process is known, got %s", key, line)
		}
	}
	for key := range want {
		t.Errorf("want a row of %s, got\n%s", key, rows)
	}
}

// send sends a word and closes.
func send(network, address string) error { return ask(network, address, "word", nil) }

// fetch reads a page.
func fetch(address string) error { return ask("tcp4", address, "GET / HTTP/1.0\r\n\r\n", io.Discard) }

// ask sends some words and, if somebody wants it, reads all of the answer.
func ask(network, address, words string, answer io.Writer) error {
	conn, err := net.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err = io.WriteString(conn, words); err == nil && answer != nil {
		_, err = io.Copy(answer, conn)
	}
	return err
}
