// SPDX-License-Identifier: Apache-2.0

package service

// The two sides of a connection index its two-element arrays.
const (
	orig = 0
	resp = 1
)

// violationLimit is how many payload bytes of both sides a connection may have
// for a violation to take an analyzer off it (Zeek frameworks/analyzer/dpd.zeek,
// ignore_violations_after).
const violationLimit = 10240

// Addr is an IP address in network byte order, IPv4 mapped.
type Addr = [16]byte

// Segment is TCP payload, and what the tracker knows when it comes.
type Segment struct {
	// Payload is what is at hand of the payload, from its first byte.
	Payload []byte
	// Position is where the payload's first byte stands in its side's stream. The
	// first byte of a stream stands at 1.
	Position uint64
	// Delivered are the positions up to which the sides' streams were complete
	// before, or given up because the other side has acknowledged what was not seen.
	Delivered [2]uint64
	// Total is how many bytes both sides have sent.
	Total uint64
	// Time is the packet's, ns.
	Time int64
	// Length is the payload's true length, bytes; not below len(Payload).
	Length uint32
	// Side is 0 for the originator's payload, 1 for the responder's.
	Side int
	// Partial tells that the connection was picked up in midstream.
	Partial bool
	// Port is the responder's.
	Port uint16
	// Addr are the originator's and the responder's address.
	Addr *[2]Addr
}

// state is what an undecided TCP connection needs.
type state struct {
	names list
	end   [2]uint64 // position up to which the stream was taken
	skip  [2]uint64 // bytes that the analyzer doesn't want to see
	held  [2]uint32 // chunk with the last bytes before end: a unit that isn't complete
	early [2]uint32 // chunk beyond a hole
	side  [2]sideState
	word  uint32 // the analyzer's own

	parsed   [2]uint16 // while sniffing: how many of the held bytes the analyzer has taken
	active   Name      // the analyzer that takes the stream
	failed   Name      // the analyzer that a violation took off
	layer    uint8     // grows when a protocol begins inside another
	segments uint8     // pieces of the streams that came, up to unconfirmedLimit
	flags    stateFlags
}

// sideState is what an analyzer keeps of one side.
type sideState struct {
	value uint32
	count uint16
	phase uint8
	flags uint8
}

type stateFlags uint16

const (
	flagSniffing  stateFlags = 1 << iota // the beginning is held, signatures may match
	flagSettled                          // nothing more to find out
	flagConfirmed                        // the active analyzer has confirmed
	flagGapOrig                          // bytes of the originator are missing
	flagGapResp
	flagSniffed      // signatures need not see more
	flagHopelessOrig // none will match the originator's stream
	flagHopelessResp
)

// unconfirmedLimit is how many pieces of the streams an analyzer may take without
// confirming before it is given up: all of them confirm early or never.
const unconfirmedLimit = 255

// sniffLimit and sniffSegments are how many bytes of both sides signatures see, and
// in how many pieces (Zeek dpd_buffer_size, dpd_max_packets).
const (
	sniffLimit    = 1024
	sniffSegments = 100
)

// TCP takes a segment's payload and returns what else follows from it. It must
// not be called for a decided Ref.
func (m *Monitor) TCP(r *Ref, g *Segment) Effect {
	m.effect, m.at = 0, *g
	var s *state
	if *r&refStored != 0 {
		s = m.states.At(uint32(*r & refValue))
	} else {
		s = m.open(r, g)
	}
	m.segment(s, g)
	m.smbConfirm(s)
	m.afterwards(r, s)
	return m.effect
}

// Skip takes a payload that comes in order and that no analyzer wants to see, and
// tells whether it did: the inside of a long message, or what follows a beginning that
// no signature matches while the other side may yet say something. It saves making a
// segment. Of length bytes, atHand are there.
func (m *Monitor) Skip(r Ref, side int, position uint64, length uint32, atHand int) bool {
	if r&refStored == 0 {
		return false
	}
	s := m.states.At(uint32(r & refValue))
	n := uint64(length)
	if s.end[side] != position || s.held[side]|s.early[side] != 0 {
		return false
	}
	if hopeless := flagHopelessOrig << side; s.flags&(flagSniffing|hopeless) == flagSniffing|hopeless {
		if !s.isDull() || n > sniffLimit || int(length) != atHand {
			return false
		}
		s.end[side] += n
		s.segments++
		return true
	}
	if s.skip[side] < n || s.flags&(flagConfirmed|flagSniffing) != flagConfirmed || s.isFinal() || s.active == WebSocket {
		return false
	}
	s.end[side] += n
	s.skip[side] -= n
	return true
}

