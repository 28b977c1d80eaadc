// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"slices"
	"sync"

	"conntap/bpf"
	"conntap/tracker/service"
)

// mayAnnounce tells whether a packet's payload may announce connections, which all
// shards have to know of. It is cheap and errs towards yes, but for a line that
// another segment completes, and on ports where nobody speaks FTP.
func mayAnnounce(p *bpf.Packet) bool {
	if p.Protocol != bpf.ProtocolTCP || len(p.Payload) == 0 {
		return false
	}
	const ftp = 21
	return p.SrcPort == ftp || p.DstPort == ftp ||
		p.Payload[len(p.Payload)-1] == '\n' && service.MayAnnounce(p.Payload)
}

// serveAnnouncements tells the other shards which connections the packet has
// announced.
func (s *shard) serveAnnouncements(e *exchange) {
	m := s.tracker.services
	if s.index == e.shard {
		e.announced = m.Announced()
		e.served.give(len(e.announced) > 0)
	} else if s.wait(&e.served) {
		s.takeWithdrawn()
		for _, a := range e.announced {
			m.Expect(a.Addr, a.Port, a.Name, a.Time)
		}
	}
}

// withdrawals are the announcements whose connections have come and gone in one
// shard. The others need to know before they ask whether a connection is expected.
type withdrawals struct {
	mutex   sync.Mutex
	list    []withdrawal
	dropped uint64   // that were at the list's beginning
	taken   []uint64 // how many each shard knows of
}

type withdrawal struct {
	order uint64
	addr  bpf.Addr
	port  uint16
}

// order is the place in one number.
func (p rowPlace) order() uint64 { return p.position<<8 | uint64(p.turn) }

func (w *withdrawals) add(one withdrawal) {
	w.mutex.Lock()
	w.list = append(w.list, one)
	w.mutex.Unlock()
}

// take has a shard's monitor take what it does not know of and what comes before an
// order. What all but the owner know of is dropped.
func (w *withdrawals) take(shard, owner int, before uint64, m *service.Monitor) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for w.taken[shard]-w.dropped < uint64(len(w.list)) {
		one := &w.list[w.taken[shard]-w.dropped]
		if one.order >= before {
			break
		}
		m.Withdraw(one.addr, one.port, one.order)
		w.taken[shard]++
	}
	known := w.taken[shard]
	for i, taken := range w.taken {
		if i != owner {
			known = min(known, taken)
		}
	}
	w.list = slices.Delete(w.list, 0, int(known-w.dropped))
	w.dropped = known
}

// pass says how far the shard has come.
func (s *shard) pass() { s.passed.Store(s.place.position) }

// takeWithdrawn takes what others have withdrawn so far.
func (s *shard) takeWithdrawn() {
	for i, other := range s.all.shards {
		if i != s.index {
			other.withdrawn.take(s.index, i, s.place.order(), s.tracker.services)
		}
	}
}

// learnWithdrawn takes all that others have withdrawn before the packet at hand.
func (s *shard) learnWithdrawn() {
	for i, other := range s.all.shards {
		for n := 0; i != s.index && other.passed.Load() < s.place.position; n++ {
			s.idle(n)
		}
	}
	s.takeWithdrawn()
}
