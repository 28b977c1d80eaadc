// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"net/netip"
	"time"
)

// expectFor is how long an announced connection may take to come (Zeek
// base/protocols/ftp/main.zeek and irc/dcc-send.zeek, schedule_analyzer).
const expectFor = int64(5 * time.Minute)

// expectedLimit is how many announcements are remembered.
const expectedLimit = 1 << 14

// endpoint is where a connection is expected: its responder.
type endpoint struct {
	addr Addr
	port uint16
}

type expectation struct {
	until int64
	order uint64 // when it was announced, if the monitor is shared
	name  Name
}

// expect announces a connection to the endpoint. When there are too many the
// expired ones go; if none has expired the announcement is dropped.
func (m *Monitor) expect(e endpoint, n Name) {
	m.Expect(e.addr, e.port, n, m.at.Time)
	if m.order != nil {
		m.announced = append(m.announced, Announcement{e.addr, e.port, n, m.at.Time})
	}
}

// Announcement is a connection that is to come.
type Announcement struct {
	Addr Addr // of its responder
	Port uint16
	Name Name
	Time int64 // ns, when it was announced
}

// Share makes the monitor one of several, which share the memory for payload. It
// keeps what its connections announce for [Monitor.Announced]. order numbers what
// happens now, to the monitor and to those of other connections.
func (m *Monitor) Share(monitors int, order func() uint64) {
	m.order = order
	m.chunksLimit = max(chunksLimit/monitors, 1)
}

// Announced returns what was announced since the last call, for the monitors of
// other connections, whose Expect takes it.
func (m *Monitor) Announced() []Announcement {
	announced := m.announced
	m.announced = nil
	return announced
}

// Expect announces a connection, now ns, to a responder. The monitor does so
// itself for what it sees; of another monitor's connections it has to be told.
func (m *Monitor) Expect(addr Addr, port uint16, n Name, now int64) {
	if len(m.expected) >= expectedLimit {
		m.forgetExpired(now)
	}
	if len(m.expected) >= expectedLimit {
		return
	}
	if len(m.expected) == 0 {
		m.expires = now + expectFor
	}
	x := expectation{until: now + expectFor, name: n}
	if m.order != nil {
		x.order = m.order()
	}
	m.expected[endpoint{addr, port}] = x
}

// Expects tells whether a connection to a responder has been announced, and neither
// has come nor was withdrawn since.
func (m *Monitor) Expects(addr *Addr, port uint16) bool {
	_, ok := m.expected[endpoint{*addr, port}]
	return ok
}

// Withdraw is for an announced connection that has ended, at a time that order
// numbers, among the connections of another monitor.
func (m *Monitor) Withdraw(addr Addr, port uint16, order uint64) {
	if x, ok := m.expected[endpoint{addr, port}]; ok && x.order < order {
		delete(m.expected, endpoint{addr, port})
	}
}

// forgetExpired looks for expired announcements, now and then.
func (m *Monitor) forgetExpired(now int64) {
	if now <= m.expires {
		return
	}
	m.expires = now + expectFor/8
	for k, x := range m.expected {
		if x.until < now {
			delete(m.expected, k)
		}
	}
}

// Expecting tells whether any connection has been announced.
func (m *Monitor) Expecting() bool { return len(m.expected) > 0 }

// Open returns the Ref of a new TCP connection to a responder: it has a name if it
// was announced. Without an announcement the zero Ref does.
func (m *Monitor) Open(addr *Addr, port uint16, now int64) Ref {
	m.forgetExpired(now)
	x, ok := m.expected[endpoint{*addr, port}]
	if !ok || x.until < now {
		return 0
	}
	return Ref(x.name)
}

// Came takes back an announcement when its connection has ended, and tells whether
// there was one.
func (m *Monitor) Came(r Ref, addr *Addr, port uint16) bool {
	if l := m.names(r); !l.has(FTPData) && !l.has(IRCDCCData) || !m.Expects(addr, port) {
		return false
	}
	delete(m.expected, endpoint{*addr, port})
	return true
}

// parseAddr reads an address as text.
func parseAddr(b []byte) (Addr, bool) {
	if len(b) > 45 {
		return Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	if err != nil {
		return Addr{}, false
	}
	return a.As16(), true
}

// MayAnnounce tells whether whole lines may announce connections, in whatever
// protocol: whether one begins as an FTP command or reply that does, or holds what
// IRC's DCC says.
func MayAnnounce(lines []byte) bool {
	if bytes.Contains(lines, []byte("DCC SEND ")) {
		return true
	}
	for len(lines) > 0 {
		line := skipBlanks(lines)
		for _, start := range [...]string{"PORT", "EPRT", "227", "229"} {
			if hasPrefixFold(line, start) {
				return true
			}
		}
		n := bytes.IndexByte(lines, '\n') + 1
		if n == 0 {
			break
		}
		lines = lines[n:]
	}
	return false
}