// isDull tells, while signatures may match and one side is hopeless, that another
// piece of that side will change nothing.
func (s *state) isDull() bool {
	return s.active == 0 && s.flags&(flagSettled|flagConfirmed|flagSniffed) == 0 && s.segments < sniffSegments &&
		s.held[orig]|s.held[resp]|s.early[orig]|s.early[resp] == 0 && s.skip[orig]|s.skip[resp] == 0
}

// afterwards settles a connection of which nothing more is to find out.
func (m *Monitor) afterwards(r *Ref, s *state) {
	switch {
	case s.flags&flagSniffing == 0 && s.active == 0,
		m.at.Total+s.skip[orig]+s.skip[resp] > violationLimit && s.isFinal(),
		s.segments == unconfirmedLimit && s.flags&flagConfirmed == 0:
		s.flags |= flagSettled
	}
	if s.flags&flagSettled != 0 {
		m.settle(r, s)
	}
	m.at.Payload, m.at.Addr = nil, nil
}

// open makes the state of a connection whose first payload has come.
func (m *Monitor) open(r *Ref, g *Segment) *state {
	names := r.inline()
	i, s := m.states.Take()
	*s = state{names: names, end: [2]uint64{1, 1}, flags: flagSniffing}
	if *r&refReoriented == 0 && names == 0 {
		s.active = tcpPorts[g.Port]
	}
	*r = refStored | Ref(i)
	return s
}

// isFinal tells that the analyzer, once confirmed, finds nothing more.
func (s *state) isFinal() bool {
	if s.flags&flagConfirmed == 0 {
		return false
	}
	switch s.active {
	case FTP, IRC, SMB, DCERPC, SOCKS, WebSocket:
		return false
	case SMTP:
		return s.word&smtpInHeader == 0
	}
	return true
}

// settle frees what a connection needed to be named.
func (m *Monitor) settle(r *Ref, s *state) {
	m.release(s)
	if s.names.length() <= inlineNames {
		m.states.Put(uint32(*r & refValue))
		*r = Ref(s.names)
	}
	*r |= refDecided
}

// release frees the bytes that a state holds.
func (m *Monitor) release(s *state) {
	for side := range s.held {
		m.freeHeld(s, side)
		if s.early[side] != 0 {
			m.chunks.Put(s.early[side])
			s.early[side] = 0
		}
	}
}

func (m *Monitor) freeHeld(s *state, side int) {
	if s.held[side] != 0 {
		m.chunks.Put(s.held[side])
		s.held[side], s.parsed[side] = 0, 0
	}
}

func (s *state) flip() {
	s.end[orig], s.end[resp] = s.end[resp], s.end[orig]
	s.skip[orig], s.skip[resp] = s.skip[resp], s.skip[orig]
	s.held[orig], s.held[resp] = s.held[resp], s.held[orig]
	s.early[orig], s.early[resp] = s.early[resp], s.early[orig]
	s.side[orig], s.side[resp] = s.side[resp], s.side[orig]
	s.parsed[orig], s.parsed[resp] = s.parsed[resp], s.parsed[orig]
}

// segment puts the payload in its place.
func (m *Monitor) segment(s *state, g *Segment) {
	side, b, at := g.Side, g.Payload, g.Position
	end := at + uint64(g.Length)
	m.giveUp(s, g)
	if end <= s.end[side] {
		return
	}
	if known := s.end[side]; at < known {
		b = b[min(known-at, uint64(len(b))):]
		at = known
	}
	if at > s.end[side] {
		m.keepEarly(s, side, at, b)
		return
	}
	m.deliver(s, side, b)
	if cut := end - at - uint64(len(b)); cut > 0 {
		var prefix []byte
		if i := s.held[side]; i != 0 {
			prefix = m.chunks.At(i).bytes()[s.parsed[side]:]
		}
		m.cut(s, side, cut, prefix)
	}
	m.takeEarly(s, side, 0)
}

// giveUp goes on behind what the tracker does not wait for any more.
func (m *Monitor) giveUp(s *state, g *Segment) {
	for side, delivered := range g.Delivered {
		if s.end[side] < delivered {
			m.takeEarly(s, side, delivered)
			if known := s.end[side]; known < delivered {
				m.gap(s, side, delivered-known)
			}
		}
	}
}

// End tells that a side's stream is complete and ends here: a line without an end
// is one (Zeek src/analyzer/protocol/tcp/ContentLine.cc, EndpointEOF). The segment
// has no payload.
func (m *Monitor) End(r *Ref, g *Segment) Effect {
	m.effect, m.at = 0, *g
	if *r&refStored == 0 || *r&refDecided != 0 {
		return 0
	}
	s := m.states.At(uint32(*r & refValue))
	m.giveUp(s, g)
	if s.isOfLines() && s.held[g.Side] != 0 {
		end := s.end[g.Side]
		m.deliver(s, g.Side, []byte{'\n'})
		s.end[g.Side] = end
	}
	m.afterwards(r, s)
	return m.effect
}

