// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// tcpPorts and udpPorts say which analyzer a responder's port attaches (Zeek
// scripts/base/protocols/*/main.zeek, Analyzer::register_for_port). Where Zeek
// attaches two, signatures tell them apart: 1080 is also SOCKS, UDP 443 also QUIC.
// Of UDP, DNS and NTP are the tracker's, and tunnels too.
var (
	tcpPorts = portsOf(
		ports{FTP, []uint16{21, 2811}},
		ports{SSH, []uint16{22}},
		ports{SMTP, []uint16{25, 587}},
		ports{DNS, []uint16{53}},
		ports{Finger, []uint16{79}},
		ports{HTTP, []uint16{80, 81, 631, 1080, 3128, 8000, 8080, 8888}},
		ports{KRBTCP, []uint16{88}},
		ports{DCERPC, []uint16{135}},
		ports{SMB, []uint16{139, 445}},
		ports{IMAP, []uint16{143}},
		ports{LDAPTCP, []uint16{389, 3268}},
		ports{SSL, []uint16{443, 563, 585, 614, 636, 989, 990, 992, 993, 995, 5223}},
		ports{Modbus, []uint16{502}},
		ports{MySQL, []uint16{1434, 3306}},
		ports{MQTT, []uint16{1883}},
		ports{RDP, []uint16{3389}},
		ports{XMPP, []uint16{5222, 5269}},
		ports{PostgreSQL, []uint16{5432}},
		ports{Redis, []uint16{6379}},
		ports{IRC, []uint16{6666, 6667, 6668, 6669}},
		ports{DNP3TCP, []uint16{20000}},
	)
	udpPorts = portsOf(
		ports{DHCP, []uint16{67, 68, 4011}},
		ports{KRB, []uint16{88}},
		ports{SNMP, []uint16{161, 162}},
		ports{LDAPUDP, []uint16{389}},
		ports{DTLS, []uint16{443}},
		ports{Syslog, []uint16{514}},
		ports{QUIC, []uint16{784, 853}},
		ports{RADIUS, []uint16{1812}},
		ports{RDPEUDP, []uint16{3389}},
		ports{SIP, []uint16{5060}},
		ports{DNP3UDP, []uint16{20000}},
	)
)

// ports are the responder's ports of a protocol.
type ports struct {
	name  Name
	ports []uint16
}

func portsOf(lists ...ports) *[1 << 16]Name {
	var t [1 << 16]Name
	for _, l := range lists {
		for _, p := range l.ports {
			t[p] = l.name
		}
	}
	return &t
}

// parse shows an analyzer contiguous bytes of a side. It returns how many it took,
// 0 if it wants to see more of them at once.
func (m *Monitor) parse(s *state, side int, b []byte) int {
	switch s.active {
	case HTTP:
		return m.http(s, side, b)
	case SSL:
		return m.ssl(s, side, b)
	case SSH:
		return m.ssh(s, side, b)
	case FTP:
		return m.ftp(s, side, b)
	case SMTP:
		return m.smtp(s, side, b)
	case POP3:
		return m.pop3(s, side, b)
	case IMAP:
		return m.imap(s, side, b)
	case IRC:
		return m.irc(s, side, b)
	case XMPP:
		return m.xmpp(s, side, b)
	case DNS:
		return m.dnsTCP(s, side, b)
	case SMB:
		return m.smb(s, side, b)
	case DCERPC:
		return m.dceRPC(s, side, b)
	case KRBTCP:
		return m.krbTCP(s, side, b)
	case Modbus:
		return m.modbus(s, side, b)
	case DNP3TCP:
		return m.dnp3(s, side, b)
	case MySQL:
		return m.mysql(s, side, b)
	case PostgreSQL:
		return m.postgresql(s, side, b)
	case Redis:
		return m.redis(s, side, b)
	case SOCKS:
		return m.socks(s, side, b)
	case RDP:
		return m.rdp(s, side, b)
	case RFB:
		return m.rfb(s, side, b)
	case MQTT:
		return m.mqtt(s, side, b)
	case LDAPTCP:
		return m.ldapTCP(s, side, b)
	case WebSocket:
		return m.webSocket(s, side, b)
	case Finger:
		return m.finger(s, side, b)
	}
	m.stop(s)
	return len(b)
}

// guess takes a unit whose rest was cut off on the strongest sign that its
// beginning gives.
func (m *Monitor) guess(s *state, side int, prefix []byte) {
	switch s.active {
	case HTTP:
		m.guessHTTP(s, side, prefix)
	case SSH:
		m.guessSSH(s)
	case SMTP, FTP:
		m.guessCommand(s, side, prefix)
	case KRBTCP, DCERPC, Modbus, DNS, LDAPTCP, MySQL, RDP, XMPP:
		m.guessUnit(s, side, prefix)
	}
}

// missing tells an analyzer that bytes of a side are missing. Lines go on with what
// follows (Zeek src/analyzer/protocol/tcp/ContentLine.cc), or begin again behind the
// next end of a line where it skips partial ones; units of given lengths are lost.
func (m *Monitor) missing(s *state, side int) {
	switch s.active {
	case FTP, IRC, POP3:
	case SMTP, IMAP:
		m.freeHeld(s, side)
		s.side[side].flags |= sideResync
	case SMB:
		m.freeHeld(s, side)
		s.side[orig].flags |= sideResync
		s.side[resp].flags |= sideResync
	default:
		m.stop(s)
	}
}

// sideResync: skip to where the next unit can be told.
const sideResync = 1 << 7

// guessUnit takes a unit of binary protocols whose rest was cut off.
func (m *Monitor) guessUnit(s *state, side int, b []byte) {
	sure := false
	switch s.active {
	case KRBTCP:
		sure = len(b) > 4 && isKRBMessage(b[4:]) && !m.at.Partial
	case DCERPC:
		sure = isDCERPC(b)
	case Modbus:
		sure = len(b) >= 8 && be16(b[2:]) == 0 && be16(b[4:]) >= 2 && be16(b[4:]) <= 254
	case DNS:
		sure = len(b) > 2 && IsDNS(b[2:], be16(b))
	case LDAPTCP:
		sure = len(b) > 2 && isLDAP(b)
	case MySQL:
		sure = side == orig && s.word != 0
	case RDP:
		sure = side == orig && isMCSConnect(b)
	case XMPP:
		sure = side == orig && bytes.Contains(b, []byte("<stream:"))
	}
	if sure {
		m.confirm(s)
	}
}
