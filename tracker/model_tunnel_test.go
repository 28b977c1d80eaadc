// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"bytes"
	"fmt"
	"slices"

	"conntap/bpf"
)

// modelTunnel is one layer of an encapsulation: whose name its inner connections
// take as their parent, and all that makes another layer of it.
type modelTunnel struct {
	parent string
	kind   bpf.TunnelType
	tuple  string
}

// modelCarrier is a packet of this frame that others may stand in.
type modelCarrier struct {
	packet *bpf.Packet
	conn   *modelConn // nil for tunnels in IP
	stack  []modelTunnel
	good   bool
}

const modelDepthMax = 4

var modelTunnelPorts = map[bpf.TunnelType][]uint16{
	bpf.TunnelGREUDP: {4754}, bpf.TunnelVXLAN: {4789}, bpf.TunnelGeneve: {6081}, bpf.TunnelGTPv1: {2152, 2123},
	bpf.TunnelTeredo: {3544}, bpf.TunnelAYIYA: {5072},
}

// decapsulate finds what a packet stands in, and tells whether it is to be tracked.
func (m *model) decapsulate(p *bpf.Packet) (stack []modelTunnel, accepted bool) {
	if p.Kind == bpf.KindPacket {
		return nil, true
	}
	depth := int(p.TunnelDepth)
	if depth < 1 || depth > len(m.carriers) {
		return nil, false
	}
	m.carriers = m.carriers[:depth]
	carrier := m.carriers[depth-1]
	accepted = carrier.carries(p)
	if accepted && p.Kind == bpf.KindInner && depth > modelDepthMax {
		if stops := modelStops(p.TunnelType); stops {
			carrier.conn.unknown()
		}
		accepted = false
	}
	if accepted && p.Kind == bpf.KindViolation && modelStops(p.TunnelType) {
		carrier.conn.stopped[p.TunnelType] = true
	}
	if !accepted || p.Kind != bpf.KindInner {
		m.carriers = append(m.carriers, modelCarrier{})
		return nil, false
	}
	return append(slices.Clone(carrier.stack), carrier.layer(p.TunnelType)), true
}

// modelStops tells whether the tunnels of a kind end with their first violation, and
// note their depth.
func modelStops(kind bpf.TunnelType) bool {
	return kind == bpf.TunnelVXLAN || kind == bpf.TunnelGeneve || kind == bpf.TunnelTeredo || kind == bpf.TunnelAYIYA
}

// carries tells whether a packet of a tunnel may stand in the carrier.
func (carrier *modelCarrier) carries(p *bpf.Packet) bool {
	if !carrier.good {
		return false
	}
	c, kind := carrier.conn, p.TunnelType
	if kind == bpf.TunnelIP || kind == bpf.TunnelGRE {
		return c == nil
	}
	if c == nil || c.protocol != bpf.ProtocolUDP || c.stopped[kind] {
		return false
	}
	if kind == bpf.TunnelGTPv1 && len(carrier.stack) > 0 && carrier.stack[len(carrier.stack)-1].kind == kind {
		return false
	}
	byContent := kind == bpf.TunnelTeredo || kind == bpf.TunnelAYIYA
	return byContent || slices.Contains(modelTunnelPorts[kind], c.resp.port)
}

// layer is what the carrier adds to the stack of what it carries.
func (carrier *modelCarrier) layer(kind bpf.TunnelType) modelTunnel {
	if c := carrier.conn; c != nil && kind != bpf.TunnelGREUDP { // GRE goes by addresses wherever it stands
		t := modelTunnel{fmt.Sprintf("connection %d", c.id), kind, fmt.Sprint(c.orig.addr, c.orig.port, c.resp.addr, c.resp.port)}
		if kind == bpf.TunnelVXLAN {
			t.tuple = fmt.Sprint(c.resp.port)
		}
		return t
	}
	a, b := carrier.packet.Src, carrier.packet.Dst
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return modelTunnel{parent: fmt.Sprintf("tunnel %x %x", a, b)}
}

// enter sets the encapsulation, and notes whom the connection is inside of.
func (c *modelConn) enter(stack []modelTunnel) {
	c.stack = stack
	if len(stack) > 0 {
		if parent := stack[len(stack)-1].parent; !slices.Contains(c.parents, parent) {
			c.parents = append(c.parents, parent)
		}
	}
}

// checkEncapsulation notes that a connection goes through another tunnel now.
func (c *modelConn) checkEncapsulation(stack []modelTunnel) {
	if slices.Equal(c.stack, stack) {
		return
	}
	if c.changes >= 5 {
		c.unknown()
		return
	}
	c.changes++
	c.enter(stack)
}
