// SPDX-License-Identifier: Apache-2.0

// Package filter says which packets are to be recorded, in a subset of the words of
// pcap filters (pcap-filter(7)). It decides on the addresses, the protocol, the
// ports and the VLAN ids of a frame's outermost packet, as the parser found them;
// what is inside of tunnels it doesn't see. The kernel runs the same expressions,
// compiled by the collector.
//
// Where it differs from pcap: tcp, host and the like match with VLAN tags and
// without; vlan N matches either of two tags; ports are those of TCP and UDP; IPv6
// extension headers are passed over.
//
// A fragment has no ports, and perhaps no known protocol. What can't be known is
// neither true nor false (Kleene's logic), and the frame passes unless the whole
// expression is false for certain: "port 80" and "not port 80" both let fragments
// pass.
package filter

import (
	"encoding/binary"

	"conntap/bpf"
)

// Filter is an expression that was understood. It never changes, so any number of
// goroutines may use one.
type Filter struct {
	text                        string
	packet, fragment, extension *Node
}

// String is the expression as it was given.
func (f *Filter) String() string { return f.text }

// Packet is what decides on packets that are no fragments.
func (f *Filter) Packet() *Node { return f.packet }

// Fragment is what decides on fragments: no test of ports is in it.
func (f *Filter) Fragment() *Node { return f.fragment }

// Extension is what decides on fragments of IPv6 that begin with a further
// extension header (see [IsExtension]): no test of ports or protocol is in it.
func (f *Filter) Extension() *Node { return f.extension }

// Match tells whether a frame whose outermost packet is p passes.
func (f *Filter) Match(p *bpf.Packet) bool {
	switch {
	case p.State&bpf.StateFragment == 0:
		return f.packet.match(p)
	case p.State&bpf.StateIPv6 != 0 && IsExtension(p.Protocol):
		return f.extension.match(p)
	}
	return f.fragment.match(p)
}

// ExtensionProtocols are the IPv6 extension headers that may follow the fragment
// header: they stand for no transport protocol.
var ExtensionProtocols = [...]uint8{0, 43, 44, 51, 60}

// IsExtension tells whether a protocol is one of [ExtensionProtocols].
func IsExtension(protocol uint8) bool {
	for _, p := range ExtensionProtocols {
		if p == protocol {
			return true
		}
	}
	return false
}

// Op is what a node of an expression does.
type Op uint8

// The operations.
const (
	True Op = iota
	False
	Test // Node.Field is Low to High, or an address of a network
	Not  // of Left
	And  // of Left and Right
	Or
)

// Field is what a test looks at.
type Field uint8

// The fields.
const (
	Version   Field = iota // of IP: 4 or 6
	Protocol               // of the transport header
	Src                    // address
	Dst                    // address
	SrcPort                // of TCP and UDP
	DstPort                // of TCP and UDP
	VLAN                   // id of the outer tag, 0 for none
	InnerVLAN              // id of the inner tag, 0 for none
)

// Node is an expression.
type Node struct {
	Op          Op
	Left, Right *Node

	Field Field
	// Low and High bound a number, both included.
	Low, High uint16
	// Network is what an address masked with Mask must be; IPv6 whether it is one
	// of IPv6. IPv4 addresses and masks are the last four bytes.
	Network, Mask bpf.Addr
	IPv6          bool
}

func (n *Node) match(p *bpf.Packet) bool {
	switch n.Op {
	case And:
		return n.Left.match(p) && n.Right.match(p)
	case Or:
		return n.Left.match(p) || n.Right.match(p)
	case Not:
		return !n.Left.match(p)
	case Test:
		return n.test(p)
	}
	return n.Op == True
}

func (n *Node) test(p *bpf.Packet) bool {
	switch n.Field {
	case Src:
		return n.holds(p, &p.Src)
	case Dst:
		return n.holds(p, &p.Dst)
	case SrcPort, DstPort:
		if p.Protocol != bpf.ProtocolTCP && p.Protocol != bpf.ProtocolUDP {
			return false
		}
	}
	value := n.value(p)
	return n.Low <= value && value <= n.High
}

// value is the number that a test looks at.
func (n *Node) value(p *bpf.Packet) uint16 {
	switch n.Field {
	case Version:
		if p.State&bpf.StateIPv6 != 0 {
			return 6
		}
		return 4
	case Protocol:
		return uint16(p.Protocol)
	case SrcPort:
		return p.SrcPort
	case DstPort:
		return p.DstPort
	case VLAN:
		return p.VLAN
	}
	return p.InnerVLAN
}

// holds tells whether an address of p is in the network.
func (n *Node) holds(p *bpf.Packet, a *bpf.Addr) bool {
	if n.IPv6 != (p.State&bpf.StateIPv6 != 0) {
		return false
	}
	// Of IPv4 the mask leaves out what the mapped form has in front.
	word := binary.NativeEndian.Uint64
	return word(a[:8])&word(n.Mask[:8]) == word(n.Network[:8]) && word(a[8:])&word(n.Mask[8:]) == word(n.Network[8:])
}

// unknown is the set of fields that a kind of packet says nothing of.
type unknown func(Field) bool

func portsUnknown(f Field) bool { return f == SrcPort || f == DstPort }

func transportUnknown(f Field) bool { return f == Protocol || portsUnknown(f) }

// possible is an expression that is true unless n is false for certain, when
// nothing is known of some fields. Kleene's values are in order, and/or are
// minimum and maximum: so it is enough to take each unknown test for true where it
// stands as it is, for false behind an odd number of negations.
func (n *Node) possible(is unknown, negated bool) *Node {
	switch n.Op {
	case Test:
		if !is(n.Field) {
			return n
		}
		return &Node{Op: constant(!negated)}
	case Not:
		left := n.Left.possible(is, !negated)
		return n.with(left, nil)
	case And, Or:
		return n.with(n.Left.possible(is, negated), n.Right.possible(is, negated))
	}
	return n
}

func constant(value bool) Op {
	if value {
		return True
	}
	return False
}

// with is n on other operands, without the constants among them.
func (n *Node) with(left, right *Node) *Node {
	if left == n.Left && right == n.Right {
		return n
	}
	decides := constant(n.Op == Or) // the operand that makes the other one immaterial
	switch {
	case n.Op == Not && left.Op <= False:
		return &Node{Op: constant(left.Op == False)}
	case n.Op == Not:
	case left.Op == decides, right.Op <= False && right.Op != decides:
		return left
	case right.Op == decides, left.Op <= False:
		return right
	}
	return &Node{Op: n.Op, Left: left, Right: right}
}
