// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// Datagram is UDP payload, and what the tracker knows when it comes.
type Datagram struct {
	// Payload is what is at hand of the payload, from its first byte.
	Payload []byte
	// Total is how many payload bytes both sides have sent, this one included.
	Total uint64
	// Length is the payload's true length, bytes.
	Length int
	// Side is 0 for the originator's payload, 1 for the responder's.
	Side int
	// Port is the responder's.
	Port uint16
}

// UDP takes a datagram of a connection that is not the tracker's own to name: DNS,
// NTP and tunnels are. It must not be called for a decided Ref.
func (m *Monitor) UDP(r *Ref, d *Datagram) {
	name := udpPorts[d.Port]
	if name != 0 && name != SIP && m.datagram(r, name, d) {
		return
	}
	if d.Port == 443 && isQUICInitial(d.Payload) {
		m.decide(r, QUIC)
		return
	}
	if n := datagramSignature(d); n != 0 && n != name && m.datagram(r, n, d) || name == SIP && m.datagram(r, SIP, d) {
		return
	}
	if name == 0 && d.Total > sniffLimit && *r&refSeen == 0 {
		*r |= refDecided
	}
}

// decide names the connection for good.
func (m *Monitor) decide(r *Ref, n Name) {
	m.Add(r, n)
	*r |= refDecided
}

// datagramSignature is the protocol whose signature a datagram matches (Zeek
// scripts/base/protocols/*/dpd.sig), 0 for none.
func datagramSignature(d *Datagram) Name {
	b := d.Payload
	switch {
	case isDTLSClientHello(b):
		return DTLS
	case isSIP(b):
		return SIP
	case isKRB(b, d.Side == resp):
		return KRB
	case isDNP3(b):
		return DNP3UDP
	case isDHCP(b, d.Length):
		return DHCP
	case isRDPEUDP(b, d.Length):
		return RDPEUDP
	case isQUICInitial(b):
		return QUIC
	}
	return 0
}

// datagram lets one protocol judge, and tells whether it has confirmed or waits
// for the answer.
func (m *Monitor) datagram(r *Ref, n Name, d *Datagram) bool {
	b, confirmed := d.Payload, false
	switch n {
	case DHCP:
		confirmed = isDHCP(b, d.Length)
	case KRB:
		confirmed = isKRBMessage(b)
	case SNMP:
		confirmed = d.Side == resp && isSNMP(b)
	case LDAPUDP:
		confirmed = len(b) > 2 && isLDAP(b)
	case DTLS:
		if !isDTLSClientHello(b) {
			return false
		}
		first, last := dtlsFragment(b)
		if first {
			*r |= refSeen
		}
		confirmed = last && *r&refSeen != 0
	case Syslog:
		confirmed = isSyslog(b)
	case QUIC:
		confirmed = isQUICInitial(b)
	case RADIUS:
		confirmed = isRADIUS(b, d.Length)
	case SIP:
		confirmed = isSIPReply(b)
		if !confirmed && isSIP(b) {
			*r |= refSeen
			return true
		}
	case DNP3UDP:
		confirmed = len(b) >= 10 && isDNP3(b) && dnp3HeaderValid(b)
	case RDPEUDP:
		if d.Side == orig && isRDPEUDP(b, d.Length) {
			*r |= refSeen
			return true
		}
		const synAck = 5
		confirmed = d.Side == resp && *r&refSeen != 0 && len(b) >= 8 && be16(b[6:])&synAck == synAck
	}
	if confirmed {
		m.decide(r, n)
	}
	return confirmed
}

// isDHCP looks for the magic cookie (RFC 2131, 3). A prefix is judged by the fixed
// fields: the operation, the hardware type and its address length.
func isDHCP(b []byte, length int) bool {
	if length < 240 || len(b) < 8 {
		return false
	}
	if len(b) >= 240 {
		return be32(b[236:]) == 0x63825363
	}
	return len(b) < length && (b[0] == 1 || b[0] == 2) && b[1] == 1 && b[2] == 6
}

// isSNMP reads version and community, or the header of version 3 (RFC 1157, 4;
// RFC 3412, 6).
func isSNMP(b []byte) bool {
	if len(b) < 8 || b[0] != 0x30 {
		return false
	}
	body, ok := derContent(b)
	if !ok || len(body) < 5 || body[0] != 2 || body[1] != 1 {
		return false
	}
	switch body[2] {
	case 0, 1:
		return body[3] == 4
	case 3:
		return body[3] == 0x30
	}
	return false
}

// IsNTP tells whether a datagram of this length can be read (Zeek
// src/analyzer/protocol/ntp/ntp-protocol.pac, ntp-mode7.pac).
func IsNTP(b []byte, length int) bool {
	if len(b) == 0 {
		return false
	}
	const control, private = 6, 7
	switch b[0] & 7 {
	case 0:
		return true
	case control:
		return length >= 12 && (len(b) < 12 || length >= 12+be16(b[10:]))
	case private:
		return length >= 6 && (len(b) < 6 || length >= 6+be16(b[4:])&0xfff)
	}
	return length >= 48
}

// isSyslog looks for a priority in brackets (RFC 3164, 4.1.1).
func isSyslog(b []byte) bool {
	if len(b) < 3 || b[0] != '<' {
		return false
	}
	i := bytes.IndexByte(b[:min(len(b), 5)], '>')
	return i >= 2 && isDigit(b[1])
}

// isRADIUS checks the length field (RFC 2865, 3).
func isRADIUS(b []byte, length int) bool {
	return len(b) >= 20 && b[0] != 0 && be16(b[2:]) >= 20 && be16(b[2:]) <= length
}

// isSIP is the signature: a request or a status line.
func isSIP(b []byte) bool {
	if isSIPReply(b) {
		return true
	}
	i := bytes.IndexByte(b, '\n')
	if i < 0 || len(b) == 0 || !isLetter(b[0]) {
		return false
	}
	text := bytes.TrimRight(b[:i], "\r")
	return len(text) > 8 && hasPrefixFold(text[len(text)-8:], " SIP/") && isDigit(text[len(text)-1])
}

// isSIPReply is a status line (RFC 3261, 7.2).
func isSIPReply(b []byte) bool {
	return len(b) >= 12 && hasPrefixFold(b, "SIP/") && isDigit(b[4]) && b[7] == ' ' && replyCode(b[8:]) != 0
}

// isRDPEUDP is the signature of a SYN: padded, with no acknowledgment (MS-RDPEUDP
// 2.2).
func isRDPEUDP(b []byte, length int) bool {
	return length >= 1132 && length <= 1232 && len(b) >= 8 && be32(b) == 0xffffffff && b[7] == 1
}
