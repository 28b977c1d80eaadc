// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"fmt"
	"math"

	"conntap/bpf"
)

// The magic numbers of pcap files, as read in the file's own byte order
// (draft-ietf-opsawg-pcap, section 4; the last one is libpcap's sf-pcap.c,
// KUZNETZOV_TCPDUMP_MAGIC: longer packet headers).
const (
	magicMicroseconds = 0xa1b2c3d4
	magicNanoseconds  = 0xa1b23c4d
	magicModified     = 0xa1b2cd34
)

const (
	pcapFileHeader     = 24
	pcapPacketHeader   = 16
	pcapModifiedHeader = 24
)

// maxFrame bounds what a packet header may claim as captured. The largest snap
// length in use is 256 KiB; super-packets captured behind GRO may be longer.
const maxFrame = 16 << 20

// pcapMagic returns the byte order of a pcap file by its first four bytes.
func pcapMagic(b []byte) (magic uint32, bigEndian, ok bool) {
	for _, bigEndian := range []bool{false, true} {
		switch magic := uint32At(b, bigEndian); magic {
		case magicMicroseconds, magicNanoseconds, magicModified:
			return magic, bigEndian, true
		}
	}
	return 0, false, false
}

// readPcapHeader consumes the file header.
func (c *capture) readPcapHeader() error {
	header, err := c.require(pcapFileHeader)
	if err != nil {
		return err
	}
	magic, bigEndian, _ := pcapMagic(header)
	c.bigEndian = bigEndian
	major, minor := uint16At(header[4:], bigEndian), uint16At(header[6:], bigEndian)
	if major != 2 || minor != 4 {
		return fmt.Errorf("pcap version %d.%d is not known, only 2.4 is", major, minor)
	}
	c.packetHeader, c.perMicrosecond = pcapPacketHeader, 1
	switch magic {
	case magicNanoseconds:
		c.perMicrosecond = 1000
	case magicModified:
		c.packetHeader = pcapModifiedHeader
	}
	// The snap length in header[16:20] is not looked at: many writers put
	// frames longer than it. Above the link type stand the bits of the FCS.
	c.frame.link, c.frame.place = linkType(uint32At(header[20:], bigEndian)&0x03ffffff), c.newPlace("")
	c.window.skip(pcapFileHeader)
	return nil
}

// nextPcap makes the next packet of a pcap file c.frame.
//
// pcapgo's Reader is not used: measured 88 ns a packet, and 10 more for the copy
// that a batch needs, where this takes 28; it refuses captured lengths above the
// wire length and allocates what a header claims.
func (c *capture) nextPcap() error {
	header, err := c.window.peek(c.packetHeader)
	if err != nil {
		return err
	}
	var seconds, fraction, captured, wire uint32
	if c.bigEndian {
		seconds, fraction = binary.BigEndian.Uint32(header), binary.BigEndian.Uint32(header[4:])
		captured, wire = binary.BigEndian.Uint32(header[8:]), binary.BigEndian.Uint32(header[12:])
	} else {
		seconds, fraction = binary.LittleEndian.Uint32(header), binary.LittleEndian.Uint32(header[4:])
		captured, wire = binary.LittleEndian.Uint32(header[8:]), binary.LittleEndian.Uint32(header[12:])
	}
	if captured > maxFrame {
		return damage("captured length %s", grouped(uint64(captured)))
	}
	length := c.packetHeader + int(captured)
	record, err := c.window.peek(length)
	if err != nil {
		return err
	}
	c.window.skip(length)
	c.frame.time = int64(seconds)*1e9 + int64(fraction/c.perMicrosecond)*1e3
	c.frame.wire = wire
	c.frame.data = record[c.packetHeader:]
	return nil
}

// linkType is a file's link type as the parser knows it (tcpdump.org,
// "Link-layer header types"). All that aren't named count as a reason.
func linkType(number uint32) bpf.LinkType {
	switch number {
	case 12, 14, 101, 228, 229: // DLT_RAW of several systems, RAW, IPV4, IPV6
		return bpf.LinkRawIP
	}
	if number > math.MaxUint16 {
		return math.MaxUint16
	}
	return bpf.LinkType(number)
}

func uint16At(b []byte, bigEndian bool) uint16 {
	if bigEndian {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func uint32At(b []byte, bigEndian bool) uint32 {
	if bigEndian {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}
