// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"conntap/bpf"
	"conntap/tracker/service"
)

// batchesAhead is how many batches a shard may be behind the others.
const batchesAhead = 4

// shard is one of several trackers that share the packets. It takes its own of each
// batch in their order, and lets time pass in between just as a tracker of all
// packets would.
type shard struct {
	all     *Shards
	index   int
	tracker *Tracker
	batches chan *Batch
	walks   chan *walk
	ending  chan struct{} // closed after the last batch
	rows    rowSender

	batch *Batch
	at    int      // the packet at hand
	next  int      // the first moment of the batch that has not passed
	place rowPlace // of the rows that come out now

	passed    atomic.Uint64 // position up to which timers have fired; of what is before it, all is done
	withdrawn withdrawals

	mutex     sync.Mutex
	published Stats // guarded by mutex
}

func newShard(all *Shards, config Config, index int) *shard {
	s := &shard{
		all: all, index: index, rows: newRowSender(),
		batches: make(chan *Batch, batchesAhead), walks: make(chan *walk), ending: make(chan struct{}),
	}
	s.tracker = New(config, s.emit)
	s.tracker.hashKey = all.hashKey
	if len(all.shards) > 1 {
		s.tracker.shard = s
		s.tracker.services.Share(len(all.shards), func() uint64 { return s.place.order() })
		s.withdrawn.taken = make([]uint64, len(all.shards))
	}
	return s
}

// emit takes a row of the tracker.
func (s *shard) emit(c *Conn) {
	s.rows.add(c, s.place, s.tracker.popped)
}

func (s *shard) run() {
	s.work()
	close(s.ending)
	s.close()
	s.publish()
	s.rows.close()
}

// work takes batches until there are no more, and lets others look at the
// connections in between.
func (s *shard) work() {
	for {
		select {
		case b, more := <-s.batches:
			if !more {
				return
			}
			s.track(b)
			if b.working.Add(-1) == 0 && b.Done != nil {
				b.Done(b)
			}
		case w := <-s.walks:
			s.walk(w)
		}
	}
}

// publish makes the account readable.
func (s *shard) publish() {
	s.mutex.Lock()
	s.published = s.tracker.stats
	s.mutex.Unlock()
}

func (s *shard) track(b *Batch) {
	t := s.tracker
	t.SetClockOffset(b.ClockOffset)
	if len(s.all.shards) == 1 {
		t.Track(b.Packets)
		if b.Now != 0 {
			t.Advance(b.Now)
		}
	} else {
		s.trackOwn(b)
	}
	s.publish()
	s.rows.handOver(rowPlace{position: b.position + uint64(len(b.Packets)) + 1})
}

// trackOwn takes what is the shard's own of a batch.
func (s *shard) trackOwn(b *Batch) {
	t := s.tracker
	s.batch, s.next = b, 0
	if s.index == 0 {
		t.stats.Records += uint64(len(b.Packets))
		t.stats.Notes += b.notes
		t.stats.Packets += b.duplicates
		t.stats.Duplicates += b.duplicates
	}
	for own := b.own[s.index]; len(own) > 0; {
		n := min(len(own), lookAhead)
		watched := t.services.Expecting()
		t.lookUpOwn(b, own[:n])
		for j, item := range own[:n] {
			if item&exchangeBit != 0 {
				e := b.exchanges[item&^exchangeBit]
				s.advance(e.at)
				s.serve(e)
				continue
			}
			s.advance(int(item))
			if watched {
				s.pass()
			}
			t.outermost(&b.Packets[item], t.ahead[j])
		}
		own = own[n:]
		t.giveWay()
	}
	s.advance(len(b.Packets))
	s.pass()
}

// lookUpOwn is lookUpAhead for some of a batch's packets.
func (t *Tracker) lookUpOwn(b *Batch, items []uint32) {
	for j, item := range items {
		if item&exchangeBit == 0 {
			t.ahead[j].hash = b.hashes[item]
		}
	}
	t.touch(t.ahead[:len(items)])
}

