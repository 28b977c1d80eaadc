// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"conntap/bpf"
	"conntap/collector"
	"conntap/tracker"
)

const (
	serverIPv4 = "10.7.1.1"
	serverIPv6 = "fd07:1::1"
	httpPort   = 80
	bulkPort   = 5201
	// responseMost bounds the length of responses; each request asks for another.
	responseMost = 30_000
	bulkBytes    = 64 << 20
	// clientPorts is below those that the kernel hands out.
	clientPorts = 10_000
	// superFrame is what TCP makes of bulk data, at least, bytes.
	superFrame = 60_000
	// mergedFrame is what GRO makes of a response, at least, bytes.
	mergedFrame = 5_000
)

// TestHostWorkload captures both directions on a client's interface, while the
// client's TCP hands down super-packets.
func TestHostWorkload(t *testing.T) { eachTransport(t, testHostWorkload) }

// eachTransport runs a test in batches and packet by packet.
func eachTransport(t *testing.T, test func(*testing.T, collector.Transport)) {
	for _, transport := range []collector.Transport{collector.TransportBatched, collector.TransportPerPacket} {
		t.Run(string(transport), func(t *testing.T) { test(t, transport) })
	}
}

func testHostWorkload(t *testing.T, transport collector.Transport) {
	server, client := newNamespace(t), newNamespace(t)
	client.addVeth(t, "eth0", server, "eth0", 1500)
	server.addAddress(t, "eth0", serverIPv4+"/24", serverIPv6+"/64")
	client.addAddress(t, "eth0", "10.7.1.2/24", "fd07:1::2/64")
	// Segmentation after the hook, and before the interface counts; on the
	// client, merging before the hook, and after the interface has counted.
	for _, n := range []*namespace{server, client} {
		n.do(t, func() error { return exec.Command("ethtool", "-K", "eth0", "tso", "off", "gso", "on").Run() })
	}
	client.do(t, func() error { return exec.Command("ethtool", "-K", "eth0", "gro", "on").Run() })

	time.Sleep(settled)
	before := interfaceCounters(t, client)
	m := startMonitor(t, client, collector.LiveConfig{Interfaces: []string{"eth0"}, Transport: transport})
	if got := m.live.Obtained()[0]; got.Ingress != "TCX" || got.Egress != "TCX" {
		t.Errorf("want TCX both ways on a host's veth, got %s", got.String())
	}
	w := startServer(t, server)
	w.requests(t, client, 2000)
	w.bulk(t, client)
	perf := runIperf(t, server, client)
	m.stop(t)

	w.compare(t, m)
	perf.compare(t, m)
	m.compareCounters(t, before, interfaceCounters(t, client))
	sent, received := m.hooks[bpf.HookTCEgress].longest, m.hooks[bpf.HookTCIngress].longest
	if sent < superFrame || received < mergedFrame {
		t.Errorf("want super-packets of more than %d bytes sent and %d received, the longest were %d and %d",
			superFrame, mergedFrame, sent, received)
	}
	t.Logf("%d connections, %d packets of %d records, longest %d bytes sent, %d received, 0 lost",
		len(m.rows), m.live.Stats().Packets, m.live.Stats().Recorded, sent, received)
}

// TestRouterWorkload captures incoming packets on both interfaces of a router:
// each direction is seen once.
func TestRouterWorkload(t *testing.T) { eachTransport(t, testRouterWorkload) }

