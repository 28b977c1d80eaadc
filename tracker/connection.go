// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"math"
	"math/bits"

	"conntap/bpf"
	"conntap/tracker/service"
)

// The two sides of a connection index its two-element arrays.
const (
	orig = 0
	resp = 1
)

// never is the deadline of a timer that is not armed.
const never = math.MaxInt64

// connection is a live connection: its two parts. What few connections need is in
// cold and extra. A flip of roles swaps the elements of their arrays.
type connection struct {
	*hot
	*warm
}

// hot is what a packet of a live connection reads and writes: two cache lines,
// which processors load together. It holds no pointers, as none of the parts does.
type hot struct {
	addr     [2]bpf.Addr
	port     [2]uint16 // ICMP: type, and counterpart type or code
	protocol uint8
	timeout  timeoutClass
	bits     connectionBits
	last     int64        // ns of the steady clock
	service  service.Ref  // the application protocols
	cold     uint32       // index into Tracker.cold, 0 if there was no need yet
	history  shortHistory // its first letters; more are in cold
	endpoint [2]endpoint
}

// warm is what a connection's opening, its timers and its end take, one cache line.
// It has the index of its hot part.
type warm struct {
	start int64  // ns of the steady clock
	order uint64 // in which connections opened: the first packet's ordinal, and the turn within its frame
	due   int64  // when the wheel hands the connection out: not after any deadline

	// Deadlines in ns of the steady clock, never if not armed. Whoever brings one
	// forward sets Tracker.armed.
	inactivityAt int64 // inactivity timer, as armed: the last time may have moved since
	closeAt      int64 // TCP: attempt timer, or removal after the close (bitClosing)
	checkAt      int64 // TCP: expire check; UDP to a DNS port: session check

	extra   uint32 // index into Tracker.extra, 0 if not asked for
	offset  uint32 // index into Tracker.offsets: the wall clock at the first packet
	interim uint32 // age at the next interim record, s; 0: there is none
	nic     uint16 // bpf.Packet.Interface of the first packet
	_       uint16 // connections begin at a cache line's start
}

type connectionBits uint16

const (
	bitLive          connectionBits = 1 << iota // the index is in use
	bitAnswered                                 // the eviction queue knows of it (hot.answered)
	bitUnknownPacket                            // history has its X
	bitTunnelled                                // cold.tunnel is set
	bitSecondCheck                              // cold.checkAt is armed
	bitWide                                     // the upper halves in cold.side are not all zero

	// What follows depends on the protocol.
	bitProtocol
)

// TCP
const (
	bitPartial       = bitProtocol << iota // picked up in midstream
	bitSeenOrig                            // the originator's first packet was seen
	bitSeenResp                            // the responder's first packet was seen
	bitInactive                            // reset; the expire checks stop
	bitCloseDeferred                       // a close waits for data
	bitClosing                             // closeAt is the removal, not the attempt timer
	bitRoundTrip                           // extra.synAckAt waits for the ACK of the originator
)

// UDP
const (
	bitDNS            = bitProtocol << iota // the DNS rules apply
	bitNTP                                  // the NTP rules apply
	bitDNSSeen                              // the first DNS message was seen
	bitNTPFlippedOrig                       // an NTP server's packet has flipped the roles
	bitNTPFlippedResp                       // an NTP client's packet has flipped the roles
)

// endpoint is one side of a connection. Positions in the stream are relative to
// start: its SYN is at 0, its first data byte at 1. Of what may pass 2^32, the upper
// half is in cold.
type endpoint struct {
	start uint32 // TCP: initial sequence number, or one before the first seen
	last  uint32 // TCP: one past the highest sequence number sent
	ack   uint32 // TCP: highest acknowledgment received for this side's data
	// delivered is the position up to which the stream is contiguous or was given
	// up (Zeek's last_reassem_seq). Other protocols than TCP keep the payload bytes
	// here and in trim, an int64, -1 before the first packet.
	delivered uint32
	trim      uint32 // TCP: position up to which the peer has acknowledged
	packets   uint32
	ipBytes   uint32
	state     TCPState
	previous  TCPState // the state before
	bits      endpointBits
	letters   letterBits // once-only letters written, by role: a flip does not swap them
}

type endpointBits uint8

const (
	bitFin       endpointBits = 1 << iota // a FIN was seen
	bitDidClose                           // its close was handled
	bitSkip                               // reassembly was given up
	bitEndOfData                          // the end of its data was handled
)

// cold is what a connection needs only after something out of the ordinary, or
// at its end.
type cold struct {
	missed      uint64 // bytes in content gaps
	checkAt     int64  // the second expire check, armed by a one-sided close
	tunnel      uint32 // index into Tracker.tunnels, 0 outside tunnels
	history     uint32 // first and last of the chunks that hold further letters
	historyTail uint32
	side        [2]coldSide
}

