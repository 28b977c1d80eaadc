// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"time"

	"conntap/bpf"
)

const (
	// dedupWindow is how long after a packet another one may be its duplicate.
	dedupWindow = int64(50 * time.Millisecond)
	// dedupStep is how far times may step back, as of packets that came late. With a
	// larger step another time begins.
	dedupStep = int64(time.Second)

	sightingsLeast = 1 << 12
	sightingsMost  = 1 << 19 // 50 ms of 10 million packets per second
	// countersPer is how many slots the table has for each sighting, which takes two
	// at most.
	countersPer = 4
)

// Dedup finds the packets that came before from another interface or hook, as those
// that a bridge or a router forwards between interfaces that are all captured. It
// goes by what a packet keeps on such a way: addresses, ports, protocol, IP id (IPv6:
// flow label), sequence numbers, flags, window, lengths and the place of a fragment;
// not by MAC addresses, VLAN tags, TTL and checksums. What goes through address
// translation is no duplicate.
//
// Of what looks the same each place where it was seen has a turn: a packet is a
// duplicate if in the 50 ms before fewer like it came from its own interface and hook
// than were taken in all. So a retransmission stays, which comes again from the same
// place; and if one place has lost a packet, another one's is taken.
//
// Packets must come in the order of time, with the segments of super-packets apart.
// At more than 10 million of them per second the window is shorter: what it
// remembers is bounded, to some 50 MB. It is for one goroutine.
type Dedup struct {
	seed      maphash.Seed
	most      int   // sightings to remember
	now       int64 // the latest time
	sightings []sighting
	first     int // the oldest of them
	count     int
	counters  []counter // open addressing, by the key
	duplicate bool      // the frame at hand is one
}

// sighting is a packet of the window.
type sighting struct {
	time  int64
	key   uint64 // of what the packet looks like
	place uint32 // where it was seen
	taken bool   // it was no duplicate
}

// counter is how many packets of the window have a key: of what they look like, those
// that were taken; of that and a place, those that were seen there.
type counter struct {
	key uint64
	n   uint32 // 0: free slot
}

// NewDedup returns a Dedup that has seen nothing.
func NewDedup() *Dedup {
	return &Dedup{
		seed: maphash.MakeSeed(), most: sightingsMost,
		sightings: make([]sighting, sightingsLeast), counters: make([]counter, countersPer*sightingsLeast),
	}
}

// Mark makes the duplicates among packets bpf.KindDuplicate, with all that is inside
// of them.
func (d *Dedup) Mark(packets []bpf.Packet) {
	for i := range packets {
		switch p := &packets[i]; p.Kind {
		case bpf.KindPacket:
			if d.duplicate = d.sees(p); d.duplicate {
				p.Kind = bpf.KindDuplicate
			}
		case bpf.KindInner:
			if d.duplicate {
				p.Kind = bpf.KindDuplicate
			}
		}
	}
}

// sees takes a packet and tells whether it is a duplicate.
func (d *Dedup) sees(p *bpf.Packet) bool {
	d.pass(p.Time)
	if d.count == len(d.sightings) {
		d.makeRoom()
	}
	key, place := d.keyOf(p), uint32(p.Interface)<<8|uint32(p.Hook)
	s := sighting{time: d.now, key: key, place: place}
	s.taken = d.add(keyAt(key, place)) > d.taken(key)
	if s.taken {
		d.add(key)
	}
	d.sightings[(d.first+d.count)&(len(d.sightings)-1)] = s
	d.count++
	return !s.taken
}

// pass lets time move on, and forgets what is beyond the window then.
func (d *Dedup) pass(time int64) {
	switch {
	case time > d.now:
		d.now = time
	case time < d.now-dedupStep:
		for d.count > 0 {
			d.forget()
		}
		d.now = time
	}
	for d.count > 0 && d.sightings[d.first].time < d.now-dedupWindow {
		d.forget()
	}
}

// forget takes the oldest sighting out.
func (d *Dedup) forget() {
	s := &d.sightings[d.first]
	d.subtract(keyAt(s.key, s.place))
	if s.taken {
		d.subtract(s.key)
	}
	d.first = (d.first + 1) & (len(d.sightings) - 1)
	d.count--
}

// makeRoom makes room for a sighting: as long as it may in memory, then by forgetting
// the oldest.
func (d *Dedup) makeRoom() {
	if d.count >= d.most {
		d.forget()
		return
	}
	old, counters := d.sightings, d.counters
	d.sightings, d.counters = make([]sighting, 2*len(old)), make([]counter, 2*len(counters))
	copy(d.sightings[copy(d.sightings, old[d.first:]):], old[:d.first])
	d.first = 0
	for _, c := range counters {
		if c.n != 0 {
			*d.slot(c.key) = c
		}
	}
}

// keyOf is a hash of what stays the same of a packet wherever it is seen.
func (d *Dedup) keyOf(p *bpf.Packet) uint64 {
	var b [64]byte
	copy(b[0:], p.Src[:])
	copy(b[16:], p.Dst[:])
	binary.LittleEndian.PutUint32(b[32:], uint32(p.SrcPort)<<16|uint32(p.DstPort))
	binary.LittleEndian.PutUint32(b[36:], p.Seq)
	binary.LittleEndian.PutUint32(b[40:], p.Ack)
	binary.LittleEndian.PutUint32(b[44:], p.IPID)
	binary.LittleEndian.PutUint32(b[48:], p.IPLength)
	binary.LittleEndian.PutUint32(b[52:], uint32(p.Window)<<16|uint32(p.HeaderLength))
	binary.LittleEndian.PutUint32(b[56:], uint32(p.Protocol)<<16|uint32(p.Flags))
	if p.State&bpf.StateFragment != 0 {
		binary.LittleEndian.PutUint32(b[60:], 1<<16|uint32(p.FragmentOffset))
	}
	return maphash.Bytes(d.seed, b[:])
}

// keyAt is the key of what looks like key and was seen at a place.
func keyAt(key uint64, place uint32) uint64 {
	return bits.RotateLeft64(key, 32) + (uint64(place)+1)*0x9e3779b97f4a7c15
}

// taken is how many of the window's packets with a key were taken.
func (d *Dedup) taken(key uint64) uint32 { return d.slot(key).n }

// add counts one more and returns how many there are.
func (d *Dedup) add(key uint64) uint32 {
	c := d.slot(key)
	c.key = key
	c.n++
	return c.n
}

// slot is where the key is, or would be.
func (d *Dedup) slot(key uint64) *counter {
	mask := uint64(len(d.counters) - 1)
	for s := key & mask; ; s = (s + 1) & mask {
		if c := &d.counters[s]; c.n == 0 || c.key == key {
			return c
		}
	}
}

// subtract counts one less. If that was the last, what follows moves up, so that no
// free slot stands between a key and where it would be.
func (d *Dedup) subtract(key uint64) {
	mask := uint64(len(d.counters) - 1)
	s := key & mask
	for d.counters[s].key != key {
		s = (s + 1) & mask
	}
	if d.counters[s].n--; d.counters[s].n > 0 {
		return
	}
	for hole := s; ; {
		s = (s + 1) & mask
		c := d.counters[s]
		if c.n == 0 {
			d.counters[hole].n = 0
			return
		}
		if (s-c.key)&mask >= (s-hole)&mask {
			d.counters[hole] = c
			d.counters[s].n = 0
			hole = s
		}
	}
}