func testRouterWorkload(t *testing.T, transport collector.Transport) {
	server, router, client := newNamespace(t), newNamespace(t), newNamespace(t)
	router.addVeth(t, "inside", client, "eth0", 1500)
	router.addVeth(t, "outside", server, "eth0", 1500)
	server.addAddress(t, "eth0", serverIPv4+"/24", serverIPv6+"/64")
	router.addAddress(t, "outside", "10.7.1.254/24", "fd07:1::fe/64")
	router.addAddress(t, "inside", "10.7.2.254/24", "fd07:2::fe/64")
	client.addAddress(t, "eth0", "10.7.2.2/24", "fd07:2::2/64")
	server.addRoute(t, "10.7.2.0/24", "10.7.1.254/32")
	server.addRoute(t, "fd07:2::/64", "fd07:1::fe/128")
	client.addRoute(t, "10.7.1.0/24", "10.7.2.254/32")
	client.addRoute(t, "fd07:1::/64", "fd07:2::fe/128")
	router.do(t, func() error {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0); err != nil {
			return err
		}
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
	})

	m := startMonitor(t, router, collector.LiveConfig{
		Interfaces: []string{"inside", "outside"}, Capture: collector.CaptureXDP, Direction: collector.DirectionIn,
		Transport: transport,
	})
	w := startServer(t, server)
	w.requests(t, client, 1000)
	w.bulk(t, client)
	m.stop(t)
	w.compare(t, m)
	for _, row := range m.live.HookStats() {
		if row.Hook != bpf.HookXDP {
			t.Errorf("want frames on XDP alone, got %+v", row)
		}
	}
	t.Logf("%d connections, %d packets, 0 lost", len(m.rows), m.live.Stats().Packets)
}

// TestVXLANWorkload captures both directions of the interface below a VXLAN device,
// whose super-packets have the carriers' headers in front.
func TestVXLANWorkload(t *testing.T) {
	server, client := newNamespace(t), newNamespace(t)
	client.addVeth(t, "eth0", server, "eth0", 1550)
	server.addAddress(t, "eth0", "10.8.0.1/24")
	client.addAddress(t, "eth0", "10.8.0.2/24")
	server.addVXLAN(t, "vx0", "eth0", "10.8.0.2")
	client.addVXLAN(t, "vx0", "eth0", "10.8.0.1")
	server.addAddress(t, "vx0", serverIPv4+"/24", serverIPv6+"/64")
	client.addAddress(t, "vx0", "10.7.1.2/24", "fd07:1::2/64")
	for _, n := range []*namespace{server, client} { // as in TestHostWorkload
		n.do(t, exec.Command("ethtool", "-K", "eth0", "tso", "off", "gso", "on",
			"tx-udp_tnl-segmentation", "off", "tx-udp_tnl-csum-segmentation", "off").Run)
	}
	client.do(t, exec.Command("ethtool", "-K", "eth0", "gro", "on").Run)

	time.Sleep(settled)
	before := interfaceCounters(t, client)
	m := startMonitor(t, client, collector.LiveConfig{Interfaces: []string{"eth0"}})
	w := startServer(t, server)
	w.requests(t, client, 1000)
	w.bulk(t, client)
	m.stop(t)

	w.compare(t, m)
	m.compareCounters(t, before, interfaceCounters(t, client))
	sent, received := m.hooks[bpf.HookTCEgress].longest, m.hooks[bpf.HookTCIngress].longest
	if sent < superFrame || received < mergedFrame {
		t.Errorf("want super-packets of more than %d bytes sent and %d received, the longest were %d and %d",
			superFrame, mergedFrame, sent, received)
	}
	for i := range m.rows {
		if got := len(m.rows[i].TunnelParents); got != 2 { // each side sends from a port of its own
			t.Fatalf("want every connection inside a carrier each way, got %d", got)
		}
	}
	t.Logf("%d connections, %d packets of %d records, longest carrier %d bytes sent, %d received, 0 lost",
		len(m.rows), m.live.Stats().Packets, m.live.Stats().Recorded, sent, received)
}

// monitor is a live source and a tracker at work.
type monitor struct {
	live collector.LiveSource
	rows []tracker.Conn // TCP alone

	hooks  [bpf.HookCount]hookAccount
	failed error
	done   chan struct{}
}

// counters count frames as on the wire.
type counters struct{ packets, bytes uint64 }

