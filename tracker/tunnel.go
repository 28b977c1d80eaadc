// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"conntap/bpf"
	"conntap/tracker/service"
)

const (
	tunnelMaxDepth   = 4 // Tunnel::max_depth: packets deeper inside are not looked at
	tunnelMaxChanges = 5 // tunnel_max_changes_per_connection: more are not recorded
)

// layer is what the tracker knows of one packet of the current frame: what it is
// inside of, and whether what is inside of it counts.
type layer struct {
	enclosure
	carries    bool // packets inside may be looked at
	connection uint32
	side       int         // that sent it
	addr       [2]bpf.Addr // of an IP tunnel, which has no connection
}

// enclosure is the stack of tunnels around a packet.
type enclosure struct {
	depth  int    // how many there are
	stack  uint64 // identifies the stack: 0 for none
	parent UID    // of the innermost
}

// tunnelState is what a connection inside a tunnel, or one that is a tunnel,
// needs.
type tunnelState struct {
	stack    uint64 // around the last packet
	changes  uint8  // of the stack
	count    uint8  // of parents
	violated uint16 // bit per bpf.TunnelType that the connection has turned out not to be
	teredo   uint8  // bit per side that has sent Teredo
	parents  [1 + tunnelMaxChanges]UID
}

// tunnelPorts are the responder ports by which Zeek knows tunnels in UDP; two
// kinds also show by their content.
var tunnelPorts = [...][2]uint16{
	bpf.TunnelGREUDP: {4754},
	bpf.TunnelVXLAN:  {4789},
	bpf.TunnelGeneve: {6081},
	bpf.TunnelGTPv1:  {2152, 2123},
	bpf.TunnelTeredo: {3544},
	bpf.TunnelAYIYA:  {5072},
}

// tunnelServices are the tunnels that the column service names.
var tunnelServices = [len(tunnelPorts)]service.Name{
	bpf.TunnelVXLAN:  service.VXLAN,
	bpf.TunnelGeneve: service.Geneve,
	bpf.TunnelGTPv1:  service.GTPv1,
	bpf.TunnelTeredo: service.Teredo,
	bpf.TunnelAYIYA:  service.Ayiya,
}

// tunnelsOf returns the connection's tunnel state, made on first use.
func (t *Tracker) tunnelsOf(c connection) *tunnelState {
	d := t.coldOf(c.hot)
	if d.tunnel == 0 {
		d.tunnel, _ = t.tunnels.Get()
		c.bits |= bitTunnelled
	}
	return t.tunnels.At(d.tunnel)
}

// inside takes what is inside a packet of the current frame, or is said about it.
func (t *Tracker) inside(p *bpf.Packet, at lookedUp) {
	// The carrier is the packet before it that is one less deep.
	carried := p.TunnelDepth > 0 && int(p.TunnelDepth) <= t.deepest+1
	switch {
	case p.Kind == bpf.KindInner && carried:
		t.inner(p, at)
	case p.Kind == bpf.KindInner:
		t.skipInner()
	case carried:
		t.noteTunnel(p)
	}
}

// inner takes a packet from inside a tunnel, if the tunnel is one: the parsers
// judge by ports of either side and by content.
func (t *Tracker) inner(p *bpf.Packet, at lookedUp) {
	depth := int(p.TunnelDepth)
	if depth >= len(t.layers) {
		t.skipInner()
		return
	}
	t.deepest = depth
	l := &t.layers[depth]
	*l = layer{}
	if t.encloseInner(&l.enclosure, p) {
		t.packet(p, at, l)
	}
}

// encloseInner tells whether a packet is inside the tunnel that it seems to be in,
// and what is around it then. It is the carrier's to say.
func (t *Tracker) encloseInner(e *enclosure, p *bpf.Packet) bool {
	if !t.enclose(e, &t.layers[p.TunnelDepth-1], p.TunnelType) {
		t.skipInner()
		return false
	}
	t.stats.Tunnelled++
	return true
}

// skipInner is for what only looked like a packet inside a tunnel.
func (t *Tracker) skipInner() {
	t.stats.Packets++
	t.stats.Inner++
}

// forgetCarrier sees to it that nothing is inside of a connection of the current
// frame that has to go.
func (t *Tracker) forgetCarrier(i uint32) {
	for depth := range t.layers {
		if l := &t.layers[depth]; l.connection == i {
			l.carries = false
		}
	}
}

// enclose adds a tunnel to what is around its carrier, and tells whether there
// is one.
func (t *Tracker) enclose(e *enclosure, carrier *layer, typ bpf.TunnelType) bool {
	if !carrier.carries {
		return false
	}
	if carrier.connection == 0 {
		if typ != bpf.TunnelIP && typ != bpf.TunnelGRE || carrier.depth >= tunnelMaxDepth {
			return false
		}
		t.encloseIP(e, carrier, &carrier.addr)
		return true
	}
	c := t.connectionAt(carrier.connection)
	if !t.isTunnel(c, typ) {
		return false
	}
	if carrier.depth >= tunnelMaxDepth {
		if typ != bpf.TunnelGTPv1 && typ != bpf.TunnelGREUDP {
			t.unknownPacket(c)
		}
		return false
	}
	t.confirmTunnel(c, carrier.side, typ)
	if typ == bpf.TunnelGREUDP { // as if GRE stood right behind the IP header
		t.encloseIP(e, carrier, &c.addr)
		return true
	}
	e.parent = t.uid(c)
	e.stack = mix(carrier.stack^t.uidKey[0], t.tunnelIdentity(c, typ)^e.parent.Low) | 1
	e.depth = carrier.depth + 1
	return true
}

