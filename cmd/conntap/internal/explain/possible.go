// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"math/bits"
	"regexp"
	"strings"

	"conntap/tracker"
)

// Which states can come with a history? The history names packets, so it can
// be replayed through the state machine of both endpoints. It doesn't name all
// of them (a second pure ACK leaves no letter), so the replay follows every
// course that the letters allow. What no course reaches can't be; everything
// that can be is reached, as each condition that the letters leave open (a
// sequence number, a length) counts as possible both ways.

// states is a set of tracker.State.
type states uint16

func (s states) has(state tracker.State) bool { return s>>state&1 == 1 }

func (s *states) add(state tracker.State) { *s |= 1 << state }

// String lists the states in the order of the table.
func (s states) String() string {
	var names []string
	for state := range tracker.State(tracker.StateCount) {
		if s.has(state) {
			names = append(names, state.String())
		}
	}
	return strings.Join(names, ", ")
}

// possibleStates are the states that a row with this history can have, whatever
// its transport. proto narrows it: tcp, udp, icmp, unknown_transport.
func possibleStates(proto, history string) states {
	var s states
	if proto == "" || proto == "tcp" {
		s |= possibleTCP(history)
	}
	if proto == "" || proto == "udp" {
		s |= possibleUDP(history)
	}
	if proto == "" || proto == "icmp" || proto == "unknown_transport" {
		// X: a limit on tunnels was met in its packets (Zeek 8.0.10).
		if history == "" || history == "X" {
			s.add(tracker.OTH)
		}
	}
	return s
}

// possibleUDP: a side counts as active by its byte count, which a packet with a
// length field below 8 leaves negative (spec 5.8, 6).
func possibleUDP(history string) (s states) {
	if strings.Trim(history, "DdCcX^") != "" {
		return 0
	}
	orig, resp := strings.Contains(history, "D"), strings.Contains(history, "d")
	s.add(tracker.OTH)
	if orig {
		s.add(tracker.S0)
	}
	if resp {
		s.add(tracker.SHR)
	}
	if orig && resp {
		s.add(tracker.SF)
	}
	return s
}

// side is one endpoint in the replay.
type side struct {
	state     tracker.TCPState
	wasClosed bool // the state before this one was CLOSED
}

func (s *side) set(state tracker.TCPState) {
	s.wasClosed = s.state == tracker.TCPClosed
	s.state = state
}

// course is one way in which a replay can stand. flips says that a SYN reversal
// happened whose ^ is still to come.
type course struct {
	side  [2]side // originator, responder
	flips bool
}

type courses map[course]bool

// packet is what the state machine looks at.
type packet struct {
	syn, ack, fin, rst, payload bool
}

// packets are the forms of the packet behind a main letter (spec 9.2).
var packets = map[byte][]packet{
	'S': {{syn: true}},
	'H': {{syn: true, ack: true}},
	'A': {{ack: true}},
	'D': {{payload: true}, {payload: true, ack: true}},
	'F': {{fin: true}},
	'R': {{rst: true}},
	'I': {{fin: true, rst: true}, {syn: true, fin: true, rst: true}, {syn: true, ack: true, fin: true, rst: true}},
	'Q': {
		{syn: true, fin: true},
		{syn: true, ack: true, fin: true},
		{syn: true, rst: true},
		{syn: true, ack: true, rst: true},
	},
}

// mainLetters are the keys of packets.
const mainLetters = "SHADFRIQ"

// replay steps through a history. seen are the sides' letters so far.
type replay struct {
	at   courses
	seen [2]string
}

// possibleTCP replays a history of TCP. "^h" stands for two beginnings: a
// SYN-ACK from a likely server port, and one that turned "H" into "^h" when the
// next packet came (spec 9.4), which left A or D of some side.
func possibleTCP(history string) states {
	r := replay{at: courses{course{}: true}}
	r.silent()
	s := r.run(history).states(history)
	if len(history) > 2 && history[:2] == "^h" && strings.ContainsRune("AaDd", rune(history[2])) {
		r := replay{at: courses{course{}: true}}
		r.silent()
		r = r.run("H")
		r.at = flipped(r.at)
		r.seen[1] = "H"
		s |= r.run(history[2:]).states(history)
	}
	return s
}

func (r replay) run(history string) replay {
	for i := range len(history) {
		r.letter(history[i])
		r.silent()
	}
	return r
}

// letter takes the packet, or the flip, behind one letter. C, T, W, G and X
// tell of no change of state.
func (r *replay) letter(letter byte) {
	upper := letter &^ 0x20
	switch {
	case letter == '^':
		r.at = flipped(r.at)
	case strings.IndexByte(mainLetters, upper) >= 0:
		from := 0
		if letter != upper {
			from = 1
		}
		r.seen[from] += string(upper)
		next := courses{}
		for c := range r.at {
			for _, p := range packets[upper] {
				c.take(from, p, next)
			}
		}
		r.at = next
	}
}

// silent adds what packets without a letter can have done: repetitions, and
// packets without flags and payload, which never have one.
func (r *replay) silent() {
	todo := make([]course, 0, len(r.at))
	for c := range r.at {
		todo = append(todo, c)
	}
	for len(todo) > 0 {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		next := courses{}
		for from := range 2 {
			c.take(from, packet{}, next)
			for _, letter := range mainLetters {
				if r.canRepeat(from, byte(letter)) {
					for _, p := range packets[byte(letter)] {
						c.take(from, p, next)
					}
				}
			}
		}
		for c := range next {
			if !r.at[c] {
				r.at[c] = true
				todo = append(todo, c)
			}
		}
	}
}