// hookAccount is what came by one hook.
type hookAccount struct {
	counters
	longest uint32 // IP length of the longest super-packet
	ordinal uint64 // of the last packet
	length  uint32 // IP length of the packets with that ordinal, put together
}

// startMonitor captures inside n until stop.
func startMonitor(t *testing.T, n *namespace, c collector.LiveConfig) *monitor {
	t.Helper()
	m := &monitor{done: make(chan struct{})}
	c.RingBytes = 64 << 20
	n.do(t, func() (err error) {
		m.live, err = collector.Open(c)
		return err
	})
	t.Cleanup(func() { m.live.Close() })
	go m.run()
	return m
}

func (m *monitor) run() {
	defer close(m.done)
	connections := tracker.New(tracker.Config{Seed: "s"}, func(c *tracker.Conn) {
		if c.Protocol == bpf.ProtocolTCP {
			row := *c
			row.History = append([]byte(nil), c.History...)
			row.TunnelParents = append([]tracker.UID(nil), c.TunnelParents...)
			m.rows = append(m.rows, row)
		}
	})
	defer connections.Close()
	packets := make([]bpf.Packet, 512)
	for {
		n, err := m.live.Read(packets)
		connections.Track(packets[:n])
		for i := range packets[:n] {
			m.count(&packets[i])
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			m.failed = err
			return
		}
		if n == 0 {
			connections.Advance(m.live.Now())
		}
	}
}

// count books what was on the wire: of a packet in tunnels, the outermost.
func (m *monitor) count(p *bpf.Packet) {
	if p.Kind != bpf.KindPacket {
		return
	}
	h := &m.hooks[p.Hook]
	h.packets += uint64(p.Segments())
	h.bytes += p.WireLength() + 14*uint64(p.Segments())
	if p.Ordinal == h.ordinal && h.packets > 1 { // a further segment of the same super-packet
		h.length += p.PayloadLength()
	} else {
		h.ordinal, h.length = p.Ordinal, p.IPLength
	}
	h.longest = max(h.longest, h.length)
}

// stop lets the last packets pass and ends the capture.
func (m *monitor) stop(t *testing.T) {
	t.Helper()
	time.Sleep(300 * time.Millisecond)
	must(t, m.live.Close())
	<-m.done
	must(t, m.failed)
	stats := m.live.Stats()
	sum := stats.Recorded + stats.Filtered + stats.Lost
	for _, skipped := range stats.Skipped {
		sum += skipped
	}
	if stats.Lost != 0 || stats.Seen != sum {
		t.Errorf("want nothing lost and a balance, got %+v", stats)
	}
	var outermost uint64
	for i := range m.hooks {
		outermost += m.hooks[i].packets
	}
	if stats.Packets != outermost {
		t.Errorf("want %d outermost packets, got %d", outermost, stats.Packets)
	}
}

// compareCounters holds the packets of each direction against the interface's
// counters, by hook. The rest is ARP, 42 bytes each.
func (m *monitor) compareCounters(t *testing.T, before, after map[bpf.Hook]counters) {
	t.Helper()
	arp := map[bpf.Hook]uint64{}
	for _, row := range m.live.HookStats() {
		arp[row.Hook] += row.Skipped[bpf.ReasonARP]
	}
	for hook := range after {
		got := m.hooks[hook].counters
		got.packets += arp[hook]
		got.bytes += 42 * arp[hook]
		want := counters{after[hook].packets - before[hook].packets, after[hook].bytes - before[hook].bytes}
		if hook == bpf.HookTCIngress { // with GRO a veth counts what it receives without Ethernet headers
			want.bytes += 14 * want.packets
		}
		if got != want {
			t.Errorf("hook %d: want what the interface counted, %+v; got %+v", hook, want, got)
		}
	}
}

