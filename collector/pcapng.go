// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"conntap/bpf"
)

// The block types of pcapng (draft-ietf-opsawg-pcapng, section 11.1) that matter
// here; all others are passed over.
const (
	blockSection        = 0x0a0d0d0a
	blockInterface      = 1
	blockPacket         = 2 // obsolete
	blockSimplePacket   = 3
	blockEnhancedPacket = 6
)

const (
	byteOrderMagic = 0x1a2b3c4d
	maxBlock       = maxFrame + 64<<10

	optionName       = 2  // if_name
	optionResolution = 9  // if_tsresol
	optionOffset     = 14 // if_tsoffset

	nameMost = 255 // bytes of a name; Linux has at most 15
)

// captureInterface is what an interface description block says.
type captureInterface struct {
	name       string // "" if it does not say
	link       bpf.LinkType
	snapLength uint32
	place      uint16
	units      uint64 // of time, per second
	offset     int64  // seconds to add
}

// nextPcapng makes the next packet of a pcapng file c.frame.
//
// pcapgo's NgReader is not used: a file cut within a block ends as if whole, a
// short option or an odd time resolution makes it panic, it allocates what a
// header claims, and takes 80 ns a packet where this takes 55.
func (c *capture) nextPcapng() error {
	for {
		kind, body, err := c.nextBlock()
		if err != nil {
			return err
		}
		found := false
		switch kind {
		case blockSection:
			err = c.startSection(body)
		case blockInterface:
			err = c.addInterface(body)
		case blockEnhancedPacket, blockPacket:
			found, err = true, c.readPacketBlock(kind, body)
		case blockSimplePacket:
			found, err = true, c.readSimplePacket(body)
		}
		if found || err != nil {
			return err
		}
	}
}

// nextBlock consumes a block and returns what stands between its lengths.
func (c *capture) nextBlock() (kind uint32, body []byte, err error) {
	header, err := c.window.peek(12)
	if err != nil {
		return 0, nil, err
	}
	kind = uint32At(header, c.bigEndian)
	if kind == blockSection {
		if c.bigEndian, err = sectionOrder(header[8:]); err != nil {
			return 0, nil, err
		}
	}
	length := uint32At(header[4:], c.bigEndian)
	if length < 12 || length%4 != 0 || length > maxBlock {
		return 0, nil, damage("block length %s", grouped(uint64(length)))
	}
	block, err := c.window.peek(int(length))
	if err != nil {
		return 0, nil, err
	}
	if again := uint32At(block[length-4:], c.bigEndian); again != length {
		return 0, nil, damage("block length %s, at its end %s", grouped(uint64(length)), grouped(uint64(again)))
	}
	c.window.skip(int(length))
	return kind, block[8 : length-4], nil
}

func sectionOrder(magic []byte) (bigEndian bool, err error) {
	switch {
	case binary.LittleEndian.Uint32(magic) == byteOrderMagic:
		return false, nil
	case binary.BigEndian.Uint32(magic) == byteOrderMagic:
		return true, nil
	}
	return false, damage("byte order mark % x", magic[:4])
}

func (c *capture) startSection(body []byte) error {
	c.interfaces = c.interfaces[:0]
	if len(body) < 16 {
		return damage("section header of %d bytes", len(body))
	}
	if major := uint16At(body[4:], c.bigEndian); major != 1 {
		return damage("version %d of pcapng, only 1 is known", major)
	}
	return nil
}

func (c *capture) addInterface(body []byte) error {
	if len(body) < 8 {
		return damage("interface description of %d bytes", len(body))
	}
	nic := captureInterface{
		link:       linkType(uint32(uint16At(body, c.bigEndian))),
		snapLength: uint32At(body[4:], c.bigEndian),
		units:      1e6,
	}
	for options := body[8:]; len(options) >= 4; {
		code, length := uint16At(options, c.bigEndian), int(uint16At(options[2:], c.bigEndian))
		options = options[4:]
		if code == 0 {
			break
		}
		if length > len(options) {
			return damage("interface option of %d bytes", length)
		}
		if err := nic.set(code, options[:length], c.bigEndian); err != nil {
			return err
		}
		options = options[min((length+3)&^3, len(options)):]
	}
	nic.place = c.newPlace(nic.name)
	c.interfaces = append(c.interfaces, nic)
	return nil
}