// isOfLines tells that the analyzer takes lines.
func (s *state) isOfLines() bool {
	switch s.active {
	case HTTP, FTP, SMTP, POP3, IRC, Finger:
		return true
	}
	return false
}

// keepEarly holds bytes beyond a hole: one run of them, as far as a chunk goes.
// What is dropped is missing later.
func (m *Monitor) keepEarly(s *state, side int, at uint64, b []byte) {
	if s.early[side] == 0 {
		if s.early[side], _ = m.takeChunk(at); s.early[side] == 0 {
			return
		}
	}
	if c := m.chunks.At(s.early[side]); c.end() == at {
		c.fill(b)
	}
}

// takeEarly delivers the bytes beyond a hole that is filled, or given up before
// limit.
func (m *Monitor) takeEarly(s *state, side int, limit uint64) {
	i := s.early[side]
	if i == 0 || s.flags&flagSettled != 0 {
		return
	}
	c := m.chunks.At(i)
	if c.start > s.end[side] {
		if c.start >= limit {
			return
		}
		m.gap(s, side, c.start-s.end[side])
	}
	s.early[side] = 0
	if known := s.end[side] - c.start; known < uint64(c.length) {
		m.deliver(s, side, c.bytes()[known:])
	}
	m.chunks.Put(i)
}

// deliver takes the bytes that continue a side's stream.
func (m *Monitor) deliver(s *state, side int, b []byte) {
	if s.segments < unconfirmedLimit {
		s.segments++
	}
	for len(b) > 0 && s.flags&flagSettled == 0 {
		if s.held[side] == 0 {
			n := m.consume(s, side, b)
			s.end[side] += uint64(n)
			b = b[n:]
			if len(b) == 0 {
				return
			}
			i, c := m.takeChunk(s.end[side])
			if i == 0 {
				m.cut(s, side, uint64(len(b)), b)
				return
			}
			s.held[side] = i
			n = c.fill(b)
			s.end[side] += uint64(n)
			b = b[n:]
		} else {
			c := m.chunks.At(s.held[side])
			n := c.fill(b)
			s.end[side] += uint64(n)
			b = b[n:]
			m.reconsider(s, side, c)
		}
		if len(b) > 0 && s.held[side] != 0 {
			m.overflow(s, side)
		}
	}
}

// reconsider lets the analyzer see the held bytes again, and drops what it took.
func (m *Monitor) reconsider(s *state, side int, c *chunk) {
	n := m.consume(s, side, c.bytes())
	if s.held[side] == 0 {
		return
	}
	if c.drop(n); c.length == 0 {
		m.freeHeld(s, side)
	}
}

// overflow ends sniffing or, if the analyzer wants a unit that does not fit,
// gives it up.
func (m *Monitor) overflow(s *state, side int) {
	c := m.chunks.At(s.held[side])
	if c.length < chunkSize {
		return
	}
	if s.flags&flagSniffing != 0 {
		m.endSniffing(s)
		if i := s.held[side]; i == 0 || m.chunks.At(i).length < chunkSize {
			return
		}
	}
	m.stop(s)
}

// consume shows contiguous bytes to the signatures and to the analyzer and
// returns how many are done with. While signatures may match none is.
func (m *Monitor) consume(s *state, side int, v []byte) int {
	done := 0
	if s.flags&flagSniffing == 0 {
		s.parsed[side] = 0
	}
	for {
		if s.flags&flagSniffing != 0 {
			m.sniff(s, side, v[done:])
		}
		layer := s.layer
		n := int(s.parsed[side])
		n += m.advance(s, side, v[done+n:])
		if s.flags&flagSettled != 0 {
			return len(v)
		}
		if s.layer != layer { // what follows belongs to another protocol
			done += n
			s.parsed[side] = 0
			continue
		}
		if s.flags&flagSniffing != 0 && s.stillSniffing() && len(v)-done <= chunkSize {
			if s.active == 0 && s.isHopeless(side, v[done:]) {
				s.parsed[side] = 0
				return len(v)
			}
			s.parsed[side] = uint16(n)
			return done
		}
		if s.flags&flagSniffing != 0 {
			s.flags &^= flagSniffing
			m.dropParsed(s, 1-side)
		}
		s.parsed[side] = 0
		if s.active == 0 {
			return len(v)
		}
		return done + n
	}
}

// stillSniffing tells that signatures may yet match.
func (s *state) stillSniffing() bool {
	return s.flags&(flagConfirmed|flagSniffed) == 0
}

