// SPDX-License-Identifier: Apache-2.0

// Package service names the application protocols of connections, as Zeek's
// column service does: from the first payload bytes of each side, with Zeek's
// names, confirmed where Zeek confirms, in the order of confirmation.
//
// A [Monitor] keeps what the connections need, in slabs without pointers. A
// connection holds nothing but a [Ref], 32 bits: as soon as its protocol is
// settled, one test of it says that its payload no longer matters.
//
// TCP payload may come out of order, twice or with holes, and cut to a prefix.
// What a cut prefix can't prove is taken on the strongest sign that it has.
package service

import "conntap/tracker/internal/slab"

// Name is one of Zeek's names of application protocols. The zero Name is none.
type Name uint8

// The names, as they stand in the log.
const (
	_ Name = iota
	Ayiya
	DCERPC
	DHCP
	DNP3TCP
	DNP3UDP
	DNS
	DTLS
	Finger
	FTP
	FTPData
	Geneve
	GridFTP
	GSSAPI
	GTPv1
	HTTP
	IMAP
	IRC
	IRCDCCData
	KRB
	KRBTCP
	LDAPTCP
	LDAPUDP
	Modbus
	MQTT
	MySQL
	NTLM
	NTP
	POP3
	PostgreSQL
	QUIC
	RADIUS
	RDP
	RDPEUDP
	Redis
	RFB
	SIP
	SMB
	SMTP
	SNMP
	SOCKS
	SSH
	SSL
	Syslog
	Teredo
	VXLAN
	WebSocket
	XMPP

	nameCount = int(XMPP) + 1
)

var names = [nameCount]string{
	Ayiya: "ayiya", DCERPC: "dce_rpc", DHCP: "dhcp", DNP3TCP: "dnp3_tcp", DNP3UDP: "dnp3_udp", DNS: "dns",
	DTLS: "dtls", Finger: "finger", FTP: "ftp", FTPData: "ftp-data", Geneve: "geneve", GridFTP: "gridftp", GSSAPI: "gssapi",
	GTPv1: "gtpv1", HTTP: "http", IMAP: "imap", IRC: "irc", IRCDCCData: "irc-dcc-data", KRB: "krb",
	KRBTCP: "krb_tcp", LDAPTCP: "ldap_tcp", LDAPUDP: "ldap_udp", Modbus: "modbus", MQTT: "mqtt", MySQL: "mysql",
	NTLM: "ntlm", NTP: "ntp", POP3: "pop3", PostgreSQL: "postgresql", QUIC: "quic", RADIUS: "radius", RDP: "rdp",
	RDPEUDP: "rdpeudp", Redis: "redis", RFB: "rfb", SIP: "sip", SMB: "smb", SMTP: "smtp", SNMP: "snmp",
	SOCKS: "socks", SSH: "ssh", SSL: "ssl", Syslog: "syslog", Teredo: "teredo", VXLAN: "vxlan",
	WebSocket: "websocket", XMPP: "xmpp",
}

// String is the name in the log.
func (n Name) String() string {
	if int(n) < len(names) {
		return names[n]
	}
	return "?"
}

// Ref is what a connection remembers of its protocols: up to three names, or
// where the monitor keeps more. The zero Ref is that of a new connection.
type Ref uint32

const (
	refDecided    = Ref(1) << 31 // the payload no longer matters
	refStored     = Ref(1) << 30 // the low bits are an index into Monitor.states
	refReoriented = Ref(1) << 29 // the roles have flipped: ports say nothing
	refSeen       = Ref(1) << 28 // UDP: a first message was seen that only its answer confirms
	refValue      = refSeen - 1

	nameBits    = 8
	inlineNames = 3
)

// Decided tells that the connection's payload need not be looked at any more.
func (r Ref) Decided() bool { return r&refDecided != 0 }

// Effect is what a payload does to the connection beside naming it: a set.
type Effect uint8

const (
	// Interactive: a protocol of people is confirmed, an hour of silence is
	// allowed (Zeek scripts/base/protocols/conn/inactivity.zeek).
	Interactive Effect = 1 << iota
	// UnknownPacket: the history gets its X (Zeek HIST_UNKNOWN_PKT).
	UnknownPacket
)

