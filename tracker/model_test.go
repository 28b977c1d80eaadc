// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"conntap/bpf"
	"conntap/tracker"
)

// model does what a Tracker does, in the plainest way: a map of connections, a list
// of timers that is searched from end to end, histories as strings. It was written
// from the rules alone, by a reading of its own, so that a mistake in one of the two
// shows as a difference. It has no limit of connections, and names no services.
type model struct {
	now       int64
	connected map[modelKey]*modelConn
	timers    []modelTimer
	rows      []modelRow
	opened    int
	frame     int
	carriers  []modelCarrier // of this frame, by depth
	datagrams map[modelDatagramKey]*modelDatagram
}

func newModel() *model {
	return &model{
		connected: map[modelKey]*modelConn{},
		datagrams: map[modelDatagramKey]*modelDatagram{},
	}
}

const modelSecond = int64(time.Second)

// modelKey is a five-tuple in an order that both directions share.
type modelKey struct {
	protocol     uint8
	addr1, addr2 bpf.Addr
	port1, port2 uint16
}

// modelConn is one connection. What belongs to a host stands in its sides, and goes
// where it goes when the roles flip; what belongs to a role stands here, by
// modelOrig and modelResp.
type modelConn struct {
	id         int
	openedIn   int // the frame
	key        modelKey
	protocol   uint8
	oneWay     bool // ICMP without a counterpart: all is the originator's
	orig, resp *modelSide

	start, last     int64
	timeout         int64 // of inactivity
	history         string
	once            map[string]bool
	missed          uint64
	vlan, innerVLAN uint16

	partial     bool
	firstSeen   [2]bool
	deferred    bool // a close waits for data
	active      bool
	established bool // by this packet

	roleBytes  [2]int64 // UDP and ICMP
	roleSeen   [2]bool
	dns, ntp   bool
	dnsBegun   bool
	ntpFlipped [2]bool

	stack   []modelTunnel
	changes int
	parents []string
	stopped map[bpf.TunnelType]bool
}

const (
	modelOrig = 0
	modelResp = 1
)

// modelSide is one host of a connection.
type modelSide struct {
	addr             bpf.Addr
	port             uint16
	mac              bpf.MAC
	packets, ipBytes uint64
	counted          map[byte]uint64 // what the logarithmic letters count
	modelEndpoint
}

func (c *modelConn) role(s *modelSide) int {
	if s == c.orig {
		return modelOrig
	}
	return modelResp
}

func (c *modelConn) peer(s *modelSide) *modelSide {
	if s == c.orig {
		return c.resp
	}
	return c.orig
}

// letter appends a letter to the history, in the case of the side's role.
func (c *modelConn) letter(s *modelSide, letter string) {
	if s == c.resp {
		letter = strings.ToLower(letter)
	}
	c.history += letter
}

// letterOnce appends a letter if its kind has not been seen of the role.
func (c *modelConn) letterOnce(s *modelSide, kind, letter string) bool {
	kind += fmt.Sprint(c.role(s))
	if c.once[kind] {
		return false
	}
	c.once[kind] = true
	c.letter(s, letter)
	return true
}

// unknown is the letter X, one for both sides.
func (c *modelConn) unknown() {
	if !c.once["X"] {
		c.once["X"] = true
		c.history += "X"
	}
}

// scaled is a letter at the 1st, 10th, 100th, ... time.
func (c *modelConn) scaled(s *modelSide, letter byte) {
	s.counted[letter]++
	for power := uint64(1); power <= s.counted[letter]; power *= 10 {
		if power == s.counted[letter] {
			c.letter(s, string(letter))
		}
	}
}

// flip exchanges the roles. What UDP has counted stays with the roles; TCP's first
// packets are those of the hosts, and it is no longer partial.
func (c *modelConn) flip() {
	c.orig, c.resp = c.resp, c.orig
	if c.protocol == bpf.ProtocolTCP {
		c.firstSeen[modelOrig], c.firstSeen[modelResp] = c.firstSeen[modelResp], c.firstSeen[modelOrig]
		c.partial = false
	} else {
		c.orig.counted, c.resp.counted = c.resp.counted, c.orig.counted
	}
	c.history += "^"
}

