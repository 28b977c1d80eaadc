// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"conntap/bpf"
)

// evictionWorld is a tracker with a limit, and what a simple list knows of its
// connections, by the originator's number.
type evictionWorld struct {
	t       *testing.T
	tracker *Tracker
	limit   int
	open    []evictionConn // in order of opening
	logged  uint64
	ordinal uint64
	rows    int
	evicted [CauseCount]int
}

type evictionConn struct {
	number   uint32
	last     int64
	packets  [2]int
	protocol uint8
	wentOn   bool // after the answer
	answered bool
}

func newEvictionWorld(t *testing.T, limit int) *evictionWorld {
	w := &evictionWorld{t: t, limit: limit}
	w.tracker = New(Config{MaxConnections: limit}, w.emit)
	return w
}

// packet sends a packet of the connection with a number.
func (w *evictionWorld) packet(protocol uint8, number uint32, reply bool, at int64) {
	w.ordinal++
	p := bpf.Packet{Kind: bpf.KindPacket, Protocol: protocol, State: bpf.StateComplete, Time: at, Ordinal: w.ordinal}
	p.Src, p.Dst = bpf.Addr{10: 0xff, 11: 0xff}, bpf.Addr{10: 0xff, 11: 0xff, 12: 11}
	binary.BigEndian.PutUint32(p.Src[12:], 10<<24+number)
	p.SrcPort, p.DstPort = 40000, 22
	p.HeaderLength, p.IPLength, p.Window = 28, 40, 20
	if protocol == bpf.ProtocolTCP {
		p.HeaderLength, p.Flags, p.Seq = 40, bpf.SYN, 1000
		if slices.ContainsFunc(w.open, func(c evictionConn) bool { return c.number == number && c.packets[resp] > 0 }) {
			p.Flags, p.Seq, p.Ack = bpf.ACK, 1001, 5001
		}
	}
	if reply {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		p.Flags, p.Seq, p.Ack = bpf.SYN|bpf.ACK, 5000, 1001
	}
	w.send(p, number, reply)
}

func (w *evictionWorld) send(p bpf.Packet, number uint32, reply bool) {
	w.tracker.Track([]bpf.Packet{p})
	at := slices.IndexFunc(w.open, func(c evictionConn) bool { return c.number == number })
	if at < 0 {
		w.open = append(w.open, evictionConn{number: number, protocol: p.Protocol})
		at = len(w.open) - 1
	}
	c := &w.open[at]
	c.last = p.Time
	if reply {
		c.packets[resp]++
	} else {
		c.packets[orig]++
		c.wentOn = c.wentOn || c.packets[resp] > 0
	}
	c.answered = c.packets[orig] > 0 && c.packets[resp] > 0 && (c.wentOn || c.protocol != bpf.ProtocolTCP)
	if open := w.tracker.Stats().Open; open > uint64(w.limit) || open != uint64(len(w.open)) {
		w.t.Fatalf("want %d connections, %d at most, got %d", len(w.open), w.limit, open)
	}
}

// emit checks that an evicted connection is the one that had to go.
func (w *evictionWorld) emit(c *Conn) {
	w.rows++
	w.logged += c.Orig.Packets + c.Resp.Packets
	number := binary.BigEndian.Uint32(c.Orig.Addr[12:]) - 10<<24
	at := slices.IndexFunc(w.open, func(c evictionConn) bool { return c.number == number })
	if at < 0 {
		w.t.Fatalf("connection %d came out, and was not open", number)
	}
	gone := w.open[at]
	cause := w.cause()
	w.evicted[cause]++
	switch cause {
	case CauseUnanswered:
		oldest := slices.IndexFunc(w.open, func(c evictionConn) bool { return !c.answered })
		if gone.answered || at != oldest {
			w.t.Fatalf("evicted as unanswered: %+v, want %+v", gone, w.open[oldest])
		}
	case CauseIdle:
		idlest := gone
		for _, c := range w.open {
			if !c.answered {
				w.t.Fatalf("evicted as idle: %+v, although %+v is not answered", gone, c)
			}
			if c.last < idlest.last {
				idlest = c
			}
		}
		if gone.last-idlest.last > 1<<idleShift {
			w.t.Fatalf("evicted as idle: %+v, although %+v is idle for %v longer", gone, idlest, time.Duration(gone.last-idlest.last))
		}
	}
	w.open = slices.Delete(w.open, at, at+1)
}

