// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// followed is a capture whose packets are read all the time, and what it says.
type followed struct {
	LiveSource
	ended chan struct{}

	mu      sync.Mutex
	packets []bpf.Packet
	said    []string
}

// follow opens a capture, in whatever way its configuration says.
func follow(t *testing.T, c LiveConfig) *followed {
	t.Helper()
	f := &followed{ended: make(chan struct{})}
	c.Warn = func(sentence string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.said = append(f.said, sentence)
	}
	if c.RingBytes == 0 {
		c.RingBytes = testRing
	}
	var err error
	f.LiveSource, err = Open(c)
	must(t, err)
	go f.read()
	t.Cleanup(func() { f.end(t) })
	return f
}

func (f *followed) read() {
	defer close(f.ended)
	for dst := make([]bpf.Packet, 100); ; {
		n, err := f.Read(dst)
		f.mu.Lock()
		f.packets = append(f.packets, dst[:n]...)
		f.mu.Unlock()
		if err != nil {
			if err != io.EOF {
				panic(err)
			}
			return
		}
	}
}

// end closes the capture and returns all that came.
func (f *followed) end(t *testing.T) []bpf.Packet {
	t.Helper()
	must(t, f.Close())
	<-f.ended
	must(t, f.Close())
	return f.packets
}

// hears waits for a sentence that begins so.
func (f *followed) hears(t *testing.T, want string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the sentence %q", want), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		i := slices.IndexFunc(f.said, func(s string) bool { return strings.HasPrefix(s, want) })
		if i < 0 {
			return false
		}
		f.said = f.said[i+1:]
		return true
	})
}

// sees waits for a packet from a port, and says which interface it came from.
func (f *followed) sees(t *testing.T, port uint16) (name string) {
	t.Helper()
	eventually(t, fmt.Sprintf("a packet from port %d", port), func() (seen bool) {
		name, seen = f.packetFrom(port)
		return seen
	})
	return name
}

// packetFrom says which interface a packet from a port came from, if there is one.
func (f *followed) packetFrom(port uint16) (name string, seen bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.packets, func(p bpf.Packet) bool { return p.SrcPort == port })
	if i < 0 {
		return "", false
	}
	return f.InterfaceName(f.packets[i].Interface), true
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("want %s, and it does not come", what)
		}
	}
}

// checkFollowed holds the account against what was returned, and the rows of interfaces
// against the sum.
func checkFollowed(t *testing.T, f *followed, names ...string) {
	t.Helper()
	packets, stats := f.end(t), f.Stats()
	checkBalance(t, f, stats.Seen, uint64(len(packets)))
	if stats.Recorded != uint64(len(packets)) {
		t.Errorf("want all of %d packets recorded, got %+v", len(packets), stats)
	}
	var sum bpf.Counters
	var got []string
	for _, row := range SumByInterface(f.HookStats()) {
		addCounters(&sum, &row.Counters)
		got = append(got, row.Interface)
	}
	if !slices.Equal(got, names) || sum != stats.Counters {
		t.Errorf("want rows of %q that sum up to %+v, got %q and %+v", names, stats.Counters, got, sum)
	}
}

// eachWayIn runs a test in ways of capture that attach differently.
func eachWayIn(t *testing.T, test func(*testing.T, LiveConfig), more ...LiveConfig) {
	for _, c := range append(more, LiveConfig{}, LiveConfig{Capture: CaptureAFPacket}) {
		name := string(c.Capture) + string(c.Transport)
		if c.clsact {
			name = "clsact"
		}
		t.Run(name, func(t *testing.T) {
			enterNamespace(t)
			test(t, c)
		})
	}
}

// TestFollowRecreated deletes an interface that was named and makes it again, with
// packets coming all the time.
func TestFollowRecreated(t *testing.T) {
	eachWayIn(t, testFollowRecreated, LiveConfig{Transport: TransportPerPacket}, LiveConfig{Capture: CaptureXDP}, LiveConfig{clsact: true})
}

