// SPDX-License-Identifier: Apache-2.0

// Package tracker turns packets into connections, as Zeek 8 does: who opened
// them, the states of both endpoints, history, conn_state, sizes, gaps and
// timeouts.
//
// A [Tracker] has no clock of its own. The time of the packets drives it, and
// [Tracker.Advance] when no packet comes. Connections live in slabs without
// pointers, are found by an open hash table, and leave by a timer wheel; nothing
// ever walks over all of them but [Tracker.Close]. Every connection is handed to
// one callback exactly once.
package tracker

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"conntap/bpf"
	"conntap/tracker/internal/slab"
	"conntap/tracker/service"
)

// Config configures a Tracker. The zero value is a tracker without a limit.
type Config struct {
	// MaxConnections is how many connections may be open. Above it the oldest that
	// nobody answered goes, or of TCP nobody went on with after the answer to the SYN;
	// then the one that has been idle the longest. Each is handed out. 0: no limit.
	MaxConnections int
	// GiveWay, if it is not nil, is called now and then between packets, on each goroutine
	// that tracks them: for other programs that wait for the CPU.
	GiveWay func()
	// Seed keys the uids: the same seed and input give the same uids.
	Seed string
	// LinkLayer keeps the MACs and VLAN ids of the first packet, 64 bytes more a
	// connection together with RoundTrips.
	LinkLayer bool
	// RoundTrips measures the round trips of handshakes.
	RoundTrips bool
	// KeyVLAN makes both VLAN ids part of what identifies a connection, as Zeek's
	// policy/frameworks/conn_key/vlan_fivetuple does, and of a fragment's datagram.
	// It implies the memory of LinkLayer.
	KeyVLAN bool
	// Owners keeps who made a connection, as the source says: 64 bytes more for each
	// that a local process owns.
	Owners bool
	// TunnelFlows makes a connection of the packets of an IP or GRE tunnel, as of
	// those of any protocol without ports: for sources that do not look inside.
	TunnelFlows bool
	// Parser reads datagrams that were put together from fragments, by the rules
	// by which the packets were read.
	Parser bpf.Parser
	// Sample is what the source records: one connection in so many, 0 and 1 for all
	// (see bpf.Packet.InSample). As fragments pass there, the tracker judges the
	// datagrams that they make.
	Sample uint32
	// LongConnections asks for interim records: emit gets a connection, with
	// Conn.Interim set, each time it has been open for so long, and from the last of
	// these on each time that much again: whole seconds, what is less is left out.
	LongConnections []time.Duration
}

// Tracker is the table of open connections and the logic that serves it. It is
// for one goroutine.
type Tracker struct {
	config Config
	emit   func(*Conn)

	now     int64 // network time: the latest time seen, ns
	offsets slab.Slab[clockOffset]
	offset  uint32 // index into offsets: the one in force

	connections slab.Slab[hot]
	warm        slab.Array[warm] // by the same index
	cold        slab.Slab[cold]
	extra       slab.Slab[extra]
	owners      slab.Slab[bpf.Owner]
	blocks      slab.Slab[block]
	letters     slab.Slab[historyChunk]
	tunnels     slab.Slab[tunnelState]

	services *service.Monitor

	table   table
	hashKey hashKey
	uidKey  [4]uint64
	wheel   wheel
	ages    []uint32   // at which connections have interim records, s
	armed   bool       // the current packet has brought a deadline of its connection forward
	idle    *idleQueue // nil without a limit

	layers      [bpf.TunnelDepthMax + 1]layer // of the current frame, by depth
	deepest     int                           // of the layers, the last one that is the current frame's
	reassembly  reassembly
	joined      [bpf.PacketsMax]bpf.Packet // of the datagram that was just completed
	segment     bpf.Packet                 // of a run, at hand
	unsegmented bpf.Packet                 // what is left of the run

	opened uint64 // order of the connection that opened last
	popped expiry // how far the current expire has come
	shard  *shard // that the tracker is; nil if it works alone

	ahead   [lookAhead]lookedUp
	groups  uint   // of packets tracked together
	touched uint64 // keeps the compiler from leaving the reads ahead out

	stats Stats
	row   Conn
}

