// SPDX-License-Identifier: Apache-2.0

// Package filtertest makes random filter expressions for tests.
package filtertest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"conntap/bpf"
)

// Random is an expression of at most so many conditions, about what some packets
// hold, so that some of them match.
func Random(r *rand.Rand, packets []bpf.Packet, conditions int) string {
	terms := make([]string, 1+r.IntN(conditions))
	for i := range terms {
		terms[i] = condition(r, &packets[r.IntN(len(packets))])
	}
	for len(terms) > 1 { // joins two neighbours, in parentheses or not
		i := r.IntN(len(terms) - 1)
		joined := terms[i] + pick(r, " and ", " or ", " && ", " || ") + terms[i+1]
		switch r.IntN(4) {
		case 0:
			joined = "(" + joined + ")"
		case 1:
			joined = pick(r, "not (", "!(") + joined + " )"
		}
		terms = append(append(terms[:i:i], joined), terms[i+2:]...)
	}
	return terms[0]
}

func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

func condition(r *rand.Rand, p *bpf.Packet) string {
	not := pick(r, "", "", "not ", "! ")
	direction := pick(r, "", "src ", "dst ", "src or dst ", "src and dst ", "dst or src ")
	address := p.Src
	port := p.SrcPort
	if r.IntN(2) == 0 {
		address, port = p.Dst, p.DstPort
	}
	switch r.IntN(8) {
	case 0, 1:
		return not + version(r, p) + direction + values(r, "host", addressOf(address, p).String(), addressOf(p.Dst, p).String())
	case 2:
		return not + version(r, p) + direction + network(r, addressOf(address, p))
	case 3:
		return not + pick(r, "", "tcp ", "udp ") + direction + values(r, "port", fmt.Sprint(port), pick(r, "53", "80", "443"))
	case 4:
		low := uint16(r.IntN(int(port) + 1))
		return not + pick(r, "", "tcp ", "udp ") + direction + fmt.Sprintf("portrange %d-%d", low, uint32(port)+r.Uint32N(65536-uint32(port)))
	case 5:
		return not + pick(r, "tcp", "udp", "icmp", "icmp6", "ip", "ip6")
	case 6:
		return not + pick(r, "", "ip ", "ip6 ") + fmt.Sprintf("proto %d", p.Protocol)
	default:
		id := max(p.VLAN, 1)
		if r.IntN(2) == 0 {
			id = max(p.InnerVLAN, 1)
		}
		return not + pick(r, "vlan", fmt.Sprintf("vlan %d", id))
	}
}

// values is a kind with one value, or with another one that takes the kind from it.
func values(r *rand.Rand, kind, value, other string) string {
	join := pick(r, " or ", " and ", " or not ")
	switch r.IntN(5) {
	case 0:
		return kind + " " + value + join + other
	case 1:
		return kind + " (" + value + join + other + ")"
	}
	return kind + " " + value
}

// version is a word for a packet's version of IP, or nothing.
func version(r *rand.Rand, p *bpf.Packet) string {
	if p.State&bpf.StateIPv6 != 0 {
		return pick(r, "", "ip6 ")
	}
	return pick(r, "", "ip ")
}

func addressOf(a bpf.Addr, p *bpf.Packet) netip.Addr {
	if p.State&bpf.StateIPv6 != 0 {
		return netip.AddrFrom16(a)
	}
	return netip.AddrFrom16(a).Unmap()
}

// network is one that an address is in, in one of the ways to write it.
func network(r *rand.Rand, a netip.Addr) string {
	if a.Is4() && r.IntN(3) == 0 {
		octets := 1 + r.IntN(4)
		return "net " + strings.Join(strings.Split(a.String(), ".")[:octets], ".")
	}
	bits := r.IntN(a.BitLen() + 1)
	prefix := netip.PrefixFrom(a, bits).Masked()
	if a.Is4() && r.IntN(3) == 0 {
		mask := ^uint32(0) << (32 - bits)
		return fmt.Sprintf("net %v mask %d.%d.%d.%d", prefix.Addr(), mask>>24, mask>>16&255, mask>>8&255, mask&255)
	}
	return "net " + prefix.String()
}
