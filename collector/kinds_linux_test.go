// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// kindOfDevice makes an interface called tap, and says how packets get to it.
type kindOfDevice struct {
	name string
	make func(t *testing.T)
	// in sends frame so that it comes in on tap, if that is ready; nil: this is not tried.
	in func(t *testing.T, frame []byte)
	// bareIP says that frames on tap begin with the IP header.
	bareIP bool
	// once says that what goes out comes in again, and is to be seen once.
	once bool
}

// fromFar sends what comes in on a veth's other end.
func fromFar(t *testing.T, frame []byte) { newSender(t, "far").send(t, frame) }

func attrsOf(name string) netlink.LinkAttrs {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	return attrs
}

// on adds a device on the veth's end called lower, which it makes.
func on(link func(attrs netlink.LinkAttrs) netlink.Link) func(t *testing.T) {
	return func(t *testing.T) {
		addVeth(t, "lower", "far")
		attrs := attrsOf("tap")
		attrs.ParentIndex = linkByName(t, "lower").Attrs().Index
		addLink(t, link(attrs))
	}
}

// over adds a device of which the veth's end called lower is a port.
func over(link func(attrs netlink.LinkAttrs) netlink.Link) func(t *testing.T) {
	return func(t *testing.T) {
		addLink(t, link(attrsOf("tap")))
		addVeth(t, "lower", "far")
		lower := linkByName(t, "lower")
		must(t, netlink.LinkSetDown(lower)) // a bond wants that
		must(t, netlink.LinkSetMaster(lower, linkByName(t, "tap")))
		must(t, netlink.LinkSetUp(lower))
	}
}

func alone(link func(attrs netlink.LinkAttrs) netlink.Link) func(t *testing.T) {
	return func(t *testing.T) { addLink(t, link(attrsOf("tap"))) }
}

// addTap makes a tap device, which is written to like a cable.
func addTap(t *testing.T, mode netlink.TuntapMode) *os.File {
	t.Helper()
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("no tun: %v", err)
	}
	tun := &netlink.Tuntap{LinkAttrs: attrsOf("tap"), Mode: mode, Queues: 1, Flags: netlink.TUNTAP_NO_PI}
	addLink(t, tun)
	t.Cleanup(func() { tun.Fds[0].Close() })
	return tun.Fds[0]
}

