// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"

	"conntap/bpf"
	"conntap/tracker/service"
)

const (
	udpHeaderLength = 8
	dnsHeaderLength = 12
	dnsMaxQuestions = 25 // Zeek's dns_max_queries: more are a violation
	ntpMinLength    = 48

	// violationLimit is how many payload bytes of both sides a connection may have
	// for a violation to switch an analyzer off (Zeek frameworks/analyzer/dpd.zeek,
	// ignore_violations_after).
	violationLimit = 10240
)

// bytes are the payload bytes of a side of a connection other than TCP, negative
// if it has sent nothing that counts.
func (e *endpoint) bytes() int64 { return int64(uint64(e.trim)<<32 | uint64(e.delivered)) }

func (e *endpoint) setBytes(n int64) { e.delivered, e.trim = uint32(n), uint32(uint64(n)>>32) }

// addBytes adds to a side's sum, which starts afresh while it is negative (Zeek
// UDPSessionAdapter, request_len).
func (e *endpoint) addBytes(n int64) {
	if sum := e.bytes(); sum >= 0 {
		n += sum
	}
	e.setBytes(n)
}

// udp books one UDP packet (Zeek src/packet_analysis/protocol/udp/UDP.cc,
// DeliverPacket). A flip by its payload comes after the letter and the bytes, and
// before the packet count, all of which keep the side that it came from. It tells
// whether the payload may be looked into.
func (t *Tracker) udp(c connection, side int, p *bpf.Packet) bool {
	if p.Checksum() == bpf.ChecksumBad {
		t.badChecksum(c, side)
		return false
	}
	c.last = p.Time
	t.addOnce(c.hot, side, letterData, 'D')
	c.endpoint[side].addBytes(int64(p.Window) - udpHeaderLength)
	if c.bits&bitDNS != 0 {
		t.dns(c, side, p)
	} else if c.bits&bitNTP != 0 {
		t.ntp(c, side, p)
	} else if !c.service.Decided() && len(p.Payload) > 0 {
		t.applicationDatagram(c, side, p)
	}
	t.count(c.hot, side, p)
	return true
}

// dns applies what the DNS analyzer does to the connection itself (Zeek
// src/analyzer/protocol/dns/DNS.cc, ParseMessage).
func (t *Tracker) dns(c connection, side int, p *bpf.Packet) {
	if len(p.Payload) < dnsHeaderLength {
		return
	}
	const netbiosNS = 137
	opcode := p.Payload[2] >> 3 & 15
	if opcode != 0 && p.SrcPort != netbiosNS && p.DstPort != netbiosNS {
		t.unknownPacket(c)
		return
	}
	response := p.Payload[2]&0x80 != 0
	if response && side == orig && c.bits&bitDNSSeen == 0 && !isMulticast(&c.addr[resp]) {
		t.flip(c)
	}
	c.bits |= bitDNSSeen
	questions := binary.BigEndian.Uint16(p.Payload[4:])
	if questions > dnsMaxQuestions && max(c.endpoint[orig].bytes(), 0)+max(c.endpoint[resp].bytes(), 0) <= violationLimit {
		c.bits &^= bitDNS
		c.checkAt = never
		t.services.Remove(&c.service, service.DNS)
	} else if service.IsDNS(p.Payload, messageLength(p)) {
		t.services.Add(&c.service, service.DNS)
	}
}

// isMulticast is Zeek's notion: 224.0.0.0/8, not /4, and ff00::/8
// (src/IPAddr.h, IsMulticast).
func isMulticast(a *bpf.Addr) bool {
	if isIPv4(a) {
		return a[12] == 224
	}
	return a[0] == 0xff
}

func isIPv4(a *bpf.Addr) bool {
	return binary.BigEndian.Uint64(a[:8]) == 0 && binary.BigEndian.Uint32(a[8:]) == 0xffff
}

// ntp flips a connection whose server spoke first, once per direction (Zeek
// src/analyzer/protocol/ntp/ntp-analyzer.pac).
func (t *Tracker) ntp(c connection, side int, p *bpf.Packet) {
	if service.IsNTP(p.Payload, messageLength(p)) {
		t.services.Add(&c.service, service.NTP)
	}
	if len(p.Payload) == 0 || int(p.PayloadLength()) < ntpMinLength {
		return
	}
	const client, server = 3, 4
	mode := p.Payload[0] & 7
	switch {
	case side == orig && mode == server && c.bits&bitNTPFlippedOrig == 0:
		c.bits |= bitNTPFlippedOrig
		t.flip(c)
	case side == resp && mode == client && c.bits&bitNTPFlippedResp == 0:
		c.bits |= bitNTPFlippedResp
		t.flip(c)
	}
}

// unknownPacket writes X, which stands once for all its causes.
func (t *Tracker) unknownPacket(c connection) {
	if c.bits&bitUnknownPacket == 0 {
		c.bits |= bitUnknownPacket
		t.addLetter(c.hot, 'X')
	}
}

// badChecksum writes C and leaves everything else as it is.
func (t *Tracker) badChecksum(c connection, side int) {
	t.stats.BadChecksums++
	t.addScaled(c.hot, side, &t.coldOf(c.hot).side[side].badChecksums, 'C')
}