// cause is what ended the connection that is being emitted.
func (w *evictionWorld) cause() Cause {
	s := w.tracker.Stats()
	for cause, n := range s.Closed {
		if int(n) > w.evicted[cause] {
			return Cause(cause)
		}
	}
	w.t.Fatalf("a row without a cause: %+v", s)
	return 0
}

func (w *evictionWorld) close() {
	w.tracker.Close()
	checkAccount(w.t, w.tracker, w.logged)
	if w.rows != int(w.tracker.Stats().Opened) {
		w.t.Errorf("want a row for each of %d connections, got %d", w.tracker.Stats().Opened, w.rows)
	}
	if q := w.tracker.idle; q != nil {
		for i, l := range q.lists {
			if l.head&idleList == 0 || l.tail&idleList == 0 {
				w.t.Fatalf("list %d of the queue is not empty", i)
			}
		}
	}
}

// TestEvictionOrder sends packets of random connections to a full table: the
// oldest that nobody answered goes first, then the longest idle.
func TestEvictionOrder(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 7))
		w := newEvictionWorld(t, 1+random.IntN(40))
		numbers := uint32(w.limit)*2 + 1
		replies := random.IntN(9)
		at := base
		for range 1500 {
			at += random.Int64N(int64(200 * time.Millisecond))
			number := random.Uint32N(numbers)
			protocol := []uint8{bpf.ProtocolUDP, bpf.ProtocolTCP}[number%2]
			reply := random.IntN(9) < replies
			if open := slices.ContainsFunc(w.open, func(c evictionConn) bool { return c.number == number }); !open {
				reply = false
			}
			w.packet(protocol, number, reply, at)
		}
		if w.limit < 20 && w.evicted[CauseUnanswered]+w.evicted[CauseIdle] == 0 {
			t.Errorf("limit %d: nothing was evicted", w.limit)
		}
		w.close()
	}
}

// TestFloodSparesAnswered sends a SYN flood over answered connections, to which nobody
// replies, or a server that is alive.
func TestFloodSparesAnswered(t *testing.T) {
	t.Run("dead server", func(t *testing.T) { floodSparesAnswered(t, false) })
	t.Run("live server", func(t *testing.T) { floodSparesAnswered(t, true) })
}

func floodSparesAnswered(t *testing.T, replies bool) {
	w := newEvictionWorld(t, 120)
	at := base
	for number := range uint32(100) {
		w.packet(bpf.ProtocolTCP, number, false, at)
		w.packet(bpf.ProtocolTCP, number, true, at+1e6)
		w.packet(bpf.ProtocolTCP, number, false, at+2e6)
		at += 3e6
	}
	for number := range uint32(5000) {
		at += 100_000
		w.packet(bpf.ProtocolTCP, 1000+number, false, at)
		if replies {
			w.packet(bpf.ProtocolTCP, 1000+number, true, at+50_000)
		}
	}
	s := w.tracker.Stats()
	if s.Closed[CauseUnanswered] != 4980 || s.Closed[CauseIdle] != 0 || s.Open != 120 {
		t.Errorf("want 4980 evicted that nobody answered, none for being idle, 120 open, got %+v", s)
	}
	for number := range uint32(100) {
		if w.open[number].number != number || !w.open[number].answered {
			t.Fatalf("answered connection %d was thrown out", number)
		}
	}
	w.close()
}

