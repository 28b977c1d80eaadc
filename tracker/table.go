// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"conntap/bpf"
	"conntap/tracker/internal/slab"
)

// table finds connections by key: open addressing with linear probing. An entry
// is the upper half of the hash, and the index of the connection (0: free slot),
// so that growing reads no connection and a probe seldom reads a wrong one.
type table struct {
	entries []uint64
	mask    uint64
	used    int
	words   slab.Words // that the entries stand in
}

const tableMinimum = 1 << 10

func entryOf(hash uint64, i uint32) uint64 { return hash&^0xffffffff | uint64(i) }

func (tb *table) init() {
	tb.words, tb.entries = slab.NewWords(tb, tableMinimum)
	tb.mask = tableMinimum - 1
}

// home is the entry's slot if there were no others: by the upper bits, which are
// all that an entry keeps.
func (tb *table) home(entry uint64) uint64 { return entry >> 32 & tb.mask }

// insert adds a connection that is not in the table.
func (tb *table) insert(hash uint64, i uint32) {
	if tb.used >= len(tb.entries)/4*3 {
		tb.grow()
	}
	tb.used++
	tb.place(entryOf(hash, i))
}

func (tb *table) place(entry uint64) {
	s := tb.home(entry)
	for uint32(tb.entries[s]) != 0 {
		s = (s + 1) & tb.mask
	}
	tb.entries[s] = entry
}

func (tb *table) grow() {
	old, words := tb.entries, tb.words
	tb.words, tb.entries = slab.NewWords(tb, 2*len(old))
	tb.mask = uint64(len(tb.entries) - 1)
	for _, e := range old {
		if uint32(e) != 0 {
			tb.place(e)
		}
	}
	words.Free()
}

// remove takes a connection out. What follows it moves up, so that no tombstones
// are needed.
func (tb *table) remove(hash uint64, i uint32) {
	want := entryOf(hash, i)
	s := tb.home(want)
	for tb.entries[s] != want {
		s = (s + 1) & tb.mask
	}
	tb.used--
	for hole := s; ; {
		s = (s + 1) & tb.mask
		e := tb.entries[s]
		if uint32(e) == 0 {
			tb.entries[hole] = 0
			return
		}
		if (s-tb.home(e))&tb.mask >= (s-hole)&tb.mask {
			tb.entries[hole] = e
			hole = s
		}
	}
}

// candidate is the first connection whose hash begins alike; 0 if there is none.
func (tb *table) candidate(hash uint64) uint32 {
	s := hash >> 32 & tb.mask
	for uint32(tb.entries[s]) != 0 && (tb.entries[s]^hash)>>32 != 0 {
		s = (s + 1) & tb.mask
	}
	return uint32(tb.entries[s])
}

// find returns the packet's connection and the side that sent it; 0 if there is
// none.
func (t *Tracker) find(at lookedUp, p *bpf.Packet) (i uint32, side int) {
	if at.candidate != 0 { // what was found ahead is right, unless it has closed since
		if h := t.connections.At(at.candidate); h.bits&bitLive != 0 {
			if side := h.side(p); side >= 0 && t.sameVLAN(at.candidate, p) {
				return at.candidate, side
			}
		}
	}
	tb := &t.table
	for s := at.hash >> 32 & tb.mask; ; s = (s + 1) & tb.mask {
		e := tb.entries[s]
		if uint32(e) == 0 {
			return 0, 0
		}
		if (e^at.hash)>>32 != 0 {
			continue
		}
		if side := t.connections.At(uint32(e)).side(p); side >= 0 && t.sameVLAN(uint32(e), p) {
			return uint32(e), side
		}
	}
}

// sameVLAN tells whether nothing but VLAN ids tells packet and connection apart, and
// these are the same.
func (t *Tracker) sameVLAN(i uint32, p *bpf.Packet) bool {
	return !t.config.KeyVLAN || t.vlanOf(i) == vlanOf(p)
}
