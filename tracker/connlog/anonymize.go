// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"conntap/bpf"
	"conntap/tracker"
)

// Anonymization says what a log has in place of addresses. It never changes: logs
// with the same one have the same addresses and uids.
type Anonymization struct {
	key *CryptoPAnKey // nil: truncate
	// ipv4 and ipv6 are how many bits are left by truncation.
	ipv4, ipv6 int
	// uids is the key for uids: who knows the seed, which is none in a log of a file,
	// could otherwise try addresses until a uid comes out.
	uids [16]byte
}

// CryptoPAnKey is a key of Crypto-PAn: 16 bytes for the cipher, 16 for the pad.
type CryptoPAnKey [32]byte

// ParseCryptoPAnKey reads a key: 32 bytes as they are, or 64 hexadecimal digits
// and at most a line's end.
func ParseCryptoPAnKey(text []byte) (key CryptoPAnKey, err error) {
	digits := bytes.TrimRight(text, "\r\n")
	switch {
	case len(text) == len(key):
		copy(key[:], text)
		return key, nil
	case len(digits) != hex.EncodedLen(len(key)):
		return key, fmt.Errorf("a key of %d bytes: want 32 bytes, or 64 hexadecimal digits", len(text))
	}
	if _, err := hex.Decode(key[:], digits); err != nil {
		return CryptoPAnKey{}, fmt.Errorf("a key of 64 characters that are not all hexadecimal digits")
	}
	return key, nil
}

// CryptoPAn replaces addresses by others that share prefixes where they did.
// Sensors with the same key write the same for the same address.
func CryptoPAn(key CryptoPAnKey) *Anonymization {
	return &Anonymization{key: &key, uids: deriveUIDKey(key[:])}
}

// Truncate keeps the first bits of addresses, so many of IPv4 and of IPv6. The
// seed makes the uids, and must be kept as a key is; without one they are at
// random.
func Truncate(ipv4, ipv6 int, seed string) (*Anonymization, error) {
	if ipv4 < 0 || ipv4 > 32 || ipv6 < 0 || ipv6 > 128 {
		return nil, fmt.Errorf("%d and %d bits: want up to 32 of IPv4 and up to 128 of IPv6", ipv4, ipv6)
	}
	if seed == "" {
		seed = rand.Text()
	}
	return &Anonymization{ipv4: ipv4, ipv6: ipv6, uids: deriveUIDKey([]byte(seed))}, nil
}

// deriveUIDKey is a key of its own for uids, from which the secret can't be had.
func deriveUIDKey(secret []byte) [16]byte {
	sum := sha256.Sum256(append([]byte("conntap uid\x00"), secret...))
	return [16]byte(sum[:])
}

// anonymizer makes connections that can be shown.
type anonymizer struct {
	how  *Anonymization
	pan  *cryptoPAn // nil: truncate
	uids cipher.Block
	// in and out are blocks of the cipher.
	in, out [aes.BlockSize]byte

	conn    tracker.Conn
	parents []tracker.UID
}

func newAnonymizer(how *Anonymization) *anonymizer {
	a := &anonymizer{how: how, uids: newAES(how.uids), parents: []tracker.UID{}}
	if how.key != nil {
		a.pan = newCryptoPAn(how.key)
	}
	return a
}

// of is c as it may be written, valid until the next call.
func (a *anonymizer) of(c *tracker.Conn) *tracker.Conn {
	a.conn = *c
	a.conn.UID = a.uid(c.UID)
	if c.TunnelParents != nil {
		a.parents = a.parents[:0]
		for _, uid := range c.TunnelParents {
			a.parents = append(a.parents, a.uid(uid))
		}
		a.conn.TunnelParents = a.parents
	}
	for _, e := range []*tracker.Endpoint{&a.conn.Orig, &a.conn.Resp} {
		e.Addr = a.addr(&e.Addr)
		e.MAC = vendor(e.MAC)
	}
	return &a.conn
}

// addr is what to write for an address.
func (a *anonymizer) addr(addr *bpf.Addr) bpf.Addr {
	if a.pan != nil {
		return a.pan.of(addr)
	}
	bits := a.how.ipv6
	if isIPv4(addr) {
		bits = 96 + a.how.ipv4
	}
	cut := *addr
	for i := range cut {
		cut[i] &= ^byte(0xff >> min(max(bits-8*i, 0), 8))
	}
	return cut
}

// uid encrypts a uid and keeps 96 bits of the block.
func (a *anonymizer) uid(uid tracker.UID) tracker.UID {
	binary.BigEndian.PutUint32(a.in[:], uid.High)
	binary.BigEndian.PutUint64(a.in[4:], uid.Low)
	a.uids.Encrypt(a.out[:], a.in[:])
	return tracker.UID{High: binary.BigEndian.Uint32(a.out[:]), Low: binary.BigEndian.Uint64(a.out[4:])}
}

// vendor is the part of a MAC address that names the vendor. A locally administered
// one has none, and often holds an address (02:42:ac:11:00:02, 33:33:...): of it the
// two bits remain that say so (IEEE 802, 8.2.2).
func vendor(m bpf.MAC) bpf.MAC {
	const group, local = 1, 2
	if m[0]&local != 0 {
		return bpf.MAC{m[0] & (group | local)}
	}
	return bpf.MAC{m[0], m[1], m[2]}
}

// Written is what the log has in place of an address, IPv4 mapped: for messages
// beside it. Like Write, it is not safe for concurrent use.
func (w *Writer) Written(addr bpf.Addr) bpf.Addr {
	if w.anonymizer == nil {
		return addr
	}
	return w.anonymizer.addr(&addr)
}
