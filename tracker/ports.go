// SPDX-License-Identifier: Apache-2.0

package tracker

// portSet is a set of port numbers.
type portSet [1 << 16 / 64]uint64

func portsOf(ports ...uint16) *portSet {
	var s portSet
	for _, p := range ports {
		s[p/64] |= 1 << (p % 64)
	}
	return &s
}

func (s *portSet) has(port uint16) bool { return s[port/64]>>(port%64)&1 != 0 }

// Zeek's likely_server_ports with default scripts: a first packet from one of
// them, which opens nothing, came from the responder.
var (
	likelyTCP = portsOf(21, 22, 25, 53, 79, 80, 81, 88, 135, 139, 143, 389, 443, 445, 502, 563, 585, 587, 614, 631, 636,
		989, 990, 992, 993, 995, 1080, 1883, 2811, 3128, 3268, 3389, 5222, 5223, 5269, 5432, 6379,
		6666, 6667, 6668, 6669, 8000, 8080, 8888, 20000)
	likelyUDP = portsOf(53, 67, 88, 123, 137, 161, 162, 389, 443, 514, 1812, 2123, 2152, 3389, 3544, 4789, 5060, 5072,
		5353, 5355, 6081, 20000)
)

// isInteractive tells whether a TCP connection to this port may be silent for an
// hour (Zeek scripts/base/protocols/conn/inactivity.zeek).
func isInteractive(port uint16) bool {
	switch port {
	case 21, 22, 23, 513:
		return true
	}
	return false
}

// isDNS tells whether Zeek parses DNS on this UDP port.
func isDNS(port uint16) bool {
	switch port {
	case 53, 137, 5353, 5355:
		return true
	}
	return false
}
