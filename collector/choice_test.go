// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"strings"
	"testing"
)

func TestParseChoice(t *testing.T) {
	tests := []struct {
		words string
		all   bool
		want  string // error, "" for none
	}{
		{"eth0 eth1", false, ""},
		{"eth* !eth3", false, ""},
		{"!docker*", true, ""},
		{"", true, ""},
		{"", false, "no interface to capture on: name one with -i, or say --all"},
		{"any", false, `"any" is not a device; --all captures on all interfaces, -i once per interface on some`},
		{"eth0 eth0", false, "eth0 is named twice: its packets would be counted twice"},
		{"!eth3", false, "-i !eth3 only says what to leave out: of what? Name interfaces with -i, or say --all"},
		{"eth3 !eth*", false, "eth3 is named, and left out"},
		{"eth[", false, "-i eth[: neither a name nor a pattern; in patterns * stands for any letters, ? for one, [0-3] for one of these"},
		{"!", false, "-i !: neither a name nor a pattern; in patterns * stands for any letters, ? for one, [0-3] for one of these"},
	}
	for _, tt := range tests {
		_, err := parseChoice(strings.Fields(tt.words), tt.all, false)
		if got := message(err); got != tt.want {
			t.Errorf("%q, all %v: want %q, got %q", tt.words, tt.all, tt.want, got)
		}
	}
}

// crowd is a machine with one of each.
var crowd = []device{
	{name: "lo", index: 1, kind: "device", link: "loopback"},
	{name: "eth0", index: 2, kind: "device", link: "ether", master: 4},
	{name: "eth1", index: 3, kind: "device", link: "ether", master: 4},
	{name: "bond0", index: 4, kind: "bond", link: "ether"},
	{name: "bond0.5", index: 5, kind: "vlan", link: "ether", lower: 4},
	{name: "br0", index: 6, kind: "bridge", link: "ether"},
	{name: "veth0", index: 7, kind: "veth", link: "ether", master: 6},
	{name: "veth1", index: 8, kind: "veth", link: "ether"},
	{name: "veth0.7", index: 9, kind: "vlan", link: "ether", lower: 7},
	{name: "vx4789", index: 10, kind: "vxlan", link: "ether", lower: 4, port: 4789},
	{name: "flannel", index: 11, kind: "vxlan", link: "ether", lower: 4, port: 8472},
	{name: "wg0", index: 12, kind: "wireguard", link: "none"},
	{name: "tun0", index: 13, kind: "tun", link: "none"},
	{name: "mac0", index: 14, kind: "macvlan", link: "ether", lower: 3},
	{name: "ifb0", index: 15, kind: "ifb", link: "ether"},
	{name: "vrf0", index: 16, kind: "vrf", link: "ether"},
	{name: "eth9", index: 17, kind: "device", link: "ether", master: 16},
	{name: "gre0", index: 18, kind: "gre", link: "gre"},
	{name: "far", index: 19, kind: "vlan", link: "ether"}, // its lower is in another namespace
	{name: "bond0.5.6", index: 20, kind: "vlan", link: "ether", lower: 5},
	{name: "nlmon0", index: 21, kind: "nlmon", link: "netlink"},
}

func TestChoose(t *testing.T) {
	tests := []struct {
		words     string
		all       bool
		noTunnels bool
		want      string
	}{
		{"lo eth0", false, false, "lo eth0"},
		{"eth*", false, false, "eth0 eth1 eth9"},
		{"eth* !eth[19]", false, false, "eth0"},
		{"!veth0 veth? *5", false, false, "bond0.5 veth1"},
		{"", true, false, "bond0 br0 veth1 veth0.7 flannel wg0 tun0 eth9 far"},
		{"", true, true, "bond0 br0 veth1 veth0.7 vx4789 flannel wg0 tun0 eth9 far"},
		{"lo !br* !w*", true, false, "lo bond0 veth1 veth0.7 flannel tun0 eth9 far"},
		{"!bond0", true, false, "bond0.5 br0 veth1 veth0.7 flannel wg0 tun0 mac0 eth9 far"},
		{"veth0", true, false, "bond0 br0 veth0 veth1 flannel wg0 tun0 eth9 far"},
		{"eth1", true, false, "eth1 bond0 br0 veth1 veth0.7 flannel wg0 tun0 eth9 far"},
	}
	for _, tt := range tests {
		c, err := parseChoice(strings.Fields(tt.words), tt.all, tt.noTunnels)
		must(t, err)
		var got []string
		for _, d := range c.choose(crowd) {
			got = append(got, d.name)
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("%q, all %v:\nwant %s\n got %s", tt.words, tt.all, tt.want, got)
		}
	}
}

func TestChoiceWords(t *testing.T) {
	c := interfaceChoice{all: true}
	const want = "lo (loopback), eth0 (port of bond0), eth1 (port of bond0), bond0.5 (on bond0), veth0 (port of br0), " +
		"vx4789 (tunnel that is looked into), mac0 (on eth1), ifb0 (redirected packets), 4 more"
	if got := c.leftOut(crowd); got != want {
		t.Errorf("want %s\n got %s", want, got)
	}
	both, err := parseChoice([]string{"bond0*", "eth0", "eth9", "vrf0"}, false, false)
	must(t, err)
	captured := both.choose(crowd)
	want2 := map[string]string{
		"eth0":    "eth0 is a port of bond0, which is captured too: what passes both is seen twice",
		"bond0.5": "bond0.5 is on bond0, which is captured too: its packets are seen twice",
		"bond0":   "", "eth9": "",
	}
	for _, d := range captured {
		if want, known := want2[d.name]; known && shownTwice(d, captured) != want {
			t.Errorf("%s: want %q, got %q", d.name, want, shownTwice(d, captured))
		}
	}
}