// modelLikely are the likely server ports of a default configuration.
var modelLikely = map[uint8][]uint16{
	bpf.ProtocolTCP: {
		21, 22, 25, 53, 79, 80, 81, 88, 135, 139, 143, 389, 443, 445, 502, 563, 585, 587, 614, 631, 636,
		989, 990, 992, 993, 995, 1080, 1883, 2811, 3128, 3268, 3389, 5222, 5223, 5269, 5432, 6379,
		6666, 6667, 6668, 6669, 8000, 8080, 8888, 20000,
	},
	bpf.ProtocolUDP: {
		53, 67, 88, 123, 137, 161, 162, 389, 443, 514, 1812, 2123, 2152, 3389, 3544, 4789, 5060, 5072,
		5353, 5355, 6081, 20000,
	},
}

// modelFlips tells whether the first packet's sender is the responder.
func modelFlips(p *bpf.Packet) bool {
	if p.Dst == (bpf.Addr{10: 255, 11: 255, 12: 255, 13: 255, 14: 255, 15: 255}) {
		return false
	}
	src := slices.Contains(modelLikely[p.Protocol], p.SrcPort)
	dst := slices.Contains(modelLikely[p.Protocol], p.DstPort)
	switch p.Protocol {
	case bpf.ProtocolTCP:
		plainSYN := p.Flags.Has(bpf.SYN) && !p.Flags.Has(bpf.ACK)
		return !plainSYN && src && (!dst || !p.Flags.Has(bpf.SYN) && p.SrcPort < p.DstPort)
	case bpf.ProtocolUDP:
		return src && !dst
	}
	return false
}

// modelPorts are the ports of a packet's flow, sender's first, and whether it is
// one-way.
func modelPorts(p *bpf.Packet) (src, dst uint16, oneWay bool) {
	switch p.Protocol {
	case bpf.ProtocolTCP, bpf.ProtocolUDP:
		return p.SrcPort, p.DstPort, false
	case bpf.ProtocolICMP, bpf.ProtocolICMPv6:
		return modelICMPPorts(p)
	}
	return 0, 0, false
}

// find is the connection of a packet and its sender's side; nil if there is none.
func (m *model) find(p *bpf.Packet) (key modelKey, c *modelConn, from *modelSide) {
	src, dst, oneWay := modelPorts(p)
	key = modelKey{p.Protocol, p.Src, p.Dst, src, dst}
	order := bytes.Compare(p.Src[:], p.Dst[:])
	if !oneWay && (order > 0 || order == 0 && src > dst) {
		key = modelKey{p.Protocol, p.Dst, p.Src, dst, src}
	}
	if c = m.connected[key]; c == nil {
		return key, nil, nil
	}
	if c.oneWay || c.orig.addr == p.Src && c.orig.port == src {
		return key, c, c.orig
	}
	return key, c, c.resp
}

// open begins a connection.
func (m *model) open(key modelKey, p *bpf.Packet, stack []modelTunnel) (c *modelConn, from *modelSide) {
	src, dst, oneWay := modelPorts(p)
	c = &modelConn{
		id: m.opened, openedIn: m.frame, key: key, protocol: p.Protocol, oneWay: oneWay, start: p.Time, last: p.Time,
		once: map[string]bool{}, active: true, stopped: map[bpf.TunnelType]bool{},
		orig: &modelSide{addr: p.Src, port: src, counted: map[byte]uint64{}},
		resp: &modelSide{addr: p.Dst, port: dst, counted: map[byte]uint64{}},
	}
	m.opened++
	for _, s := range []*modelSide{c.orig, c.resp} {
		s.delivered, s.trim = 1, 1
	}
	if p.Blocks&bpf.BlockL2 != 0 {
		c.orig.mac, c.resp.mac, c.vlan, c.innerVLAN = p.SrcMAC, p.DstMAC, p.VLAN, p.InnerVLAN
	}
	from = c.orig
	if modelFlips(p) {
		c.flip()
	}
	c.enter(stack)
	m.connected[key] = c
	m.setTimeout(c, 60*modelSecond)
	switch c.protocol {
	case bpf.ProtocolTCP:
		m.arm(c, modelExpire, m.now+5*modelSecond)
	case bpf.ProtocolUDP:
		m.openUDP(c)
	}
	return c, from
}