// advance lets time pass up to a packet of the batch, or all of it: timers fire at
// the times of all packets in between, whatever shard has these.
func (s *shard) advance(i int) {
	t := s.tracker
	if now := s.batch.times[i]; t.wheel.next <= now {
		s.expire(i)
	}
	t.now = s.batch.times[i]
	s.at, s.next = i, i+1
	s.place = rowPlace{position: s.batch.position + uint64(i), turn: 1}
}

// expire fires the timers that are due up to a moment of the batch.
func (s *shard) expire(i int) {
	t, b := s.tracker, s.batch
	for t.wheel.next <= b.times[i] {
		k := b.firstMoment(s.next, i, t.wheel.next)
		if k > i {
			return
		}
		t.now = b.times[k]
		s.place = rowPlace{position: b.position + uint64(k)}
		t.expire()
		s.next = k + 1
	}
}

// firstMoment is the first of the moments [from, to] at which the time is not
// before due; to+1 if none is.
func (b *Batch) firstMoment(from, to int, due int64) int {
	end := to + 1
	for from < end {
		if middle := (from + end) / 2; b.times[middle] < due {
			from = middle + 1
		} else {
			end = middle
		}
	}
	for from <= to && !b.moves(from) {
		from++
	}
	return from
}

// moves tells whether a packet lets time pass: what is inside of another doesn't.
func (b *Batch) moves(i int) bool {
	if i == len(b.Packets) {
		return b.Now != 0
	}
	return !isInside(b.Packets[i].Kind)
}

// turn is that of the packet at hand within its frame.
func (s *shard) turn() uint64 {
	return min(s.batch.turnOf(s.at)+uint64(s.place.turn)-1, turnMax)
}

// close hands out all open connections.
func (s *shard) close() {
	t := s.tracker
	if t.shard == nil {
		t.Close()
		return
	}
	timed, rest := t.openConnections()
	s.place = rowPlace{position: endOfRows}
	for turn, list := range [][]readyEntry{timed, rest} {
		s.place.turn = uint8(turn)
		for _, e := range list {
			t.popped = expiry{e.due, e.order}
			t.remove(e.index, t.connectionAt(e.index), CauseEnd)
		}
	}
}

// exchange is a packet that concerns several shards: those of the packet that it is
// inside of, of its own connection and, if it may put a datagram together or
// announce a connection, all. Each serves it when its turn comes, and waits there
// for what others have to say. As all serve in the same order, nobody waits in a
// circle.
type exchange struct {
	packet  *bpf.Packet
	hash    uint64
	at      int // in the batch
	carrier int // the shard that has what it is inside of; nobody: it is not inside of anything
	shard   int // its own

	announces bool // it may announce connections
	joined    bool // from a datagram whose enclosure is known

	enclosed  answer // the carrier's: whether the packet counts
	enclosure enclosure
	put       answer // whether a datagram is complete
	datagram  []*exchange
	served    answer // its own shard's
	announced []service.Announcement
}

// answer is what a shard has to say to others: 0 as long as it has not.
type answer struct{ value atomic.Uint32 }

const (
	answerNo  = 1
	answerYes = 2
)

func (a *answer) give(yes bool) {
	if yes {
		a.value.Store(answerYes)
	} else {
		a.value.Store(answerNo)
	}
}

func (e *exchange) reset(p *bpf.Packet, hash uint64, shard int) {
	e.packet, e.hash, e.shard, e.carrier = p, hash, shard, nobody
	e.joined, e.announces = false, mayAnnounce(p)
	e.enclosed.value.Store(0)
	e.put.value.Store(0)
	e.served.value.Store(0)
	e.datagram, e.announced, e.enclosure = nil, nil, enclosure{}
}

// isPacket tells a packet from a finding about a tunnel.
func (e *exchange) isPacket() bool {
	return e.packet.Kind == bpf.KindPacket || e.packet.Kind == bpf.KindInner
}

func (e *exchange) isFragment() bool {
	return e.isPacket() && e.packet.State&bpf.StateFragment != 0
}

