// SPDX-License-Identifier: Apache-2.0

// Package bpf turns a frame into a packet's record: in C for the kernel
// (conntap.bpf.c, parse.h) and in Go for capture files (parse.go). It also holds
// the wire format between the two sides, once in C (record.h) and once here.
//
// A ring sample is one batch: a [BatchHeader], then records back to back. A
// record is a [RecordHead], the addresses ([RecordIPv4] or [RecordIPv6]), then
// the blocks that [RecordHead].Blocks names, in ascending order of their bits:
//
//	| batch header 32 | head 32 | addresses 8 or 32 | blocks ... | head 32 | ...
//
// Every part starts on an 8-byte boundary.
package bpf

import "structs"

// WireVersion is the version of the format described here.
const WireVersion = 1

// Hook is where in the kernel a packet was seen.
type Hook uint8

// The hooks, as enum hook.
const (
	HookXDP       Hook = 0 // ingress, before the stack made an skb of it
	HookTCIngress Hook = 1 // ingress, after GRO
	HookTCEgress  Hook = 2 // egress, before segmentation
	HookCount          = 3
)

// BatchHeader starts every ring sample. It is the twin of struct batch_header.
type BatchHeader struct {
	_        structs.HostLayout
	Version  uint8  `bpf:"version"`  // WireVersion
	Hook     Hook   `bpf:"hook"`     // where the packets were seen
	CPU      uint16 `bpf:"cpu"`      // the CPU that wrote the batch
	Length   uint32 `bpf:"length"`   // bytes of the batch, this header included
	Sequence uint64 `bpf:"sequence"` // frames recorded before by the same CPU and hook
	Lost     uint64 `bpf:"lost"`     // frames lost before it by the same CPU and hook, since the start
	BaseNs   uint64 `bpf:"base_ns"`  // time of the batch, ns of CLOCK_BOOTTIME
}

// Kind is what a record describes.
type Kind uint8

// The kinds, as enum record_kind. KindNone and KindDuplicate never cross the ring.
const (
	KindNone   Kind = 0 // no packet: a frame of a file that gave none, whose Time alone counts
	KindPacket Kind = 1 // the outermost IP packet of a frame
	KindInner  Kind = 2 // a packet inside the tunnel whose record stands right before it
	// What stands on a tunnel's port, or is of its protocol, but breaks its rules:
	// right after its carrier. BlockTunnel alone says more.
	KindViolation Kind = 3
	// A tunnel's header without fault, and no packet that can be read behind it:
	// right after its carrier. BlockTunnel alone says more.
	KindEmpty Kind = 4
	// KindDuplicate is a packet that came before, from another interface or hook: its
	// Time alone counts.
	KindDuplicate Kind = 5
)

// TunnelType is what an inner packet came out of. The parsers judge by what stands
// in the frame alone: tunnels in UDP by the port of either side, the destination's
// before the source's, Teredo and AYIYA by their content too. Whoever knows the
// connection decides.
type TunnelType uint8

// The tunnels, as enum tunnel_type.
const (
	TunnelNone   TunnelType = 0
	TunnelIP     TunnelType = 1 // protocols 4 and 41
	TunnelGRE    TunnelType = 2 // protocol 47; ERSPAN and PPTP too
	TunnelGREUDP TunnelType = 3 // port 4754
	TunnelVXLAN  TunnelType = 4 // port 4789
	TunnelGeneve TunnelType = 5 // port 6081
	TunnelGTPv1  TunnelType = 6 // ports 2123 and 2152
	TunnelTeredo TunnelType = 7 // port 3544, or content
	TunnelAYIYA  TunnelType = 8 // port 5072, or content
)

// TunnelDepthMax is the depth of the deepest packet that is recorded: one below
// what Zeek follows (Tunnel::max_depth), so that the tracker sees that there was
// one.
const TunnelDepthMax = 5

// Block is a set of optional parts of a record.
type Block uint8

