// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"math"

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

// connection is what a packet of a live connection reads and writes. It holds no
// pointers and takes four cache lines; what few connections need is in cold and
// extra. A flip of roles swaps the elements of its arrays.
type connection struct {
	// What finding the connection takes, and what the wheel reads: one line.
	addr     [2]bpf.Addr
	due      int64     // when the wheel hands the connection out: not after any deadline
	order    uint64    // in which connections opened: the first packet's ordinal, and the turn within its frame
	port     [2]uint16 // ICMP: type, and counterpart type or code
	protocol uint8
	timeout  timeoutClass
	bits     connectionBits
	letters  [2]letterBits // once-only letters written, by role: a flip does not swap them
	service  service.Ref   // the application protocols

	start, last int64 // ns of the steady clock

	// Deadlines in ns of the steady clock, never if not armed. Whoever brings one
	// forward sets Tracker.armed.
	inactivityAt int64 // inactivity timer, as armed: the last time may have moved since
	closeAt      int64 // TCP: attempt timer, or removal after the close (bitClosing)
	checkAt      int64 // TCP: expire check; UDP to a DNS port: session check

	history       [11]byte // its first letters; more are in cold
	historyLength uint8

	cold   uint32 // index into Tracker.cold, 0 if there was no need yet
	extra  uint32 // index into Tracker.extra, 0 if not asked for
	offset uint32 // index into Tracker.offsets: the wall clock at the first packet

	endpoint [2]endpoint

	packets [2]uint64
	ipBytes [2]uint64

	idleNext, idlePrev uint32    // the eviction queue's list
	_                  [2]uint32 // connections begin at a cache line's start
}

type connectionBits uint16

const (
	bitLive          connectionBits = 1 << iota // the index is in use
	bitAnswered                                 // the eviction queue knows that both sides have sent
	bitUnknownPacket                            // history has its X
	bitTunnelled                                // cold.tunnel is set
	bitSecondCheck                              // cold.checkAt is armed

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
// start: its SYN is at 0, its first data byte at 1.
type endpoint struct {
	start     uint32 // TCP: initial sequence number, or one before the first seen
	last      uint32 // TCP: one past the highest sequence number sent
	ack       uint32 // TCP: highest acknowledgment received for this side's data
	lastWraps uint16 // how often last went through 2^32
	ackWraps  uint16
	// delivered is the position up to which the stream is contiguous or was given
	// up (Zeek's last_reassem_seq). Other protocols than TCP keep the payload bytes
	// here, an int64, -1 before the first packet.
	delivered   uint64
	trim        uint64 // TCP: position up to which the peer has acknowledged
	retransmits uint32 // TCP: how often letter T came up
	state       TCPState
	previous    TCPState // the state before
	bits        endpointBits
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
	missed       uint64 // bytes in content gaps
	checkAt      int64  // the second expire check, armed by a one-sided close
	finAt        [2]uint64
	lastSYN      [2]uint64 // relative sequence numbers of the last S or H, F and R
	lastFIN      [2]uint64
	lastRST      [2]uint64
	badChecksums [2]uint32
	zeroWindows  [2]uint32
	gaps         [2]uint32
	blocks       [2]uint32 // heads of the lists of blocks beyond a hole
	buffered     [2]uint64 // bytes in these blocks
	tunnel       uint32    // index into Tracker.tunnels, 0 outside tunnels
	history      uint32    // first and last of the chunks that hold further letters
	historyTail  uint32
}

// extra is kept for every connection, but only if the log wants it.
type extra struct {
	mac             [2]bpf.MAC
	vlan, innerVLAN uint16
	synAt, synAckAt int64 // when the handshake's packets came; ambiguous if sent twice
	rtt             [2]int64
}

// hasPorts tells whether the protocol has ports.
func hasPorts(protocol uint8) bool {
	return protocol == bpf.ProtocolTCP || protocol == bpf.ProtocolUDP
}

func isICMP(protocol uint8) bool {
	return protocol == bpf.ProtocolICMP || protocol == bpf.ProtocolICMPv6
}

// coldOf returns the connection's cold part, made on first use.
func (t *Tracker) coldOf(c *connection) *cold {
	if c.cold == 0 {
		c.cold, _ = t.cold.get()
	}
	return t.cold.at(c.cold)
}

// flip swaps originator and responder (Zeek src/Conn.cc, FlipRoles). UDP's byte
// sums stay with the role that they were booked to.
func (t *Tracker) flip(c *connection) {
	c.addr[orig], c.addr[resp] = c.addr[resp], c.addr[orig]
	c.port[orig], c.port[resp] = c.port[resp], c.port[orig]
	c.packets[orig], c.packets[resp] = c.packets[resp], c.packets[orig]
	c.ipBytes[orig], c.ipBytes[resp] = c.ipBytes[resp], c.ipBytes[orig]
	if c.protocol == bpf.ProtocolTCP {
		c.endpoint[orig], c.endpoint[resp] = c.endpoint[resp], c.endpoint[orig]
		if c.cold != 0 {
			t.cold.at(c.cold).flip()
		}
	}
	if c.extra != 0 {
		e := t.extra.at(c.extra)
		e.mac[orig], e.mac[resp] = e.mac[resp], e.mac[orig]
		e.rtt[orig], e.rtt[resp] = e.rtt[resp], e.rtt[orig]
	}
	t.services.Flip(&c.service)
	t.addLetter(c, '^')
}

func (d *cold) flip() {
	d.finAt[orig], d.finAt[resp] = d.finAt[resp], d.finAt[orig]
	d.lastSYN[orig], d.lastSYN[resp] = d.lastSYN[resp], d.lastSYN[orig]
	d.lastFIN[orig], d.lastFIN[resp] = d.lastFIN[resp], d.lastFIN[orig]
	d.lastRST[orig], d.lastRST[resp] = d.lastRST[resp], d.lastRST[orig]
	d.badChecksums[orig], d.badChecksums[resp] = d.badChecksums[resp], d.badChecksums[orig]
	d.zeroWindows[orig], d.zeroWindows[resp] = d.zeroWindows[resp], d.zeroWindows[orig]
	d.gaps[orig], d.gaps[resp] = d.gaps[resp], d.gaps[orig]
	d.blocks[orig], d.blocks[resp] = d.blocks[resp], d.blocks[orig]
	d.buffered[orig], d.buffered[resp] = d.buffered[resp], d.buffered[orig]
}