// kinds are the devices of the README's table, as far as there are kernels with them.
func kinds() []kindOfDevice {
	var cable *os.File
	write := func(t *testing.T, frame []byte) {
		t.Helper()
		_, err := cable.Write(frame)
		must(t, err)
	}
	return []kindOfDevice{
		{name: "veth", make: func(t *testing.T) { addVeth(t, "tap", "far") }, in: fromFar},
		{name: "bridge", make: over(func(a netlink.LinkAttrs) netlink.Link { return &netlink.Bridge{LinkAttrs: a} }), in: fromFar},
		{name: "port of a bridge", make: func(t *testing.T) {
			addVeth(t, "tap", "far")
			addLink(t, &netlink.Bridge{LinkAttrs: attrsOf("br")})
			must(t, netlink.LinkSetMaster(linkByName(t, "tap"), linkByName(t, "br")))
		}, in: fromFar},
		{name: "bond", make: over(func(a netlink.LinkAttrs) netlink.Link {
			bond := netlink.NewLinkBond(a)
			bond.Mode = netlink.BOND_MODE_ACTIVE_BACKUP
			return bond
		}), in: fromFar},
		{name: "vlan", make: on(func(a netlink.LinkAttrs) netlink.Link {
			return &netlink.Vlan{LinkAttrs: a, VlanId: 5, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
		}), in: func(t *testing.T, frame []byte) { fromFar(t, slices.Insert(frame, 12, 0x81, 0, 0, 5)) }},
		{name: "macvlan", make: on(func(a netlink.LinkAttrs) netlink.Link {
			return &netlink.Macvlan{LinkAttrs: a, Mode: netlink.MACVLAN_MODE_BRIDGE}
		}), in: fromFar},
		{name: "vxlan", make: on(func(a netlink.LinkAttrs) netlink.Link {
			return &netlink.Vxlan{LinkAttrs: a, VxlanId: 7, Port: 4789, VtepDevIndex: a.ParentIndex}
		})},
		{name: "tap", make: func(t *testing.T) { cable = addTap(t, netlink.TUNTAP_MODE_TAP) }, in: write},
		{name: "tun", make: func(t *testing.T) { cable = addTap(t, netlink.TUNTAP_MODE_TUN) }, in: func(t *testing.T, frame []byte) { write(t, frame[14:]) }, bareIP: true},
		{name: "wireguard", make: alone(func(a netlink.LinkAttrs) netlink.Link { return &netlink.Wireguard{LinkAttrs: a} }), bareIP: true},
		{name: "dummy", make: alone(func(a netlink.LinkAttrs) netlink.Link { return &netlink.Dummy{LinkAttrs: a} })},
		{name: "loopback", make: func(t *testing.T) {
			lo := linkByName(t, "lo")
			must(t, netlink.LinkSetName(lo, "tap"))
			must(t, netlink.LinkSetUp(lo))
		}, once: true},
	}
}

// TestKinds has a packet come in and one go out on each kind of interface: each is seen
// once.
func TestKinds(t *testing.T) {
	for _, capture := range []Capture{CaptureAuto, CaptureAFPacket} {
		for _, kind := range kinds() {
			t.Run(fmt.Sprintf("%s/%s", kind.name, capture), func(t *testing.T) {
				enterNamespace(t)
				kind.make(t)
				testKind(t, &kind, capture)
			})
		}
	}
}

func testKind(t *testing.T, kind *kindOfDevice, capture Capture) {
	c := LiveConfig{Interfaces: []string{"tap"}, Capture: capture, Direction: DirectionBoth}
	if kind.once {
		c.Direction = DirectionAuto
	}
	f := follow(t, c)
	const out = 9999
	if kind.in != nil {
		port := uint16(1)
		eventually(t, "a packet that comes in", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			frame := udpFrame(port, 30)
			copy(frame, "\xff\xff\xff\xff\xff\xff") // for every device
			setChecksum(frame[14:34])               // br_netfilter looks at it
			kind.in(t, frame)
			port++
			return slices.ContainsFunc(f.packets, func(p bpf.Packet) bool { return p.SrcPort < out && p.DstPort == 9 })
		})
	}
	frame := udpFrame(out, 30)
	if kind.bareIP {
		frame = frame[14:]
	}
	s := newSender(t, "tap")
	s.to.Protocol = 0x0008 // IPv4, in network byte order: bare IP does not say
	err := unix.Sendto(s.socket, frame, 0, &s.to)
	if !errors.Is(err, unix.ENOKEY) { // of WireGuard, which has no peer, when it was seen
		must(t, err)
	}
	f.sees(t, out)
	seen := map[uint16]int{}
	for _, p := range f.end(t) {
		if seen[p.SrcPort]++; p.DstPort == 9 && seen[p.SrcPort] > 1 {
			t.Errorf("a packet from port %d was seen twice", p.SrcPort)
		}
		if outward := p.Hook == bpf.HookTCEgress; p.DstPort == 9 && outward != (p.SrcPort == out && !kind.once) {
			t.Errorf("a packet from port %d was seen to go out: %v", p.SrcPort, outward)
		}
	}
}

// setChecksum completes an IPv4 header.
func setChecksum(header []byte) {
	var sum uint16
	for i := 0; i < len(header); i += 2 {
		sum = bpf.AddSums(sum, binary.BigEndian.Uint16(header[i:]))
	}
	binary.BigEndian.PutUint16(header[10:], ^sum)
}
