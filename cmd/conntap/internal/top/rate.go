// SPDX-License-Identifier: Apache-2.0

package top

import (
	"time"

	"conntap/tracker"
)

// marksMax is how many connections are remembered from one walk to the next. Of
// those beyond, the rate is not known.
const marksMax = 1 << 18

// mark is how far a connection was at a walk.
type mark struct {
	ipBytes uint64
	at      int64 // ns of the steady clock
}

// rates measures how fast connections are, from one walk over them to the next.
type rates struct {
	before, now map[tracker.UID]mark
	begun, last int64 // when the marks of now and of before began; 0: there are none
}

// begin begins a walk. One that comes soon after another measures from where that
// did, as moments say nothing.
func (r *rates) begin(now int64) {
	if r.now != nil && now-r.begun < int64(interval/2) {
		return
	}
	r.before, r.now = r.now, make(map[tracker.UID]mark, len(r.now))
	r.begun, r.last = now, r.begun
}

// of is the rate of a connection, bit/s; known says whether there is one.
func (r *rates) of(c *tracker.Conn, now int64) (bits float64, known bool) {
	if len(r.now) < marksMax {
		r.now[c.UID] = mark{ipBytes(c), now}
	}
	if m, ok := r.before[c.UID]; ok {
		return bitRate(ipBytes(c)-m.ipBytes, now-m.at), true
	}
	if r.last != 0 && c.Start > r.last { // it is new
		return bitRate(ipBytes(c), now-c.Start), true
	}
	return 0, false
}

// bitRate is the rate of so many bytes in so many ns, but in half a second at least:
// the first packets of a connection say nothing about a second.
func bitRate(bytes uint64, ns int64) float64 {
	return float64(bytes) * 8 / (float64(max(ns, int64(time.Second/2))) / 1e9)
}
