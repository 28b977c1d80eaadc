// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"slices"
	"time"

	"conntap/bpf"
)

const (
	fragmentTimeout = int64(5 * time.Minute) // Zeek's frag_timeout, from the first fragment
	// maxDatagrams and maxDatagramBytes bound what waits for its fragments. The
	// oldest datagram goes first.
	maxDatagrams     = 4096
	maxDatagramBytes = 32 << 20
	maxDatagramEnd   = 1 << 16
)

// fragmentKey is what fragments of one datagram share. The protocol is no part of
// it (Zeek src/Frag.h, FragReassemblerKey).
type fragmentKey struct {
	src, dst bpf.Addr
	id       uint32
	vlan     uint32 // 0 unless VLAN ids tell connections apart
}

// datagram is one that waits for its fragments.
type datagram struct {
	key     fragmentKey
	started int64      // network time of the fragment that came first
	first   bpf.Packet // that fragment, without payload
	covered []span     // of the payload, in order, apart from each other
	payload []byte     // what is at hand of it, each fragment's at its place
	sum     uint16     // of the fragments so far
	// unsummed: the sum of a fragment is not known, or of the part that was new.
	unsummed bool
	length   int // of the payload; 0 until a last fragment came
}

type span struct {
	from, to int
	atHand   int // bytes that were there of it, from its start
}

// reassembly puts fragments together (Zeek src/Frag.cc). Fragments are rare: what
// the path of other packets must not do, this one may.
type reassembly struct {
	keyVLAN   bool
	datagrams map[fragmentKey]*datagram
	order     []*datagram // by age; those that are done since have no place in datagrams
	bytes     int
}

// add takes a fragment and returns its datagram when it is complete.
func (r *reassembly) add(p *bpf.Packet, now int64, stats *Stats) *datagram {
	r.expire(now, stats)
	key := fragmentKey{src: p.Src, dst: p.Dst, id: p.FragmentID}
	if r.keyVLAN {
		key.vlan = vlanOf(p)
	}
	d := r.datagrams[key]
	if d == nil {
		d = r.open(key, p, now, stats)
	}
	before := len(d.payload)
	d.add(p)
	d.first.SrcMAC, d.first.DstMAC, d.first.VLAN, d.first.InnerVLAN = p.SrcMAC, p.DstMAC, p.VLAN, p.InnerVLAN
	r.bytes += len(d.payload) - before
	if !d.complete() {
		return nil
	}
	r.drop(d)
	return d
}

func (r *reassembly) open(key fragmentKey, p *bpf.Packet, now int64, stats *Stats) *datagram {
	for len(r.datagrams) >= maxDatagrams || r.bytes >= maxDatagramBytes {
		r.dropOldest(stats)
	}
	if r.datagrams == nil {
		r.datagrams = make(map[fragmentKey]*datagram)
	}
	d := &datagram{key: key, started: now, first: *p}
	d.first.Payload = nil
	r.datagrams[key] = d
	if len(r.order) >= 2*maxDatagrams {
		r.order = slices.DeleteFunc(r.order, func(d *datagram) bool { return r.datagrams[d.key] != d })
	}
	r.order = append(r.order, d)
	return d
}

// expire gives up the datagrams whose time is over.
func (r *reassembly) expire(now int64, stats *Stats) {
	for len(r.order) > 0 {
		d := r.order[0]
		if r.datagrams[d.key] == d && d.started+fragmentTimeout > now {
			return
		}
		r.dropOldest(stats)
	}
}

func (r *reassembly) dropOldest(stats *Stats) {
	d := r.order[0]
	r.order = r.order[1:]
	if r.datagrams[d.key] == d {
		stats.Incomplete++
		r.drop(d)
	}
}

func (r *reassembly) drop(d *datagram) {
	r.bytes -= len(d.payload)
	delete(r.datagrams, d.key)
}

