// SPDX-License-Identifier: Apache-2.0

package main

import (
	"container/heap"
	"encoding/binary"
	"math"
	"math/rand/v2"
)

const (
	floodSpan   = 60_000_000 // µs that all of it takes
	floodAnswer = 4          // the server answers one SYN in so many
	scanRefused = 2          // the scanned host refuses one port in so many; the others are silent
)

// flood is a SYN flood and a port scan, as far as they were written.
type flood struct {
	w              *writer
	sources, ports int
	sent, scanned  int
}

// writeFlood writes a minute in which sessions of hosts in 10.0.0.0/8 go on as ever,
// while a flood of SYNs comes from as many other sources, each of which sends one, and
// one host tries many ports of another. The flooded server is alive and answers some.
func writeFlood(w *writer, sources, ports, sessions int, seed uint64) {
	t := &traffic{w: w, random: rand.New(rand.NewPCG(seed, 0))}
	for range sessions {
		t.live = append(t.live, t.newSession(start+t.random.Int64N(floodSpan*4/5)))
	}
	heap.Init(t)
	f := &flood{w: w, sources: sources, ports: ports}
	for f.sent < f.sources || f.scanned < f.ports || sessions > 0 && t.live[0].next < start+floodSpan {
		session := int64(math.MaxInt64)
		if sessions > 0 {
			session = t.live[0].next
		}
		if !f.writeBefore(session) {
			t.stepSession()
		}
	}
}

// newSession is a TCP connection that is answered.
func (t *traffic) newSession(at int64) *connection {
	c := t.newConnection(at)
	t.startTCP(c)
	c.emit, c.step = emitTCP, 0
	return c
}

// stepSession writes the next packet of a session: the handshake is quick, then it may
// be silent for seconds.
func (t *traffic) stepSession() {
	c := t.live[0]
	c.emit(t, c)
	switch {
	case c.emit == nil:
		c.next = math.MaxInt64
	case c.step < 3:
		c.next += 1000 + t.random.Int64N(9000)
	default:
		c.next += 1 + int64(t.random.ExpFloat64()*2*meanGap)
	}
	heap.Fix(t, 0)
}

// writeBefore writes the next SYN and its answer if that is before a time, and tells
// whether it was.
func (f *flood) writeBefore(limit int64) bool {
	flooded, scanned := due(f.sent, f.sources), due(f.scanned, f.ports)
	if min(flooded, scanned) >= min(limit, start+floodSpan) {
		return false
	}
	if flooded <= scanned {
		f.writeSYN(flooded)
	} else {
		f.writeProbe(scanned)
	}
	return true
}

// due is when the n-th of so many is sent; never after the last.
func due(n, of int) int64 {
	if n >= of {
		return math.MaxInt64
	}
	return start + int64(float64(n)/float64(of)*floodSpan)
}

// writeSYN writes a SYN from a source that sent none before: 11.0.0.0/8 has 16 million.
func (f *flood) writeSYN(at int64) {
	from, to := endpoint{port: uint16(1024 + f.sent%60_000)}, endpoint{[4]byte{192, 168, 200, 1}, 443}
	binary.BigEndian.PutUint32(from.address[:], 11<<24|uint32(f.sent)*2654435761&0xffffff)
	seq := uint32(f.sent) * 2246822519
	f.w.tcp(at, from, to, syn, seq, 0, nil)
	if f.sent%floodAnswer == 0 {
		f.w.tcp(at, to, from, syn|ack, ^seq, seq+1, nil)
	}
	f.sent++
}

// writeProbe writes a SYN to the next port.
func (f *flood) writeProbe(at int64) {
	from, to := endpoint{[4]byte{172, 16, 0, 1}, 54_321}, endpoint{[4]byte{192, 168, 201, 1}, uint16(f.scanned)}
	f.w.tcp(at, from, to, syn, 1000, 0, nil)
	if f.scanned%scanRefused == 0 {
		f.w.tcp(at, to, from, rst|ack, 0, 1001, nil)
	}
	f.scanned++
}