// TestEvictionOfAnswered fills the table with answered connections: each new one
// throws the longest idle out, and counts as such.
func TestEvictionOfAnswered(t *testing.T) {
	w := newEvictionWorld(t, 10)
	at := base
	for number := range uint32(30) {
		at += int64(time.Second)
		w.packet(bpf.ProtocolUDP, number, false, at)
		w.packet(bpf.ProtocolUDP, number, true, at+1)
	}
	if s := w.tracker.Stats(); s.Closed[CauseIdle] != 20 || s.Closed[CauseUnanswered] != 0 {
		t.Errorf("want 20 evicted for being idle, got %+v", s.Closed)
	}
	w.close()
}

// TestEvictionOfOneWay checks that packets of one side are no answer, however
// many, and that bad ones are none either.
func TestEvictionOfOneWay(t *testing.T) {
	w := newEvictionWorld(t, 2)
	for i := range int64(10) {
		w.packet(bpf.ProtocolUDP, 1, false, base+i)
	}
	bad := bpf.Packet{Kind: bpf.KindPacket, Protocol: bpf.ProtocolUDP, State: bpf.StateComplete, Time: base + 20, HeaderLength: 28, IPLength: 40, Window: 20}
	bad.SetChecksum(bpf.ChecksumBad)
	bad.Src, bad.Dst = bpf.Addr{10: 0xff, 11: 0xff, 12: 11}, bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}
	bad.SrcPort, bad.DstPort = 22, 40000
	w.tracker.Track([]bpf.Packet{bad})
	w.packet(bpf.ProtocolUDP, 2, false, base+30)
	w.packet(bpf.ProtocolUDP, 2, true, base+40)
	w.packet(bpf.ProtocolUDP, 3, false, base+50)
	if s := w.tracker.Stats(); s.Closed[CauseUnanswered] != 1 || w.open[0].number != 2 {
		t.Errorf("want connection 1 evicted, as nobody answered it, got %+v and %v", s.Closed, w.open)
	}
	w.close()
}

// TestEvictionAfterTimeWentBack gives connections last times before those of
// others that came earlier.
func TestEvictionAfterTimeWentBack(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 8))
		w := newEvictionWorld(t, 8)
		for i := range int64(800) {
			at := base + i*int64(50*time.Millisecond) - random.Int64N(int64(2*time.Second))
			number := random.Uint32N(16)
			reply := slices.ContainsFunc(w.open, func(c evictionConn) bool { return c.number == number })
			w.packetAnyOrder(number, reply && random.IntN(2) == 0, at)
		}
		w.close()
	}
}

// packetAnyOrder sends a packet whose time may lie before the others': then only
// limit, causes and account are checked, as the order of idle connections is by
// the slot in which they stood.
func (w *evictionWorld) packetAnyOrder(number uint32, reply bool, at int64) {
	for i := range w.open {
		w.open[i].last = base
	}
	w.packet(bpf.ProtocolUDP, number, reply, at)
	for i := range w.open {
		w.open[i].last = base
	}
}

// TestEvictionOfOldConnections fills a table with connections that are older than
// the queue's slots reach back, and were never looked at since.
func TestEvictionOfOldConnections(t *testing.T) {
	const minute = int64(time.Minute)
	w := newEvictionWorld(t, 3)
	for number, opened := range []int64{0, 15, 16} {
		w.packet(bpf.ProtocolTCP, uint32(number), false, base+opened*minute)
		w.packet(bpf.ProtocolTCP, uint32(number), true, base+opened*minute+1)
		w.packet(bpf.ProtocolTCP, uint32(number), false, base+opened*minute+2)
	}
	last := []int64{80, 75, 81} // 1 is idle the longest
	for _, at := range []int64{40, 70} {
		for number := range uint32(3) {
			w.packet(bpf.ProtocolTCP, number, true, base+at*minute)
		}
	}
	for _, number := range []uint32{1, 0, 2} {
		w.packet(bpf.ProtocolTCP, number, true, base+last[number]*minute)
	}
	w.packet(bpf.ProtocolTCP, 9, false, base+100*minute)
	if w.tracker.Stats().Closed[CauseIdle] != 1 {
		t.Errorf("want one evicted for being idle, got %+v", w.tracker.Stats().Closed)
	}
	w.close()
}
