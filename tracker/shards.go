// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"

	"conntap/bpf"
)

// Shards is a Tracker that works on several goroutines. Each has the connections of
// a part of the hashes to itself; what one has to know of another's, as of the
// tunnel that a packet came through, it waits for. Rows come out in the same order
// and with the same content as from a [Tracker], whatever the number of shards, but
// that each shard has a share of [Config.MaxConnections], and that an announced
// connection (FTP, IRC) may not be known to the other shards if the announcement
// stands in a segment that does not show it (see mayAnnounce).
//
// Track and Close, and the fields of batches, are for one goroutine; Prepare,
// Stats and Connections are for any.
type Shards struct {
	config  Config
	hashKey hashKey
	shards  []*shard
	merged  chan struct{} // closed when the last row is out

	position uint64 // of the next batch: a packet has one, and so has the moment after all of a batch
	latest   int64  // network time
	ordinal  uint64 // of the last packet
	turn     uint64 // of the last packet within its frame
	frame    carriers
}

// Batch is packets on their way through [Shards]. From Track on, until Done is
// called, it belongs to the shards, and so do the payloads: all read them, none
// writes.
type Batch struct {
	// Packets are in the order in which they came.
	Packets []bpf.Packet
	// ClockOffset is what SetClockOffset takes, before the packets.
	ClockOffset int64
	// Now, if it is not 0, lets time move on to it after the packets, as Advance
	// does.
	Now int64
	// Done takes the batch back. The shard that is the last to need it calls it.
	Done func(*Batch)

	prepared   bool
	hashes     []uint64
	times      []int64    // network time at each packet, and after all
	own        [][]uint32 // by shard: its packets, and exchanges with exchangeBit
	exchanges  []*exchange
	notes      uint64 // no packets
	duplicates uint64
	frame      carriers // after all packets
	position   uint64
	turn       uint64 // of the first packet: how many of its frame were in the batch before
	working    atomic.Int32
}

// NewShards returns n shards, at least 1, of which every connection that ends is
// handed to emit, on one goroutine. emit must not call Track or Close, and must not
// keep its argument. Close ends the goroutines.
func NewShards(config Config, n int, emit func(*Conn)) *Shards {
	h := &Shards{config: config, merged: make(chan struct{}), shards: make([]*shard, max(n, 1)), frame: carriers{deepest: nobody}}
	n = len(h.shards)
	config.MaxConnections = (config.MaxConnections + n - 1) / n
	for i := range h.hashKey {
		h.hashKey[i] = rand.Uint64()
	}
	m := &rowMerger{emit: emit, heads: make([]rowHead, n)}
	for i := range h.shards {
		s := newShard(h, config, i)
		h.shards[i] = s
		m.heads[i] = rowHead{full: s.rows.full, spare: s.rows.spare}
	}
	for _, s := range h.shards {
		go s.run()
	}
	go func() {
		m.run()
		close(h.merged)
	}()
	return h
}