// The blocks, as enum record_block, in the order in which they follow.
const (
	BlockL2       Block = 1 << 0
	BlockFragment Block = 1 << 1
	BlockGSO      Block = 1 << 2
	BlockIdentity Block = 1 << 3
	BlockTunnel   Block = 1 << 4
	BlockOwner    Block = 1 << 5
	BlockPayload  Block = 1 << 6
)

// State is a set of findings about a packet.
type State uint8

// The findings, as enum record_state.
const (
	StateIPv6        State = 1 << 0 // the packet is IPv6
	StateComplete    State = 1 << 1 // the frame held all bytes of the IP length
	StateChecksum    State = 3 << 2 // mask, see Packet.Checksum
	StateMalformed   State = 1 << 4 // the TCP data offset is below 5 or beyond what is there
	StateShortOffset State = 1 << 5 // with StateMalformed: the TCP data offset is below 5
	StateFragment    State = 1 << 6 // a fragment: no transport header was read
	StateNoLength    State = 1 << 7 // files: the IP header says 0, IPLength is what was captured

	stateChecksumShift = 2
)

// Checksum is a judgement on a transport checksum.
type Checksum uint8

// The judgements, as enum checksum_state.
const (
	ChecksumUnchecked Checksum = 0 // not asked for, not captured whole, or absent (UDP over IPv4)
	ChecksumGood      Checksum = 1
	ChecksumBad       Checksum = 2
	ChecksumNotFinal  Checksum = 3 // equals the pseudo-header's sum: the device will complete it
)

// Flags are the TCP flags, byte 13 of the header (RFC 9293, section 3.1).
type Flags uint8

// The TCP flags.
const (
	FIN Flags = 1 << 0
	SYN Flags = 1 << 1
	RST Flags = 1 << 2
	PSH Flags = 1 << 3
	ACK Flags = 1 << 4
	URG Flags = 1 << 5
	ECE Flags = 1 << 6
	CWR Flags = 1 << 7
)

// Has tells whether all of the flags in mask are set.
func (f Flags) Has(mask Flags) bool { return f&mask == mask }

// The IP protocol numbers that conntap knows by name.
const (
	ProtocolICMP   = 1
	ProtocolIPIP   = 4 // IPv4 in IP
	ProtocolTCP    = 6
	ProtocolUDP    = 17
	ProtocolIPv6   = 41 // IPv6 in IP
	ProtocolGRE    = 47
	ProtocolICMPv6 = 58
)

// RecordHead starts every record. It is the twin of struct record_head.
type RecordHead struct {
	_            structs.HostLayout
	DtNs         uint32  `bpf:"dt_ns"`         // time since the batch's BaseNs
	Words        uint8   `bpf:"words"`         // length of the record, this head included, in 8-byte words
	Kind         Kind    `bpf:"kind"`          // what is described
	Blocks       Block   `bpf:"blocks"`        // which blocks follow
	State        State   `bpf:"state"`         // what the parser found
	Interface    uint16  `bpf:"interface"`     // slot of the interface in this run; no ifindex
	Protocol     uint8   `bpf:"protocol"`      // IP protocol number of the transport header
	TCPFlags     Flags   `bpf:"tcp_flags"`     // byte 13 of the TCP header
	HeaderLength uint16  `bpf:"header_length"` // from the IP header's start to the transport payload, bytes
	Window       uint16  `bpf:"window"`        // TCP: window, unscaled; UDP: length field; ICMP: type << 8 | code
	IPLength     uint32  `bpf:"ip_length"`     // IPv4 total length, IPv6 payload length + 40
	SrcPort      [2]byte `bpf:"src_port"`      // network byte order; 0 without ports
	DstPort      [2]byte `bpf:"dst_port"`      // network byte order
	Seq          uint32  `bpf:"seq"`           // TCP sequence number
	Ack          uint32  `bpf:"ack"`           // TCP acknowledgment number, ACK flag or not
}