// coldSide is one side's part of cold.
type coldSide struct {
	finAt        uint64
	lastSYN      uint64 // relative sequence numbers of the last S or H, F and R
	lastFIN      uint64
	lastRST      uint64
	buffered     uint64 // bytes in the blocks beyond a hole
	blocks       uint32 // head of their list
	retransmits  uint32 // how often letter T came up
	gaps         uint32
	zeroWindows  uint32
	badChecksums uint32
	wide
}

// wide are the upper halves of what endpoint has the lower halves of.
type wide struct {
	lastWraps uint16 // how often last went through 2^32
	ackWraps  uint16
	delivered uint32
	trim      uint32
	packets   uint32
	ipBytes   uint32
}

// extra is kept for every connection, but only if the log wants it.
type extra struct {
	mac             [2]bpf.MAC
	vlan, innerVLAN uint16
	owner           uint32 // index into Tracker.owners, 0 if it is not known
	synAt, synAckAt int64  // when the handshake's packets came; ambiguous if sent twice
	rtt             [2]int64
}

// hasPorts tells whether the protocol has ports.
func hasPorts(protocol uint8) bool {
	return protocol == bpf.ProtocolTCP || protocol == bpf.ProtocolUDP
}

func isICMP(protocol uint8) bool {
	return protocol == bpf.ProtocolICMP || protocol == bpf.ProtocolICMPv6
}

// connectionAt returns the connection of an index.
func (t *Tracker) connectionAt(i uint32) connection {
	return connection{t.connections.At(i), t.warm.At(i)}
}

// coldOf returns the connection's cold part, made on first use.
func (t *Tracker) coldOf(c *hot) *cold {
	if c.cold == 0 {
		c.cold, _ = t.cold.Get()
	}
	return t.cold.At(c.cold)
}

// wideOf returns the upper halves of a side, to be changed.
func (t *Tracker) wideOf(c *hot, side int) *wide {
	w := &t.coldOf(c).side[side].wide
	c.bits |= bitWide
	return w
}

// upper returns the upper halves of a side; few connections have any.
func (t *Tracker) upper(c *hot, side int) wide {
	if c.bits&bitWide == 0 {
		return wide{}
	}
	return t.cold.At(c.cold).side[side].wide
}

// book counts a packet of a side and its bytes.
func (t *Tracker) book(c *hot, side int, n uint32) {
	t.stats.Counted++
	e := &c.endpoint[side]
	var carry uint32
	if e.ipBytes, carry = bits.Add32(e.ipBytes, n, 0); carry != 0 {
		t.wideOf(c, side).ipBytes++
	}
	if e.packets++; e.packets == 0 {
		t.wideOf(c, side).packets++
	}
}

// bookRun counts what a run of segments is on the wire.
func (t *Tracker) bookRun(c *hot, side int, p *bpf.Packet) {
	n := p.Segments()
	t.stats.Counted += uint64(n)
	e := &c.endpoint[side]
	ipBytes, packets := uint64(e.ipBytes)+p.WireLength(), uint64(e.packets)+uint64(n)
	e.ipBytes, e.packets = uint32(ipBytes), uint32(packets)
	if carry := uint32(ipBytes >> 32); carry != 0 {
		t.wideOf(c, side).ipBytes += carry
	}
	if carry := uint32(packets >> 32); carry != 0 {
		t.wideOf(c, side).packets += carry
	}
}

// booked are the packets and bytes of a side.
func (t *Tracker) booked(c *hot, side int) (packets, ipBytes uint64) {
	e, w := &c.endpoint[side], t.upper(c, side)
	return uint64(w.packets)<<32 | uint64(e.packets), uint64(w.ipBytes)<<32 | uint64(e.ipBytes)
}

// flip swaps originator and responder (Zeek src/Conn.cc, FlipRoles). UDP's byte
// sums stay with the role that they were booked to.
func (t *Tracker) flip(c connection) {
	c.addr[orig], c.addr[resp] = c.addr[resp], c.addr[orig]
	c.port[orig], c.port[resp] = c.port[resp], c.port[orig]
	o, r := &c.endpoint[orig], &c.endpoint[resp]
	if c.protocol == bpf.ProtocolTCP {
		*o, *r = *r, *o
		o.letters, r.letters = r.letters, o.letters
	} else {
		o.packets, r.packets = r.packets, o.packets
		o.ipBytes, r.ipBytes = r.ipBytes, o.ipBytes
	}
	if c.cold != 0 {
		t.cold.At(c.cold).flip(c.protocol)
	}
	if c.extra != 0 {
		e := t.extra.At(c.extra)
		e.mac[orig], e.mac[resp] = e.mac[resp], e.mac[orig]
		e.rtt[orig], e.rtt[resp] = e.rtt[resp], e.rtt[orig]
	}
	t.services.Flip(&c.service)
	t.addLetter(c.hot, '^')
}

func (d *cold) flip(protocol uint8) {
	o, r := &d.side[orig], &d.side[resp]
	if protocol == bpf.ProtocolTCP {
		*o, *r = *r, *o
	} else {
		o.wide, r.wide = r.wide, o.wide
	}
}
