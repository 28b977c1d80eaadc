// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// enterNamespace puts the test into a network namespace of its own, in which the
// kernel sends nothing by itself. It goes away with the test. Subtests run in
// other threads: each enters its own.
func enterNamespace(t testing.TB) {
	t.Helper()
	requireBPF(t)
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	t.Cleanup(func() {
		defer home.Close()
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Errorf("leaving the network namespace: %v", err) // the thread stays locked and dies
			return
		}
		runtime.UnlockOSThread()
	})
	must(t, unix.Unshare(unix.CLONE_NEWNET))
	for _, file := range []string{"all", "default"} {
		must(t, os.WriteFile("/proc/sys/net/ipv6/conf/"+file+"/disable_ipv6", []byte("1"), 0))
	}
}

// toOneCPU keeps the test's thread, and with it what it sends, on CPU 0 until the
// test ends.
func toOneCPU(t testing.TB) {
	t.Helper()
	var all, one unix.CPUSet
	must(t, unix.SchedGetaffinity(0, &all))
	one.Set(0)
	must(t, unix.SchedSetaffinity(0, &one))
	t.Cleanup(func() { must(t, unix.SchedSetaffinity(0, &all)) })
}

// addVeth makes a pair of interfaces that are up and carry no address.
func addVeth(t testing.TB, name, peer string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Flags = name, 0
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: peer}))
	for _, end := range []string{name, peer} {
		device := linkByName(t, end)
		must(t, netlink.LinkSetARPOff(device))
		must(t, netlink.LinkSetUp(device))
	}
}

// tcMode is how the running kernel's TC hooks are attached to.
func tcMode(t testing.TB) string {
	t.Helper()
	kernel, _, err := runningKernel()
	must(t, err)
	if kernel.before(tcxKernel) {
		return modeClsact
	}
	return modeTCX
}

// requireTCX skips the test below kernel 6.6.
func requireTCX(t testing.TB) {
	t.Helper()
	requireBPF(t)
	if tcMode(t) != modeTCX {
		t.Skip("the kernel has no TCX")
	}
}

func linkByName(t testing.TB, name string) netlink.Link {
	t.Helper()
	device, err := netlink.LinkByName(name)
	must(t, err)
	return device
}

func addAddress(t testing.TB, name, address string) {
	t.Helper()
	parsed, err := netlink.ParseAddr(address)
	must(t, err)
	must(t, netlink.AddrAdd(linkByName(t, name), parsed))
}

// sender hands frames to an interface, as a program on it would.
type sender struct {
	socket int
	to     unix.SockaddrLinklayer
}

func newSender(t testing.TB, name string) *sender {
	t.Helper()
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(socket) })
	return &sender{socket, unix.SockaddrLinklayer{Ifindex: linkByName(t, name).Attrs().Index}}
}

func (s *sender) send(t testing.TB, frames ...[]byte) {
	t.Helper()
	for _, frame := range frames {
		must(t, unix.Sendto(s.socket, frame, 0, &s.to))
	}
}

// udpFrame is a frame with payload bytes of UDP from 10.0.0.1 to 10.0.0.2.
func udpFrame(sourcePort uint16, payload int) []byte {
	frame := make([]byte, 42+payload)
	copy(frame, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45})
	binary.BigEndian.PutUint16(frame[16:], uint16(28+payload))
	frame[22], frame[23] = 64, 17
	copy(frame[26:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(frame[34:], sourcePort)
	binary.BigEndian.PutUint16(frame[36:], 9)
	binary.BigEndian.PutUint16(frame[38:], uint16(8+payload))
	return frame
}

// arpFrame is a frame that gives no packet.
func arpFrame() []byte {
	frame := make([]byte, 60)
	frame[12], frame[13] = 8, 6
	return frame
}

// addTun makes an interface whose frames start with the IP header, of 10.0.0.2/24, and
// returns the end at which packets come in by being written.
func addTun(t *testing.T, name string) *os.File {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("no tun: %v", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	tun := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN, Queues: 1, Flags: netlink.TUNTAP_NO_PI}
	addLink(t, tun)
	t.Cleanup(func() { tun.Fds[0].Close() })
	addAddress(t, name, "10.0.0.2/24")
	return tun.Fds[0]
}