// add takes the parts of a fragment that no earlier one has brought.
func (d *datagram) add(p *bpf.Packet) {
	from := int(p.FragmentOffset)
	to := from + int(p.PayloadLength())
	if from == 0 && p.State&bpf.StateIPv6 != 0 {
		d.first.Protocol = p.Protocol
	}
	if to > maxDatagramEnd {
		return
	}
	if !p.FragmentMore || d.length > 0 {
		d.length = max(d.length, to)
	}
	switch fresh := d.cover(from, to, p); {
	case fresh == 0:
	case fresh < to-from || p.FragmentSum == 0: // nobody knows the sum of a part
		d.unsummed = true
	default:
		d.sum = bpf.AddSums(d.sum, p.FragmentSum)
	}
}

// cover books [from, to), takes its bytes where they are new, and says how many
// those are.
func (d *datagram) cover(from, to int, p *bpf.Packet) (fresh int) {
	start := from
	at := 0
	for from < to {
		for at < len(d.covered) && d.covered[at].to <= from {
			at++
		}
		end := to
		if at < len(d.covered) {
			if d.covered[at].from <= from {
				from = d.covered[at].to
				continue
			}
			end = min(to, d.covered[at].from)
		}
		bytes := p.Payload[min(from-start, len(p.Payload)):min(end-start, len(p.Payload))]
		d.take(from, bytes)
		d.covered = slices.Insert(d.covered, at, span{from, end, len(bytes)})
		fresh += end - from
		from = end
	}
	return fresh
}

// take stores payload bytes at their place.
func (d *datagram) take(from int, bytes []byte) {
	if need := from + len(bytes); need > len(d.payload) {
		d.payload = append(d.payload, make([]byte, need-len(d.payload))...)
	}
	copy(d.payload[from:], bytes)
}

// begin is the payload up to the first byte that is not at hand: live, a fragment
// brings no more than its beginning.
func (d *datagram) begin() []byte {
	end := 0
	for _, s := range d.covered {
		if s.from > end {
			break
		}
		end = s.from + s.atHand
	}
	return d.payload[:end]
}

// complete tells whether nothing is missing.
func (d *datagram) complete() bool {
	if d.length == 0 {
		return false
	}
	end := 0
	for _, s := range d.covered {
		if s.from > end {
			break
		}
		end = s.to
	}
	return end >= d.length
}

// fragment takes a fragment of the current frame and, when it completes a
// datagram, that one in its place. Nothing is directly inside of a fragment.
func (t *Tracker) fragment(p *bpf.Packet, l *layer) {
	joined := t.reassemble(p)
	for i := range joined {
		q := &joined[i]
		at := t.lookUp(q)
		switch {
		case i == 0:
			t.stats.Joined++
			t.packet(q, at, l)
		case q.Kind == bpf.KindInner:
			t.stats.Joined++
			t.inside(q, at)
		default:
			t.inside(q, at)
		}
	}
	t.deepest = int(p.TunnelDepth) - 1
}

// reassemble takes a fragment and returns the packets of the datagram that it
// completes, if it does, if they can be read, and if they are of the sample. They are valid until the next
// call; their payload stays.
func (t *Tracker) reassemble(p *bpf.Packet) []bpf.Packet {
	t.stats.Fragments++
	d := t.reassembly.add(p, t.now, &t.stats)
	if d == nil {
		return nil
	}
	t.stats.Datagrams++
	if d.unsummed {
		d.sum = 0
	}
	d.first.TunnelDepth = p.TunnelDepth
	n, _ := t.config.Parser.ParseDatagram(&d.first, d.begin(), d.length, d.sum, t.joined[:])
	if n > 0 && p.Kind == bpf.KindPacket && !t.joined[0].InSample(t.config.Sample) {
		t.stats.Unsampled++
		return nil
	}
	for i := range t.joined[:n] {
		q := &t.joined[i]
		q.Time, q.Ordinal, q.Hook, q.Interface = p.Time, p.Ordinal, p.Hook, p.Interface
	}
	if n == 0 {
		t.stats.Unreadable++
	}
	return t.joined[:n]
}
