// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// letterBits are the once-only letters that a role has written. S and H share
// one (Zeek src/analyzer/protocol/tcp/TCP_Endpoint.cc, CheckHistory).
type letterBits uint8

const (
	letterSYN letterBits = 1 << iota
	letterFIN
	letterRST
	letterData
	letterAck
	letterInconsistent // I
	letterMultiFlag    // Q
)

// historyChunk holds letters beyond those in the connection itself.
type historyChunk struct {
	next   uint32
	length uint8
	text   [27]byte
}

// addLetter appends a letter to the history, as it stands.
func (t *Tracker) addLetter(c connection, letter byte) {
	if int(c.historyLength) < len(c.history) {
		c.history[c.historyLength] = letter
		c.historyLength++
		return
	}
	d := t.coldOf(c.hot)
	if d.historyTail == 0 || int(t.letters.At(d.historyTail).length) == len(historyChunk{}.text) {
		i, _ := t.letters.Get()
		if d.historyTail == 0 {
			d.history = i
		} else {
			t.letters.At(d.historyTail).next = i
		}
		d.historyTail = i
	}
	h := t.letters.At(d.historyTail)
	h.text[h.length] = letter
	h.length++
}

// addSideLetter appends a letter in the case of its side.
func (t *Tracker) addSideLetter(c connection, side int, letter byte) {
	t.addLetter(c, letter|byte(side)<<5) // side 1 makes it lower case
}

// addOnce appends a letter unless this role has written it, and tells whether.
func (t *Tracker) addOnce(c connection, side int, bit letterBits, letter byte) bool {
	if c.letters[side]&bit != 0 {
		return false
	}
	c.letters[side] |= bit
	t.addSideLetter(c, side, letter)
	return true
}

// addScaled counts an event and appends its letter when the count reaches 1, 10,
// 100, ... (Zeek src/session/Session.cc, ScaledHistoryEntry).
func (t *Tracker) addScaled(c connection, side int, count *uint32, letter byte) {
	if *count == ^uint32(0) {
		return
	}
	*count++
	if isPowerOfTen(*count) {
		t.addSideLetter(c, side, letter)
	}
}

func isPowerOfTen(n uint32) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// appendHistory appends the whole history to b.
func (t *Tracker) appendHistory(b []byte, c connection) []byte {
	b = append(b, c.history[:c.historyLength]...)
	if c.cold == 0 {
		return b
	}
	for i := t.cold.At(c.cold).history; i != 0; {
		h := t.letters.At(i)
		b = append(b, h.text[:h.length]...)
		i = h.next
	}
	return b
}

// freeHistory gives back the chunks of a history.
func (t *Tracker) freeHistory(d *cold) {
	for i := d.history; i != 0; {
		next := t.letters.At(i).next
		t.letters.Put(i)
		i = next
	}
}

// tcpLetter writes the main letter of a TCP packet and returns the sender's
// side, which a flip may change (Zeek TCPSessionAdapter.cc, update_history).
// position is the packet's relative sequence number.
func (t *Tracker) tcpLetter(c connection, side int, p *bpf.Packet, position uint64, payload uint32) int {
	switch flags := p.Flags & (bpf.SYN | bpf.FIN | bpf.RST); flags {
	case 0:
		return t.tcpPlainLetter(c, side, p, payload)
	case bpf.SYN:
		letter := byte('S')
		if p.Flags.Has(bpf.ACK) {
			letter = 'H'
		}
		t.addPerPosition(c, side, letterSYN, letter, position)
	case bpf.FIN:
		t.addPerPosition(c, side, letterFIN, 'F', position+uint64(payload))
	case bpf.RST:
		t.addPerPosition(c, side, letterRST, 'R', position)
	default:
		if flags.Has(bpf.FIN | bpf.RST) {
			t.addOnce(c, side, letterInconsistent, 'I')
		} else {
			t.addOnce(c, side, letterMultiFlag, 'Q')
		}
	}
	return side
}

// tcpPlainLetter writes the letter of a packet without SYN, FIN and RST. After a
// lone SYN-ACK it first decides that the other side is the originator.
func (t *Tracker) tcpPlainLetter(c connection, side int, p *bpf.Packet, payload uint32) int {
	if payload == 0 && !p.Flags.Has(bpf.ACK) {
		return side
	}
	if c.letters == [2]letterBits{letterSYN} && c.historyLength == 1 && c.history[0] == 'H' {
		c.historyLength = 0
		t.flip(c) // leaves "^"
		t.addLetter(c, 'h')
		c.bits = c.bits&^bitPartial | bitSeenOrig | bitSeenResp
		side = 1 - side
	}
	if payload > 0 {
		t.addOnce(c, side, letterData, 'D')
	} else {
		t.addOnce(c, side, letterAck, 'A')
	}
	return side
}

// addPerPosition writes S, H, F or R: the first time, and again whenever it
// stands at another position than the last one written.
func (t *Tracker) addPerPosition(c connection, side int, bit letterBits, letter byte, position uint64) {
	last := t.lastPosition(c, side, bit, position)
	if last == nil {
		t.addOnce(c, side, bit, letter)
		return
	}
	if !t.addOnce(c, side, bit, letter) {
		if *last == position {
			return
		}
		t.addSideLetter(c, side, letter)
	}
	*last = position
}

// lastPosition is where the position of the endpoint's last such letter is kept.
// It is nil if that is zero, as it is at first, and would stay so: most
// connections need no cold part for their SYNs.
func (t *Tracker) lastPosition(c connection, side int, bit letterBits, position uint64) *uint64 {
	if c.cold == 0 && position == 0 {
		return nil
	}
	d := &t.coldOf(c.hot).side[side]
	switch bit {
	case letterSYN:
		return &d.lastSYN
	case letterFIN:
		return &d.lastFIN
	default:
		return &d.lastRST
	}
}
