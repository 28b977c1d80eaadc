// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// interfaceChoice says which interfaces are captured.
type interfaceChoice struct {
	names []string // taken at their word
	globs []string // every interface that matches one
	out   []string // globs: left out, whatever the others say
	all   bool     // all but loopback and those that would show packets twice

	noTunnels bool // what is inside of tunnels is not looked into
}

// parseChoice reads names, globs (path.Match's: * ? [a-z]) and, behind a !, globs of
// what to leave out. In all of them the order is of no meaning.
func parseChoice(words []string, all, noTunnels bool) (interfaceChoice, error) {
	c := interfaceChoice{all: all, noTunnels: noTunnels}
	for _, word := range words {
		glob, leaves := strings.CutPrefix(word, "!")
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return c, fmt.Errorf("-i %s: neither a name nor a pattern; in patterns * stands for any letters, ? for one, "+
				"[0-3] for one of these", word)
		}
		switch isGlob := strings.ContainsAny(glob, `*?[\`); {
		case leaves:
			c.out = append(c.out, glob)
		case isGlob:
			c.globs = append(c.globs, glob)
		case word == "any":
			return c, errors.New(`"any" is not a device; --all captures on all interfaces, -i once per interface on some`)
		case slices.Contains(c.names, word):
			return c, fmt.Errorf("%s is named twice: its packets would be counted twice", word)
		default:
			c.names = append(c.names, word)
		}
	}
	return c, c.check()
}

// CheckInterfaces finds what LiveConfig's Interfaces and All can't mean together.
func CheckInterfaces(interfaces []string, all bool) error {
	_, err := parseChoice(interfaces, all, false)
	return err
}

func (c *interfaceChoice) check() error {
	switch {
	case c.all || len(c.names) > 0 || len(c.globs) > 0:
	case len(c.out) > 0:
		return fmt.Errorf("-i !%s only says what to leave out: of what? Name interfaces with -i, or say --all", c.out[0])
	default:
		return errors.New("no interface to capture on: name one with -i, or say --all")
	}
	for _, name := range c.names {
		if matchesAny(c.out, name) {
			return fmt.Errorf("%s is named, and left out", name)
		}
	}
	return nil
}

// open tells whether interfaces may be chosen that nobody has named.
func (c *interfaceChoice) open() bool { return c.all || len(c.globs) > 0 }

// String is the part of the choice that is not of names, such as "eth*, veth*".
func (c *interfaceChoice) String() string {
	parts := slices.Clone(c.globs)
	if c.all {
		parts = append([]string{"--all"}, parts...)
	}
	return strings.Join(parts, ", ")
}

func matchesAny(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool {
		match, _ := path.Match(glob, name)
		return match
	})
}

// device is what decides whether an interface is chosen.
type device struct {
	name   string
	index  int
	kind   string // as Interface.Kind
	link   string // as Interface.Link
	master int    // index of the bridge, bond, ... that it is a port of, 0 for none
	lower  int    // index of the interface below, 0 if there is none, or none here
	port   int    // UDP port of a VXLAN or Geneve tunnel
	up     bool   // and it has a link
}

// named tells whether the name itself, or a pattern, asks for a device.
func (c *interfaceChoice) named(d *device) bool {
	return slices.Contains(c.names, d.name) || matchesAny(c.globs, d.name) && !matchesAny(c.out, d.name)
}

// choose picks the devices to capture on, in their order.
func (c *interfaceChoice) choose(devices []device) []*device {
	var chosen []*device
	for i := range devices {
		d := &devices[i]
		if c.named(d) || c.all && !matchesAny(c.out, d.name) && c.twice(d, devices) == "" {
			chosen = append(chosen, d)
		}
	}
	return chosen
}

// twice says why --all leaves a device out, "" if it does not: what it shows is seen
// elsewhere, or can't be read.
func (c *interfaceChoice) twice(d *device, devices []device) string {
	if d.link != "ether" && d.link != "none" && d.link != "rawip" && d.link != "ppp" {
		return d.link // "loopback", above all: who wants that names it
	}
	if master := byIndex(devices, d.master); master != nil && slices.Contains([]string{"bond", "bridge", "team"}, master.kind) {
		return "port of " + master.name
	}
	if lower := byIndex(devices, d.lower); lower != nil && d.shares() && c.shows(lower, devices) {
		return "on " + lower.name
	}
	switch d.kind {
	case "vrf":
		return "its ports are captured"
	case "ifb":
		return "redirected packets"
	}
	if c.lookedInto(d) {
		return "tunnel that is looked into"
	}
	return ""
}

// shares tells whether all of a device's packets pass the one below it as they are.
func (d *device) shares() bool {
	return slices.Contains([]string{"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"}, d.kind)
}

// shows tells whether a device's packets are captured: on itself, on the one below, or
// on the bond that it is a port of. Devices don't stand on one another in circles.
func (c *interfaceChoice) shows(d *device, devices []device) bool {
	if c.named(d) || !matchesAny(c.out, d.name) && c.twice(d, devices) == "" {
		return true
	}
	above := byIndex(devices, d.master)
	if above == nil || above.kind == "bridge" { // a bridge itself gets its host's packets alone
		above = nil
		if d.shares() {
			above = byIndex(devices, d.lower)
		}
	}
	return above != nil && c.shows(above, devices)
}

// lookedInto tells whether what comes out of a tunnel's device is recorded from
// inside of the tunnel's packets, too, wherever these are captured.
func (c *interfaceChoice) lookedInto(d *device) bool {
	if c.noTunnels {
		return false
	}
	switch d.kind {
	case "vxlan":
		return d.port == 4789
	case "geneve":
		return d.port == 6081
	case "gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan", "ipip", "sit", "ip6tnl":
		return true
	}
	return false
}

// leftOut says, for people, what --all leaves out.
func (c *interfaceChoice) leftOut(devices []device) string {
	const most = 8
	var parts []string
	for i := range devices {
		d := &devices[i]
		if why := c.twice(d, devices); c.all && why != "" && !c.named(d) && !matchesAny(c.out, d.name) {
			parts = append(parts, fmt.Sprintf("%s (%s)", d.name, why))
		}
	}
	if len(parts) > most {
		parts = append(parts[:most], fmt.Sprintf("%d more", len(parts)-most))
	}
	return strings.Join(parts, ", ")
}

// shownTwice says of a device that is captured where its packets are seen again, ""
// if nowhere.
func shownTwice(d *device, captured []*device) string {
	for _, other := range captured {
		switch {
		case other.index == d.master && other.kind != "vrf":
			return fmt.Sprintf("%s is a port of %s, which is captured too: what passes both is seen twice", d.name, other.name)
		case other.index == d.lower && d.lower != d.index:
			return fmt.Sprintf("%s is on %s, which is captured too: its packets are seen twice", d.name, other.name)
		}
	}
	return ""
}

func byIndex(devices []device, index int) *device {
	if index == 0 {
		return nil
	}
	if i := slices.IndexFunc(devices, func(d device) bool { return d.index == index }); i >= 0 {
		return &devices[i]
	}
	return nil
}
