// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"

	"conntap/bpf"
)

// LiveSource yields the packets of network interfaces. Read is for one goroutine;
// the other methods may be called from any.
type LiveSource interface {
	Source
	// Obtained is what was obtained, an element per interface that is captured now.
	Obtained() []Attachment
	// Interfaces counts the interfaces.
	Interfaces() InterfaceCount
	// DeviceDrops are what interfaces dropped by themselves, an element per name.
	DeviceDrops() []DeviceDrops
	// HookStats is the account of Stats by interface, hook and CPU; rows of zeros
	// are left out.
	HookStats() []HookStats
	// Rings says how full the rings are.
	Rings() []RingFill
	// Latency says how long packets took until Read returned them.
	Latency() Latency
	// LostBetween is how many frames were lost, for want of room in the ring, from one
	// time to another on the scale of Packet.Time: as far as is known by now, and at
	// most.
	LostBetween(from, to int64) uint64
	// InterfaceName is the name of the interface that packets with this
	// Packet.Interface came from.
	InterfaceName(number uint16) string
	// CgroupPath is the path of a control group of version 2, as
	// /system.slice/nginx.service, by bpf.Owner.Cgroup; "" if it is not known. Groups that
	// are gone are known if their owners' packets were read in time.
	CgroupPath(id uint64) string
	// Capabilities are those that the process must keep for the methods to work until
	// the end; with attaching, so that interfaces are captured that come, or come
	// again. It may drop all others, in every thread, as soon as the source is open.
	Capabilities(attaching bool) []Capability
}

// LiveConfig says what to capture.
type LiveConfig struct {
	// Interfaces say which interfaces to capture on: names, which must be there,
	// patterns (* ? [0-3]) for all that match, now or later, and behind a ! patterns
	// of what is left out. They feed one stream of packets.
	//
	// Interfaces that come, go or change their names are followed: the names decide. Who
	// is named, goes and comes back is captured again.
	Interfaces []string
	// All adds all interfaces but loopback, and those whose packets another one
	// shows: ports of bonds and bridges, VLANs and the like on an interface that is
	// captured, tunnels that are looked into.
	All bool
	// Wait does with names as with patterns: they need not be there yet.
	Wait bool
	// Namespace is the network namespace of the interfaces, by name (ip-netns(8)),
	// path or process id; "": the calling thread's. Any other takes CAP_SYS_ADMIN.
	Namespace string
	// HideAddresses leaves the interfaces' own addresses out of Attachments, and so of
	// what is said of them.
	HideAddresses bool
	// Capture, Direction and Promiscuous hold for all interfaces; "" is auto.
	Capture     Capture
	Direction   Direction
	Promiscuous Promiscuous
	// Transport says how records get from the kernel to Read; "" is auto.
	Transport Transport
	// RingBytes is the size of the rings between kernel and reader, of all CPUs
	// together, each rounded up to a power of two; 0 is 16 MiB per CPU, 256 MiB at
	// most. With CaptureAFPacket it is shared by the interfaces.
	RingBytes int
	// ReaderCPUs are the CPUs for the goroutine that calls Read, which then is given
	// a thread of its own: best those to which no queue of the interfaces sends its
	// interrupts. Empty: the scheduler decides.
	ReaderCPUs []int
	// NoTunnels records the outermost packets alone.
	NoTunnels bool
	// NoLinkLayer records neither MAC addresses nor VLAN ids, which saves 16 bytes a
	// packet in the ring. Packets from AF_PACKET have them all the same.
	NoLinkLayer bool
	// Identity records what Dedup goes by beside the rest, 8 bytes a packet in the ring,
	// and hands out the segments of super-packets apart.
	Identity bool
	// VerifyChecksums has checksums judged: a bad IPv4 header's frame is skipped
	// and counted, other packets have the judgement in their State. Linux 5.18
	// and later.
	VerifyChecksums bool
	// Owners has packets that leave by a socket of this machine say which process
	// opened it. It takes the kernel's BTF and cgroup version 2.
	Owners bool
	// Selection says which frames are recorded.
	Selection Selection
	// GiveWay, if it is not nil, is called by Read now and then between packets: for
	// other programs that wait for the CPU. CaptureAFPacket and TransportPerPacket don't.
	GiveWay func()
	// XDPAction is what becomes of packets behind XDP; "" is pass. XDPDrop takes
	// XDP, and is refused where somebody needs the packets: on an interface that has
	// an address, is a port of a bridge or bond, or has VLANs and the like on it.
	// Force does it there all the same.
	XDPAction XDPAction
	Force     bool
	// WallClock reads the wall clock, ns since 1970; nil: the system's. CaptureAFPacket
	// always has the kernel's.
	WallClock func() int64
	// Warn is told what the user should know, a sentence at a time, before it
	// takes effect. Optional.
	Warn func(sentence string)

	clsact   bool // attach by clsact even where TCX is to be had
	slots    int  // how many interfaces at a time, a power of two; 0: as many as there may be
	noTimers bool // flush by threads even where the kernel has timers for it
}

