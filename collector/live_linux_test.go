// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// testRing is the ring of most tests, bytes.
const testRing = 1 << 20

// openLive opens a live source that the test closes.
func openLive(t testing.TB, c LiveConfig) *Live {
	t.Helper()
	if c.RingBytes == 0 {
		c.RingBytes = testRing
	}
	l, err := OpenLive(c)
	must(t, err)
	t.Cleanup(func() {
		l.Close()
		l.Close()
	})
	return l
}

// readAll closes l and reads what it still holds; payloads are not kept.
func readAll(t testing.TB, l *Live) []bpf.Packet {
	t.Helper()
	must(t, l.Close())
	var all []bpf.Packet
	dst := make([]bpf.Packet, 100)
	for {
		n, err := l.Read(dst)
		all = append(all, dst[:n]...)
		if err == io.EOF {
			return all
		}
		must(t, err)
	}
}

func TestLiveAttach(t *testing.T) {
	tests := []struct {
		name    string
		address string
		config  LiveConfig
		want    string // of the start line
		hooks   string // of the packets that come, in order
	}{
		{"host", "10.0.0.2/24", LiveConfig{}, "in TCX, out TCX", "1 2"},
		{"link-local address does not count", "fe80::1/64", LiveConfig{}, "in TCX, promiscuous", "1"},
		{"mirror port", "", LiveConfig{}, "in TCX, promiscuous", "1"},
		{"mirror port, not promiscuous", "", LiveConfig{Promiscuous: PromiscuousOff}, "in TCX", "1"},
		{"XDP on a host", "10.0.0.2/24", LiveConfig{Capture: CaptureXDP}, "in XDP native, out TCX", "0 2"},
		{"XDP in", "10.0.0.2/24", LiveConfig{Capture: CaptureXDP, Direction: DirectionIn}, "in XDP native", "0"},
		{"generic XDP", "", LiveConfig{Capture: CaptureXDPGeneric}, "in XDP generic, promiscuous", "0"},
		{"out", "10.0.0.2/24", LiveConfig{Direction: DirectionOut}, "out TCX", "2"},
		{"clsact", "10.0.0.2/24", LiveConfig{clsact: true}, "in clsact, out clsact", "1 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			if strings.Contains(tt.address, ":") {
				must(t, os.WriteFile("/proc/sys/net/ipv6/conf/tap/disable_ipv6", []byte("0"), 0))
			}
			if tt.address != "" {
				addAddress(t, "tap", tt.address)
			}
			tt.config.Interfaces = []string{"tap"}
			l := openLive(t, tt.config)

			tt.want = strings.ReplaceAll(tt.want, modeTCX, tcMode(t))
			got := l.Obtained()[0]
			if text := got.String(); !strings.HasPrefix(text, "tap (veth, ") || !strings.HasSuffix(text, "): "+tt.want) {
				t.Errorf("want %q, got %q", tt.want, text)
			}
			if promiscuous := linkByName(t, "tap").Attrs().Promisc != 0; promiscuous != got.Promiscuous {
				t.Errorf("want the interface promiscuous: %v, got %v", got.Promiscuous, promiscuous)
			}
			newSender(t, "far").send(t, udpFrame(1, 30), arpFrame())
			newSender(t, "tap").send(t, udpFrame(2, 30), arpFrame())
			checkCapture(t, l, tt.hooks)
			checkNothingLeft(t, "tap")
		})
	}
}

// checkCapture closes l and looks at what it has seen: one UDP packet and one
// ARP frame on each hook.
func checkCapture(t *testing.T, l *Live, hooks string) {
	t.Helper()
	packets := readAll(t, l)
	var seen []string
	for _, p := range packets {
		seen = append(seen, fmt.Sprint(uint8(p.Hook)))
		want := uint16(1)
		if p.Hook == bpf.HookTCEgress {
			want = 2
		}
		if p.SrcPort != want || p.IPLength != 58 || p.Protocol != bpf.ProtocolUDP {
			t.Errorf("want port %d, length 58, UDP; got %+v", want, p)
		}
	}
	if got := strings.Join(seen, " "); got != hooks {
		t.Errorf("want packets on hooks %q, got %q", hooks, got)
	}
	stats, n := l.Stats(), uint64(len(packets))
	if stats.Seen != 2*n || stats.Recorded != n || stats.Skipped[bpf.ReasonARP] != n || stats.Packets != n || stats.Lost != 0 {
		t.Errorf("want %d recorded and as many ARP, got %+v", n, stats)
	}
	for _, row := range l.HookStats() {
		if row.Interface != "tap" || row.Seen == 0 {
			t.Errorf("want rows of tap with frames, got %+v", row)
		}
	}
}