// take takes a packet.
func (m *model) take(p *bpf.Packet) {
	if p.Kind == bpf.KindPacket || p.Kind == bpf.KindNone {
		m.now = max(m.now, p.Time)
		m.fire()
		m.carriers = nil
	}
	if p.Kind == bpf.KindNone {
		return
	}
	stack, accepted := m.decapsulate(p)
	if !accepted {
		return
	}
	if p.State&bpf.StateFragment != 0 {
		if p = m.join(p); p == nil {
			return
		}
	}
	carrier := modelCarrier{packet: p, stack: stack, good: true}
	if p.Protocol != bpf.ProtocolIPIP && p.Protocol != bpf.ProtocolIPv6 && p.Protocol != bpf.ProtocolGRE {
		carrier.conn, carrier.good = m.deliver(p, stack)
	}
	m.carriers = append(m.carriers, carrier)
}

// deliver books a packet to its connection, and tells whether it was good.
func (m *model) deliver(p *bpf.Packet, stack []modelTunnel) (*modelConn, bool) {
	key, c, from := m.find(p)
	if c != nil && p.Protocol == bpf.ProtocolTCP && c.reusedBy(p) {
		m.remove(c, tracker.CauseReuse, 0)
		c = nil
	}
	if c == nil {
		c, from = m.open(key, p, stack)
	} else {
		c.checkEncapsulation(stack)
	}
	good := true
	switch p.Protocol {
	case bpf.ProtocolTCP:
		good = m.deliverTCP(c, p, from)
	case bpf.ProtocolUDP:
		good = m.deliverUDP(c, p, from)
	case bpf.ProtocolICMP, bpf.ProtocolICMPv6:
		c.deliverICMP(p, from)
	default:
		c.last = p.Time
		from.count(p)
	}
	return c, good
}

// count counts a packet as its sender's.
func (s *modelSide) count(p *bpf.Packet) {
	s.packets++
	if p.State&bpf.StateNoLength == 0 {
		s.ipBytes += uint64(p.IPLength)
	}
}

// The timers.
const (
	modelAttempt    = "attempt"
	modelExpire     = "expire"
	modelDelete     = "delete"
	modelInactivity = "inactivity"
	modelDNS        = "dns"
)

type modelTimer struct {
	at   int64
	kind string
	conn *modelConn
}

func (m *model) arm(c *modelConn, kind string, at int64) {
	m.timers = append(m.timers, modelTimer{max(at, m.now), kind, c}) // what is overdue comes in the order of arming
}

func (m *model) cancel(c *modelConn, kinds ...string) {
	m.timers = slices.DeleteFunc(m.timers, func(t modelTimer) bool {
		return t.conn == c && slices.Contains(kinds, t.kind)
	})
}

func (m *model) setTimeout(c *modelConn, timeout int64) {
	if timeout != c.timeout {
		c.timeout = timeout
		m.cancel(c, modelInactivity)
		m.arm(c, modelInactivity, c.last+timeout)
	}
}

// next takes the earliest timer of some kinds out of the list.
func (m *model) next(until int64, kinds ...string) (t modelTimer, found bool) {
	first := -1
	for i, t := range m.timers {
		if t.at <= until && slices.Contains(kinds, t.kind) && (first < 0 || t.at < m.timers[first].at) {
			first = i
		}
	}
	if first < 0 {
		return modelTimer{}, false
	}
	t = m.timers[first]
	m.timers = slices.Delete(m.timers, first, first+1)
	return t, true
}