func testFollowRecreated(t *testing.T, c LiveConfig) {
	addVeth(t, "tap", "far")
	addVeth(t, "other", "beyond")
	c.Interfaces = []string{"tap", "other"}
	f := follow(t, c)
	stop := load(t, "far")
	var beside uint16
	steady := newSender(t, "beyond")
	for round := range uint16(2) {
		must(t, netlink.LinkDel(linkByName(t, "tap")))
		stop()
		f.hears(t, "tap is gone; waiting for it")
		steady.send(t, udpFrame(1000+beside, 30))
		beside++
		addVeth(t, "tap", "far")
		stop = load(t, "far")
		f.hears(t, "captured now: tap (veth, ")
		marker, name := newSender(t, "far"), ""
		eventually(t, "a packet of the new tap", func() (seen bool) {
			marker.send(t, udpFrame(2000+round, 30)) // again, as the ring may be full
			name, seen = f.packetFrom(2000 + round)
			return seen
		})
		if name != "tap" {
			t.Errorf("want a packet of tap, got one of %q", name)
		}
	}
	stop()
	want := InterfaceCount{Captured: 2, Attached: 4, Detached: 2}
	eventually(t, fmt.Sprintf("%+v", want), func() bool { return f.Interfaces() == want })
	var seen uint16
	checkFollowed(t, f, "tap", "other")
	for _, p := range f.packets {
		if p.SrcPort >= 1000 && p.SrcPort < 2000 {
			seen++
		}
	}
	if seen != beside {
		t.Errorf("want all %d packets of the interface that stayed, got %d", beside, seen)
	}
}

// load sends packets until stop, or until the interface is gone.
func load(t *testing.T, name string) (stop func()) {
	s := newSender(t, name)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for frame := udpFrame(1, 30); ; {
			select {
			case <-done:
				return
			default:
			}
			if unix.Sendto(s.socket, frame, 0, &s.to) != nil {
				time.Sleep(time.Millisecond) // gone
			}
		}
	}()
	return sync.OnceFunc(func() { close(done); <-ended })
}

// TestFollowPattern has interfaces come, of which one matches, one is left out and one
// is none of ours; and one go.
func TestFollowPattern(t *testing.T) { eachWayIn(t, testFollowPattern) }

func testFollowPattern(t *testing.T, c LiveConfig) {
	c.Interfaces = []string{"tap*", "!*x"}
	f := follow(t, c)
	f.hears(t, "no interface matches tap*: waiting for one")
	addVeth(t, "tap0", "far0")
	f.hears(t, "captured now: tap0 ")
	addVeth(t, "tapx", "farx")
	addVeth(t, "tap1", "far1")
	f.hears(t, "captured now: tap1 ")
	for port, name := range []string{"far0", "farx", "far1", "tap0"} {
		newSender(t, name).send(t, udpFrame(uint16(port), 30))
	}
	if a, b := f.sees(t, 0), f.sees(t, 2); a != "tap0" || b != "tap1" {
		t.Errorf("want packets of tap0 and tap1, got of %s and %s", a, b)
	}
	must(t, netlink.LinkDel(linkByName(t, "tap0")))
	f.hears(t, "tap0 is gone")
	if got := f.Obtained(); len(got) != 1 || got[0].Interface.Name != "tap1" {
		t.Errorf("want tap1 alone, got %+v", got)
	}
	checkFollowed(t, f, "tap0", "tap1")
	if len(f.packets) != 2 {
		t.Errorf("want 2 packets, got %d", len(f.packets))
	}
}

// TestFollowRename gives an interface names that match, and one that does not. What is
// attached stays where the name still matches.
func TestFollowRename(t *testing.T) {
	requireTCX(t)
	eachWayIn(t, testFollowRename)
}

func testFollowRename(t *testing.T, c LiveConfig) {
	addVeth(t, "tap0", "far")
	device := linkByName(t, "tap0")
	c.Interfaces = []string{"tap*"}
	f := follow(t, c)
	far := newSender(t, "far")
	send := func(port uint16) { far.send(t, udpFrame(port, 30)) }
	rename := func(name string) {
		must(t, netlink.LinkSetDown(device)) // older kernels want that
		must(t, netlink.LinkSetName(device, name))
		must(t, netlink.LinkSetUp(device))
	}
	send(1)
	f.sees(t, 1)
	programs := tcxHolders(device.Attrs().Index)
	rename("tap1")
	f.hears(t, "tap0 is called tap1 now")
	send(2)
	if name := f.sees(t, 2); name != "tap1" {
		t.Errorf("want a packet of tap1, got one of %s", name)
	}
	if now := tcxHolders(device.Attrs().Index); !slices.Equal(now, programs) {
		t.Errorf("want the programs left alone: %v, got %v", programs, now)
	}
	rename("different")
	f.hears(t, "tap1 is called different now, which is not captured")
	send(3)
	rename("tap1")
	f.hears(t, "captured now: tap1 ")
	send(4)
	f.sees(t, 4)
	checkFollowed(t, f, "tap1")
	if len(f.packets) != 3 {
		t.Errorf("want 3 packets, got %d", len(f.packets))
	}
}

// TestFollowFlap takes an interface down and up again: nothing is attached anew.
func TestFollowFlap(t *testing.T) { eachWayIn(t, testFollowFlap) }