// Transport is how records get from the kernel to the reader.
type Transport string

// TransportBatched puts many records at a time into a ring of their CPU. Read merges
// the packets of all CPUs by time.
//
// TransportPerPacket puts each record into the one ring at once, where the order is
// that of events, and wakes the reader seldom. It is the simple way, to compare with.
//
// TransportAuto is batched where the kernel can: Linux 5.19 and later.
const (
	TransportAuto      Transport = "auto"
	TransportBatched   Transport = "batched"
	TransportPerPacket Transport = "per-packet"
)

// Transports are the choices, in the order in which help and errors name them.
var Transports = []Transport{TransportAuto, TransportBatched, TransportPerPacket}

// Attachment is what was obtained on one interface.
type Attachment struct {
	Interface Interface `json:"interface"`
	// Ingress and Egress are the hooks in use: "XDP native", "XDP generic",
	// "TCX", "clsact", "AF_PACKET", or "" for a direction that is not captured.
	Ingress string `json:"ingress"`
	Egress  string `json:"egress"`
	// Promiscuous says whether the interface was asked to take all frames.
	Promiscuous bool `json:"promiscuous"`
	// Dropped says that the stack gets no incoming packet: XDPDrop.
	Dropped bool `json:"dropped,omitempty"`
}

// String is the attachment in the words of the start line, such as "eth0
// (virtio_net, 10.0.0.5, 2 queues, MTU 1500): in XDP native, out TCX".
func (a *Attachment) String() string {
	text, separator := a.Interface.describe(), ": "
	for _, part := range []struct{ name, mode string }{{"in", a.Ingress}, {"out", a.Egress}} {
		if part.mode != "" {
			text += separator + part.name + " " + part.mode
			separator = ", "
		}
	}
	if a.Dropped {
		text += ", incoming packets dropped after it"
	}
	if a.Promiscuous {
		text += ", promiscuous"
	}
	return text
}

// InterfaceCount counts interfaces, and what became of them.
type InterfaceCount struct {
	Captured int // now
	Awaited  int // named, and not there now
	Failed   int // chosen, but they can't be captured now
	// Attached and Detached are how often a capture of one began and ended.
	Attached, Detached uint64
}

// HookStats is what one CPU did with the frames of one hook. With AF_PACKET,
// bpf.HookTCIngress and bpf.HookTCEgress stand for the two directions, CPU is the
// number of the interface's socket, and what both directions lost is in one row, as
// the kernel doesn't tell.
type HookStats struct {
	// Interface is the name that it has, or had last. With very many interfaces that
	// come and go, "(gone ones)" stands for the earliest that are gone.
	Interface string
	Hook      bpf.Hook
	CPU       int
	bpf.Counters
}

// RingFill says how full a ring between kernel and reader is, in bytes.
type RingFill struct {
	CPU     int // that writes to it; -1: all do
	Used    uint64
	Highest uint64 // the most that was in use at any Read
	Size    uint64
}

// addCounters adds c to sum.
func addCounters(sum, c *bpf.Counters) {
	sum.Seen += c.Seen
	sum.Recorded += c.Recorded
	sum.Filtered += c.Filtered
	sum.Lost += c.Lost
	for reason := range sum.Skipped {
		sum.Skipped[reason] += c.Skipped[reason]
	}
}

// Sizes of rings, bytes.
const (
	ringPerCPU  = 16 << 20
	ringsMost   = 256 << 20 // together, unless the user wishes more
	ringLeast   = 64 << 10  // a multiple of every page size
	ringLargest = 1 << 30
)

// ringSize is the size of each ring, if so many hold what the user wishes in all: a
// power of two, as the kernel wants it.
func ringSize(wish, cpus, rings int) (uint32, error) {
	if wish == 0 {
		wish = min(cpus*ringPerCPU, ringsMost)
	}
	if wish < 0 || wish > rings*ringLargest {
		return 0, fmt.Errorf("ring of %d bytes: the kernel takes %d to %d", wish, ringLeast, ringLargest)
	}
	size := ringLeast
	for size*rings < wish {
		size *= 2
	}
	return uint32(size), nil
}