// checkNothingLeft says what stayed on an interface after Close.
func checkNothingLeft(t *testing.T, name string) {
	t.Helper()
	device := linkByName(t, name)
	if device.Attrs().Xdp != nil && device.Attrs().Xdp.Attached {
		t.Error("an XDP program is left")
	}
	if device.Attrs().Promisc != 0 {
		t.Error("the interface is still promiscuous")
	}
	if holders := tcxHolders(device.Attrs().Index); len(holders) != 0 {
		t.Errorf("TCX programs are left: %v", holders)
	}
	qdiscs, err := netlink.QdiscList(device)
	must(t, err)
	for _, qdisc := range qdiscs {
		if qdisc.Type() == "clsact" {
			t.Error("a clsact qdisc is left")
		}
	}
}

// eachTransport runs a test in every way of getting records out of the kernel.
func eachTransport(t *testing.T, test func(*testing.T, LiveConfig)) {
	kernel, _, err := runningKernel()
	must(t, err)
	for _, c := range []LiveConfig{
		{Transport: TransportBatched},
		{Transport: TransportBatched, noTimers: true},
		{Transport: TransportPerPacket},
	} {
		if c.noTimers && kernel.before(pinnedTimerKernel) {
			continue // as the first
		}
		name := string(c.Transport)
		if c.noTimers {
			name += ", flushed by threads"
		}
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

// TestLiveOrder sees packets of several interfaces in one stream, in order, with
// times of the kernel's clock.
func TestLiveOrder(t *testing.T) { eachTransport(t, testLiveOrder) }

func testLiveOrder(t *testing.T, c LiveConfig) {
	enterNamespace(t)
	addVeth(t, "tap0", "far0")
	addVeth(t, "tap1", "far1")
	c.Interfaces = []string{"tap0", "tap1"}
	l := openLive(t, c)
	before := bootTime()
	senders := []*sender{newSender(t, "far0"), newSender(t, "far1")}
	for port := range uint16(500) {
		senders[port%2].send(t, udpFrame(port, 30))
	}
	after := bootTime()
	packets := readAll(t, l)
	if len(packets) != 500 {
		t.Fatalf("want 500 packets, got %d", len(packets))
	}
	ordinals := map[uint64]bool{}
	for i, p := range packets {
		if int(p.SrcPort) != i || l.InterfaceName(p.Interface) != c.Interfaces[i%2] || ordinals[p.Ordinal] {
			t.Errorf("packet %d: got port %d, interface %d, ordinal %#x", i, p.SrcPort, p.Interface, p.Ordinal)
		}
		ordinals[p.Ordinal] = true
		if p.Time < before || p.Time > after {
			t.Errorf("packet %d: time %d is not from %d to %d", i, p.Time, before, after)
		}
	}
}

// TestLiveNow holds that time moves on without packets, and that every packet
// stamped before Now has been read.
func TestLiveNow(t *testing.T) { eachTransport(t, testLiveNow) }

func testLiveNow(t *testing.T, c LiveConfig) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	c.Interfaces = []string{"tap"}
	l := openLive(t, c)
	least, most := stampSlack, stampSlack+int64(readTimeout)
	if c.Transport == TransportPerPacket {
		least, most = stampMargin, stampMargin+int64(readTimeout)
	}
	far := newSender(t, "far")
	dst := make([]bpf.Packet, 7)
	var read, idle int
	for round := range 12 {
		if round%3 == 0 {
			far.send(t, udpFrame(uint16(round), 30))
		}
		watermark := l.Now()
		n, err := l.Read(dst)
		must(t, err)
		for _, p := range dst[:n] {
			if p.Time < watermark {
				t.Errorf("packet of %d came after Now said %d", p.Time, watermark)
			}
		}
		if n == 0 {
			idle++
			if lag := bootTime() - l.Now(); lag < least || lag > most {
				t.Errorf("idle: Now lags by %d ns", lag)
			}
		}
		read += n
	}
	if read != 4 || idle == 0 {
		t.Errorf("want 4 packets and some idle reads, got %d and %d", read, idle)
	}
	if now, wall := l.Now()+l.ClockOffset(), time.Now().UnixNano(); wall-now > 1e9 || wall < now {
		t.Errorf("Now is %d on the wall clock, which says %d", now, wall)
	}
}

func TestLiveRefusals(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	tests := []struct {
		name   string
		config LiveConfig
		want   string
	}{
		{"none", LiveConfig{}, "no interface to capture on: name one with -i"},
		{"any", LiveConfig{Interfaces: []string{"any"}}, `"any" is not a device; --all captures on all interfaces, -i once per interface on some`},
		{"unknown", LiveConfig{Interfaces: []string{"eth9"}}, `no interface is called "eth9"; there are: lo, far, tap`},
		{"twice", LiveConfig{Interfaces: []string{"tap", "tap"}}, "tap is named twice: its packets would be counted twice"},
		{
			"mode",
			LiveConfig{Interfaces: []string{"tap"}, Capture: "ebpf"},
			"--capture ebpf: unknown; one of auto, xdp, xdp-generic, tcx, afpacket",
		},
		{
			"ring",
			LiveConfig{Interfaces: []string{"tap"}, RingBytes: -1},
			"ring of -1 bytes: the kernel takes 65536 to 1073741824",
		},
		{
			"XDP on loopback",
			LiveConfig{Interfaces: []string{"lo"}, Capture: CaptureXDP},
			"lo: MTU 65536 may be too large for XDP native",
		},
	}
	for _, tt := range tests {
		if _, err := OpenLive(tt.config); !strings.HasPrefix(message(err), tt.want) {
			t.Errorf("%s:\nwant %s\ngot  %v", tt.name, tt.want, err)
		}
		checkNothingLeft(t, "tap")
	}
}

// addLink makes a software interface and sets it up; without the kernel's module
// for it the test is skipped.
func addLink(t *testing.T, device netlink.Link) {
	t.Helper()
	err := netlink.LinkAdd(device)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		t.Skipf("the kernel has no %s: %v", device.Type(), err)
	}
	must(t, err)
	must(t, netlink.LinkSetUp(device))
}