func testFollowFlap(t *testing.T, c LiveConfig) {
	addVeth(t, "tap", "far")
	c.Interfaces = []string{"tap"}
	f := follow(t, c)
	for port := range uint16(3) {
		newSender(t, "far").send(t, udpFrame(port, 30))
		f.sees(t, port)
		must(t, netlink.LinkSetDown(linkByName(t, "tap")))
		f.hears(t, "tap is down")
		must(t, netlink.LinkSetUp(linkByName(t, "tap")))
		f.hears(t, "tap is up again")
	}
	if got, want := f.Interfaces(), (InterfaceCount{Captured: 1, Attached: 1}); got != want {
		t.Errorf("want %+v, got %+v", want, got)
	}
	checkFollowed(t, f, "tap")
}

// TestFollowAddress gives a mirror port an address, with which it is a host's interface.
func TestFollowAddress(t *testing.T) { eachWayIn(t, testFollowAddress) }

func testFollowAddress(t *testing.T, c LiveConfig) {
	addVeth(t, "tap", "far")
	c.Interfaces = []string{"tap"}
	f := follow(t, c)
	if linkByName(t, "tap").Attrs().Promisc != 1 {
		t.Error("want a mirror port to be promiscuous")
	}
	newSender(t, "tap").send(t, udpFrame(1, 30))
	addAddress(t, "tap", "10.0.0.2/24")
	f.hears(t, "tap has an address now: tap (veth, 10.0.0.2, ")
	if linkByName(t, "tap").Attrs().Promisc != 0 {
		t.Error("want a host's interface not to be promiscuous")
	}
	newSender(t, "tap").send(t, udpFrame(2, 30))
	newSender(t, "far").send(t, udpFrame(3, 30))
	f.sees(t, 2)
	f.sees(t, 3)
	checkFollowed(t, f, "tap")
	if len(f.packets) != 2 {
		t.Errorf("want what went out after the address alone, and what came in; got %d packets", len(f.packets))
	}
}

// TestFollowMany captures on 200 interfaces, of which half come while it runs.
func TestFollowMany(t *testing.T) {
	for _, c := range []LiveConfig{{}, {Capture: CaptureAFPacket}} {
		t.Run(string(c.Capture), func(t *testing.T) {
			enterNamespace(t)
			const many = 200
			name := func(i int) string { return fmt.Sprintf("tap%d", i) }
			for i := range many / 2 {
				addVeth(t, name(i), fmt.Sprintf("far%d", i))
			}
			c.Interfaces, c.RingBytes = []string{"tap*"}, 32<<20
			f := follow(t, c)
			for i := many / 2; i < many; i++ {
				addVeth(t, name(i), fmt.Sprintf("far%d", i))
			}
			eventually(t, "all interfaces captured", func() bool { return f.Interfaces().Captured == many })
			for i := range many {
				newSender(t, fmt.Sprintf("far%d", i)).send(t, udpFrame(uint16(i), 30))
			}
			for i := range many {
				if got := f.sees(t, uint16(i)); got != name(i) {
					t.Errorf("want the packet of %s, got one of %s", name(i), got)
				}
			}
			f.end(t)
			if rows := SumByInterface(f.HookStats()); len(rows) != many || f.Stats().Recorded != many {
				t.Errorf("want a packet in each of %d rows, got %d rows and %+v", many, len(rows), f.Stats())
			}
		})
	}
}

// TestFollowSlots has more interfaces come and go than there are slots. Who is captured
// keeps its slot; of those that are gone the earliest one's is given away.
func TestFollowSlots(t *testing.T) {
	for _, c := range []LiveConfig{{}, {Capture: CaptureAFPacket}} {
		t.Run(string(c.Capture), func(t *testing.T) {
			enterNamespace(t)
			c.Interfaces, c.slots = []string{"tap*"}, 2
			f := follow(t, c)
			w := watcherOf(f)
			send := func(i int) {
				newSender(t, fmt.Sprintf("far%d", i)).send(t, udpFrame(uint16(i), 30))
				if got, want := f.sees(t, uint16(i)), fmt.Sprintf("tap%d", i); got != want {
					t.Errorf("want a packet of %s, got one of %s", want, got)
				}
			}
			add := func(i int) { addVeth(t, fmt.Sprintf("tap%d", i), fmt.Sprintf("far%d", i)) }
			for i := range 2 {
				add(i)
				f.hears(t, fmt.Sprintf("captured now: tap%d", i))
				send(i)
			}
			add(2)
			f.hears(t, "tap2 is not captured: 2 interfaces are, which is the most; trying again every 10s")
			must(t, netlink.LinkDel(linkByName(t, "tap0")))
			f.hears(t, "tap0 is gone")
			w.stop()
			w.look(time.Now()) // too early: packets of tap0 may be under way
			if n := f.Interfaces(); n.Captured != 1 || n.Failed != 1 {
				t.Errorf("want the slot to rest, got %+v", n)
			}
			w.look(time.Now().Add(slotRest))
			f.hears(t, "captured now: tap2")
			send(2)
			rows := map[string]uint64{}
			for _, row := range f.HookStats() {
				rows[row.Interface] += row.Recorded
			}
			if len(rows) != 3 || rows["tap1"] != 1 || rows["tap2"] != 1 || rows[nameGone] != 1 {
				t.Errorf("want a packet of tap1, one of tap2 and one of those that are gone, got %v", rows)
			}
			if got := f.sees(t, 0); got != "tap0" {
				t.Errorf("want the first packet still to be known as tap0's, got %q", got)
			}
			f.end(t)
			checkBalance(t, f, 3, 3)
		})
	}
}