// canRepeat says that another such packet may leave no letter. S and H share
// what is remembered.
func (r *replay) canRepeat(from int, letter byte) bool {
	if letter == 'S' || letter == 'H' {
		return strings.ContainsAny(r.seen[from], "SH")
	}
	return strings.IndexByte(r.seen[from], letter) >= 0
}

// flipped are the courses after a role flip.
func flipped(at courses) courses {
	next := courses{}
	for c := range at {
		c.side[0], c.side[1] = c.side[1], c.side[0]
		c.flips = false
		next[c] = true
	}
	return next
}

// take adds to next what a packet from one side can make of the course
// (spec 5.5).
func (c course) take(from int, p packet, next courses) {
	if c.flips {
		return // its ^ comes before the next packet
	}
	e, peer := &c.side[from], &c.side[1-from]
	if from == 1 && e.state == tracker.TCPInactive && p.syn && !p.ack && peer.state == tracker.TCPSynAckSent {
		reversed := c
		reversed.side[0].set(tracker.TCPEstablished)
		reversed.flips = true
		reversed.side[1].fromInactive(&reversed.side[0], p, false)
		next[reversed] = true
	}
	switch e.state {
	case tracker.TCPInactive:
		e.fromInactive(peer, p, from == 0)
	case tracker.TCPSynSent, tracker.TCPSynAckSent:
		e.fromSynSent(p)
	case tracker.TCPEstablished, tracker.TCPPartial:
		e.fromEstablished(peer, p)
	case tracker.TCPClosed:
		if p.rst && peer.state != tracker.TCPClosed {
			e.set(tracker.TCPReset)
		}
	}
	next[c] = true
}

func (s *side) fromInactive(peer *side, p packet, isOrig bool) {
	switch {
	case p.syn && isOrig && p.ack:
		s.set(tracker.TCPSynAckSent)
	case p.syn && isOrig:
		s.set(tracker.TCPSynSent)
	case p.syn:
		if peer.state == tracker.TCPSynSent {
			peer.set(tracker.TCPEstablished)
		}
		s.set(tracker.TCPEstablished)
	}
	if p.fin {
		s.set(tracker.TCPClosed)
	}
	if p.rst {
		s.set(tracker.TCPReset)
	}
	if p.syn || p.fin || p.rst {
		return
	}
	switch {
	case !isOrig && !p.payload && peer.state == tracker.TCPSynSent:
	case p.ack && peer.state == tracker.TCPEstablished:
		s.set(tracker.TCPEstablished)
	default:
		s.set(tracker.TCPPartial)
	}
}

func (s *side) fromSynSent(p packet) {
	if p.fin {
		s.set(tracker.TCPClosed)
	}
	if p.rst {
		s.set(tracker.TCPReset)
	}
}

func (s *side) fromEstablished(peer *side, p packet) {
	if p.syn && !p.ack && s.state == tracker.TCPPartial && peer.state == tracker.TCPInactive {
		s.set(tracker.TCPSynSent)
	}
	if p.fin && !p.rst {
		s.set(tracker.TCPClosed)
		if peer.state == tracker.TCPReset && peer.wasClosed {
			peer.set(tracker.TCPClosed)
		}
	}
	if p.rst {
		s.set(tracker.TCPReset)
	}
}

// states are the conn_states of all courses.
func (r replay) states(history string) (s states) {
	for c := range r.at {
		if !c.flips {
			s |= c.states(history)
		}
	}
	return s
}

var synThenReset = regexp.MustCompile(`^\^?S[^HAFGIQ]*R`)

// states is conn_state (spec 5.8). Only rule 1 leaves a choice, by the sizes.
func (c course) states(history string) (s states) {
	orig, resp := c.side[0].state, c.side[1].state
	origAbsent := orig == tracker.TCPInactive || orig == tracker.TCPPartial
	respAbsent := resp == tracker.TCPInactive || resp == tracker.TCPPartial
	switch {
	case resp == tracker.TCPReset && (orig == tracker.TCPSynSent || orig == tracker.TCPSynAckSent):
		s.add(tracker.REJ)
	case resp == tracker.TCPReset && orig == tracker.TCPReset:
		s.add(tracker.REJ)
		s.add(tracker.RSTR)
	case resp == tracker.TCPReset && origAbsent:
		s.add(tracker.RSTRH)
	case resp == tracker.TCPReset:
		s.add(tracker.RSTR)
	case orig == tracker.TCPReset && respAbsent && synThenReset.MatchString(history):
		s.add(tracker.RSTOS0)
	case orig == tracker.TCPReset && respAbsent:
		s.add(tracker.OTH)
	case orig == tracker.TCPReset:
		s.add(tracker.RSTO)
	case orig == tracker.TCPClosed && resp == tracker.TCPClosed:
		s.add(tracker.SF)
	case orig == tracker.TCPClosed && respAbsent:
		s.add(tracker.SH)
	case orig == tracker.TCPClosed:
		s.add(tracker.S2)
	case resp == tracker.TCPClosed && origAbsent:
		s.add(tracker.SHR)
	case resp == tracker.TCPClosed:
		s.add(tracker.S3)
	case orig == tracker.TCPSynSent && resp == tracker.TCPInactive:
		s.add(tracker.S0)
	case orig == tracker.TCPEstablished && resp == tracker.TCPEstablished:
		s.add(tracker.S1)
	default:
		s.add(tracker.OTH)
	}
	return s
}

// count is the number of states in the set.
func (s states) count() int { return bits.OnesCount16(uint16(s)) }