// TestLiveFallback has a driver without native XDP.
func TestLiveFallback(t *testing.T) {
	enterNamespace(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "tap"
	addLink(t, &netlink.Vxlan{LinkAttrs: attrs, VxlanId: 1, Port: 4789})
	l := openLive(t, LiveConfig{Interfaces: []string{"tap"}})
	if got := l.Obtained()[0]; got.Ingress != tcMode(t) || got.Egress != "" {
		t.Errorf("want %s in, got %s", tcMode(t), got.String())
	}
	_, err := OpenLive(LiveConfig{Interfaces: []string{"tap"}, Capture: CaptureXDP})
	const want = "XDP native mode not supported by tap (driver vxlan): use --capture tcx"
	if !strings.HasPrefix(message(err), want) {
		t.Errorf("\nwant %s\ngot  %v", want, err)
	}
}

// TestLiveLoopback sees each packet once, though it goes out and comes in.
func TestLiveLoopback(t *testing.T) {
	enterNamespace(t)
	must(t, netlink.LinkSetUp(linkByName(t, "lo")))
	l := openLive(t, LiveConfig{Interfaces: []string{"lo"}})
	newSender(t, "lo").send(t, udpFrame(1, 30))
	if packets := readAll(t, l); len(packets) != 1 || packets[0].Hook != bpf.HookTCIngress {
		t.Errorf("want 1 packet, incoming; got %+v", packets)
	}
}

// TestLiveBareIP has an interface whose frames start with the IP header.
func TestLiveBareIP(t *testing.T) {
	enterNamespace(t)
	tun := addTun(t, "tap")
	l := openLive(t, LiveConfig{Interfaces: []string{"tap"}})
	_, err := tun.Write(udpFrame(1, 30)[14:])
	must(t, err)
	packets := readAll(t, l)
	if len(packets) != 1 || packets[0].SrcPort != 1 || packets[0].IPLength != 58 || packets[0].Blocks&bpf.BlockL2 != 0 {
		t.Errorf("want 1 packet from port 1 without MACs, got %+v", packets)
	}
}

// otherProgram is a program of somebody else, which lets all packets pass.
func otherProgram(t *testing.T, kind ebpf.ProgramType, verdict int32) *ebpf.Program {
	t.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "other", Type: kind, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
	})
	must(t, err)
	t.Cleanup(func() { program.Close() })
	return program
}