// Prepare does for a batch what does not depend on those before it, nearly all of
// Track's work. It may be called from any goroutine: best from the one that has just
// made the packets, as they are in its processor's cache.
func (h *Shards) Prepare(b *Batch) {
	b.prepared = true
	if len(h.shards) > 1 {
		h.route(b, carriers{deepest: nobody})
	}
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// hash is that of the packet's key.
func (h *Shards) hash(p *bpf.Packet) uint64 { return h.hashKey.hash(p, h.config.KeyVLAN) }

// shardOf is the shard that a hash belongs to.
func (h *Shards) shardOf(hash uint64) int {
	shard, _ := bits.Mul64(hash, uint64(len(h.shards)))
	return int(shard)
}

// Track takes a batch. It returns when all shards have it to work on, which is
// long before they are done with it.
func (h *Shards) Track(b *Batch) {
	if !b.prepared {
		h.Prepare(b)
	}
	b.prepared = false
	if len(h.shards) > 1 {
		h.join(b)
	}
	b.working.Store(int32(len(h.shards)))
	for _, s := range h.shards {
		s.batches <- b
	}
}

// Close hands out all open connections, as [Tracker.Close] does, and returns when
// the last row is out.
func (h *Shards) Close() {
	for _, s := range h.shards {
		close(s.batches)
	}
	<-h.merged
}

// Stats returns the account of the batches that all shards are done with, and of
// some more.
func (h *Shards) Stats() Stats {
	var sum Stats
	for _, s := range h.shards {
		s.mutex.Lock()
		sum.add(&s.published)
		s.mutex.Unlock()
	}
	return sum
}

// exchangeBit marks the index of an exchange among those of packets.
const exchangeBit = 1 << 31

// route gives each shard what is its own of a batch, and notes all times, as if
// nothing came before it but the beginning of the frame that it goes on with.
func (h *Shards) route(b *Batch, frame carriers) {
	b.frame = frame
	b.hashes = resize(b.hashes, len(b.Packets))
	b.times = resize(b.times, len(b.Packets)+1)
	b.own = resize(b.own, len(h.shards))
	for i := range b.own {
		b.own[i] = b.own[i][:0]
	}
	b.exchanges = b.exchanges[:0]
	b.notes, b.duplicates = 0, 0
	latest := int64(0)
	for i := range b.Packets {
		p := &b.Packets[i]
		switch p.Kind {
		case bpf.KindPacket:
			latest = max(latest, p.Time)
			b.hashes[i] = h.hash(p)
			shard := h.shardOf(b.hashes[i])
			b.frame.begin(shard)
			if p.State&bpf.StateFragment == 0 && !mayAnnounce(p) {
				b.own[shard] = append(b.own[shard], uint32(i))
			} else {
				h.exchange(b, i)
			}
		case bpf.KindInner:
			b.hashes[i] = h.hash(p)
			h.exchange(b, i)
		case bpf.KindViolation, bpf.KindEmpty:
			b.notes++
			h.exchange(b, i)
		default:
			if p.Kind == bpf.KindDuplicate {
				b.duplicates++
			} else {
				b.notes++
			}
			latest = max(latest, p.Time)
			b.frame.end()
		}
		b.times[i] = latest
	}
	b.times[len(b.Packets)] = max(latest, b.Now)
}

// join makes a batch go on where the one before ended.
func (h *Shards) join(b *Batch) {
	b.position = h.position
	h.position += uint64(len(b.Packets)) + 1
	if len(b.Packets) > 0 {
		if isInside(b.Packets[0].Kind) {
			h.route(b, h.frame)
		}
		h.frame = b.frame
		h.numberFrames(b)
	}
	for i := 0; i < len(b.times) && b.times[i] < h.latest; i++ {
		b.times[i] = h.latest
	}
	h.latest = b.times[len(b.Packets)]
}

// isInside tells what is inside of a packet before it, or is said about one.
func isInside(k bpf.Kind) bool {
	return k == bpf.KindInner || k == bpf.KindViolation || k == bpf.KindEmpty
}

// numberFrames notes whether the first packet goes on with the frame of the batch
// before.
func (h *Shards) numberFrames(b *Batch) {
	n := len(b.Packets)
	b.turn = 0
	if b.Packets[0].Ordinal == h.ordinal {
		b.turn = h.turn + 1
	}
	h.ordinal = b.Packets[n-1].Ordinal
	h.turn = b.turnOf(n - 1)
}

// turnOf is a packet's turn within its frame, turnMax at most.
func (b *Batch) turnOf(i int) (turn uint64) {
	for ; i > 0 && b.Packets[i-1].Ordinal == b.Packets[i].Ordinal && turn < turnMax; i-- {
		turn++
	}
	if i == 0 {
		turn += b.turn
	}
	return min(turn, turnMax)
}

// exchange enters a packet that concerns several shards, or is inside of one that
// another shard may have.
func (h *Shards) exchange(b *Batch, i int) {
	n := len(b.exchanges)
	if n == cap(b.exchanges) {
		b.exchanges = append(b.exchanges, new(exchange))
	}
	b.exchanges = b.exchanges[:n+1]
	if b.exchanges[n] == nil {
		b.exchanges[n] = new(exchange)
	}
	e := b.exchanges[n]
	e.reset(&b.Packets[i], b.hashes[i], h.shardOf(b.hashes[i]))
	e.at = i
	b.frame.enter(e)
	for s := range b.own {
		if e.concerns(s) {
			b.own[s] = append(b.own[s], exchangeBit|uint32(n))
		}
	}
}

// carriers says to which shards the packets of the current frame went, by depth.
type carriers struct {
	shards  [bpf.TunnelDepthMax + 1]int
	deepest int // -1 without a frame
}

// nobody is the shard of a carrier that there isn't.
const nobody = -1

// begin notes the packet that begins a frame.
func (c *carriers) begin(shard int) { c.shards[0], c.deepest = shard, 0 }

// end is for a frame without a packet.
func (c *carriers) end() { c.deepest = nobody }

// enter finds the carrier of what is inside of a packet, or is said about one, and
// notes what may be a carrier itself, as Tracker.inside does.
func (c *carriers) enter(e *exchange) {
	p := e.packet
	if p.Kind != bpf.KindPacket {
		depth := int(p.TunnelDepth)
		if depth == 0 || depth > c.deepest+1 || p.Kind == bpf.KindInner && depth >= len(c.shards) {
			return
		}
		e.carrier = c.shards[depth-1]
		if p.Kind != bpf.KindInner {
			return
		}
		c.shards[depth], c.deepest = e.shard, depth
	}
	if e.isFragment() {
		c.deepest = int(p.TunnelDepth) - 1
	}
}