// Monitor keeps what the connections of one tracker need beyond their Refs. It is
// for one goroutine. The zero value is not ready; use [New].
type Monitor struct {
	states slab.Slab[state]
	chunks slab.Slab[chunk]
	// chunksLimit is how many of them there may be.
	chunksLimit int

	expected map[endpoint]expectation
	expires  int64 // when expired ones are looked for next, ns

	order     func() uint64  // nil unless there are other monitors
	announced []Announcement // since Announced was called

	joined map[uint64]string // services of more than one name
	effect Effect            // of the payload at hand
	at     Segment           // the payload at hand
}

// New returns an empty monitor.
func New() *Monitor {
	return &Monitor{chunksLimit: chunksLimit, joined: map[uint64]string{}, expected: map[endpoint]expectation{}}
}

// Add puts a name at the end of the connection's names, unless it is there.
func (m *Monitor) Add(r *Ref, n Name) {
	if *r&refStored != 0 {
		m.states.At(uint32(*r & refValue)).names.add(n)
		return
	}
	l := r.inline()
	if l.has(n) {
		return
	}
	l.add(n)
	m.setNames(r, l)
}

// Remove takes a name away.
func (m *Monitor) Remove(r *Ref, n Name) {
	if *r&refStored != 0 {
		m.states.At(uint32(*r & refValue)).names.remove(n)
		return
	}
	l := r.inline()
	l.remove(n)
	m.setNames(r, l)
}

// setNames keeps the names in the Ref if they fit in, else in a state.
func (m *Monitor) setNames(r *Ref, l list) {
	flags := *r &^ refValue &^ refStored
	if l.length() <= inlineNames {
		*r = flags | Ref(l)
		return
	}
	i, s := m.states.Take()
	*s = state{names: l}
	*r = flags | refStored | Ref(i)
}

// Service is the connection's names as they stand in the log, empty if there are
// none.
func (m *Monitor) Service(r Ref) string {
	l := m.names(r)
	switch l.length() {
	case 0:
		return ""
	case 1:
		return names[l.at(0)]
	}
	joined, ok := m.joined[uint64(l)]
	if !ok {
		joined = l.String()
		if len(m.joined) < joinedLimit {
			m.joined[uint64(l)] = joined
		}
	}
	return joined
}

// joinedLimit bounds the services that are kept spelled out: what a peer sends
// decides which there are.
const joinedLimit = 1024

func (m *Monitor) names(r Ref) list {
	if r&refStored != 0 {
		return m.states.At(uint32(r & refValue)).names
	}
	return r.inline()
}

// Close frees what the connection holds.
func (m *Monitor) Close(r Ref) {
	if r&refStored != 0 {
		i := uint32(r & refValue)
		m.release(m.states.At(i))
		m.states.Put(i)
	}
}

// Flip exchanges the sides of a connection whose roles turned out the other way
// round. Analyzers are not chosen by ports anew (Zeek src/Conn.cc, FlipRoles).
func (m *Monitor) Flip(r *Ref) {
	if *r&refStored != 0 {
		m.states.At(uint32(*r & refValue)).flip()
	}
	*r |= refReoriented
}

// Held is how many connections and pieces of their streams the monitor holds.
func (m *Monitor) Held() int { return m.states.Used() + m.chunks.Used() }

// inline are the names in the Ref itself.
func (r Ref) inline() list { return list(r & (1<<(nameBits*inlineNames) - 1)) }

// list is up to eight names, the first in the lowest byte.
type list uint64

func (l list) at(i int) Name { return Name(l >> (nameBits * i)) }

func (l list) length() int {
	n := 0
	for ; l != 0; l >>= nameBits {
		n++
	}
	return n
}

func (l list) has(n Name) bool {
	for ; l != 0; l >>= nameBits {
		if Name(l) == n {
			return true
		}
	}
	return false
}

func (l *list) add(n Name) {
	if i := l.length(); i < 8 && !l.has(n) {
		*l |= list(n) << (nameBits * i)
	}
}

func (l *list) remove(n Name) {
	var kept list
	for rest := *l; rest != 0; rest >>= nameBits {
		if Name(rest) != n {
			kept.add(Name(rest))
		}
	}
	*l = kept
}

// String joins the names as the log does.
func (l list) String() string {
	s := names[l.at(0)]
	for i := 1; i < l.length(); i++ {
		s += "," + names[l.at(i)]
	}
	return s
}
