// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"net/netip"
	"testing"
)

func TestPlanCapture(t *testing.T) {
	address := []netip.Addr{netip.MustParseAddr("10.0.0.5")}
	nic := Interface{Name: "eth0", Driver: "virtio_net", Kind: "device", Link: "ether", Addresses: address}
	mirror := Interface{Name: "eth1", Driver: "ixgbe", Kind: "device", Link: "ether"}
	veth := Interface{Name: "veth0", Driver: "veth", Kind: "veth", Link: "ether", Addresses: address}
	bridge := Interface{Name: "br0", Driver: "bridge", Kind: "bridge", Link: "ether", Addresses: address}
	tap := Interface{Name: "tap0", Driver: "tun", Kind: "tuntap", Link: "ether"}
	bond := Interface{Name: "bond0", Driver: "bonding", Kind: "bond", Link: "ether", Addresses: address}
	lo := Interface{Name: "lo", Kind: "device", Link: "loopback", Addresses: address}
	wireguard := Interface{Name: "wg0", Driver: "wireguard", Kind: "wireguard", Link: "none", Addresses: address}
	radio := Interface{Name: "mon0", Kind: "device", Link: "ieee802.11/radiotap"}

	tests := []struct {
		name        string
		i           Interface
		capture     Capture
		direction   Direction
		promiscuous Promiscuous
		want        plan
		err         string
	}{
		{"NIC with an address", nic, "auto", "auto", "auto", plan{ingressXDP, true, true, false}, ""},
		{"mirror port", mirror, "auto", "auto", "auto", plan{ingressXDP, true, false, true}, ""},
		{"mirror port by TCX", mirror, "tcx", "auto", "auto", plan{ingressTCX, false, false, true}, ""},
		{"veth", veth, "auto", "auto", "auto", plan{ingressTCX, false, true, false}, ""},
		{"XDP asked for on veth", veth, "xdp", "in", "auto", plan{ingressXDP, false, false, false}, ""},
		{"bridge", bridge, "auto", "auto", "auto", plan{ingressTCX, false, true, false}, ""},
		{"bond", bond, "auto", "auto", "auto", plan{ingressXDP, true, true, false}, ""},
		{"tap without an address", tap, "auto", "auto", "auto", plan{ingressTCX, false, false, true}, ""},
		{"loopback: one direction is all", lo, "auto", "auto", "auto", plan{ingressTCX, false, false, false}, ""},
		{"generic on request", nic, "xdp-generic", "both", "auto", plan{ingressXDPGeneric, false, true, false}, ""},
		{"out alone", nic, "auto", "out", "auto", plan{ingressNone, false, true, false}, ""},
		{"out alone on a mirror port", mirror, "tcx", "out", "auto", plan{ingressNone, false, true, false}, ""},
		{"both on a mirror port", mirror, "xdp", "both", "off", plan{ingressXDP, false, true, false}, ""},
		{"promiscuous asked for", nic, "auto", "in", "on", plan{ingressXDP, true, false, true}, ""},
		{
			"XDP out", nic, "xdp", "out", "auto",
			plan{},
			"eth0: XDP sees incoming packets only; for --direction out use --capture tcx",
		},
		{"packet socket on a NIC", nic, "afpacket", "auto", "auto", plan{ingressPacket, false, true, false}, ""},
		{"packet socket on a mirror port", mirror, "afpacket", "auto", "auto", plan{ingressPacket, false, false, true}, ""},
		{"packet socket, out", nic, "afpacket", "out", "auto", plan{ingressNone, false, true, false}, ""},
		{"packet socket on loopback", lo, "afpacket", "auto", "auto", plan{ingressPacket, false, false, false}, ""},
		{"packet socket on WireGuard", wireguard, "afpacket", "in", "auto", plan{ingressPacket, false, false, false}, ""},
		{"WireGuard", wireguard, "auto", "auto", "auto", plan{ingressTCX, false, true, false}, ""},
		{
			"XDP on WireGuard", wireguard, "xdp", "auto", "auto",
			plan{},
			"wg0 carries IP without Ethernet headers, which XDP needs; use --capture tcx",
		},
		{
			"monitor mode", radio, "auto", "auto", "auto",
			plan{},
			"mon0 carries ieee802.11/radiotap frames; conntap needs an Ethernet device (try the interface below it)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := planCapture(&tt.i, tt.capture, tt.direction, tt.promiscuous)
			if got != tt.want {
				t.Errorf("want %+v, got %+v", tt.want, got)
			}
			if message(err) != tt.err {
				t.Errorf("\nwant error %q\ngot  error %q", tt.err, message(err))
			}
		})
	}
}

func TestOneOf(t *testing.T) {
	empty := Capture("")
	if err := oneOf("capture", &empty, Captures); err != nil || empty != CaptureAuto {
		t.Errorf("want auto, got %q, %v", empty, err)
	}
	wrong := Capture("pcap")
	const want = "--capture pcap: unknown; one of auto, xdp, xdp-generic, tcx, afpacket"
	if err := oneOf("capture", &wrong, Captures); message(err) != want {
		t.Errorf("\nwant %s\ngot  %v", want, err)
	}
}

func TestInterfaceDescribe(t *testing.T) {
	nic := Interface{
		Name: "eth0", Driver: "virtio_net", Queues: 2, MTU: 1500,
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")},
	}
	if got, want := nic.describe(), "eth0 (virtio_net, 10.0.0.5, 2 queues, MTU 1500)"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	bare := Interface{Name: "lo", Queues: 1, MTU: 65536}
	if got, want := bare.describe(), "lo (1 queue, MTU 65536)"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
