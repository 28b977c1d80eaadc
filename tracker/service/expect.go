// SPDX-License-Identifier: Apache-2.0

package service

import (
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
	name  Name
}

// expect announces a connection to the endpoint. When there are too many the
// expired ones go; if none has expired the announcement is dropped.
func (m *Monitor) expect(e endpoint, n Name) {
	m.Expect(e.addr, e.port, n, m.at.Time)
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
	m.expected[endpoint{addr, port}] = expectation{now + expectFor, n}
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

// Came takes back an announcement when its connection has ended.
func (m *Monitor) Came(r Ref, addr *Addr, port uint16) {
	if l := m.names(r); l.has(FTPData) || l.has(IRCDCCData) {
		delete(m.expected, endpoint{*addr, port})
	}
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
