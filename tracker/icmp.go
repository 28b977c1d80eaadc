// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// icmpCounterpart gives the type that answers a type, plus one; 0 for types
// without (Zeek src/packet_analysis/protocol/icmp/ICMP.cc, ICMP4_counterpart).
var (
	icmpCounterpart = [256]uint16{
		0: 8 + 1, 8: 0 + 1, 9: 10 + 1, 10: 9 + 1, 13: 14 + 1, 14: 13 + 1, 15: 16 + 1, 16: 15 + 1, 17: 18 + 1, 18: 17 + 1,
	}
	icmpv6Counterpart = [256]uint16{
		128: 129 + 1, 129: 128 + 1, 130: 131 + 1, 131: 130 + 1, 133: 134 + 1, 134: 133 + 1, 135: 136 + 1, 136: 135 + 1,
		139: 140 + 1, 140: 139 + 1, 144: 145 + 1, 145: 144 + 1,
	}
)

// icmpPorts are what stands for the ports: the type, and the type that answers it
// or, one-way, the code.
func icmpPorts(p *bpf.Packet) (typ, other uint16, oneWay bool) {
	typ = p.Window >> 8
	counterpart := &icmpCounterpart
	if p.Protocol == bpf.ProtocolICMPv6 {
		counterpart = &icmpv6Counterpart
	}
	if c := counterpart[typ]; c != 0 {
		return typ, c - 1, false
	}
	return typ, p.Window & 0xff, true
}

// icmp books one ICMP packet. A packet that was cut counts by its bytes alone.
func (t *Tracker) icmp(c connection, side int, p *bpf.Packet) {
	if p.Checksum() == bpf.ChecksumBad {
		t.stats.BadChecksums++
		return
	}
	c.last = p.Time
	c.endpoint[side].addBytes(int64(p.PayloadLength()))
	if p.State&bpf.StateComplete == 0 {
		t.stats.Truncated++
		return
	}
	t.count(c.hot, side, p)
}

// unknown books one packet of a protocol that Zeek has no analyzer for (Zeek
// src/packet_analysis/protocol/unknown_ip_transport).
func (t *Tracker) unknown(c connection, side int, p *bpf.Packet) {
	c.last = p.Time
	t.count(c.hot, side, p)
}