const xdpPass = 2

func TestLiveXDPHeld(t *testing.T) {
	tests := []struct {
		name   string
		attach func(t *testing.T, index int, program *ebpf.Program) // by somebody else
		detach string                                               // what the message advises
	}{
		{"by a link", func(t *testing.T, index int, program *ebpf.Program) {
			other, err := link.AttachXDP(link.XDPOptions{Program: program, Interface: index, Flags: link.XDPDriverMode})
			must(t, err)
			t.Cleanup(func() { other.Close() })
		}, "bpftool link detach id "},
		{"by netlink", func(t *testing.T, index int, program *ebpf.Program) {
			must(t, netlink.LinkSetXdpFdWithFlags(linkByName(t, "tap"), program.FD(), int(link.XDPDriverMode)))
		}, "ip link set tap xdp off"},
		{"generic, by netlink", func(t *testing.T, index int, program *ebpf.Program) {
			must(t, netlink.LinkSetXdpFdWithFlags(linkByName(t, "tap"), program.FD(), int(link.XDPGenericMode)))
		}, "ip link set tap xdpgeneric off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			device := linkByName(t, "tap")
			tt.attach(t, device.Attrs().Index, otherProgram(t, ebpf.XDP, xdpPass))
			id := linkByName(t, "tap").Attrs().Xdp.ProgId

			_, err := OpenLive(LiveConfig{Interfaces: []string{"tap"}, Capture: CaptureXDP, RingBytes: testRing})
			want := fmt.Sprintf("tap: an XDP program (id %d, \"other\", by pid %d) is attached; it is left alone. "+
				"Use --capture tcx, or detach it: %s", id, os.Getpid(), tt.detach)
			if !strings.HasPrefix(message(err), want) || !errors.Is(err, errHeld) {
				t.Errorf("\nwant %s\ngot  %v", want, err)
			}
			if got := linkByName(t, "tap").Attrs().Xdp.ProgId; got != id {
				t.Errorf("want program %d left alone, got %d", id, got)
			}

			l := openLive(t, LiveConfig{Interfaces: []string{"tap"}, Capture: CaptureTCX})
			newSender(t, "far").send(t, udpFrame(1, 30))
			if packets := readAll(t, l); len(packets) != 1 {
				t.Errorf("beside an XDP program: want 1 packet by TCX, got %d", len(packets))
			}
		})
	}
}

// TestLiveTCXNeighbours has programs of others before and after ours, which the
// packets reach all the same; also one that ends the chain.
func TestLiveTCXNeighbours(t *testing.T) {
	requireTCX(t)
	const tcxNext, tcxPass = -1, 0
	for _, verdict := range []int32{tcxNext, tcxPass} {
		t.Run(fmt.Sprintf("verdict %d", verdict), func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			index := linkByName(t, "tap").Attrs().Index
			attach := func(anchor link.Anchor) {
				other, err := link.AttachTCX(link.TCXOptions{
					Interface: index, Attach: ebpf.AttachTCXIngress, Anchor: anchor,
					Program: otherProgram(t, ebpf.SchedCLS, verdict),
				})
				must(t, err)
				t.Cleanup(func() { other.Close() })
			}
			attach(link.Head())
			l := openLive(t, LiveConfig{Interfaces: []string{"tap"}})
			attach(link.Tail())
			newSender(t, "far").send(t, udpFrame(1, 30))
			if packets := readAll(t, l); len(packets) != 1 {
				t.Errorf("want 1 packet, got %d", len(packets))
			}
			if holders := tcxHolders(index); len(holders) != 2 {
				t.Errorf("want the 2 programs of others left, got %v", holders)
			}
		})
	}
}

