// SPDX-License-Identifier: Apache-2.0

package tracker

// table finds connections by key: open addressing with linear probing. An entry
// is the upper half of the hash, and the index of the connection (0: free slot),
// so that growing reads no connection and a probe seldom reads a wrong one.
type table struct {
	entries []uint64
	mask    uint64
	used    int
}

const tableMinimum = 1 << 10

func entryOf(hash uint64, i uint32) uint64 { return hash&^0xffffffff | uint64(i) }

func (tb *table) init() {
	tb.entries = make([]uint64, tableMinimum)
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
	old := tb.entries
	tb.entries = make([]uint64, 2*len(old))
	tb.mask = uint64(len(tb.entries) - 1)
	for _, e := range old {
		if uint32(e) != 0 {
			tb.place(e)
		}
	}
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

// find returns the connection with this key and the side that sent the packet;
// 0 if there is none.
func (t *Tracker) find(hash uint64, k *key) (i uint32, c *connection, side int) {
	tb := &t.table
	for s := hash >> 32 & tb.mask; ; s = (s + 1) & tb.mask {
		e := tb.entries[s]
		if uint32(e) == 0 {
			return 0, nil, 0
		}
		if (e^hash)>>32 != 0 {
			continue
		}
		c := t.connections.at(uint32(e))
		if side := c.side(k); side >= 0 && (!t.config.KeyVLAN || t.vlanOf(c) == k.vlan) {
			return uint32(e), c, side
		}
	}
}