// fire has all timers act that are due.
func (m *model) fire() {
	for {
		t, found := m.next(m.now, modelAttempt, modelExpire, modelDelete, modelInactivity, modelDNS)
		if !found {
			break
		}
		m.act(t)
	}
	for key, d := range m.datagrams {
		if d.deadline <= m.now {
			delete(m.datagrams, key)
		}
	}
}

// act is what one timer does.
func (m *model) act(t modelTimer) {
	c, over := t.conn, false
	switch t.kind {
	case modelDelete:
		over = true
	case modelAttempt:
		over = c.unanswered()
	case modelInactivity:
		if over = c.last+c.timeout <= m.now; !over {
			m.arm(c, modelInactivity, c.last+c.timeout)
		}
	case modelDNS:
		if over = m.now-c.last >= 9*modelSecond; !over {
			m.arm(c, modelDNS, m.now+10*modelSecond)
		}
	case modelExpire:
		if !c.active {
			return
		}
		if over = c.last+5*modelSecond < m.now && c.lingers(); !over {
			m.arm(c, modelExpire, m.now+6*modelSecond)
		}
	}
	if over {
		m.remove(c, tracker.CauseTimeout, t.at)
	}
}

// close ends the input: what attempt and DNS timers end comes first, then the rest
// as it was opened.
func (m *model) close() {
	for {
		t, found := m.next(1<<63-1, modelAttempt, modelDNS)
		if !found {
			break
		}
		if t.kind == modelDNS || t.conn.unanswered() {
			m.remove(t.conn, tracker.CauseEnd, t.at)
		}
	}
	var rest []*modelConn
	for _, c := range m.connected {
		rest = append(rest, c)
	}
	slices.SortFunc(rest, func(a, b *modelConn) int { return a.id - b.id })
	for _, c := range rest {
		m.remove(c, tracker.CauseEnd, int64(c.openedIn))
	}
}

// modelRow is a connection at its end.
type modelRow struct {
	protocol        uint8
	start, last     int64
	orig, resp      modelRowSide
	state           string
	history         string
	missed          uint64
	vlan, innerVLAN uint16
	cause           tracker.Cause
	frame           int // during which it ended

	// Of the model's rows alone.
	due     int64 // of the timer that ended it, or the frame that opened it: equal ones come in any order
	id      int
	parents []string
	// Of the tracker's rows alone.
	uid        tracker.UID
	parentUIDs []tracker.UID
}

type modelRowSide struct {
	addr                                         bpf.Addr
	port                                         uint16
	mac                                          bpf.MAC
	bytes, packets, ipBytes                      uint64
	tcp                                          tracker.TCPState
	retransmits, gaps, zeroWindows, badChecksums uint64
}

// remove logs a connection and forgets it.
func (m *model) remove(c *modelConn, cause tracker.Cause, due int64) {
	m.rows = append(m.rows, modelRow{
		protocol: c.protocol, start: c.start, last: c.last, orig: c.row(c.orig), resp: c.row(c.resp),
		state: c.state(), history: c.history, missed: c.missed, vlan: c.vlan, innerVLAN: c.innerVLAN,
		cause: cause, frame: m.frame, due: due, id: c.id, parents: c.parents,
	})
	delete(m.connected, c.key)
	m.timers = slices.DeleteFunc(m.timers, func(t modelTimer) bool { return t.conn == c })
}

func (c *modelConn) row(s *modelSide) modelRowSide {
	r := modelRowSide{
		addr: s.addr, port: s.port, mac: s.mac, packets: s.packets, ipBytes: s.ipBytes, tcp: s.state,
		bytes:       uint64(max(c.roleBytes[c.role(s)], 0)),
		retransmits: s.counted['T'], gaps: s.counted['G'], zeroWindows: s.counted['W'], badChecksums: s.counted['C'],
	}
	if c.protocol == bpf.ProtocolTCP {
		r.bytes = s.size(c.peer(s))
	}
	return r
}

func (c *modelConn) state() string {
	switch c.protocol {
	case bpf.ProtocolTCP:
		return c.stateTCP()
	case bpf.ProtocolUDP:
		return c.stateUDP()
	}
	return "OTH"
}