// endSniffing drops what only signatures wanted to see.
func (m *Monitor) endSniffing(s *state) {
	s.flags &^= flagSniffing
	m.dropParsed(s, orig)
	m.dropParsed(s, resp)
	if s.active == 0 {
		s.flags |= flagSettled
	}
}

func (m *Monitor) dropParsed(s *state, side int) {
	if i := s.held[side]; i != 0 {
		c := m.chunks.At(i)
		n := int(s.parsed[side])
		if s.active == 0 {
			n = int(c.length)
		}
		if c.drop(n); c.length == 0 {
			m.freeHeld(s, side)
		}
	}
	s.parsed[side] = 0
}

// advance runs the analyzer over contiguous bytes until it wants more or another
// protocol begins, and returns how many it took.
func (m *Monitor) advance(s *state, side int, v []byte) int {
	n := 0
	for layer := s.layer; n < len(v) && s.layer == layer; {
		if k := min(s.skip[side], uint64(len(v)-n)); k > 0 {
			n += int(k)
			if s.skip[side] -= k; s.skip[side] == 0 && s.active == WebSocket {
				m.webSocketEnd(s, side)
			}
			continue
		}
		if s.active == 0 || s.flags&flagSettled != 0 {
			break
		}
		k := m.parse(s, side, v[n:])
		if k == 0 {
			break
		}
		n += k
	}
	return n
}

// attach makes an analyzer take the stream from its beginning.
func (m *Monitor) attach(s *state, side int, n Name) {
	s.active = n
	s.resetAnalyzer()
	s.flags &^= flagConfirmed
	if i := s.held[1-side]; i != 0 {
		s.parsed[1-side] = uint16(m.advance(s, 1-side, m.chunks.At(i).bytes()))
	}
}

func (s *state) resetAnalyzer() {
	s.skip, s.side, s.parsed = [2]uint64{}, [2]sideState{}, [2]uint16{}
	s.word = 0
}

// begin lets a protocol begin inside the one that has been there: where the
// streams stand now. No name: signatures decide.
func (m *Monitor) begin(s *state, n Name) {
	m.dropParsedOther(s)
	s.active = n
	s.resetAnalyzer()
	s.layer++
	s.flags &^= flagConfirmed
	s.failed, s.segments = 0, 0
	if n == 0 {
		s.flags = s.flags&^(flagSniffed|flagHopelessOrig|flagHopelessResp) | flagSniffing
	}
}

// dropParsedOther takes what the analyzer has taken from the held bytes of the
// side that isn't at hand, so that the new protocol begins behind it.
func (m *Monitor) dropParsedOther(s *state) {
	other := 1 - m.at.Side
	if i := s.held[other]; i != 0 {
		c := m.chunks.At(i)
		if c.drop(int(s.parsed[other])); c.length == 0 {
			m.freeHeld(s, other)
		}
	}
}

// confirm adds the active analyzer's name.
func (m *Monitor) confirm(s *state) {
	s.flags |= flagConfirmed
	s.names.add(s.active)
}

// violation takes the active analyzer off the connection, and its name, unless
// that comes too late or the stream has holes (Zeek frameworks/analyzer/dpd.zeek;
// src/analyzer/protocol/tcp/TCP.cc, TCP_ApplicationAnalyzer::AnalyzerViolation).
// It tells whether it did.
func (m *Monitor) violation(s *state) bool {
	if m.at.Partial || s.flags&(flagGapOrig|flagGapResp) != 0 || m.at.Total > violationLimit {
		return false
	}
	s.names.remove(s.active)
	s.failed, s.active = s.active, 0
	s.flags &^= flagConfirmed
	return true
}

// stop ends the analysis: what is confirmed stays.
func (m *Monitor) stop(s *state) {
	s.active = 0
	s.flags &^= flagSniffing
	s.flags |= flagSettled
}

// gap tells the analyzer that bytes of a side are missing.
func (m *Monitor) gap(s *state, side int, n uint64) {
	if s.flags&flagSettled != 0 {
		return
	}
	s.flags |= flagGapOrig << side
	if s.flags&flagSniffing != 0 {
		m.endSniffing(s)
	}
	s.end[side] += n
	if k := min(s.skip[side], n); s.held[side] == 0 && k > 0 {
		s.skip[side] -= k
		n -= k
	}
	if n == 0 || s.flags&flagSettled != 0 {
		return
	}
	s.skip[side] = 0
	m.missing(s, side)
}

// cut tells the analyzer that n bytes of a payload were cut off, or can't be held:
// what the prefix says, of which it wanted to see more, is all that will be known.
func (m *Monitor) cut(s *state, side int, n uint64, prefix []byte) {
	if s.flags&flagSettled != 0 {
		return
	}
	if s.active != 0 && (s.skip[side] < n || s.active == SSH) {
		m.guess(s, side, prefix)
	}
	m.gap(s, side, n)
}
