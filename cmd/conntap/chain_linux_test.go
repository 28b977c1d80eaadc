// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/cmd/conntap/internal/affinity"
)

// chainRow is what a row says that must not depend on where a connection is seen.
type chainRow struct {
	State         string `json:"conn_state"`
	History       string `json:"history"`
	Service       string `json:"service"`
	OrigPackets   uint64 `json:"orig_pkts"`
	OrigIPBytes   uint64 `json:"orig_ip_bytes"`
	RespPackets   uint64 `json:"resp_pkts"`
	RespIPBytes   uint64 `json:"resp_ip_bytes"`
	OrigBytes     uint64 `json:"orig_bytes"`
	RespBytes     uint64 `json:"resp_bytes"`
	MissedBytes   uint64 `json:"missed_bytes"`
	Originator    string `json:"id.orig_h"`
	OrigPort      uint16 `json:"id.orig_p"`
	Responder     string `json:"id.resp_h"`
	ResponderPort uint16 `json:"id.resp_p"`
	Protocol      string `json:"proto"`
}

// key tells connections apart.
func (r *chainRow) key() string {
	return fmt.Sprintf("%s %s:%d %s:%d", r.Protocol, r.Originator, r.OrigPort, r.Responder, r.ResponderPort)
}

// chainPlace is a conntap process somewhere in the chain.
type chainPlace struct {
	command *exec.Cmd
	stdout  io.Reader
	stderr  *bufio.Reader
}

// startAt starts conntap run in n, and returns when it captures.
func startAt(t *testing.T, n *namespace, args ...string) *chainPlace {
	t.Helper()
	p := &chainPlace{command: exec.Command("conntap", append([]string{"run", "--format", "json", "--account", "full"}, args...)...)}
	stdout, err := p.command.StdoutPipe()
	must(t, err)
	stderr, err := p.command.StderrPipe()
	must(t, err)
	n.do(t, p.command.Start)
	watchdog := time.AfterFunc(60*time.Second, func() { _ = p.command.Process.Kill() })
	t.Cleanup(func() { watchdog.Stop() })
	p.stdout, p.stderr = stdout, bufio.NewReader(stderr)
	for said := ""; ; {
		line, err := p.stderr.ReadString('\n')
		if said += line; err != nil {
			t.Fatalf("conntap %q ended: %s", args, said)
		}
		if strings.Contains(line, "tcp rows appear") {
			return p
		}
	}
}

// end ends the process and returns its rows, and the numbers of frames recorded and
// of the packets in them. It must have lost nothing.
func (p *chainPlace) end(t *testing.T) (rows map[string]chainRow, recorded, records uint64) {
	t.Helper()
	must(t, p.command.Process.Signal(os.Interrupt))
	account := make(chan string)
	go func() {
		text, _ := io.ReadAll(p.stderr)
		account <- string(text)
	}()
	rows = map[string]chainRow{}
	for lines := bufio.NewScanner(p.stdout); lines.Scan(); {
		var row chainRow
		must(t, json.Unmarshal(lines.Bytes(), &row))
		if row.Protocol == "tcp" {
			rows[row.key()] = row
		}
	}
	text := <-account
	must(t, p.command.Wait())
	match := regexp.MustCompile(`seen \d+ = recorded (\d+) .*\+ lost 0\n(?s:.*)\n  records (\d+) `).FindStringSubmatch(strings.ReplaceAll(text, ",", ""))
	if match == nil {
		t.Fatalf("want an account with nothing lost, got\n%s", text)
	}
	recorded, _ = strconv.ParseUint(match[1], 10, 64)
	records, _ = strconv.ParseUint(match[2], 10, 64)
	return rows, recorded, records
}

// All that a connection carries has room in its receiver's buffer, lest it close the
// window: probes of a closed one pass the acknowledgments at another moment elsewhere.
// The rate bounds what is on its way: veth drops what an XDP program is not there for in
// time, beyond 256 frames.
const (
	chainBuffer = 4 << 20  // bytes
	chainRate   = 50 << 20 // bytes a second
)

// paced gives a socket that buffer and rate, before its window is known to others.
func paced(_, _ string, c syscall.RawConn) (err error) {
	failed := c.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, chainBuffer),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, chainRate),
		)
	})
	return errors.Join(failed, err)
}

// chainKind is a kind of connection: what the client sends, what the server answers
// when it has all of it, and whether the client resets the connection then. Neither
// speaks while the other does, so that there is no doubt anywhere about what came
// first.
type chainKind struct {
	port           string
	sent, answered int
	reset          bool
	times          int
}

// serve answers connections until the listener is closed.
func (k *chainKind) serve(listener net.Listener, failed chan<- error) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if _, err = io.CopyN(io.Discard, conn, int64(k.sent)); err == nil {
			_, err = conn.Write(make([]byte, k.answered))
		}
		if err == nil { // the client closes first
			_, err = io.Copy(io.Discard, conn)
		}
		if err != nil && !(k.reset && errors.Is(err, syscall.ECONNRESET)) {
			failed <- fmt.Errorf("server: %w", err)
		}
		conn.Close()
	}
}