// interfaceCounters are those of eth0, under the hooks that see the same frames.
func interfaceCounters(t *testing.T, n *namespace) (all map[bpf.Hook]counters) {
	t.Helper()
	n.do(t, func() error {
		device, err := netlink.LinkByName("eth0")
		if err == nil {
			s := device.Attrs().Statistics
			all = map[bpf.Hook]counters{
				bpf.HookTCEgress: {s.TxPackets, s.TxBytes}, bpf.HookTCIngress: {s.RxPackets, s.RxBytes},
			}
		}
		return err
	})
	return all
}

// traffic is what one side counted of a connection, bytes.
type traffic struct{ sent, received uint64 }

// connection tells connections apart: by the client's address and port, and the
// server's port.
type connection struct {
	client netip.AddrPort
	port   uint16
}

// workload is a server's and its clients' account of their connections.
type workload struct {
	dialled atomic.Int64
	mu      sync.Mutex
	client  map[connection]*countedConn
	server  map[connection]*countedConn
}

// countedConn is a connection whose bytes are counted. A count may come later than
// its bytes, and than the close by another goroutine.
type countedConn struct {
	net.Conn
	sent, received atomic.Uint64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.received.Add(uint64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.sent.Add(uint64(n))
	return n, err
}

func (c *countedConn) traffic() traffic { return traffic{c.sent.Load(), c.received.Load()} }

func (w *workload) counted(conn net.Conn, account map[connection]*countedConn, client, server net.Addr) net.Conn {
	from, to := client.(*net.TCPAddr).AddrPort(), server.(*net.TCPAddr).AddrPort()
	key := connection{netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), to.Port()}
	counted := &countedConn{Conn: conn}
	w.mu.Lock()
	defer w.mu.Unlock()
	account[key] = counted
	return counted
}

// countedListener counts what its connections carry.
type countedListener struct {
	net.Listener
	w *workload
}

func (l countedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.w.counted(conn, l.w.server, conn.RemoteAddr(), conn.LocalAddr()), nil
}

// startServer serves as many bytes as a request's path says, and takes what is
// sent to the bulk port.
func startServer(t *testing.T, n *namespace) *workload {
	t.Helper()
	w := &workload{client: map[connection]*countedConn{}, server: map[connection]*countedConn{}}
	for _, address := range []string{serverIPv4, serverIPv6} {
		web, bulk := listen(t, n, address, httpPort), listen(t, n, address, bulkPort+1)
		server := &http.Server{Handler: http.HandlerFunc(respond)}
		go server.Serve(countedListener{web, w})
		t.Cleanup(func() { server.Close() })
		t.Cleanup(func() { bulk.Close() })
		go swallow(countedListener{bulk, w})
	}
	return w
}

func listen(t *testing.T, n *namespace, address string, port int) (l net.Listener) {
	t.Helper()
	n.do(t, func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		return err
	})
	return l
}

func respond(w http.ResponseWriter, r *http.Request) {
	length, err := strconv.Atoi(r.URL.Path[1:])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(make([]byte, length))
}

func swallow(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(io.Discard, conn)
		conn.Close()
	}
}

// dialer connects from inside n and counts.
func (w *workload) dialer(n *namespace) func(context.Context, string, string) (net.Conn, error) {
	return func(_ context.Context, network, address string) (conn net.Conn, err error) {
		err = n.call(func() (err error) {
			from := &net.TCPAddr{Port: clientPorts + int(w.dialled.Add(1))} // never one twice
			conn, err = (&net.Dialer{LocalAddr: from}).Dial(network, address)
			return err
		})
		if err != nil {
			return nil, err
		}
		return w.counted(conn, w.client, conn.LocalAddr(), conn.RemoteAddr()), nil
	}
}