// isStray tells what only looks like a packet inside a tunnel: there is no carrier.
func (e *exchange) isStray() bool {
	return e.packet.Kind == bpf.KindInner && e.carrier == nobody && !e.joined
}

// concerns tells whether a shard has to serve it.
func (e *exchange) concerns(shard int) bool {
	if !e.isPacket() {
		return shard == e.carrier
	}
	if e.isStray() {
		return shard == e.shard
	}
	return e.announces || e.isFragment() || shard == e.carrier || shard == e.shard
}

// serve does the shard's part of an exchange.
func (s *shard) serve(e *exchange) {
	t := s.tracker
	switch {
	case !e.concerns(s.index):
		return
	case !e.isPacket():
		t.noteTunnel(e.packet)
		return
	case e.isStray():
		t.skipInner()
		return
	}
	if s.index == e.carrier {
		e.enclosed.give(t.encloseInner(&e.enclosure, e.packet))
	}
	if e.isFragment() {
		s.serveFragment(e)
		return
	}
	if s.index == e.shard {
		s.serveOwn(e)
	}
	if e.announces {
		s.serveAnnouncements(e)
	}
}

// isEnclosed tells whether a packet counts: the outermost does.
func (s *shard) isEnclosed(e *exchange) bool {
	return e.carrier == nobody || s.wait(&e.enclosed)
}

// serveOwn takes a packet of one of the shard's own connections.
func (s *shard) serveOwn(e *exchange) {
	t, p := s.tracker, e.packet
	l := &t.layers[p.TunnelDepth]
	*l = layer{}
	if !s.isEnclosed(e) {
		return
	}
	if p.Kind == bpf.KindPacket && !e.joined {
		t.stats.IPBytes += uint64(p.IPLength)
	}
	l.enclosure = e.enclosure
	t.packet(p, lookedUp{e.hash, t.table.candidate(e.hash)}, l)
}

// serveFragment has the first shard put datagrams together, then takes what there
// is in one.
func (s *shard) serveFragment(e *exchange) {
	if s.index == 0 {
		if s.isEnclosed(e) {
			e.datagram = s.reassemble(e)
		}
		e.put.give(e.datagram != nil)
	}
	if !s.wait(&e.put) {
		return
	}
	for _, inside := range e.datagram {
		s.place.turn++
		s.serve(inside)
	}
}

// reassemble takes a fragment and returns the packets of the datagram that it
// completes.
func (s *shard) reassemble(e *exchange) (inside []*exchange) {
	t := s.tracker
	t.stats.Packets++
	if e.packet.Kind == bpf.KindPacket && !e.joined {
		t.stats.IPBytes += uint64(e.packet.IPLength)
	}
	var frame carriers
	for i, p := range t.reassemble(e.packet) {
		hash := s.all.hash(&p)
		q := new(exchange)
		q.reset(&p, hash, s.all.shardOf(hash))
		q.at = e.at
		if i == 0 {
			q.joined, q.enclosure = true, e.enclosure
			frame.deepest = int(p.TunnelDepth)
			frame.shards[frame.deepest] = q.shard
		} else {
			frame.enter(q)
		}
		if q.isPacket() {
			t.stats.Joined++
		}
		inside = append(inside, q)
	}
	return inside
}

// How a shard waits: it spins, then lets others run, then sleeps, as on a machine
// with few CPUs those that it waits for may have none.
const (
	waitSpins  = 100
	waitYields = 200
	waitSleep  = 20 * time.Microsecond
)

// wait returns an answer when it has been given.
func (s *shard) wait(a *answer) bool {
	for n := 0; ; n++ {
		switch v := a.value.Load(); {
		case v != 0:
			return v == answerYes
		case n < waitSpins:
		default:
			s.idle(n - waitSpins)
		}
	}
}

// idle is what a shard does that has waited for so long.
func (s *shard) idle(n int) {
	switch {
	case n == 0: // who is waited for may wait for this shard, or for room to put rows in
		s.pass()
		s.rows.handOver(s.place)
	case n < waitYields:
		runtime.Gosched()
	default:
		time.Sleep(waitSleep)
	}
}