// RecordIPv4 holds the addresses of an IPv4 packet in network byte order. It is
// the twin of struct record_ipv4.
type RecordIPv4 struct {
	_   structs.HostLayout
	Src [4]byte `bpf:"src"`
	Dst [4]byte `bpf:"dst"`
}

// RecordIPv6 holds the effective addresses of an IPv6 packet in network byte
// order. It is the twin of struct record_ipv6.
type RecordIPv6 struct {
	_   structs.HostLayout
	Src [16]byte `bpf:"src"`
	Dst [16]byte `bpf:"dst"`
}

// L2 holds the link layer of a frame. It is the twin of struct block_l2.
type L2 struct {
	_         structs.HostLayout
	Dst       MAC    `bpf:"dst"`
	Src       MAC    `bpf:"src"`
	VLAN      uint16 `bpf:"vlan"`       // 12-bit id of the outer tag; 0: none
	InnerVLAN uint16 `bpf:"inner_vlan"` // 12-bit id of the inner tag; 0: none
}

// Fragment holds what a fragment says of its place. It is the twin of struct
// block_fragment.
type Fragment struct {
	_          structs.HostLayout
	ID         uint32 `bpf:"id"`     // IPv4: 16 bits
	Offset     uint16 `bpf:"offset"` // bytes
	More       uint8  `bpf:"more"`   // 1: more fragments follow
	_          uint8
	PartialSum uint32 `bpf:"partial_sum"` // ones' complement sum of the payload, folded; 0 unless asked for
	_          uint32
}

// GSO describes a super-packet that the device or the stack cuts into segments.
// It is the twin of struct block_gso.
type GSO struct {
	_        structs.HostLayout
	Size     uint16 `bpf:"size"`     // payload bytes of each segment but the last
	Segments uint16 `bpf:"segments"` // 0: not known
	_        uint32
}

// Identity tells copies of one packet from others. It is the twin of struct
// block_identity.
type Identity struct {
	_    structs.HostLayout
	IPID uint32 `bpf:"ip_id"` // IPv4 identification; IPv6: flow label
	_    uint32
}

// Tunnel says what an inner packet came out of. It is the twin of struct
// block_tunnel.
type Tunnel struct {
	_     structs.HostLayout
	Type  TunnelType `bpf:"type"`  // what the packet came out of
	Depth uint8      `bpf:"depth"` // 1: directly inside the outermost packet
	_     uint16
	ID    uint32 `bpf:"id"` // VNI, GRE key, PPTP call or TEID of that tunnel, 0 without
}

// Owner is the local process that opened the socket of a packet, as it was then. It
// is the twin of struct block_owner.
type Owner struct {
	_      structs.HostLayout
	PID    uint32   `bpf:"pid"`    // of the process, as the host numbers it; never 0
	UID    uint32   `bpf:"uid"`    // its real user, as the host numbers it
	Cgroup uint64   `bpf:"cgroup"` // id in the hierarchy of version 2
	Comm   [16]byte `bpf:"comm"`   // its name, NUL-padded
}

// The longest payload prefix of each kind of packet, bytes.
const (
	PayloadDirection = 12  // UDP from or to 53, 123, 137, 5353, 5355: direction rules
	PayloadService   = 64  // first payload packets of a flow
	PayloadFragment  = 256 // fragments
)

// Counters add up what one CPU did with the frames of one hook and interface;
// every frame is in exactly one sum: seen = recorded + filtered + lost + all of
// skipped. It is the twin of struct counters.
type Counters struct {
	_        structs.HostLayout
	Seen     uint64              `bpf:"seen"`
	Recorded uint64              `bpf:"recorded"`
	Filtered uint64              `bpf:"filtered"`
	Lost     uint64              `bpf:"lost"` // no room in the ring
	Skipped  [ReasonCount]uint64 `bpf:"skipped"`
}
