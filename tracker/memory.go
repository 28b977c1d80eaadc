// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"unsafe"

	"conntap/bpf"
	"conntap/tracker/service"
)

const (
	// tableBytes is a connection's part of the hash table at its worst: three eighths full,
	// as it has just grown, and the old one, half as large, still there.
	tableBytes = 8 * 8 / 3 * 3 / 2
	// timerBytes is a connection's entries in the wheel: the one that holds, and one that
	// does no more.
	timerBytes = 2 * int(unsafe.Sizeof(wheelChunk{})) / len(wheelChunk{}.entries)
	// indexBytes is a place in the list of free indexes of a slab.
	indexBytes = 4
)

// ConnectionBytes is how much memory an open connection takes, at most but for what few
// have: data beyond a hole, long histories, tunnels. A plain one takes about half of it.
func (c *Config) ConnectionBytes() int {
	n := int(unsafe.Sizeof(hot{})+unsafe.Sizeof(warm{})+unsafe.Sizeof(cold{})+unsafe.Sizeof(idleLinks{})) +
		service.StateBytes + tableBytes + timerBytes + 3*indexBytes
	if c.hasExtra() {
		n += int(unsafe.Sizeof(extra{})) + indexBytes
	}
	if c.Owners {
		n += int(unsafe.Sizeof(bpf.Owner{})) + indexBytes
	}
	return n
}

// hasExtra tells whether connections have an extra part.
func (c *Config) hasExtra() bool { return c.LinkLayer || c.RoundTrips || c.KeyVLAN || c.Owners }
