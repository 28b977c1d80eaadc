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

// shortHistory is up to ten letters, 6 bits each from the lowest on, and their number
// above.
type shortHistory uint64

const (
	shortLetters    = 10
	shortLetterBits = 6
	shortLengthAt   = shortLetters * shortLetterBits

	// loneSYNACK is the history of an originator's SYN-ACK and nothing else.
	loneSYNACK = shortHistory('H' - letterBase | 1<<shortLengthAt)
	letterBase = '@' // all letters, and ^, are less than 64 above it
)

func (h shortHistory) length() int { return int(h >> shortLengthAt) }

// add appends a letter to less than ten.
func (h *shortHistory) add(letter byte) {
	*h |= shortHistory(letter-letterBase) << (h.length() * shortLetterBits)
	*h += 1 << shortLengthAt
}

func (h shortHistory) appendTo(b []byte) []byte {
	for n := h.length(); n > 0; n-- {
		b = append(b, letterBase|byte(h)&(1<<shortLetterBits-1))
		h >>= shortLetterBits
	}
	return b
}

// historyChunk holds letters beyond those in the connection itself.
type historyChunk struct {
	next   uint32
	length uint8
	text   [27]byte
}

// addLetter appends a letter to the history, as it stands.
func (t *Tracker) addLetter(c *hot, letter byte) {
	if c.history.length() < shortLetters {
		c.history.add(letter)
		return
	}
	d := t.coldOf(c)
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
func (t *Tracker) addSideLetter(c *hot, side int, letter byte) {
	t.addLetter(c, letter|byte(side)<<5) // side 1 makes it lower case
}

// addOnce appends a letter unless this role has written it, and tells whether.
func (t *Tracker) addOnce(c *hot, side int, bit letterBits, letter byte) bool {
	e := &c.endpoint[side]
	if e.letters&bit != 0 {
		return false
	}
	e.letters |= bit
	t.addSideLetter(c, side, letter)
	return true
}

// addScaled counts an event and appends its letter when the count reaches 1, 10,
// 100, ... (Zeek src/session/Session.cc, ScaledHistoryEntry).
func (t *Tracker) addScaled(c *hot, side int, count *uint32, letter byte) {
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
func (t *Tracker) appendHistory(b []byte, c *hot) []byte {
	b = c.history.appendTo(b)
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
		t.addPerPosition(c.hot, side, letterSYN, letter, position)
	case bpf.FIN:
		t.addPerPosition(c.hot, side, letterFIN, 'F', position+uint64(payload))
	case bpf.RST:
		t.addPerPosition(c.hot, side, letterRST, 'R', position)
	default:
		if flags.Has(bpf.FIN | bpf.RST) {
			t.addOnce(c.hot, side, letterInconsistent, 'I')
		} else {
			t.addOnce(c.hot, side, letterMultiFlag, 'Q')
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
	if c.history == loneSYNACK {
		c.history = 0
		t.flip(c) // leaves "^"
		t.addLetter(c.hot, 'h')
		c.bits = c.bits&^bitPartial | bitSeenOrig | bitSeenResp
		side = 1 - side
	}
	if payload > 0 {
		t.addOnce(c.hot, side, letterData, 'D')
	} else {
		t.addOnce(c.hot, side, letterAck, 'A')
	}
	return side
}

// addPerPosition writes S, H, F or R: the first time, and again whenever it
// stands at another position than the last one written.
func (t *Tracker) addPerPosition(c *hot, side int, bit letterBits, letter byte, position uint64) {
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
func (t *Tracker) lastPosition(c *hot, side int, bit letterBits, position uint64) *uint64 {
	if c.cold == 0 && position == 0 {
		return nil
	}
	d := &t.coldOf(c).side[side]
	switch bit {
	case letterSYN:
		return &d.lastSYN
	case letterFIN:
		return &d.lastFIN
	default:
		return &d.lastRST
	}
}