// requests makes so many requests over each of IPv4 and IPv6, each on a
// connection of its own, several at a time.
func (w *workload) requests(t *testing.T, n *namespace, count int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: w.dialer(n), DisableKeepAlives: true}}
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(2*count); i = next.Add(1) {
				host := []string{serverIPv4, "[" + serverIPv6 + "]"}[i%2]
				if err := get(client, host, i*7919%responseMost); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

func get(client *http.Client, host string, length int64) error {
	response, err := client.Get(fmt.Sprintf("http://%s/%d", host, length))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	n, err := io.Copy(io.Discard, response.Body)
	if err == nil && n != length {
		err = fmt.Errorf("response of %d bytes, want %d", n, length)
	}
	return err
}

// bulk sends much over each of IPv4 and IPv6.
func (w *workload) bulk(t *testing.T, n *namespace) {
	t.Helper()
	block := make([]byte, 1<<20)
	for _, address := range []string{serverIPv4, serverIPv6} {
		conn, err := w.dialer(n)(t.Context(), "tcp", net.JoinHostPort(address, strconv.Itoa(bulkPort+1)))
		must(t, err)
		for range bulkBytes / len(block) {
			_, err := conn.Write(block)
			must(t, err)
		}
		must(t, conn.Close())
	}
}

// compare holds the rows against what client and server counted.
func (w *workload) compare(t *testing.T, m *monitor) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.client) < 2000 || len(w.client) != len(w.server) {
		t.Errorf("want the same thousands of connections on both sides, got %d and %d", len(w.client), len(w.server))
	}
	seen := map[connection]int{}
	for i := range m.rows {
		c := &m.rows[i]
		key := connection{netip.AddrPortFrom(netip.AddrFrom16(c.Orig.Addr).Unmap(), c.Orig.Port), c.Resp.Port}
		conn, ok := w.client[key]
		if !ok || w.server[key] == nil {
			continue // iperf3's
		}
		seen[key]++
		counted, server := conn.traffic(), w.server[key].traffic()
		if c.State != tracker.SF || c.MissedBytes != 0 {
			t.Errorf("%v: want SF and nothing missed, got %v %s, %d missed", key, c.State, c.History, c.MissedBytes)
		}
		if c.Orig.Bytes != counted.sent || c.Resp.Bytes != counted.received ||
			c.Orig.Bytes != server.received || c.Resp.Bytes != server.sent {
			t.Errorf("%v: client %+v, server %+v; got %d and %d", key, counted, server, c.Orig.Bytes, c.Resp.Bytes)
		}
	}
	for key := range w.client {
		if seen[key] != 1 {
			t.Errorf("%v: want one row, got %d", key, seen[key])
		}
	}
}

// iperfReport is the part of iperf3's report that is compared, once per address
// of the server.
type iperfReport struct {
	Start struct {
		Connected []struct {
			LocalPort uint16 `json:"local_port"`
		}
	}
	End struct {
		SumSent     struct{ Bytes uint64 } `json:"sum_sent"`
		SumReceived struct{ Bytes uint64 } `json:"sum_received"`
	}
}

type iperfReports []iperfReport

// iperfCookie is what iperf3 sends first on each of its streams, bytes.
const iperfCookie = 37

// runIperf sends bulkBytes by iperf3 over IPv4 and IPv6, where it is installed.
func runIperf(t *testing.T, server, client *namespace) (reports iperfReports) {
	t.Helper()
	if _, err := exec.LookPath("iperf3"); err != nil {
		t.Log("iperf3 is not installed: without it")
		return nil
	}
	for _, address := range []string{serverIPv4, serverIPv6} {
		reports = append(reports, iperf(t, server, client, address))
	}
	return reports
}

// iperf sends bulkBytes to address, inside of a minute.
func iperf(t *testing.T, server, client *namespace, address string) (report iperfReport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	serving := exec.CommandContext(ctx, "iperf3", "-s", "-B", address, "-p", strconv.Itoa(bulkPort))
	server.do(t, serving.Start)
	defer serving.Wait()
	defer serving.Process.Kill()
	var output []byte
	err := retry(func() error {
		return client.call(func() (err error) {
			output, err = exec.CommandContext(ctx, "iperf3", "-c", address, "-p", strconv.Itoa(bulkPort),
				"-n", strconv.Itoa(bulkBytes), "-J").Output()
			if err == nil {
				err = json.Unmarshal(output, &report)
			}
			if err == nil && len(report.Start.Connected) == 0 {
				err = errors.New("not connected") // which it reports with exit code 0
			}
			return err
		})
	})
	if err != nil {
		t.Fatalf("iperf3: %v\n%s", err, output)
	}
	return report
}

