// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"net/netip"
	"strings"
)

// Interface is what decides how packets are captured on a network interface.
type Interface struct {
	Name   string `json:"name"`
	Index  int    `json:"index"`  // the kernel's ifindex, unique in one network namespace
	Driver string `json:"driver"` // as ethtool -i says it; "" if it has none
	Kind   string `json:"kind"`   // the kernel's link type: veth, bridge, bond, tun, ...; "device" for hardware
	// Link is the link layer as the kernel names it: "ether", "loopback", "none"
	// for interfaces that carry bare IP.
	Link   string `json:"link"`
	Queues int    `json:"queues"` // receive queues in use
	MTU    int    `json:"mtu"`    // bytes
	Up     bool   `json:"up"`
	// Addresses are the interface's own, without IPv6 link-local ones: every
	// interface that is up has one of these.
	Addresses []netip.Addr `json:"addresses"`
	// XDPProgram is the id of an XDP program on the interface, 0 for none.
	XDPProgram uint32 `json:"xdp_program,omitempty"`

	running bool // it is up, and has a link
}

// hasEthernet tells whether frames on the interface start with an Ethernet
// header. Those of loopback do, with addresses of zeros.
func (i *Interface) hasEthernet() bool { return i.Link == "ether" || i.Link == "loopback" }

// hasBareIP tells whether frames on the interface start with an IP header: tun and
// WireGuard; and PPP, whose protocol field never reaches the hooks (Linux
// drivers/net/ppp/ppp_generic.c, ppp_start_xmit and ppp_receive_nonmp_frame).
func (i *Interface) hasBareIP() bool { return i.Link == "none" || i.Link == "rawip" || i.Link == "ppp" }

// native tells whether native XDP is worth asking for. A veth has it, but the
// kernel then turns the peer's segmentation offload off; bridges, tun and lo
// are software, whose frames come by the stack anyway.
func (i *Interface) native() bool {
	switch i.Kind {
	case "veth", "bridge", "tun", "tuntap", "ifb", "dummy":
		return false
	}
	return i.Link == "ether"
}

// describe is the interface in the words of the start line.
func (i *Interface) describe() string {
	parts := make([]string, 0, 4)
	if i.Driver != "" {
		parts = append(parts, i.Driver)
	}
	if len(i.Addresses) > 0 {
		parts = append(parts, i.Addresses[0].String())
	}
	parts = append(parts, count(i.Queues, "queue"), fmt.Sprintf("MTU %d", i.MTU))
	return fmt.Sprintf("%s (%s)", i.Name, strings.Join(parts, ", "))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
