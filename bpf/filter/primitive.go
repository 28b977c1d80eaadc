// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"net/netip"
	"strconv"
	"strings"

	"conntap/bpf"
)

// qualifiers are what stands before a value, such as "tcp dst port".
type qualifiers struct {
	protocol  string // ip, ip6, tcp, udp or ""
	direction string // src, dst, "or", "and"; "" is "or"
	kind      string // host, net, port, portrange, proto; "" if none was said
}

// protocols are the words for a transport protocol, and the only version of IP that
// each goes with; 0: both.
var protocols = map[string]struct {
	number  uint16
	version uint16
}{"tcp": {bpf.ProtocolTCP, 0}, "udp": {bpf.ProtocolUDP, 0}, "icmp": {bpf.ProtocolICMP, 4}, "icmp6": {bpf.ProtocolICMPv6, 6}}

// versions are the words for a version of IP.
var versions = map[string]uint16{"ip": 4, "ip6": 6}

// primitive reads one condition.
func (p *parser) primitive() (*Node, error) {
	switch text := p.peek(); {
	case text == "vlan":
		p.at++
		p.last = qualifiers{}
		return p.vlan()
	case isValue(text):
		if p.last.kind == "" { // as pcap has it, an address is a host's or a net's
			return p.value(qualifiers{kind: "address"})
		}
		return p.value(p.last)
	}
	q, err := p.qualifiers()
	if err != nil {
		return nil, err
	}
	p.last = q
	switch {
	case q.kind == "" && q.direction == "":
		return protocolTest(q.protocol), nil
	case q.kind == "":
		q.kind = "address"
	}
	return p.values(q)
}

// isValue tells a value from a word of the language.
func isValue(text string) bool {
	return text != "" && (text[0] >= '0' && text[0] <= '9' || strings.Contains(text, ":") || text[0] == '\\')
}

// qualifiers reads the words before a value. What is left after a protocol alone is
// a condition by itself.
func (p *parser) qualifiers() (q qualifiers, err error) {
	if versions[p.peek()] != 0 || protocols[p.peek()].number != 0 {
		q.protocol = p.peek()
		p.at++
	}
	start := p.at
	q.direction = p.direction()
	if p.take("host", "net", "port", "portrange", "proto") {
		q.kind = p.words[p.at-1].text
	}
	switch {
	case q == qualifiers{}:
		return q, p.refuse()
	case q.kind == "proto" && q.direction != "":
		p.at = start
		return q, p.errorf("proto has no direction")
	case !q.agree():
		return q, p.errorBefore("%q does not go with %q", q.protocol, q.kindWord())
	}
	return q, nil
}

// kindWord names the kind for a message.
func (q *qualifiers) kindWord() string {
	if q.kind == "" {
		return q.direction
	}
	return q.kind
}

// refuse says what is wrong with a word that no condition begins with.
func (p *parser) refuse() error {
	switch text := p.peek(); text {
	case "":
		return p.errorf("a condition is missing at the end")
	case ")", "and", "&&", "or", "||", "mask":
		return p.errorf("%q stands where a condition is to be", text)
	default:
		return p.errorf("%q is not among the words that conntap knows", text)
	}
}

// agree tells whether the protocol may stand before the kind.
func (q *qualifiers) agree() bool {
	if q.protocol == "" {
		return true
	}
	switch q.kind {
	case "port", "portrange":
		return q.protocol == "tcp" || q.protocol == "udp"
	case "host", "net", "proto":
		return versions[q.protocol] != 0
	}
	return q.direction == "" || versions[q.protocol] != 0
}

// direction reads src, dst and what joins them: "" if there is none of them.
func (p *parser) direction() string {
	first := p.peek()
	if !p.take("src", "dst") {
		return ""
	}
	second := p.peekAfter(1)
	if second == first || second != "src" && second != "dst" {
		return first
	}
	switch p.peek() {
	case "or", "||":
		p.at += 2
		return "or"
	case "and", "&&":
		p.at += 2
		return "and"
	}
	return first
}

// values reads a value, or several in parentheses, joined by and, or and not.
func (p *parser) values(q qualifiers) (*Node, error) {
	if p.peek() == "(" && (isValue(p.peekAfter(1)) || p.peekAfter(1) == "(" || p.peekAfter(1) == "not" || p.peekAfter(1) == "!") {
		p.last = q
		return p.term()
	}
	return p.value(q)
}

// value reads one value and makes the condition.
func (p *parser) value(q qualifiers) (*Node, error) {
	text := p.peek()
	if text == "" || !isValue(text) && protocols[text].number == 0 {
		if text == "" {
			return nil, p.errorf("what is to stand after %q is missing", p.words[max(p.at-1, 0)].text)
		}
		return nil, p.errorf("%q stands where %s is to be", text, valueNames[q.kind])
	}
	var n *Node
	var err error
	switch q.kind {
	case "port", "portrange":
		n, err = p.ports(q)
	case "proto":
		n, err = p.protocol()
	default:
		n, err = p.address(q)
	}
	if err != nil {
		return nil, err
	}
	if q.protocol != "" {
		n = &Node{Op: And, Left: protocolTest(q.protocol), Right: n}
	}
	return n, nil
}

// valueNames are what follows each kind.
var valueNames = map[string]string{
	"address": "an address", "host": "an address (names are not looked up)", "net": "a network (names are not looked up)",
	"port": "a port's number", "portrange": "a range of ports such as 6000-6008", "proto": "a protocol's number",
}

func number(f Field, low, high uint16) *Node { return &Node{Op: Test, Field: f, Low: low, High: high} }