// New returns a tracker that hands every connection that ends to emit, which
// must not call the tracker and must not keep its argument; and long ones before,
// if Config.LongConnections says so.
func New(config Config, emit func(*Conn)) *Tracker {
	t := &Tracker{config: config, emit: emit, services: service.New()}
	t.SetClockOffset(0)
	t.table.init()
	t.connections.Reach(0) // which stands for no connection, and may be read
	t.wheel.connections, t.wheel.ahead = &t.warm, &t.connections.Array
	t.wheel.next = never
	t.reassembly.keyVLAN = config.KeyVLAN
	if config.MaxConnections > 0 {
		t.idle = newIdleQueue(&t.connections)
	}
	t.ages = ages(config.LongConnections)
	for i := range t.hashKey {
		t.hashKey[i] = rand.Uint64()
	}
	seed := sha256.Sum256([]byte(config.Seed))
	for i := range t.uidKey {
		t.uidKey[i] = binary.LittleEndian.Uint64(seed[i*8:])
	}
	return t
}

// Stats returns the account so far.
func (t *Tracker) Stats() Stats { return t.stats }

// Track takes packets in the order in which they came. It reads payloads, and
// keeps nothing of them.
func (t *Tracker) Track(packets []bpf.Packet) {
	t.stats.Records += uint64(len(packets))
	for len(packets) > 0 {
		n := min(len(packets), lookAhead)
		t.lookUpAhead(packets[:n])
		for i := range packets[:n] {
			t.track(&packets[i], t.ahead[i])
		}
		packets = packets[n:]
		t.giveWay()
	}
}

// giveWayEvery is how many groups of packets are tracked in between: some 20 µs.
const giveWayEvery = 2

// giveWay is called after each group of packets.
func (t *Tracker) giveWay() {
	if t.config.GiveWay == nil {
		return
	}
	if t.groups++; t.groups%giveWayEvery == 0 {
		t.config.GiveWay()
	}
}

// lookAhead is how many packets' connections are loaded side by side.
const lookAhead = 32

// lookedUp is the hash of a packet's key, and the connection that has probably the
// same, 0 for none.
type lookedUp struct {
	hash      uint64
	candidate uint32
}

// lookUp finds where a packet's connection probably is.
func (t *Tracker) lookUp(p *bpf.Packet) lookedUp {
	hash := t.hashKey.hash(p, t.config.KeyVLAN)
	return lookedUp{hash, t.table.candidate(hash)}
}

// lookUpAhead is lookUp for packets to come.
func (t *Tracker) lookUpAhead(packets []bpf.Packet) {
	ahead := t.ahead[:len(packets)]
	for i := range ahead {
		ahead[i].hash = t.hashKey.hash(&packets[i], t.config.KeyVLAN)
	}
	t.touch(ahead)
}

// touch finds the candidates for hashes and reads them, so that the waits for memory
// overlap: with a million connections nearly every one of them is a wait of its own
// otherwise. Each loop waits for one place; no branch in it depends on what comes
// from there, as a wrong guess would end the overlap.
func (t *Tracker) touch(ahead []lookedUp) {
	entries, mask := t.table.entries, t.table.mask
	var touched uint64
	for i := range ahead {
		touched += entries[ahead[i].hash>>32&mask]
	}
	for i := range ahead {
		ahead[i].candidate = t.table.candidate(ahead[i].hash)
		h := t.connections.At(ahead[i].candidate)
		touched += uint64(h.bits) + uint64(h.endpoint[resp].start)
	}
	t.touched = touched
}

// Advance lets time move on to now without a packet. Time never goes back.
func (t *Tracker) Advance(now int64) {
	if now > t.now {
		t.now = now
	}
	if t.now >= t.wheel.next {
		t.expire()
	}
}

// Close hands out all open connections, as at Zeek's termination: first those
// whose attempt or DNS timers say so, in their order, then the rest in the order
// in which they opened.
func (t *Tracker) Close() {
	timed, rest := t.openConnections()
	for _, e := range timed {
		t.remove(e.index, t.connectionAt(e.index), CauseEnd)
	}
	for _, e := range rest {
		t.remove(e.index, t.connectionAt(e.index), CauseEnd)
	}
}

// openConnections are those that are open at the end, in the order in which Close
// hands them out.
func (t *Tracker) openConnections() (timed, rest []readyEntry) {
	for i := uint32(1); i < t.connections.End(); i++ {
		c := t.connectionAt(i)
		switch {
		case c.bits&bitLive == 0:
		case c.protocol == bpf.ProtocolUDP && c.bits&bitDNS != 0:
			timed = append(timed, readyEntry{c.checkAt, c.order, i})
		case c.protocol == bpf.ProtocolTCP && c.bits&bitClosing == 0 && c.closeAt != never && c.attemptFailed():
			timed = append(timed, readyEntry{c.closeAt, c.order, i})
		default:
			rest = append(rest, readyEntry{0, c.order, i})
		}
	}
	for _, list := range [][]readyEntry{timed, rest} {
		slices.SortFunc(list, func(a, b readyEntry) int {
			return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.order, b.order))
		})
	}
	return timed, rest
}