// TestLiveClsactLeftovers finds a filter of a conntap that was killed, one of a
// conntap that runs, and one of somebody else.
func TestLiveClsactLeftovers(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	index := linkByName(t, "tap").Attrs().Index
	program := otherProgram(t, ebpf.SchedCLS, -1)
	left, err := attachClsact(index, netlink.HANDLE_MIN_INGRESS, program)
	must(t, err)
	t.Cleanup(left.handle.Close)
	must(t, left.handle.FilterDel(&left.filter))
	left.filter.Handle = 1 // a process that runs
	must(t, left.handle.FilterAdd(&left.filter))

	foreign := left.filter
	foreign.Name, foreign.Handle, foreign.Priority = "foreign", 2, 1
	must(t, left.handle.FilterAdd(&foreign))
	dead := left.filter
	dead.Handle = 0x7fffffff // no process has such an id
	must(t, left.handle.FilterAdd(&dead))

	l := openLive(t, LiveConfig{Interfaces: []string{"tap"}, clsact: true})
	want := []string{"conntap", "conntap", "foreign"} // l's, and left's: this process has its program open
	if got := filterNames(t, left.handle, index); !slices.Equal(got, want) {
		t.Errorf("want filters %v, got %v", want, got)
	}
	newSender(t, "far").send(t, udpFrame(1, 30))
	if packets := readAll(t, l); len(packets) != 1 {
		t.Errorf("want 1 packet, got %d", len(packets))
	}
	if got := filterNames(t, left.handle, index); !slices.Equal(got, want[1:]) {
		t.Errorf("after Close: want filters %v, got %v", want[1:], got)
	}
}

func filterNames(t *testing.T, handle *netlink.Handle, index int) []string {
	t.Helper()
	filters, err := clsactFilters(handle, index, netlink.HANDLE_MIN_INGRESS)
	must(t, err)
	var names []string
	for _, filter := range filters {
		names = append(names, filter.(*netlink.BpfFilter).Name)
	}
	slices.Sort(names)
	return names
}

// TestLiveDrains fills the ring beyond its size while nobody reads: what fits
// comes after Close, and the rest is counted as lost.
func TestLiveDrains(t *testing.T) { eachTransport(t, testLiveDrains) }

func testLiveDrains(t *testing.T, c LiveConfig) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	c.Interfaces, c.RingBytes = []string{"tap"}, ringLeast
	l := openLive(t, c)
	toOneCPU(t)
	far, frame := newSender(t, "far"), udpFrame(1, 30)
	const sent = 2000
	for range sent {
		far.send(t, frame)
	}
	rings := l.Rings()
	if r := rings[0]; r.Size != ringLeast || r.Used < r.Size*9/10 {
		t.Errorf("want a ring of %d bytes that is full, got %+v", ringLeast, rings)
	}
	packets := readAll(t, l)
	if r := l.Rings()[0]; r.Used != 0 || r.Highest < r.Size*9/10 {
		t.Errorf("want an empty ring that was full, got %+v", r)
	}
	stats := l.Stats()
	if stats.Seen != sent || stats.Recorded != uint64(len(packets)) || stats.Lost != sent-stats.Recorded || stats.Lost == 0 {
		t.Errorf("want %d = %d recorded + lost, got %+v", sent, len(packets), stats)
	}
	if n, err := l.Read(make([]bpf.Packet, 1)); n != 0 || err != io.EOF {
		t.Errorf("want io.EOF again, got %d, %v", n, err)
	}
}

// TestLostBetween loses frames twice: between two batches, and after the last one,
// so that no batch tells of it.
func TestLostBetween(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	toOneCPU(t) // what another one lost might have been so at any time before
	l := openLive(t, LiveConfig{
		Interfaces: []string{"tap"}, RingBytes: ringLeast, Transport: TransportPerPacket, // losses are known to the packet
	})
	far, frame := newSender(t, "far"), udpFrame(1, 30)
	const ms = int64(time.Millisecond)
	dst := make([]bpf.Packet, 4096)
	read := func() (last int64) { // all that the ring holds
		t.Helper()
		for {
			n, err := l.Read(dst)
			must(t, err)
			if n == 0 {
				return last
			}
			last = dst[n-1].Time
		}
	}
	overfill := func() {
		t.Helper()
		for range 2000 {
			far.send(t, frame)
		}
	}
	overfill()
	if n, err := l.Read(dst[:1]); n != 1 || err != nil {
		t.Fatalf("want a packet, got %d, %v", n, err)
	}
	first := dst[0].Time
	held := read()
	far.send(t, frame)
	next := read()
	lost := l.Stats().Lost
	overfill()
	last := read()
	tests := []struct {
		name     string
		from, to int64
		want     uint64
	}{
		{"before", first - 9*ms, first - 5*ms, 0},
		{"until the batch after", first, next, lost},
		{"within", held, held, lost},
		{"the second time", next + 2*ms, last, l.Stats().Lost - lost},
		{"all", first, last, l.Stats().Lost},
	}
	for _, tt := range tests {
		if got := l.LostBetween(tt.from, tt.to); got != tt.want || lost == 0 || l.Stats().Lost == lost {
			t.Errorf("%s: want %d lost, got %d", tt.name, tt.want, got)
		}
	}
}

