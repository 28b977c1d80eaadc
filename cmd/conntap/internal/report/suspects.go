// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"net/netip"
	"slices"
)

const (
	// mostAttempters is how many originators are followed at most, mostTargets how many
	// of their targets in all.
	mostAttempters = 1 << 14
	mostTargets    = 1 << 19
	// scanLeast is how many hosts or ports must have given no answer.
	scanLeast = 10
)

// unanswered tells states of attempts that nobody took up.
func unanswered(state string) bool {
	switch state {
	case "S0", "REJ", "RSTOS0", "SH":
		return true
	}
	return false
}

// suspects finds originators whose attempts at many hosts or ports were not taken up.
type suspects struct {
	of      map[netip.Addr]*attempts
	targets int  // in all
	forgot  bool // some originators
}

// attempts are those of one originator.
type attempts struct {
	all, refused uint64
	hosts        distinct[netip.Addr]
	ports        distinct[uint16]
	first, last  int64 // start of the first and the last one, µs; noTime for none
}

// add takes note of a connection.
func (s *suspects) add(c *conn) {
	if !unanswered(c.state) || !c.orig.addr.IsValid() {
		return
	}
	a := s.of[c.orig.addr]
	if a == nil {
		if s.of == nil {
			s.of = map[netip.Addr]*attempts{}
		}
		if len(s.of) >= mostAttempters {
			s.forget()
		}
		a = &attempts{first: noTime, last: noTime}
		s.of[c.orig.addr] = a
	}
	a.all++
	if c.state == "REJ" {
		a.refused++
	}
	if c.start != noTime {
		a.last = max(a.last, c.start)
		if a.first == noTime || c.start < a.first {
			a.first = c.start
		}
	}
	room := s.targets < mostTargets
	if c.resp.addr.IsValid() && a.hosts.add(c.resp.addr, room) {
		s.targets++
	}
	if c.resp.ported && (c.proto == "tcp" || c.proto == "udp") && a.ports.add(c.resp.port, room) {
		s.targets++
	}
}

// forget keeps the half with the most targets.
func (s *suspects) forget() {
	ranked := s.ranked()
	for _, addr := range ranked[len(ranked)/2:] {
		s.targets -= len(s.of[addr].hosts.seen) + len(s.of[addr].ports.seen)
		delete(s.of, addr)
	}
	s.forgot = true
}

// ranked are the originators, those with the most targets first.
func (s *suspects) ranked() []netip.Addr {
	ranked := make([]netip.Addr, 0, len(s.of))
	for addr := range s.of {
		ranked = append(ranked, addr)
	}
	slices.SortFunc(ranked, func(x, y netip.Addr) int {
		a, b := s.of[x], s.of[y]
		return cmp.Or(cmp.Compare(b.targets(), a.targets()), cmp.Compare(b.all, a.all), x.Compare(y))
	})
	return ranked
}

func (a *attempts) targets() int { return max(len(a.hosts.seen), len(a.ports.seen)) }

// list is the n most suspicious.
func (s *suspects) list(n int) []Suspect {
	list := []Suspect{}
	for _, addr := range s.ranked() {
		a := s.of[addr]
		if len(list) == n || a.targets() < scanLeast {
			break
		}
		list = append(list, Suspect{
			Originator: addr.String(), Attempts: a.all, Refused: a.refused,
			Hosts: len(a.hosts.seen), MoreHosts: a.hosts.more, Ports: len(a.ports.seen), MorePorts: a.ports.more,
			First: seconds(a.first), Last: seconds(a.last),
		})
	}
	return list
}

// distinct counts different values, as long as there is room.
type distinct[K comparable] struct {
	seen map[K]struct{}
	more bool // than are in seen, perhaps
}

// add tells whether v took room.
func (d *distinct[K]) add(v K, room bool) bool {
	if _, known := d.seen[v]; known {
		return false
	}
	if !room {
		d.more = true
		return false
	}
	if d.seen == nil {
		d.seen = map[K]struct{}{}
	}
	d.seen[v] = struct{}{}
	return true
}
