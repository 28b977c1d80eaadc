// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"conntap/bpf"
)

// ParseNets reads a comma-separated list of networks such as
// "198.51.100.0/24,2001:db8::/32"; an address alone is a network of one. As in
// Zeek, IPv4 lives inside ::/0 in its mapped form.
func ParseNets(list string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for text := range splitList(list) {
		prefix, err := parseNet(text)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

func parseNet(text string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix, nil
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	return netip.Prefix{}, fmt.Errorf("%q is no network: write it as 198.51.100.0/24 or 2001:db8::/32", text)
}

// splitList yields the trimmed non-empty parts of a comma-separated list.
func splitList(list string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(list, ",") {
			if part = strings.TrimSpace(part); part != "" && !yield(part) {
				return
			}
		}
	}
}

// privateNets is Zeek's Site::private_address_space, which is local by default
// (scripts/base/utils/site.zeek; spec 13.2).
var privateNets = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/24", "239.0.0.0/8", "240.0.0.0/4", "255.255.255.255/32",
	"::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:2::/48", "2001:db8::/32",
	"fc00::/7", "fe80::/10", "fec0::/10",
	// The 6to4 images of the IPv4 ones.
	"2002::/24", "2002:a00::/24", "2002:6440::/26", "2002:7f00::/24", "2002:a9fe::/32",
	"2002:ac10::/28", "2002:c000::/40", "2002:c000:200::/40", "2002:c0a8::/32", "2002:c612::/31",
	"2002:c633:6400::/40", "2002:cb00:7100::/40", "2002:e000::/40", "2002:ef00::/24",
	"2002:f000::/20", "2002:ffff:ffff::/48",
}

// privatePrefixes are privateNets, parsed.
func privatePrefixes() []netip.Prefix {
	prefixes := make([]netip.Prefix, len(privateNets))
	for i, text := range privateNets {
		prefixes[i] = netip.MustParsePrefix(text)
	}
	return prefixes
}

// nets is a set of networks: disjoint ranges of 128-bit addresses, ascending,
// so that one binary search answers for any number of them.
type nets struct {
	ranges []addrRange
}

// addrRange is first to last, both included.
type addrRange struct {
	first, last addr128
}

// addr128 is an address as a number.
type addr128 struct {
	high, low uint64
}

func toNumber(a *bpf.Addr) addr128 {
	return addr128{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
}

func (a addr128) less(b addr128) bool {
	return a.high < b.high || a.high == b.high && a.low < b.low
}

func newNets(prefixes []netip.Prefix) *nets {
	var all []addrRange
	for _, p := range prefixes {
		all = append(all, rangeOf(p))
	}
	slices.SortFunc(all, func(a, b addrRange) int {
		return cmp.Or(cmp.Compare(a.first.high, b.first.high), cmp.Compare(a.first.low, b.first.low))
	})
	n := &nets{}
	for _, r := range all {
		if last := len(n.ranges) - 1; last >= 0 && !n.ranges[last].last.less(r.first) {
			if n.ranges[last].last.less(r.last) {
				n.ranges[last].last = r.last
			}
			continue
		}
		n.ranges = append(n.ranges, r)
	}
	return n
}

func rangeOf(p netip.Prefix) addrRange {
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	a := p.Addr().As16()
	first := toNumber(&a)
	var host addr128
	if bits < 64 {
		host = addr128{^uint64(0) >> bits, ^uint64(0)}
	} else {
		host = addr128{0, ^uint64(0) >> (bits - 64)}
	}
	first.high &^= host.high
	first.low &^= host.low
	return addrRange{first, addr128{first.high | host.high, first.low | host.low}}
}

func (n *nets) contains(addr *bpf.Addr) bool {
	a := toNumber(addr)
	// low is the first range that begins above a.
	low, high := 0, len(n.ranges)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if a.less(n.ranges[middle].first) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low > 0 && !n.ranges[low-1].last.less(a)
}