// encloseIP adds a tunnel that goes by its addresses.
func (t *Tracker) encloseIP(e *enclosure, carrier *layer, addr *[2]bpf.Addr) {
	e.parent = t.tunnelUID(addr)
	e.stack = mix(carrier.stack^t.uidKey[0], e.parent.Low^t.uidKey[1]) | 1
	e.depth = carrier.depth + 1
}

// confirmTunnel adds the tunnel's name to the connection's services: by its first
// packet, or of Teredo when both sides have sent one.
func (t *Tracker) confirmTunnel(c connection, side int, typ bpf.TunnelType) {
	name := tunnelServices[typ]
	if name == 0 {
		return
	}
	if typ == bpf.TunnelTeredo {
		s := t.tunnelsOf(c)
		if s.teredo |= 1 << side; s.teredo != 3 {
			return
		}
	}
	t.services.Add(&c.service, name)
}

// tunnelIdentity is what tells a tunnel in UDP from another with the same uid: its
// roles, but of VXLAN (Zeek src/packet_analysis/protocol/iptunnel, EncapsulatingConn).
func (t *Tracker) tunnelIdentity(c connection, typ bpf.TunnelType) uint64 {
	id := uint64(typ)<<16 | uint64(c.port[resp])
	if typ == bpf.TunnelVXLAN {
		return id
	}
	return id ^ t.hashKey.side(&c.addr[orig], c.port[orig])
}

// isTunnel tells whether the connection is a tunnel of this type, as far as is
// known by now.
func (t *Tracker) isTunnel(c connection, typ bpf.TunnelType) bool {
	if int(typ) >= len(tunnelPorts) {
		return false
	}
	if ports := tunnelPorts[typ]; c.port[resp] != ports[0] && (ports[1] == 0 || c.port[resp] != ports[1]) &&
		typ != bpf.TunnelTeredo && typ != bpf.TunnelAYIYA {
		return false
	}
	return c.bits&bitTunnelled == 0 || t.tunnelsOf(c).violated>>typ&1 == 0
}

// noteTunnel takes what the parser says of the carrier beside packets: that it is
// a tunnel without a packet inside that can be read, or that it broke its tunnel's
// rules. Then it is not looked into any more; GTPv1 and GRE may.
func (t *Tracker) noteTunnel(p *bpf.Packet) {
	carrier := &t.layers[p.TunnelDepth-1]
	if !carrier.carries || carrier.connection == 0 {
		return
	}
	c := t.connectionAt(carrier.connection)
	if !t.isTunnel(c, p.TunnelType) {
		return
	}
	if p.Kind == bpf.KindEmpty {
		t.confirmTunnel(c, carrier.side, p.TunnelType)
		return
	}
	switch p.TunnelType {
	case bpf.TunnelVXLAN, bpf.TunnelGeneve, bpf.TunnelTeredo, bpf.TunnelAYIYA:
		t.tunnelsOf(c).violated |= 1 << p.TunnelType
	}
}

// tunnelUID identifies an IP or GRE tunnel, which has no connection, by its
// addresses in either order.
func (t *Tracker) tunnelUID(addr *[2]bpf.Addr) UID {
	h := hashKey{t.uidKey[0], t.uidKey[1], t.uidKey[2]}
	pair := mix(h.side(&addr[0], 0)+h.side(&addr[1], 0), t.uidKey[3])
	return UID{High: uint32(mix(pair^t.uidKey[1], t.uidKey[2]) >> 32), Low: pair}
}

// enter notes the tunnels around a connection's first packet.
func (t *Tracker) enter(c connection, e *enclosure) {
	s := t.tunnelsOf(c)
	s.stack = e.stack
	s.addParent(e.parent)
}

// checkEnclosure notes that a later packet came through other tunnels (Zeek
// src/Conn.cc, CheckEncapsulation).
func (t *Tracker) checkEnclosure(c connection, e *enclosure) {
	s := t.tunnelsOf(c)
	if s.stack == e.stack {
		return
	}
	s.stack = e.stack
	if s.changes == tunnelMaxChanges {
		t.unknownPacket(c)
		return
	}
	s.changes++
	if e.depth > 0 {
		s.addParent(e.parent)
	}
}

func (s *tunnelState) addParent(parent UID) {
	for _, p := range s.parents[:s.count] {
		if p == parent {
			return
		}
	}
	s.parents[s.count] = parent
	s.count++
}

// isIPTunnel tells protocols that carry packets and make no connection.
func isIPTunnel(protocol uint8) bool {
	switch protocol {
	case bpf.ProtocolIPIP, bpf.ProtocolIPv6, bpf.ProtocolGRE:
		return true
	}
	return false
}
