// SPDX-License-Identifier: Apache-2.0

package top

import (
	"cmp"
	"slices"

	"conntap/tracker"
)

// Order is what comes first.
type Order uint8

// The orders.
const (
	ByRate        Order = iota // most bits per second now
	ByBytes                    // most bytes of IP packets, both sides
	ByPackets                  // most packets, both sides
	ByAge                      // the longest
	ByStart                    // the newest
	ByLogged                   // the last one that was logged
	ByConnections              // hosts with most open connections
)

var orderNames = [...]string{"rate", "bytes", "packets", "longest", "newest", "latest", "connections"}

// String is the order's name on the screen.
func (o Order) String() string { return orderNames[o] }

// Row is a connection on the screen.
type Row struct {
	// Conn has copies of its own of what it refers to.
	tracker.Conn
	// BitRate is what both sides send now, bit/s of IP packets; RateKnown tells
	// whether that could be measured yet.
	BitRate   float64
	RateKnown bool
	// Age is how long it has been open, ns, and of a connection that ended how long
	// it lasted.
	Age int64
	// Ended says that the connection was logged, as the Place-th.
	Ended bool
	Place uint64
}

func ipBytes(c *tracker.Conn) uint64 { return c.Orig.IPBytes + c.Resp.IPBytes }
func packets(c *tracker.Conn) uint64 { return c.Orig.Packets + c.Resp.Packets }

// weight is a row's place in an order: the greatest comes first.
func (r *Row) weight(o Order) float64 {
	switch o {
	case ByRate:
		return r.BitRate
	case ByPackets:
		return float64(packets(&r.Conn))
	case ByAge:
		return float64(r.Age)
	case ByStart:
		return float64(r.Start)
	case ByLogged:
		return float64(r.Place)
	}
	return float64(ipBytes(&r.Conn))
}

// sortRows puts rows in order. Equals have a place of their own, so that they don't
// dance.
func sortRows(rows []Row, o Order) {
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.weight(o), a.weight(o)), cmp.Compare(b.Start, a.Start), cmp.Compare(a.UID.Low, b.UID.Low))
	})
}

// ranking keeps the first rows of very many.
type ranking struct {
	order Order
	limit int
	keep  tracker.UID // which has a place whatever its weight
	rows  []Row
	bar   float64 // what a row must exceed once there are enough
}

// add takes a row, which the caller may use again.
func (k *ranking) add(r *Row) {
	if len(k.rows) >= k.limit && r.weight(k.order) <= k.bar && r.UID != k.keep {
		return
	}
	kept := *r
	kept.History, kept.TunnelParents = slices.Clone(r.History), slices.Clone(r.TunnelParents)
	k.rows = append(k.rows, kept)
	if len(k.rows) == 2*k.limit {
		k.cut()
	}
}

// cut leaves the first ones.
func (k *ranking) cut() {
	sortRows(k.rows, k.order)
	if len(k.rows) <= k.limit {
		return
	}
	k.bar = k.rows[k.limit-1].weight(k.order)
	rest := k.rows[k.limit:]
	k.rows = k.rows[:k.limit]
	if i := slices.IndexFunc(rest, func(r Row) bool { return r.UID == k.keep }); i >= 0 {
		k.rows = append(k.rows, rest[i])
	}
}

// ranked returns the first ones in order. The ranking is not to be used any more.
func (k *ranking) ranked() []Row {
	k.cut()
	return k.rows
}