// retry calls f until it succeeds, for a server to come up.
func retry(f func() error) (err error) {
	for range 20 {
		if err = f(); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// compare holds the rows of the streams against iperf3's reports. Its server may
// reset a stream with the last bytes unread: then the row is between what was
// read and what was sent.
func (reports iperfReports) compare(t *testing.T, m *monitor) {
	t.Helper()
	for _, report := range reports {
		least, most := report.End.SumReceived.Bytes+iperfCookie, report.End.SumSent.Bytes+iperfCookie
		port, rows := report.Start.Connected[0].LocalPort, 0
		for i := range m.rows {
			c := &m.rows[i]
			if c.Resp.Port != bulkPort || c.Orig.Port != port {
				continue
			}
			rows++
			if c.Orig.Bytes < least || c.Orig.Bytes > most || c.State != tracker.SF && c.State != tracker.RSTR {
				t.Errorf("iperf3: want %d to %d bytes; got %d, %v %s", least, most, c.Orig.Bytes, c.State, c.History)
			}
		}
		if rows != 1 {
			t.Errorf("iperf3: want one row from port %d, got %d", port, rows)
		}
	}
}

// TestPacketWorkload captures the same packets by TCX and by packet sockets, with
// super-packets in both directions: the rows are the same.
func TestPacketWorkload(t *testing.T) {
	server, client := newNamespace(t), newNamespace(t)
	client.addVeth(t, "eth0", server, "eth0", 1500)
	server.addAddress(t, "eth0", serverIPv4+"/24", serverIPv6+"/64")
	client.addAddress(t, "eth0", "10.7.1.2/24", "fd07:1::2/64")
	time.Sleep(settled)
	tcx := startMonitor(t, client, collector.LiveConfig{Interfaces: []string{"eth0"}})
	m := startMonitor(t, client, collector.LiveConfig{Interfaces: []string{"eth0"}, Capture: collector.CaptureAFPacket})
	if got := m.live.Obtained()[0]; got.Ingress != "AF_PACKET" || got.Egress != "AF_PACKET" {
		t.Errorf("want AF_PACKET both ways, got %s", got.String())
	}
	w := startServer(t, server)
	w.requests(t, client, 1000)
	w.bulk(t, client)
	tcx.stop(t)
	m.stop(t)

	w.compare(t, m)
	compareRows(t, tcx, m)
	if sent := m.hooks[bpf.HookTCEgress].longest; sent < superFrame {
		t.Errorf("want super-packets of more than %d bytes sent, the longest was %d", superFrame, sent)
	}
	t.Logf("%d connections, %d packets of %d records, 0 lost", len(m.rows), m.live.Stats().Packets, m.live.Stats().Recorded)
}

// compareRows holds the rows of two monitors against each other, but for times, and
// for the order of letters: between the two hooks, directions may overtake each other.
func compareRows(t *testing.T, a, b *monitor) {
	t.Helper()
	text := func(m *monitor) []string {
		rows := make([]string, len(m.rows))
		for i := range m.rows {
			c := &m.rows[i]
			slices.Sort(c.History)
			rows[i] = fmt.Sprintf("%v %d %v %d %v %s %d %+v %+v", netip.AddrFrom16(c.Orig.Addr), c.Orig.Port,
				netip.AddrFrom16(c.Resp.Addr), c.Resp.Port, c.State, c.History, c.MissedBytes, c.Orig, c.Resp)
		}
		slices.Sort(rows)
		return rows
	}
	want, got := text(a), text(b)
	if !slices.Equal(want, got) {
		t.Errorf("rows differ: %s", firstDifference(strings.Join(want, "\n"), strings.Join(got, "\n")))
	}
}