func watcherOf(f *followed) *watcher {
	if l, ok := f.LiveSource.(*Live); ok {
		return &l.watcher
	}
	return &f.LiveSource.(*packetCapture).watcher
}

// TestFollowHeld has an interface come on which another's XDP program stands. It is left
// alone, and taken when that is gone.
func TestFollowHeld(t *testing.T) {
	enterNamespace(t)
	f := follow(t, LiveConfig{Interfaces: []string{"tap*"}, Capture: CaptureXDP})
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "ours"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far"}))
	device := linkByName(t, "ours")
	other, err := link.AttachXDP(link.XDPOptions{
		Program: otherProgram(t, ebpf.XDP, xdpPass), Interface: device.Attrs().Index, Flags: link.XDPDriverMode,
	})
	must(t, err)
	must(t, netlink.LinkSetName(device, "tap"))
	f.hears(t, "tap: an XDP program (id ")
	eventually(t, "one interface that fails", func() bool { n := f.Interfaces(); return n.Captured == 0 && n.Failed == 1 })
	must(t, other.Close())
	f.hears(t, "captured now: tap ")
	eventually(t, "it captured", func() bool { n := f.Interfaces(); return n.Captured == 1 && n.Failed == 0 })
}

// TestFollowNamed: without Wait a name that is not there is an error, with it a wait.
func TestFollowNamed(t *testing.T) {
	enterNamespace(t)
	c := LiveConfig{Interfaces: []string{"tap", "tip"}}
	if _, err := Open(c); message(err) != `no interface is called "tap"; there are: lo (--wait waits for it)` {
		t.Errorf("want an error for an interface that is not there, got %v", err)
	}
	c.Wait = true
	f := follow(t, c)
	f.hears(t, "waiting for tap")
	f.hears(t, "waiting for tip")
	if n := f.Interfaces(); n.Awaited != 2 {
		t.Errorf("want two interfaces awaited, got %+v", n)
	}
	addVeth(t, "tap", "far")
	f.hears(t, "captured now: tap ")
	addVeth(t, "tip", "beyond")
	f.hears(t, "captured now: tip ")
	eventually(t, "no interface awaited", func() bool { return f.Interfaces().Awaited == 0 })
}

// TestFollowAll captures by --all on what this kernel has.
func TestFollowAll(t *testing.T) {
	enterNamespace(t)
	must(t, netlink.LinkSetUp(linkByName(t, "lo")))
	addVeth(t, "port", "farport")
	addVeth(t, "eth", "fareth")
	named := func(name string) netlink.LinkAttrs {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		return attrs
	}
	addLink(t, &netlink.Bridge{LinkAttrs: named("br")})
	must(t, netlink.LinkSetMaster(linkByName(t, "port"), linkByName(t, "br")))
	on := named("mac")
	on.ParentIndex = linkByName(t, "eth").Attrs().Index
	addLink(t, &netlink.Macvlan{LinkAttrs: on, Mode: netlink.MACVLAN_MODE_BRIDGE})
	addTun(t, "tun")
	f := follow(t, LiveConfig{All: true})
	f.hears(t, "--all leaves out lo (loopback), port (port of br), mac (on eth)")
	var got []string
	for _, a := range f.Obtained() {
		got = append(got, a.Interface.Name)
	}
	slices.Sort(got)
	if want := []string{"br", "eth", "fareth", "farport", "tun"}; !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
	must(t, netlink.LinkSetNoMaster(linkByName(t, "port")))
	f.hears(t, "captured now: port ")
	must(t, netlink.LinkSetMaster(linkByName(t, "port"), linkByName(t, "br")))
	f.hears(t, "port is left out now: port of br")
}