// protocolTest is the condition that the word for a protocol stands for.
func protocolTest(name string) *Node {
	if version := versions[name]; version != 0 {
		return number(Version, version, version)
	}
	of := protocols[name]
	n := number(Protocol, of.number, of.number)
	if of.version != 0 {
		n = &Node{Op: And, Left: n, Right: number(Version, of.version, of.version)}
	}
	return n
}

// inDirection joins a test of the source and one of the destination.
func inDirection(direction string, src, dst *Node) *Node {
	switch direction {
	case "src":
		return src
	case "dst":
		return dst
	case "and":
		return &Node{Op: And, Left: src, Right: dst}
	}
	return &Node{Op: Or, Left: src, Right: dst}
}

// vlan reads the id after the word, if there is one.
func (p *parser) vlan() (*Node, error) {
	if !isValue(p.peek()) {
		return number(VLAN, 1, 4095), nil
	}
	id, err := p.number(4095)
	if err == nil && id == 0 {
		err = p.errorBefore("VLAN ids go from 1 to 4095")
	}
	return &Node{Op: Or, Left: number(VLAN, id, id), Right: number(InnerVLAN, id, id)}, err
}

// number reads a decimal number.
func (p *parser) number(most uint64) (uint16, error) {
	n, err := strconv.ParseUint(p.peek(), 10, 16)
	if err != nil || n > most {
		return 0, p.errorf("%q is no number from 0 to %d", p.peek(), most)
	}
	p.at++
	return uint16(n), nil
}

// protocol reads a protocol's number, or its name with or without a backslash, which
// pcap wants.
func (p *parser) protocol() (*Node, error) {
	if of := protocols[strings.TrimPrefix(p.peek(), `\`)]; of.number != 0 {
		p.at++
		return number(Protocol, of.number, of.number), nil
	}
	n, err := p.number(255)
	return number(Protocol, n, n), err
}

// ports reads a port or a range of them, whose ends may be swapped.
func (p *parser) ports(q qualifiers) (*Node, error) {
	low, high := p.peek(), p.peek()
	if q.kind == "portrange" {
		if from, to, ranges := strings.Cut(low, "-"); ranges {
			low, high = from, to
		}
	}
	from, err := strconv.ParseUint(low, 10, 16)
	to, err2 := strconv.ParseUint(high, 10, 16)
	if err != nil || err2 != nil {
		return nil, p.errorf("%q stands where %s is to be", p.peek(), valueNames[q.kind])
	}
	p.at++
	a, b := uint16(min(from, to)), uint16(max(from, to))
	return inDirection(q.direction, number(SrcPort, a, b), number(DstPort, a, b)), nil
}

// address reads an address or a network.
func (p *parser) address(q qualifiers) (*Node, error) {
	var net network
	var err error
	if q.kind == "host" || q.kind == "address" && !strings.Contains(p.peek(), "/") {
		err = net.setHost(p.peek())
	} else {
		err = net.set(p.peek(), q.kind == "net" && p.peekAfter(1) == "mask", p.peekAfter(2))
	}
	if err != nil {
		return nil, p.errorf("%q: %v", p.peek(), err)
	}
	if versions[q.protocol] == 4 && net.IPv6 || versions[q.protocol] == 6 && !net.IPv6 {
		return nil, p.errorf("%q is no address of %s", p.peek(), q.protocol)
	}
	if p.at++; q.kind == "net" && p.peek() == "mask" {
		p.at += 2
	}
	src, dst := Node(net), Node(net)
	src.Field, dst.Field = Src, Dst
	return inDirection(q.direction, &src, &dst), nil
}

// network is a test of an address that has no Field yet.
type network Node

func (n *network) setHost(text string) error {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return errNoAddress
	}
	n.fill(netip.PrefixFrom(a, a.BitLen()))
	return nil
}

// fill takes the prefix; IPv4's goes to the last four bytes.
func (n *network) fill(prefix netip.Prefix) {
	n.Op, n.IPv6 = Test, prefix.Addr().Is6()
	start := 0
	if !n.IPv6 {
		start = 12
	}
	copy(n.Network[start:], prefix.Addr().AsSlice())
	for i := range prefix.Bits() {
		n.Mask[start+i/8] |= 0x80 >> (i % 8)
	}
}

type addressError string

func (e addressError) Error() string { return string(e) }

const (
	errNoAddress = addressError("no IP address (names are not looked up)")
	errNoNetwork = addressError("no network, such as 10.0.0.0/8, 10, 192.168 or 2001:db8::/32")
	errNoMask    = addressError("no mask of IPv4 follows, such as 255.255.255.0")
	errHostBits  = addressError("has bits beyond its mask")
)

// set takes a network in one of pcap's forms: an IPv4 address may lack its last
// bytes, which then are no part of the mask either.
func (n *network) set(text string, masked bool, mask string) error {
	address, bits, hasBits := strings.Cut(text, "/")
	full, octets := address, 4
	if !strings.Contains(address, ":") {
		octets = strings.Count(address, ".") + 1
		full += strings.Repeat(".0", max(4-octets, 0))
	}
	a, err := netip.ParseAddr(full)
	if err != nil || a.Zone() != "" || hasBits && masked {
		return errNoNetwork
	}
	length := min(octets*8, a.BitLen())
	if a.Is6() {
		length = 128
	}
	if hasBits {
		if length, err = strconv.Atoi(bits); err != nil || length < 0 || length > a.BitLen() {
			return errNoNetwork
		}
	}
	n.fill(netip.PrefixFrom(a, length))
	if masked {
		m, err := netip.ParseAddr(mask)
		if err != nil || !m.Is4() || !a.Is4() {
			return errNoMask
		}
		copy(n.Mask[12:], m.AsSlice())
	}
	for i := range n.Network {
		if n.Network[i]&^n.Mask[i] != 0 {
			return errHostBits
		}
	}
	return nil
}