// TestLiveReadsThrough keeps a ring going round many times, with dst of every
// length, and payloads that must stand until the next Read. The sender stays on one
// CPU: what another one holds back for too long would come late.
func TestLiveReadsThrough(t *testing.T) { eachTransport(t, testLiveReadsThrough) }

func testLiveReadsThrough(t *testing.T, c LiveConfig) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	toOneCPU(t)
	c.Interfaces, c.RingBytes = []string{"tap"}, ringLeast
	l := openLive(t, c)
	far := newSender(t, "far")
	var sent, got int
	for round := range 300 {
		for range 100 {
			frame := udpFrame(53, 30)
			binary.BigEndian.PutUint32(frame[42:], uint32(sent))
			far.send(t, frame)
			sent++
		}
		for got < sent {
			dst := make([]bpf.Packet, 1+round%130)
			n, err := l.Read(dst)
			must(t, err)
			for _, p := range dst[:n] {
				if len(p.Payload) != bpf.PayloadDirection || binary.BigEndian.Uint32(p.Payload) != uint32(got) {
					t.Fatalf("packet %d: got payload %x", got, p.Payload)
				}
				got++
			}
		}
	}
	if stats := l.Stats(); stats.Lost != 0 || stats.Recorded != uint64(sent) {
		t.Errorf("want %d recorded, got %+v", sent, stats)
	}
}

// TestLiveLeaks opens and closes, also without reading on and in failure, and
// counts the process's open files.
func TestLiveLeaks(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	cycle := func() {
		for _, c := range []LiveConfig{
			{Capture: CaptureXDP, Direction: DirectionBoth},
			{},
			{clsact: true},
			{noTimers: true},
			{Transport: TransportPerPacket},
			{Direction: DirectionBoth, Owners: true},
		} {
			c.Interfaces, c.RingBytes = []string{"tap"}, ringLeast
			l, err := OpenLive(c)
			must(t, err)
			must(t, l.Close())
			must(t, l.Close())
			if stats := l.Stats(); stats.Seen != 0 {
				t.Errorf("want an account of nothing, got %+v", stats)
			}
		}
		_, err := OpenLive(LiveConfig{Interfaces: []string{"tap", "lo"}, Capture: CaptureXDP})
		if err == nil {
			t.Error("want an error for native XDP on loopback")
		}
	}
	cycle()
	before := openFiles(t)
	cycle()
	if after := openFiles(t); after != before {
		t.Errorf("want %d open files, got %d", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(files)
}

// TestLiveRights drops capabilities from the thread and tries.
func TestLiveRights(t *testing.T) {
	tests := []struct {
		name   string
		keep   []Capability
		owners bool
		err    string // how it starts
	}{
		{"what the message asks for", []Capability{CapBPF, CapNetAdmin, CapPerfmon, CapNetRaw}, false, ""},
		{"not promiscuous", []Capability{CapBPF, CapNetAdmin, CapPerfmon}, false, ""},
		{"owners", []Capability{CapBPF, CapNetAdmin, CapPerfmon}, true, ""},
		{"no CAP_BPF", []Capability{CapNetAdmin, CapPerfmon, CapNetRaw}, false, "live capture needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"},
		{"none", nil, false, "live capture needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			c := LiveConfig{Interfaces: []string{"tap"}, RingBytes: ringLeast, Owners: tt.owners}
			if !slices.Contains(tt.keep, CapNetRaw) {
				c.Promiscuous = PromiscuousOff
			}
			var l *Live
			var err error
			withCapabilities(t, tt.keep, func() { l, err = OpenLive(c) })
			if err == nil {
				must(t, errors.Join(l.Close(), l.Close()))
			}
			if !strings.HasPrefix(message(err), tt.err) || (err == nil) != (tt.err == "") {
				t.Errorf("want %q, got %v", tt.err, err)
			}
		})
	}
}

// withCapabilities runs f with fewer effective capabilities on the thread.
func withCapabilities(t *testing.T, keep []Capability, f func()) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var all, few [2]unix.CapUserData
	must(t, unix.Capget(&header, &all[0]))
	few = all
	few[0].Effective, few[1].Effective = 0, 0
	for _, c := range keep {
		few[c/32].Effective |= 1 << (c % 32)
	}
	must(t, unix.Capset(&header, &few[0]))
	f()
	must(t, unix.Capset(&header, &all[0]))
}