// set takes over an option of the description. The resolution is a negative
// power of 10, or of 2 with the top bit set.
func (n *captureInterface) set(code uint16, value []byte, bigEndian bool) error {
	switch {
	case code == optionName:
		n.name = string(bytes.TrimRight(value[:min(len(value), nameMost)], "\x00"))
	case code == optionResolution && len(value) == 1:
		power, base := value[0]&0x7f, uint64(10)
		if value[0]&0x80 != 0 {
			base = 2
		}
		n.units = 1
		for range power {
			high, low := bits.Mul64(n.units, base)
			if high != 0 {
				return damage("time resolution of %d to the power of -%d", base, power)
			}
			n.units = low
		}
	case code == optionOffset && len(value) == 8:
		high, low := uint32At(value, bigEndian), uint32At(value[4:], bigEndian)
		if !bigEndian {
			high, low = low, high
		}
		n.offset = int64(uint64(high)<<32 | uint64(low))
	}
	return nil
}

// maxSeconds is the latest time that is told apart, in the year 2242: some
// files count ns and declare µs.
const maxSeconds = 1<<33 - 1

// time converts a count of units to ns since 1970, truncated to microseconds.
// ok is false if it was bent into range.
func (n *captureInterface) time(units uint64) (ns int64, ok bool) {
	seconds := units / n.units
	high, low := bits.Mul64(units%n.units, 1e6)
	micro, _ := bits.Div64(high, low, n.units)
	if seconds > maxSeconds || n.offset > maxSeconds || n.offset < -maxSeconds {
		return maxSeconds * 1e9, false
	}
	total := int64(seconds) + n.offset
	if total < 0 || total > maxSeconds {
		return max(0, min(total, maxSeconds)) * 1e9, false
	}
	return total*1e9 + int64(micro)*1e3, true
}

// readPacketBlock reads an enhanced packet block, or the obsolete packet block,
// which differs in the width of the interface's number.
func (c *capture) readPacketBlock(kind uint32, body []byte) error {
	if len(body) < 20 {
		return damage("packet block of %d bytes", len(body))
	}
	number := uint32At(body, c.bigEndian)
	if kind == blockPacket {
		number = uint32(uint16At(body, c.bigEndian))
	}
	if uint64(number) >= uint64(len(c.interfaces)) {
		return damage("interface %d is not described", number)
	}
	nic := &c.interfaces[number]
	high, low := uint32At(body[4:], c.bigEndian), uint32At(body[8:], c.bigEndian)
	captured := uint32At(body[12:], c.bigEndian)
	if uint64(captured) > uint64(len(body)-20) {
		return damage("captured length %s in a block of %s bytes", grouped(uint64(captured)), grouped(uint64(len(body))))
	}
	time, ok := nic.time(uint64(high)<<32 | uint64(low))
	if !ok {
		c.badTimes++
	}
	c.frame = frame{time: time, wire: uint32At(body[16:], c.bigEndian), link: nic.link, place: nic.place, data: body[20 : 20+captured : 20+captured]}
	return nil
}

// readSimplePacket reads a simple packet block. It has no time: 0, as libpcap
// gives it.
func (c *capture) readSimplePacket(body []byte) error {
	if len(body) < 4 {
		return damage("packet block of %d bytes", len(body))
	}
	if len(c.interfaces) == 0 {
		return damage("interface 0 is not described")
	}
	nic := &c.interfaces[0]
	wire := uint32At(body, c.bigEndian)
	captured := min(uint64(wire), uint64(len(body)-4))
	if nic.snapLength != 0 {
		captured = min(captured, uint64(nic.snapLength))
	}
	c.frame = frame{wire: wire, link: nic.link, place: nic.place, data: body[4 : 4+captured : 4+captured]}
	return nil
}
