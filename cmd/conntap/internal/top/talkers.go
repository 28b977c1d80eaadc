// SPDX-License-Identifier: Apache-2.0

package top

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"conntap/bpf"
	"conntap/tracker"
)

// Talker is a host or a pair of hosts with what it sent and received.
type Talker struct {
	// A is the host; of a pair, A sends to B. Alone says that there is no B.
	A, B  bpf.Addr
	Alone bool
	Sum
}

// Sum is what connections have in common, those that are open and those that were
// logged. Bytes are those of IP packets.
type Sum struct {
	Open, Logged            uint64 // connections
	Sent, Received, Packets uint64
	BitRate                 float64 // of the open ones, now
}

func (s *Sum) add(o *Sum) {
	s.Open += o.Open
	s.Logged += o.Logged
	s.Sent += o.Sent
	s.Received += o.Received
	s.Packets += o.Packets
	s.BitRate += o.BitRate
}

// turned is the sum as the other side sees it.
func (s *Sum) turned() *Sum {
	t := *s
	t.Sent, t.Received = s.Received, s.Sent
	return &t
}

func (t *Talker) weight(o Order) float64 {
	switch o {
	case ByRate:
		return t.BitRate
	case ByPackets:
		return float64(t.Packets)
	case ByConnections:
		return float64(t.Open)
	}
	return float64(t.Sent + t.Received)
}

func sortTalkers(talkers []Talker, o Order) {
	slices.SortFunc(talkers, func(a, b Talker) int {
		return cmp.Or(cmp.Compare(b.weight(o), a.weight(o)), bytes.Compare(a.A[:], b.A[:]), bytes.Compare(a.B[:], b.B[:]))
	})
}

// pair is one or two addresses.
type pair struct{ a, b bpf.Addr }

// sumsMax bounds the table of hosts, and that of pairs: with twice as many, those
// with the fewest bytes are forgotten.
const sumsMax = 1 << 14

// sums are what hosts sent and received.
type sums map[pair]Sum

func (s sums) add(key pair, sum *Sum) {
	total := s[key]
	total.add(sum)
	s[key] = total
	if len(s) > 2*sumsMax {
		s.forget()
	}
}

// forget leaves those with most bytes.
func (s sums) forget() {
	weights := make([]uint64, 0, len(s))
	for _, sum := range s {
		weights = append(weights, sum.Sent+sum.Received)
	}
	slices.Sort(weights)
	bar := weights[len(weights)-sumsMax]
	maps.DeleteFunc(s, func(_ pair, sum Sum) bool { return sum.Sent+sum.Received < bar })
	for key := range s { // many may be as large as the bar
		if len(s) <= sumsMax {
			break
		}
		delete(s, key)
	}
}

// talkers are the sums by host and by pair of hosts.
type talkers struct{ hosts, pairs sums }

func newTalkers() talkers { return talkers{sums{}, sums{}} }

// add books a connection.
func (t *talkers) add(c *tracker.Conn, sum Sum) {
	sum.Sent, sum.Received, sum.Packets = c.Orig.IPBytes, c.Resp.IPBytes, packets(c)
	orig, resp := c.Orig.Addr, c.Resp.Addr
	t.hosts.add(pair{a: orig}, &sum)
	if orig != resp {
		t.hosts.add(pair{a: resp}, sum.turned())
	}
	if bytes.Compare(orig[:], resp[:]) <= 0 {
		t.pairs.add(pair{orig, resp}, &sum)
	} else {
		t.pairs.add(pair{resp, orig}, sum.turned())
	}
}

// merged are the talkers of two tables, the first ones in an order.
func merged(a, b sums, alone bool, o Order, limit int) []Talker {
	var all []Talker
	take := func(key pair, sum Sum) {
		all = append(all, Talker{A: key.a, B: key.b, Alone: alone, Sum: sum})
	}
	for key, sum := range a {
		if other, ok := b[key]; ok {
			sum.add(&other)
		}
		take(key, sum)
	}
	for key, sum := range b {
		if _, ok := a[key]; !ok {
			take(key, sum)
		}
	}
	sortTalkers(all, o)
	return all[:min(len(all), limit)]
}