// call makes a connection.
func (k *chainKind) call(server string) error {
	dialer := net.Dialer{Timeout: 10 * time.Second, Control: paced}
	conn, err := dialer.Dial("tcp", server+":"+k.port)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(make([]byte, k.sent)); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, conn, int64(k.answered)); err != nil {
		return err
	}
	if k.reset {
		return conn.(*net.TCPConn).SetLinger(0)
	}
	return nil
}

// chainServer is the peer's address.
const chainServer = "10.3.0.2"

// run makes the connections of a kind, one after another.
func (k *chainKind) run(t *testing.T, client, server *namespace) {
	t.Helper()
	var listener net.Listener
	server.do(t, func() (err error) {
		listener, err = (&net.ListenConfig{Control: paced}).Listen(context.Background(), "tcp", chainServer+":"+k.port)
		return err
	})
	defer listener.Close()
	failed := make(chan error, k.times)
	go k.serve(listener, failed)
	for range k.times {
		client.do(t, func() error { return k.call(chainServer) })
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
}

// onOneCPU keeps the test's threads to one CPU until it ends: what two CPUs send of a
// connection may overtake each other on the way, and then does come in another order.
func onOneCPU(t *testing.T) {
	t.Helper()
	all, err := affinity.Allowed()
	must(t, err)
	must(t, affinity.Confine(all[:1]))
	t.Cleanup(func() { must(t, affinity.Confine(all)) })
}

// chain is four namespaces in a row.
type chain struct{ host, router, observer, peer *namespace }

func newChain(t *testing.T) *chain {
	t.Helper()
	c := &chain{newNamespace(t), newNamespace(t), newNamespace(t), newNamespace(t)}
	c.host.addVeth(t, "eth0", c.router, "left", 1500)
	c.router.addVeth(t, "right", c.observer, "left", 1500)
	c.observer.addVeth(t, "right", c.peer, "eth0", 1500)
	c.host.addAddress(t, "eth0", "10.1.0.1/24")
	c.router.addAddress(t, "left", "10.1.0.2/24")
	c.router.addAddress(t, "right", "10.2.0.1/24")
	c.observer.addAddress(t, "left", "10.2.0.2/24")
	c.observer.addAddress(t, "right", "10.3.0.1/24")
	c.peer.addAddress(t, "eth0", chainServer+"/24")
	c.host.addRoute(t, "0.0.0.0/0", "10.1.0.2/32")
	c.router.addRoute(t, "10.3.0.0/24", "10.2.0.2/32")
	c.observer.addRoute(t, "10.1.0.0/24", "10.2.0.1/32")
	c.peer.addRoute(t, "0.0.0.0/0", "10.3.0.1/32")
	for _, n := range []*namespace{c.router, c.observer} {
		n.do(t, func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	}
	return c
}

// dropped is how many frames the interfaces dropped.
func (c *chain) dropped(t *testing.T) (dropped uint64) {
	t.Helper()
	for _, n := range []*namespace{c.host, c.router, c.observer, c.peer} {
		n.do(t, func() error {
			links, err := netlink.LinkList()
			for _, link := range links {
				dropped += link.Attrs().Statistics.RxDropped + link.Attrs().Statistics.TxDropped
			}
			return err
		})
	}
	return dropped
}

// TestChain has the same connections logged at their host, in both directions and
// with segmentation offload, and by native XDP on both interfaces of an observer
// beyond a router: the rows must be the same.
func TestChain(t *testing.T) {
	c := newChain(t)
	time.Sleep(settled)
	atHost := startAt(t, c.host, "-i", "eth0", "--capture", "tcx")
	atObserver := startAt(t, c.observer, "-i", "left", "-i", "right", "--capture", "xdp", "--direction", "in")
	onOneCPU(t)
	connections := 1
	for _, kind := range []chainKind{
		{port: "8001", sent: 500, answered: 2000, times: 100},
		{port: "8002", sent: 2_000_000, answered: 1, times: 3},
		{port: "8003", sent: 1, answered: 2_000_000, times: 3},
		{port: "8004", sent: 300, answered: 300, reset: true, times: 10},
	} {
		connections += kind.times
		kind.run(t, c.host, c.peer)
	}
	c.host.do(t, func() error { // and one that is refused
		if (&chainKind{port: "8005"}).call(chainServer) == nil {
			return errors.New("somebody listens on port 8005")
		}
		return nil
	})
	time.Sleep(300 * time.Millisecond) // for the last packets, and the kernel wakes the readers later

	want, recorded, records := atHost.end(t)
	got, recordedXDP, recordsXDP := atObserver.end(t)
	if records < recorded+1000 {
		t.Errorf("want super-packets at the host, got %d packets in %d frames", records, recorded)
	}
	if recordsXDP != recordedXDP {
		t.Errorf("want each packet in a frame of its own at the observer, got %d in %d", recordsXDP, recordedXDP)
	}
	if len(want) != connections {
		t.Errorf("want %d connections at the host, got %d", connections, len(want))
	}
	for key, row := range want {
		if got[key] != row {
			t.Errorf("%s: want at the observer as at the host\n%+v\ngot\n%+v", key, row, got[key])
		}
		delete(got, key)
	}
	for key, row := range got {
		t.Errorf("%s: only at the observer: %+v", key, row)
	}
	if dropped := c.dropped(t); dropped > 0 {
		t.Errorf("%d frames were dropped on the way: the connections are to be paced so that none are", dropped)
	}
}