// BenchmarkLiveRead measures ring to packet, without the kernel's share.
func BenchmarkLiveRead(b *testing.B) {
	enterNamespace(b)
	addVeth(b, "tap", "far")
	l := openLive(b, LiveConfig{Interfaces: []string{"tap"}, RingBytes: 16 << 20})
	program := tapsOf(l)[0].collection.Programs[programNames[bpf.HookTCIngress]]
	frame, dst := udpFrame(1, 30), make([]bpf.Packet, 512)
	const burst = 100000
	var records int
	for b.Loop() {
		b.StopTimer()
		_, err := program.Run(&ebpf.RunOptions{Data: frame, Repeat: burst})
		must(b, err)
		b.StartTimer()
		for got := 0; got < burst; {
			n, err := l.Read(dst)
			must(b, err)
			got += n
		}
		records += burst
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
}

func TestLiveReadAllocates(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	l := openLive(t, LiveConfig{Interfaces: []string{"tap"}, RingBytes: 16 << 20})
	program := tapsOf(l)[0].collection.Programs[programNames[bpf.HookTCIngress]]
	_, err := program.Run(&ebpf.RunOptions{Data: udpFrame(53, 30), Repeat: 50_000})
	must(t, err)
	dst := make([]bpf.Packet, 256)
	read := func() {
		if n, err := l.Read(dst); n != len(dst) || err != nil {
			t.Errorf("want %d packets, got %d, %v", len(dst), n, err)
		}
	}
	if n := testing.AllocsPerRun(100, read); n > 0 {
		t.Errorf("want no allocation, got %v", n)
	}
}

// TestLiveReaderCPUs has the reading goroutine, and it alone, kept to one CPU.
func TestLiveReaderCPUs(t *testing.T) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	l := openLive(t, LiveConfig{Interfaces: []string{"tap"}, ReaderCPUs: []int{0}})
	allowed := func() int {
		var set unix.CPUSet
		must(t, unix.SchedGetaffinity(0, &set))
		return set.Count()
	}
	before := allowed()
	read := make(chan int)
	go func() {
		_, err := l.Read(make([]bpf.Packet, 1))
		if err != nil {
			t.Error(err)
		}
		read <- allowed()
	}()
	if got := <-read; got != 1 {
		t.Errorf("want the reader on one CPU, got %d", got)
	}
	if after := allowed(); after != before {
		t.Errorf("want %d CPUs for others, got %d", before, after)
	}
	nowhere := openLive(t, LiveConfig{Interfaces: []string{"tap"}, Capture: CaptureXDP, ReaderCPUs: []int{1000}})
	go func() {
		_, err := nowhere.Read(make([]bpf.Packet, 1))
		if !strings.HasPrefix(message(err), "keeping the reader to CPUs [1000]: ") {
			t.Errorf("want no reader on CPU 1000, got %v", err)
		}
		read <- 0
	}()
	<-read
}

// TestNoLinkLayer has packets without what stands in front of IP, and with it.
func TestNoLinkLayer(t *testing.T) {
	for _, without := range []bool{false, true} {
		enterNamespace(t)
		addVeth(t, "tap", "far")
		l := openLive(t, LiveConfig{Interfaces: []string{"tap"}, NoLinkLayer: without})
		ip := frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(1, 2, 3))
		newSender(t, "far").send(t, frametest.Ethernet(frametest.TypeVLAN, frametest.Tag(7, frametest.TypeIPv4), ip))
		got := readAll(t, l)
		if len(got) != 1 {
			t.Fatalf("want 1 packet, got %+v", got)
		}
		if p := got[0]; (p.Blocks&bpf.BlockL2 == 0) != without || (p.VLAN == 7) == without || (p.SrcMAC == bpf.MAC{}) != without {
			t.Errorf("without %v: %+v", without, p)
		}
	}
}

// tapsOf are the programs that l has attached, in the order in which it did.
func tapsOf(l *Live) []*tap {
	var taps []*tap
	for _, n := range l.list {
		taps = append(taps, l.holds[n].taps...)
	}
	return taps
}
