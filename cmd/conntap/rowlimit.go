// SPDX-License-Identifier: Apache-2.0

package main

import (
	"sync/atomic"
	"time"

	"conntap/tracker"
)

// rowLimit holds back rows of one-sided connections, of which floods and scans make
// more than any disk takes. Seconds are those of the packets' clock, so that the same
// input gives the same rows. It is for one goroutine, but for the counts.
type rowLimit struct {
	most   uint64 // in a second; 0: any number
	second int64
	taken  uint64 // in this second

	rows, packets atomic.Uint64 // held back
}

// holds tells whether a connection is to have no row, and counts it then.
func (l *rowLimit) holds(c *tracker.Conn) bool {
	if l.most == 0 || !c.OneSided() {
		return false
	}
	if second := c.Now / int64(time.Second); second != l.second {
		l.second, l.taken = second, 0
	}
	if l.taken < l.most {
		l.taken++
		return false
	}
	l.rows.Add(1)
	l.packets.Add(c.Orig.Packets + c.Resp.Packets)
	return true
}