func (t *Tracker) track(p *bpf.Packet, at lookedUp) {
	switch p.Kind {
	case bpf.KindPacket:
		t.Advance(p.Time)
		t.outermost(p, at)
	case bpf.KindInner: // of the carrier's time
		t.inside(p, at)
	case bpf.KindViolation, bpf.KindEmpty:
		t.stats.Notes++
		t.inside(p, at)
	case bpf.KindDuplicate:
		t.stats.Packets++
		t.stats.Duplicates++
		t.nothing(p)
	default:
		t.stats.Notes++
		t.nothing(p)
	}
}

// nothing takes what begins a frame of which its time alone counts.
func (t *Tracker) nothing(p *bpf.Packet) {
	t.deepest = -1
	t.Advance(p.Time)
}

// outermost takes the packet that begins a frame.
func (t *Tracker) outermost(p *bpf.Packet, at lookedUp) {
	t.stats.IPBytes += uint64(p.IPLength)
	t.layers[0], t.deepest = layer{}, 0
	t.packet(p, at, &t.layers[0])
}

// packet takes an IP packet of the current frame. Its layer says what it is
// inside of, and learns whether what is inside of it counts.
func (t *Tracker) packet(p *bpf.Packet, at lookedUp, l *layer) {
	if p.Blocks&bpf.BlockGSO != 0 {
		t.run(p, at, l)
		return
	}
	t.stats.Packets++
	if p.State&bpf.StateFragment != 0 {
		t.fragment(p, l)
		return
	}
	if isIPTunnel(p.Protocol) && !t.config.TunnelFlows {
		t.stats.Carriers++
		l.carries, l.addr = true, [2]bpf.Addr{p.Src, p.Dst}
		return
	}
	i, side := t.find(at, p)
	c := connection{}
	if i != 0 {
		c = t.connectionAt(i)
		if c.protocol == bpf.ProtocolTCP && l.depth == 0 && t.tcpInOrder(c.hot, side, p) {
			t.tcpPayload(c, side, p)
			t.finish(i, c, p)
			return
		}
		if c.protocol == bpf.ProtocolTCP && c.tcpReused(p) {
			t.remove(i, c, CauseReuse)
			i = 0
		}
	}
	if i == 0 {
		i, c, side = t.open(at.hash, p)
		if l.depth > 0 {
			t.enter(c, &l.enclosure)
		}
	} else if l.depth > 0 || c.bits&bitTunnelled != 0 {
		t.checkEnclosure(c, &l.enclosure)
	}
	switch c.protocol {
	case bpf.ProtocolTCP:
		t.tcp(c, side, p)
	case bpf.ProtocolUDP:
		if t.udp(c, side, p) {
			l.carries, l.connection, l.side = true, i, side
		}
	case bpf.ProtocolICMP, bpf.ProtocolICMPv6:
		t.icmp(c, side, p)
	default:
		t.unknown(c, side, p)
	}
	t.finish(i, c, p)
}

// finish does what a packet has made necessary beyond its connection.
func (t *Tracker) finish(i uint32, c connection, p *bpf.Packet) {
	if p.Owner != nil {
		t.own(c, p.Owner)
	}
	if t.idle != nil && c.bits&bitAnswered == 0 && c.answered() {
		c.bits |= bitAnswered
		t.idle.answered(i, t.now)
	}
	if t.armed {
		t.armed = false
		t.rearm(i, c)
	}
}

// answered tells whether each side has sent a packet that counts and, of TCP, a SYN and
// its answer were not all: half-open and refused connections are what floods and scans
// make. A side whose count has just gone through 2^32 may look as if it was silent.
func (h *hot) answered() bool {
	o, r := &h.endpoint[orig], &h.endpoint[resp]
	if o.packets == 0 || r.packets == 0 {
		return false
	}
	return h.protocol != bpf.ProtocolTCP || o.letters&letterAck != 0 || r.letters&(letterAck|letterData) != 0
}

