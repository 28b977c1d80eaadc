// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"encoding/binary"
	"slices"

	"conntap/bpf"
)

// openUDP attaches what the responder's port names.
func (m *model) openUDP(c *modelConn) {
	c.ntp = c.resp.port == 123
	if c.dns = slices.Contains([]uint16{53, 137, 5353, 5355}, c.resp.port); c.dns {
		m.arm(c, modelDNS, m.now+10*modelSecond)
	}
}

// deliverUDP books one UDP packet. It tells whether the packet was good.
func (m *model) deliverUDP(c *modelConn, p *bpf.Packet, from *modelSide) bool {
	role := c.role(from)
	if p.Checksum() == bpf.ChecksumBad {
		c.scaled(from, 'C')
		return false
	}
	c.last = p.Time
	c.letterOnce(from, "D", "D")
	c.roleBytes[role] = max(c.roleBytes[role], 0) + int64(p.Window) - 8 // a sum below 0 begins again
	c.roleSeen[role] = true
	m.readDNS(c, p, role)
	c.readNTP(p, role)
	// A flip by the payload does not reach the counters: the packet stays with the
	// role that sent it.
	if role == modelOrig {
		c.orig.count(p)
	} else {
		c.resp.count(p)
	}
	return true
}

func multicast(a *bpf.Addr) bool {
	return a[0] == 0xff || [12]byte(a[:12]) == [12]byte{10: 0xff, 11: 0xff} && a[12] == 224
}

// readDNS reads the header of a message on a DNS port: direction, opcode, questions.
func (m *model) readDNS(c *modelConn, p *bpf.Packet, role int) {
	if !c.dns || len(p.Payload) < 12 {
		return
	}
	reply, opcode := p.Payload[2]&0x80 != 0, p.Payload[2]>>3&15
	if opcode != 0 && c.orig.port != 137 && c.resp.port != 137 {
		c.unknown()
		return // before it could be the first message
	}
	first := !c.dnsBegun
	c.dnsBegun = true
	if first && reply && role == modelOrig && !multicast(&c.resp.addr) {
		c.flip()
	}
	if binary.BigEndian.Uint16(p.Payload[4:]) > 25 && c.roleBytes[0]+c.roleBytes[1] <= 10240 {
		c.dns = false
		m.cancel(c, modelDNS)
	}
}

// readNTP reads the mode of a message on NTP's port. A shorter one than NTP's header
// is none; how long it is, the IP length says.
func (c *modelConn) readNTP(p *bpf.Packet, role int) {
	if !c.ntp || len(p.Payload) == 0 || p.PayloadLength() < 48 {
		return
	}
	mode := p.Payload[0] & 7
	if !c.ntpFlipped[role] && (mode == 4 && role == modelOrig || mode == 3 && role == modelResp) {
		c.ntpFlipped[role] = true
		c.flip()
	}
}

func (c *modelConn) stateUDP() string {
	o := c.roleSeen[modelOrig] && c.roleBytes[modelOrig] >= 0
	r := c.roleSeen[modelResp] && c.roleBytes[modelResp] >= 0
	switch {
	case o && r:
		return "SF"
	case o:
		return "S0"
	case r:
		return "SHR"
	}
	return "OTH"
}

// modelPairs are the types of ICMP requests and their replies.
var modelPairs = map[uint8][][2]uint16{
	bpf.ProtocolICMP:   {{8, 0}, {13, 14}, {15, 16}, {10, 9}, {17, 18}},
	bpf.ProtocolICMPv6: {{128, 129}, {133, 134}, {135, 136}, {130, 131}, {139, 140}, {144, 145}},
}

func modelICMPPorts(p *bpf.Packet) (src, dst uint16, oneWay bool) {
	kind, code := p.Window>>8, p.Window&0xff
	for _, pair := range modelPairs[p.Protocol] {
		if kind == pair[0] {
			return kind, pair[1], false
		}
		if kind == pair[1] {
			return kind, pair[0], false
		}
	}
	return kind, code, true
}

func (c *modelConn) deliverICMP(p *bpf.Packet, from *modelSide) {
	if p.Checksum() == bpf.ChecksumBad {
		return
	}
	c.last = p.Time
	c.roleBytes[c.role(from)] += int64(p.PayloadLength())
	if p.State&bpf.StateComplete != 0 {
		from.count(p)
	}
}
