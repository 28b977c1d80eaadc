// SPDX-License-Identifier: Apache-2.0

package main

import (
	"container/heap"
	"encoding/binary"
	"math"
	"math/rand/v2"
)

const (
	liveConnections = 20_000  // at a time
	meanGap         = 200_000 // µs between the packets of a connection
	maxData         = 1460    // bytes of payload
)

// segment is a step at the end of a TCP connection.
type segment struct {
	fromServer bool
	flags      byte
}

// closes are the ways in which TCP connections end, one in ten each.
var closes = [10][]segment{
	{{false, fin | ack}, {true, fin | ack}, {false, ack}},
	{{false, fin | ack}, {true, fin | ack}, {false, ack}},
	{{false, fin | ack}, {true, fin | ack}, {false, ack}},
	{{false, fin | ack}, {true, ack}, {true, fin | ack}, {false, ack}},
	{{true, fin | ack}, {false, fin | ack}, {true, ack}},
	{{true, fin | ack}, {false, ack}, {false, fin | ack}, {true, ack}},
	{{false, rst | ack}},
	{{true, rst | ack}},
	{{false, fin | ack}, {true, ack}}, // half closed
	{},                                // left open
}

// traffic is a mix of connections, a heap by the time of their next packets.
type traffic struct {
	w       *writer
	random  *rand.Rand
	live    []*connection
	payload [maxData]byte
	started uint32
}

// connection is one of the mix. Its steps are TCP's segments or the packets of
// the others.
type connection struct {
	next           int64 // µs since 1970, of its next packet
	emit           func(t *traffic, c *connection)
	client, server endpoint
	sent, answered uint32 // TCP: the next sequence numbers of client and server
	step, data     int    // done so far; packets of data in all
	close          []segment
}

// writeMix writes packets as if many hosts talked at once: 70 % of the connections
// are TCP (8 % of them unanswered, 6 % refused, the rest closed in every way),
// 27 % UDP, 3 % ICMP; their lengths are heavy-tailed.
func writeMix(w *writer, packets int, seed uint64) {
	t := &traffic{w: w, random: rand.New(rand.NewPCG(seed, 0))}
	for i := range t.payload {
		t.payload[i] = byte(t.random.Uint32())
	}
	for range liveConnections {
		t.live = append(t.live, t.newConnection(start+t.random.Int64N(2*meanGap)))
	}
	heap.Init(t)
	for range packets {
		c := t.live[0]
		c.emit(t, c)
		if c.emit == nil {
			t.live[0] = t.newConnection(c.next)
		}
		t.live[0].next += 1 + int64(t.random.ExpFloat64()*meanGap)
		heap.Fix(t, 0)
	}
}

func (t *traffic) newConnection(at int64) *connection {
	t.started++
	c := &connection{next: at, data: t.heavyTailed()}
	binary.BigEndian.PutUint32(c.client.address[:], 0x0a000001+t.random.Uint32N(50_000))
	binary.BigEndian.PutUint32(c.server.address[:], 0xc0a80001+t.random.Uint32N(2_000))
	c.client.port = uint16(1024 + t.started%64_000)
	switch kind := t.random.Float64(); {
	case kind < 0.70:
		t.startTCP(c)
	case kind < 0.97:
		c.server.port = []uint16{53, 53, 53, 123, 443, 5060, 27015}[t.random.IntN(7)]
		c.emit = emitUDP
	default:
		c.emit = emitICMP
	}
	return c
}

func (t *traffic) startTCP(c *connection) {
	c.server.port = []uint16{80, 443, 443, 443, 22, 25, 993, 8080, 9000}[t.random.IntN(9)]
	c.sent, c.answered = t.random.Uint32(), t.random.Uint32()
	c.close = closes[t.random.IntN(len(closes))]
	switch kind := t.random.Float64(); {
	case kind < 0.08:
		c.emit = emitUnanswered
	case kind < 0.14:
		c.emit = emitRefused
	default:
		c.emit = emitTCP
	}
}

// heavyTailed is a number of packets after Pareto's law.
func (t *traffic) heavyTailed() int {
	const shape, least, most = 1.15, 3.05, 3000
	return int(min(least*math.Pow(1-t.random.Float64(), -1/shape), most))
}

func emitUnanswered(t *traffic, c *connection) {
	t.w.tcp(c.next, c.client, c.server, syn, c.sent, 0, nil)
	if c.step++; c.step == 3 {
		c.emit = nil
	}
}

func emitRefused(t *traffic, c *connection) {
	if c.step++; c.step == 1 {
		t.w.tcp(c.next, c.client, c.server, syn, c.sent, 0, nil)
		return
	}
	t.w.tcp(c.next, c.server, c.client, rst|ack, 0, c.sent+1, nil)
	c.emit = nil
}

func emitTCP(t *traffic, c *connection) {
	step := c.step
	c.step++
	switch end := 3 + c.data; {
	case step == 0:
		t.segment(c, false, syn, 0)
	case step == 1:
		t.segment(c, true, syn|ack, 0)
	case step == 2:
		t.segment(c, false, ack, 0)
	case step < end:
		t.segment(c, t.random.Float64() < 0.6, psh|ack, t.dataLength())
	case step < end+len(c.close):
		s := c.close[step-end]
		t.segment(c, s.fromServer, s.flags, 0)
	}
	if c.step >= 3+c.data+len(c.close) {
		c.emit = nil
	}
}

// segment writes a segment and moves its sender's sequence number on.
func (t *traffic) segment(c *connection, fromServer bool, flags byte, length int) {
	from, to, seq, acked := c.client, c.server, &c.sent, c.answered
	if fromServer {
		from, to, seq, acked = c.server, c.client, &c.answered, c.sent
	}
	if flags&ack == 0 {
		acked = 0
	}
	t.w.tcp(c.next, from, to, flags, *seq, acked, t.payload[:length])
	*seq += uint32(length)
	if flags&(syn|fin) != 0 {
		*seq++
	}
}

// dataLength is the payload of a segment: mostly none (acknowledgments) or
// little, at times a full one.
func (t *traffic) dataLength() int {
	switch kind := t.random.Float64(); {
	case kind < 0.45:
		return 0
	case kind < 0.915:
		return 1 + t.random.IntN(250)
	}
	return maxData
}

func emitUDP(t *traffic, c *connection) {
	from, to := c.client, c.server
	if c.step%2 == 1 {
		from, to = to, from
	}
	t.w.udp(c.next, from, to, t.payload[:20+t.random.IntN(200)])
	if c.step++; c.step >= c.data {
		c.emit = nil
	}
}

func emitICMP(t *traffic, c *connection) {
	from, to, kind := c.client, c.server, byte(8)
	if c.step%2 == 1 {
		from, to, kind = to, from, 0
	}
	t.w.icmp(c.next, from, to, kind, c.client.port, uint16(c.step/2), t.payload[:56])
	if c.step++; c.step >= c.data {
		c.emit = nil
	}
}

// Len, Less, Swap, Push and Pop implement heap.Interface; the number of
// connections never changes.
func (t *traffic) Len() int           { return len(t.live) }
func (t *traffic) Less(i, j int) bool { return t.live[i].next < t.live[j].next }
func (t *traffic) Swap(i, j int)      { t.live[i], t.live[j] = t.live[j], t.live[i] }
func (t *traffic) Push(any)           {}
func (t *traffic) Pop() any           { return nil }
