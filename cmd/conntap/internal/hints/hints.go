// SPDX-License-Identifier: Apache-2.0

// Package hints recognises captures that can't give what their user expects, by
// the connections on their way to the log: nothing is done per packet.
package hints

import (
	"bytes"
	"fmt"
	"net/netip"

	"conntap/bpf"
	"conntap/tracker"
)

// maxSenders bounds the table of senders of bad checksums.
const maxSenders = 1024

// kind is one thing to be hinted at.
type kind uint8

const (
	notFilledIn kind = iota
	badChecksums
	controlOnly
	oneDirection
	everyTwice
	cutPayload

	kindCount
)

// Observer watches the connections. The zero value is ready. It is for one
// goroutine.
type Observer struct {
	// Written is what the log has in place of an address, and so has a hint; nil for
	// addresses as they are.
	Written func(bpf.Addr) bpf.Addr

	senders map[bpf.Addr]sender
	tcp     counts
	missed  uint64 // connections that lack payload
	frames  Frames
	said    [kindCount]bool
}

// sender is what one address sent in the connections in which some of its
// checksums were bad.
type sender struct {
	good, bad uint64
}

// counts are numbers of TCP connections.
type counts struct {
	// sized moved payload by their sequence numbers, noData of them without
	// a packet that carried any.
	sized, noData uint64
	// answered hold acknowledgements, oneSided of them of one side alone.
	answered, oneSided uint64
	// exchanged moved payload both ways, twice of them each packet two times.
	exchanged, twice uint64
}

// Add takes note of one connection.
func (o *Observer) Add(c *tracker.Conn) {
	if c.MissedBytes > 0 {
		o.missed++
	}
	switch {
	case c.Orig.BadChecksums|c.Resp.BadChecksums != 0:
		o.addSender(&c.Orig)
		o.addSender(&c.Resp) // what is left of such a connection says nothing else
	case c.Protocol == bpf.ProtocolTCP:
		o.tcp.add(c)
	}
}

// Frames are numbers of frames that say something of the capture.
type Frames struct {
	Seen uint64
	// Cut were captured in part.
	Cut uint64
	// BadHeaders gave no packet, as their IPv4 length or header checksum is
	// wrong.
	BadHeaders uint64
}

// SetFrames tells the numbers of frames so far.
func (o *Observer) SetFrames(f Frames) { o.frames = f }

func (o *Observer) addSender(e *tracker.Endpoint) {
	if e.BadChecksums == 0 {
		return
	}
	s, known := o.senders[e.Addr]
	if !known && len(o.senders) >= maxSenders {
		return
	}
	if o.senders == nil {
		o.senders = make(map[bpf.Addr]sender)
	}
	// Packets leaves out those with a bad checksum (Zeek, TCP.cc).
	s.good += e.Packets
	s.bad += e.BadChecksums
	o.senders[e.Addr] = s
}

func (n *counts) add(c *tracker.Conn) {
	if payload := c.Orig.Bytes + c.Resp.Bytes; payload > 0 {
		n.sized++
		if !bytes.ContainsAny(c.History, "Dd") {
			n.noData++
		}
	}
	if bytes.ContainsAny(c.History, "ADHadh") {
		n.answered++
		if c.Orig.Packets == 0 || c.Resp.Packets == 0 {
			n.oneSided++
		}
	}
	if c.Orig.Bytes > 0 && c.Resp.Bytes > 0 && c.MissedBytes == 0 {
		n.exchanged++
		if twice(&c.Orig) && twice(&c.Resp) {
			n.twice++
		}
	}
}

// twice tells whether one side may have sent each of its packets two times: an
// even number, and data again.
func twice(e *tracker.Endpoint) bool {
	return e.Packets%2 == 0 && e.Retransmits > 0
}

// New returns what is to be said now and was not said before, in full
// sentences. Nothing rests on fewer than enough connections or packets.
func (o *Observer) New(enough uint64) []string {
	var said []string
	say := func(k kind, holds bool, text string) {
		if holds && !o.said[k] {
			o.said[k] = true
			said = append(said, text)
		}
	}
	n, f := &o.tcp, &o.frames
	say(notFilledIn, f.BadHeaders >= enough && f.BadHeaders*20 >= f.Seen, fmt.Sprintf(
		"%d %% of the packets have a wrong IPv4 length or header checksum and gave no row: captured on the sender? try -C",
		percent(f.BadHeaders, f.Seen)))
	text, found := o.worstSender(enough)
	say(badChecksums, found, text)
	say(controlOnly, n.sized >= enough && n.noData == n.sized,
		"the capture has TCP control packets only (SYN, FIN, RST), no data: a filter? sizes come from sequence numbers")
	halfRead := o.said[notFilledIn] || o.said[badChecksums]
	say(oneDirection, !halfRead && mostly(n.oneSided, n.answered, enough), fmt.Sprintf(
		"%d %% of the TCP connections show one direction only: does the other take another path or port?",
		percent(n.oneSided, n.answered)))
	say(everyTwice, mostly(n.twice, n.exchanged, enough),
		"packets seem to come twice: captured on two interfaces, or a mirror port that copies both ways?")
	say(cutPayload, o.missed > 0 && f.Cut >= enough && f.Cut*20 >= f.Seen, fmt.Sprintf(
		"%d %% of the packets are cut by a snap length; payload that was not captured counts as missed (tcpdump -s 0)",
		percent(f.Cut, f.Seen)))
	return said
}

// worstSender finds the address that sent the most bad checksums, if most of
// its packets had one.
func (o *Observer) worstSender(enough uint64) (text string, found bool) {
	var worst bpf.Addr
	for addr, s := range o.senders {
		if s.bad > o.senders[worst].bad || s.bad == o.senders[worst].bad && bytes.Compare(addr[:], worst[:]) < 0 {
			worst = addr
		}
	}
	s := o.senders[worst]
	if !mostly(s.bad, s.good+s.bad, enough) {
		return "", false
	}
	if o.Written != nil {
		worst = o.Written(worst)
	}
	return fmt.Sprintf("%d %% of the packets from %s have a wrong checksum: captured on the sender? try -C",
		percent(s.bad, s.good+s.bad), netip.AddrFrom16(worst).Unmap()), true
}

// mostly tells whether part is at least four fifths of all, and all enough.
func mostly(part, all, enough uint64) bool {
	return all >= enough && part*5 >= all*4
}

// percent is part in all, rounded down.
func percent(part, all uint64) uint64 {
	return part * 100 / max(all, 1)
}
