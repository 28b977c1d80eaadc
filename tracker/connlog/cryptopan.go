// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"

	"conntap/bpf"
)

// cryptoPAn writes addresses so that two which share their first n bits, and no
// more, still do (Xu, Fan, Ammar, Moon: Prefix-Preserving IP Address Anonymization,
// ICNP 2002, with AES-128 as in the authors' implementation, Crypto-PAn 1.0).
//
// Bit i of an address is flipped by the first bit of the cipher over the i bits
// before it, filled up with the pad: 32 or 128 blocks an address. So addresses
// written lately are kept in a table.
type cryptoPAn struct {
	block   cipher.Block
	pad     addr128
	in, out [aes.BlockSize]byte // here, as arguments of an interface would be allocated
	// recent is a table of sets of two, the latest first. Empty places hold the
	// address ::, which is looked for in its own set alone, and written there from
	// the start.
	recent [recentSets][2]writtenAddr
}

// recentSets makes room for 16,384 addresses in 512 KiB.
const (
	recentBits = 13
	recentSets = 1 << recentBits
)

// writtenAddr is an address, and what is written in its place.
type writtenAddr struct {
	addr, written bpf.Addr
}

// newCryptoPAn takes a key as the authors' implementation does: that of the
// cipher, then the pad, which is encrypted once before its use.
func newCryptoPAn(key *CryptoPAnKey) *cryptoPAn {
	p := &cryptoPAn{block: newAES([16]byte(key[:16]))}
	p.block.Encrypt(p.out[:], key[16:])
	p.pad = toNumber((*bpf.Addr)(&p.out))
	var none bpf.Addr
	shown := writtenAddr{none, p.encrypt(&none)}
	*p.set(&none) = [2]writtenAddr{shown, shown}
	return p
}

// newAES is AES-128 under a key.
func newAES(key [16]byte) cipher.Block {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("AES refuses a key of 16 bytes: " + err.Error())
	}
	return block
}

// of is what to write for an address, IPv4 mapped, which it stays.
func (p *cryptoPAn) of(addr *bpf.Addr) bpf.Addr {
	set := p.set(addr)
	switch *addr {
	case set[0].addr:
	case set[1].addr:
		set[0], set[1] = set[1], set[0]
	default:
		set[0], set[1] = writtenAddr{*addr, p.encrypt(addr)}, set[0]
	}
	return set[0].written
}

// set is where the table may have an address.
func (p *cryptoPAn) set(addr *bpf.Addr) *[2]writtenAddr {
	const odd = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: spreads what differs anywhere
	a := toNumber(addr)
	return &p.recent[((a.high^a.low*odd)*odd)>>(64-recentBits)]
}

func (p *cryptoPAn) encrypt(addr *bpf.Addr) (written bpf.Addr) {
	if isIPv4(addr) {
		written = *addr
		first := uint64(binary.BigEndian.Uint32(addr[12:])) << 32
		flips := p.flips(addr128{high: first}, 32)
		binary.BigEndian.PutUint32(written[12:], uint32((first^flips.high)>>32))
		return written
	}
	a := toNumber(addr)
	flips := p.flips(a, 128)
	binary.BigEndian.PutUint64(written[:8], a.high^flips.high)
	binary.BigEndian.PutUint64(written[8:], a.low^flips.low)
	return written
}

// flips are the first n bits to turn over in a.
func (p *cryptoPAn) flips(a addr128, n int) (flips addr128) {
	var known addr128 // ones where the bits of a count
	for i := range n {
		binary.BigEndian.PutUint64(p.in[:8], a.high&known.high|p.pad.high&^known.high)
		binary.BigEndian.PutUint64(p.in[8:], a.low&known.low|p.pad.low&^known.low)
		p.block.Encrypt(p.out[:], p.in[:])
		flip := uint64(p.out[0] >> 7)
		if i < 64 {
			flips.high |= flip << (63 - i)
			known.high |= 1 << (63 - i)
		} else {
			flips.low |= flip << (127 - i)
			known.low |= 1 << (127 - i)
		}
	}
	return flips
}