// open adds the connection that a packet opens, and returns the packet's side.
func (t *Tracker) open(hash uint64, p *bpf.Packet) (uint32, connection, int) {
	if t.idle != nil && int(t.stats.Open) >= t.config.MaxConnections {
		t.evict()
	}
	i, h := t.connections.Get()
	c := connection{h, t.warm.Reach(i)}
	*c.warm = warm{}
	t.table.insert(hash, i)
	t.stats.Opened++
	t.stats.Open++
	c.addr, c.port, c.protocol = [2]bpf.Addr{p.Src, p.Dst}, [2]uint16{p.SrcPort, p.DstPort}, p.Protocol
	if isICMP(p.Protocol) {
		c.port[0], c.port[1], _ = icmpPorts(p)
	}
	c.start, c.last, c.order = p.Time, p.Time, t.orderOf(p.Ordinal)
	c.offset, c.nic = t.noteOffset(), p.Interface
	c.bits = bitLive
	c.endpoint[orig].openStream(p.Protocol)
	c.endpoint[resp].openStream(p.Protocol)
	if t.config.hasExtra() {
		t.addExtra(c, p)
	}
	side := orig
	if opensReversed(p) {
		t.flip(c)
		side = resp
	}
	t.openApplication(c)
	if p.Protocol == bpf.ProtocolUDP {
		if isDNS(c.port[resp]) {
			c.bits |= bitDNS
		} else if c.port[resp] == 123 {
			c.bits |= bitNTP
		}
	}
	if t.idle != nil {
		t.idle.opened(i, t.now)
	}
	t.armTimers(c)
	t.wheel.schedule(i, c.warm, t.firstDeadline(c))
	t.wheel.limit(int(t.stats.Open))
	return i, c, side
}

const (
	turnBits = 4 // of connection.order, below the ordinal
	turnMax  = 1<<turnBits - 1
)

// orderOf is the order of a connection that opens: by its frame, and among those
// of one frame by their turn. Of the ordinal its highest bits are lost: those of
// CPUs from the 1,024th on.
func (t *Tracker) orderOf(ordinal uint64) uint64 {
	order := ordinal << turnBits
	if t.shard != nil {
		return order | t.shard.turn()
	}
	if t.opened&^turnMax == order {
		order |= min(t.opened&turnMax+1, turnMax)
	}
	t.opened = order
	return order
}

func (e *endpoint) openStream(protocol uint8) {
	if protocol == bpf.ProtocolTCP {
		e.delivered, e.trim = 1, 1
	} else {
		e.setBytes(-1) // nothing sent yet
	}
}

func (t *Tracker) addExtra(c connection, p *bpf.Packet) {
	i, x := t.extra.Get()
	c.extra = i
	if p.Blocks&bpf.BlockL2 != 0 {
		x.mac = [2]bpf.MAC{p.SrcMAC, p.DstMAC}
		x.vlan, x.innerVLAN = p.VLAN, p.InnerVLAN
	}
}

// opensReversed tells whether the sender of a connection's first packet is its
// responder, judging by the ports (Zeek TCP.cc and UDP.cc, WantConnection).
func opensReversed(p *bpf.Packet) bool {
	if !hasPorts(p.Protocol) || isBroadcast(&p.Dst) {
		return false
	}
	src, dst := p.SrcPort, p.DstPort
	if p.Protocol == bpf.ProtocolUDP {
		return likelyUDP.has(src) && !likelyUDP.has(dst)
	}
	if p.Flags&(bpf.SYN|bpf.ACK) == bpf.SYN || !likelyTCP.has(src) {
		return false
	}
	return !likelyTCP.has(dst) || p.Flags&bpf.SYN == 0 && src < dst
}

func isBroadcast(a *bpf.Addr) bool {
	return isIPv4(a) && binary.BigEndian.Uint32(a[12:]) == 0xffffffff
}

// evict makes room for one connection.
func (t *Tracker) evict() {
	i, answered := t.idle.victim(t.now)
	if i == 0 {
		return
	}
	cause := CauseUnanswered
	if answered {
		cause = CauseIdle
	}
	t.forgetCarrier(i)
	t.remove(i, t.connectionAt(i), cause)
}

// remove hands a connection out and frees what it held.
func (t *Tracker) remove(i uint32, c connection, cause Cause) {
	hash := t.hashOf(&t.hashKey, c)
	t.fillRow(c)
	t.stats.Closed[cause]++
	t.stats.Logged[TransportOf(c.protocol)][t.row.State]++
	t.stats.Open--
	t.table.remove(hash, i)
	t.wheel.cancel(c.warm)
	if t.idle != nil {
		t.idle.closed(i)
	}
	if c.cold != 0 {
		d := t.cold.At(c.cold)
		t.freeBlocks(&d.side[orig])
		t.freeBlocks(&d.side[resp])
		t.freeHistory(d)
		if d.tunnel != 0 {
			t.tunnels.Put(d.tunnel)
		}
		t.cold.Put(c.cold)
	}
	if c.extra != 0 {
		t.disown(c)
		t.extra.Put(c.extra)
	}
	t.closeApplication(c, cause)
	t.dropOffset(c.offset)
	c.bits = 0
	t.connections.Put(i)
	t.emit(&t.row)
}
