// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// requireRoot skips the test without root, unless skipping is a failure.
func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CONNTAP_REQUIRE_BPF") == "1" {
		t.Fatal("root is needed, and CONNTAP_REQUIRE_BPF=1 forbids to skip")
	}
	t.Skip("root is needed")
}

// namespace is a network namespace, entered by one thread. It goes away with the
// test.
type namespace struct {
	file  *os.File
	calls chan func()
}

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	requireRoot(t)
	n := &namespace{calls: make(chan func())}
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread dies with the goroutine
		entered <- n.enter()
		for call := range n.calls {
			call()
		}
	}()
	must(t, <-entered)
	t.Cleanup(func() {
		close(n.calls)
		n.file.Close()
	})
	return n
}

// quiet is what the kernel is told so that it sends next to nothing by itself,
// and that soon (milliseconds).
var quiet = map[string]string{
	"accept_dad": "0", "accept_ra": "0", "router_solicitations": "0",
	"mldv1_unsolicited_report_interval": "1", "mldv2_unsolicited_report_interval": "1",
}

// settled is how long what the kernel sends by itself takes.
const settled = 200 * time.Millisecond

// enter makes the namespace.
func (n *namespace) enter() (err error) {
	if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	for setting, value := range quiet {
		if err = os.WriteFile("/proc/sys/net/ipv6/conf/default/"+setting, []byte(value), 0); err != nil {
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// do runs f inside.
func (n *namespace) do(t testing.TB, f func() error) {
	t.Helper()
	must(t, n.call(f))
}

func (n *namespace) call(f func() error) error {
	result := make(chan error)
	n.calls <- func() { result <- f() }
	return <-result
}

// addVeth makes a pair of interfaces, one here and one in peer, that are up.
func (n *namespace) addVeth(t testing.TB, name string, peer *namespace, peerName string, mtu int) {
	t.Helper()
	n.do(t, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = name, mtu
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: peerName, PeerMTU: uint32(mtu)}
		pair.PeerNamespace = netlink.NsFd(peer.file.Fd())
		return netlink.LinkAdd(pair)
	})
	for _, end := range []struct {
		n    *namespace
		name string
	}{{n, name}, {peer, peerName}} {
		end.n.do(t, func() error {
			device, err := netlink.LinkByName(end.name)
			if err != nil {
				return err
			}
			return netlink.LinkSetUp(device)
		})
	}
}

// addVXLAN makes a VXLAN interface that is up, over an interface with addresses, to
// one peer.
func (n *namespace) addVXLAN(t testing.TB, name, over, peer string) {
	t.Helper()
	n.do(t, func() error {
		device, err := netlink.LinkByName(over)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = name, device.Attrs().MTU-50
		vxlan := &netlink.Vxlan{
			LinkAttrs: attrs, VxlanId: 7, VtepDevIndex: device.Attrs().Index,
			Group: net.ParseIP(peer), Port: 4789, Learning: true,
		}
		if err := netlink.LinkAdd(vxlan); err != nil {
			return fmt.Errorf("adding %s: %w", name, err)
		}
		return netlink.LinkSetUp(vxlan)
	})
}

func (n *namespace) addAddress(t testing.TB, name string, addresses ...string) {
	t.Helper()
	n.do(t, func() error {
		device, err := netlink.LinkByName(name)
		for _, text := range addresses {
			var address *netlink.Addr
			if address, err = netlink.ParseAddr(text); err == nil {
				err = netlink.AddrAdd(device, address)
			}
			if err != nil {
				return fmt.Errorf("%s: address %s: %w", name, text, err)
			}
		}
		return err
	})
}

// addRoute sends what is for network to gateway.
func (n *namespace) addRoute(t testing.TB, network, gateway string) {
	t.Helper()
	n.do(t, func() error {
		destination, err := netlink.ParseIPNet(network)
		if err != nil {
			return err
		}
		via, err := netlink.ParseIPNet(gateway)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{Dst: destination, Gw: via.IP})
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