// TestFollowNamespace captures in a namespace of which it has a path alone, or the id of
// a thread in it, and follows the interfaces there.
func TestFollowNamespace(t *testing.T) {
	for _, c := range []LiveConfig{{}, {Capture: CaptureAFPacket}} {
		t.Run(string(c.Capture), func(t *testing.T) {
			enterNamespace(t) // the thread that Open is called on is elsewhere
			c.Namespace = fmt.Sprint(unix.Gettid())
			c.Interfaces = []string{"tap*"}
			addVeth(t, "tap0", "far0")
			opened := make(chan *followed)
			go func() { opened <- follow(t, c) }()
			f := <-opened
			addVeth(t, "tap1", "far1")
			f.hears(t, "captured now: tap1 ")
			newSender(t, "far0").send(t, udpFrame(1, 30))
			newSender(t, "far1").send(t, udpFrame(2, 30))
			f.sees(t, 1)
			f.sees(t, 2)
			checkFollowed(t, f, "tap0", "tap1")
		})
	}
}

func TestNamespaceErrors(t *testing.T) {
	requireBPF(t)
	program, err := os.Executable()
	must(t, err)
	tests := []struct{ namespace, want string }{
		{"nowhere-4", "--netns nowhere-4: no such network namespace (/run/netns/nowhere-4): give a name that ip netns lists, a " +
			"path, or the id of a process in it"},
		{"2147483646", "--netns 2147483646: no such network namespace (/proc/2147483646/ns/net): give"},
		{"/proc/self/ns/mnt", "--netns /proc/self/ns/mnt: /proc/self/ns/mnt is no network namespace"},
		{program, "--netns " + program + ": " + program + " is no network namespace"},
	}
	for _, tt := range tests {
		_, err := Open(LiveConfig{Interfaces: []string{"lo"}, Namespace: tt.namespace})
		if !strings.HasPrefix(message(err), tt.want) {
			t.Errorf("want %s\n got %v", tt.want, err)
		}
	}
	if _, err := os.Stat("/run/netns/nowhere-4"); err == nil {
		t.Error("there is a namespace called nowhere-4")
	}
}

func TestSayer(t *testing.T) {
	var said []string
	s := sayer{warn: func(sentence string) { said = append(said, sentence) }}
	now := time.Now()
	for range 100 {
		s.at(now, "a change")
	}
	if len(said) != sayMost {
		t.Errorf("want %v sentences at a time, got %d", sayMost, len(said))
	}
	s.at(now.Add(sayEvery), "another")
	if want := "another (and 80 sentences more of interfaces, not said for their number)"; said[len(said)-1] != want {
		t.Errorf("want %q, got %q", want, said[len(said)-1])
	}
}

// TestNicsPlace gives interfaces their slots.
func TestNicsPlace(t *testing.T) {
	ether, bare := &Interface{Name: "a", Index: 1, Link: "ether"}, &Interface{Name: "a", Index: 2, Link: "none"}
	now := time.Now()
	table := nics{slots: 2}
	forget := func(n *nic) { t.Errorf("want no slot given away, got that of %s", n.name) }
	place := func(i *Interface) *nic {
		t.Helper()
		n, err := table.place(i, []string{"kept"}, now, forget)
		must(t, err)
		return n
	}
	failed := place(bare) // it can't be captured, and is tried again
	if again := place(bare); again != failed {
		t.Error("want an interface to keep the slot that it failed in")
	}
	failed.attachment, failed.index = Attachment{Interface: *ether}, 1
	failed.index = 0
	if again := place(ether); again != failed {
		t.Error("want an interface to get its slot back")
	}
	other := place(bare)
	if other == failed || other.number != 1 {
		t.Errorf("want another slot for one without Ethernet, got %+v", other)
	}
	failed.name, other.name, other.index = "kept", "b", 2
	if _, err := table.place(&Interface{Name: "c", Index: 3}, []string{"kept"}, now.Add(slotRest), forget); err != errNoSlot {
		t.Errorf("want no slot taken from one that is awaited or captured, got %v", err)
	}
	var given string
	forget = func(n *nic) { given = n.name }
	n, err := table.place(&Interface{Name: "c", Index: 3}, nil, now.Add(slotRest), forget)
	must(t, err)
	if given != "kept" || n.number != 2 || table.slot(n) != 0 || table.list[0] != n {
		t.Errorf("want the slot of the one that is gone, by a new number, got %+v of %q", n, given)
	}
}
