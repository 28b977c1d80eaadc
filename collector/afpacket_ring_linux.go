// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sort"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// packetRetire is when the kernel hands over a block that is not full, ms.
	packetRetire = 4
	// packetBlocks is how many blocks a ring has, or more, if they need not be smaller
	// than a page: as a block is handed over after packetRetire however empty, their
	// number is for how long the reader may stand still, 2 s.
	packetBlocks = 512
	// packetBlocksLeast is the fewest blocks: two Reads may hold some.
	packetBlocksLeast = 4
	// packetBlockMost is the size of the largest blocks, bytes.
	packetBlockMost = 1 << 20
	// packetBlockWhole holds a super-packet as a whole, for its checksum.
	packetBlockWhole = 128 << 10
	// packetFrame is of no meaning to blocks of packets of any length, but the
	// kernel wants block lengths to be a multiple of it.
	packetFrame = 2048

	// packetSnap is how much of a frame is copied into the ring, bytes: the headers
	// of as many tunnels as are followed, or of a fragment, and the payload prefixes
	// of bpf.PayloadFragment and bpf.PayloadService.
	packetSnap = 512
	// packetSnapWhole copies all, for checksums.
	packetSnapWhole = 1<<32 - 1
)

// Places in a block's descriptor: linux/if_packet.h, struct tpacket_block_desc
// and tpacket_hdr_v1.
const (
	blockStatus = 8
	blockFrames = 12
	blockFirst  = 16
)

// Ancillary data of classic BPF: linux/filter.h, SKF_AD_OFF and SKF_AD_PKTTYPE.
const ancillaryPacketType = 0xfffff000 + 4

// packetRing is a packet socket whose packets the kernel copies into a ring of
// blocks (TPACKET_V3, Documentation/networking/packet_mmap.rst). A block is the
// reader's from its hand-over until giveBack. All is for one goroutine but direct,
// bind, stop and statistics.
type packetRing struct {
	socket int
	kernel unix.TpacketStatsV3 // here for want of a way to ask for it without allocating
	member *unix.PacketMreq    // of promiscuous mode, nil without
	memory []byte
	size   int    // of a block
	blocks uint64 // of the ring

	// Blocks are numbered on and on; modulo blocks it is their place.
	next  uint64 // what is read, or waited for
	mark  uint64 // next as of the last Read's start
	given uint64 // blocks before it are the kernel's again

	block   []byte // what is read
	frames  uint32 // left in it
	at      uint32 // of the current frame
	settled bool   // the current frame holds a packet, of time
	time    int64
	floor   int64 // no packet that comes is earlier; CLOCK_BOOTTIME
	ceiling int64 // none in the block is later
}

// packetGeometry cuts a ring of so many bytes into blocks.
func packetGeometry(bytes int, whole bool) (size, blocks int) {
	size = os.Getpagesize()
	if whole {
		size = max(size, packetBlockWhole)
	}
	for size < packetBlockMost && size*packetBlocks*2 <= bytes {
		size *= 2
	}
	return size, max(bytes/size, packetBlocksLeast)
}

// openPacketRing makes a ring of an interface's packets in the directions of the
// plan. None come before bind, so that none of other interfaces do.
func openPacketRing(i *Interface, p plan, bytes int, whole bool) (*packetRing, error) {
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: opening a packet socket: %w", i.Name, err)
	}
	r := &packetRing{socket: socket}
	if err := r.set(i, p, bytes, whole); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// set sets all options and maps the ring.
func (r *packetRing) set(i *Interface, p plan, bytes int, whole bool) error {
	if err := unix.SetsockoptInt(r.socket, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fmt.Errorf("%s: the kernel has no TPACKET_V3: %w", i.Name, err)
	}
	// Each packet then is behind a struct virtio_net_hdr, which knows gso_size (in
	// rings since Linux 4.6).
	if err := unix.SetsockoptInt(r.socket, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return fmt.Errorf("%s: asking for segmentation offload's facts: %w", i.Name, err)
	}
	if err := r.direct(i, p, whole); err != nil {
		return err
	}
	if err := r.mapBlocks(bytes, whole); err != nil {
		return fmt.Errorf("%s: a ring of %d bytes: %w (try a smaller --ring-size)", i.Name, bytes, err)
	}
	return nil
}

// direct has the socket take the plan's directions of an interface, and makes that
// promiscuous or not.
func (r *packetRing) direct(i *Interface, p plan, whole bool) error {
	snap := uint32(packetSnap)
	if whole {
		snap = packetSnapWhole
	}
	if err := r.filter(packetFilter(p, snap)); err != nil {
		return fmt.Errorf("%s: choosing directions: %w", i.Name, err)
	}
	if r.member != nil {
		_ = unix.SetsockoptPacketMreq(r.socket, unix.SOL_PACKET, unix.PACKET_DROP_MEMBERSHIP, r.member) // it went with its interface, perhaps
		r.member = nil
	}
	if !p.promiscuous {
		return nil
	}
	r.member = i.membership()
	return setPromiscuous(r.socket, i)
}

// mapBlocks has the kernel make the ring, and maps it.
func (r *packetRing) mapBlocks(bytes int, whole bool) (err error) {
	size, blocks := packetGeometry(bytes, whole)
	err = unix.SetsockoptTpacketReq3(r.socket, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq3{
		Block_size: uint32(size), Block_nr: uint32(blocks),
		Frame_size: packetFrame, Frame_nr: uint32(size / packetFrame * blocks),
		Retire_blk_tov: packetRetire,
	})
	if err != nil {
		return err
	}
	r.size, r.blocks = size, uint64(blocks)
	r.memory, err = unix.Mmap(r.socket, 0, size*blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	return err
}

// bind lets packets come. Those of an interface that is down come when it is up.
func (r *packetRing) bind(i *Interface) error {
	var all [2]byte
	binary.BigEndian.PutUint16(all[:], unix.ETH_P_ALL)
	err := unix.Bind(r.socket, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(all[:]), Ifindex: i.Index})
	if err != nil {
		return fmt.Errorf("%s: binding a packet socket: %w", i.Name, err)
	}
	return nil
}

// packetFilter is the classic BPF program that takes the plan's directions, snap
// bytes of each frame. What it leaves is not in the socket's statistics. A loopback
// device's packet goes out and comes in, and is taken once.
func packetFilter(p plan, snap uint32) []unix.SockFilter {
	take := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: snap}
	in := p.ingress != ingressNone
	if in && p.egress {
		return []unix.SockFilter{take}
	}
	out := unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.PACKET_OUTGOING, Jt: 1}
	if !in {
		out.Jt, out.Jf = 0, 1
	}
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: ancillaryPacketType}, out, take, leaveFrame,
	}
}

// leaveFrame takes nothing of a frame.
var leaveFrame = unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}

func (r *packetRing) filter(program []unix.SockFilter) error {
	return unix.SetsockoptSockFprog(r.socket, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// stop has no further packets come, and ends the membership; those under way still
// may, until waitForPrograms returns: packet sockets are served in RCU read-side
// sections, too.
func (r *packetRing) stop() error {
	err := r.filter([]unix.SockFilter{leaveFrame})
	if r.member != nil {
		err = errors.Join(err, unix.SetsockoptPacketMreq(r.socket, unix.SOL_PACKET, unix.PACKET_DROP_MEMBERSHIP, r.member))
	}
	if err != nil {
		return fmt.Errorf("stopping a packet socket: %w", err)
	}
	return nil
}

// statistics are the kernel's since the last call: packets put into the ring and
// lost for want of room, or of a struct virtio_net_hdr for their kind of offload.
func (r *packetRing) statistics() (packets, lost uint64, err error) {
	length := uint32(unix.SizeofTpacketStatsV3)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(r.socket), unix.SOL_PACKET, unix.PACKET_STATISTICS,
		uintptr(unsafe.Pointer(&r.kernel)), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return 0, 0, fmt.Errorf("reading a packet socket's statistics: %w", errno)
	}
	return uint64(r.kernel.Packets - r.kernel.Drops), uint64(r.kernel.Drops), nil
}

func (r *packetRing) close() error {
	var err error
	if r.memory != nil {
		err = unix.Munmap(r.memory)
	}
	r.memory, r.block = nil, nil
	return errors.Join(err, unix.Close(r.socket))
}

// --- the reader's part -------------------------------------------------------

func (r *packetRing) descriptor(number uint64) []byte {
	return r.memory[int(number%r.blocks)*r.size:][:r.size]
}

func word(b []byte, place int) *uint32 { return (*uint32)(unsafe.Pointer(&b[place])) }

// ready tells whether the kernel has handed the next block over.
func (r *packetRing) ready() bool {
	return r.next-r.given < r.blocks && // else it is the reader's since before
		atomic.LoadUint32(word(r.descriptor(r.next), blockStatus))&unix.TP_STATUS_USER != 0
}

// settle goes on to the next packet, if it is there, and tells.
func (r *packetRing) settle(clock *stampClock) bool {
	for !r.settled {
		if r.frames == 0 {
			if !r.ready() {
				return false
			}
			r.ceiling = clock.look() // later than all that is in the block
			r.block = r.descriptor(r.next)
			r.frames, r.at = *word(r.block, blockFrames), *word(r.block, blockFirst)
			if r.frames == 0 {
				r.next++
			}
			continue
		}
		header := r.header()
		if header.Status&unix.TP_STATUS_USER == 0 {
			r.step() // a place that the kernel took, and then dropped the packet
			continue
		}
		stamp := int64(header.Sec)*1e9 + int64(header.Nsec)
		r.time = clock.steady(stamp, r.floor, r.ceiling)
		r.floor, r.settled = r.time, true
	}
	return true
}

// header is the current frame's.
func (r *packetRing) header() *unix.Tpacket3Hdr {
	return (*unix.Tpacket3Hdr)(unsafe.Pointer(&r.block[r.at:][:unix.SizeofTpacket3Hdr][0]))
}

// step is done with the current frame.
func (r *packetRing) step() {
	r.at += r.header().Next_offset
	r.settled = false
	if r.frames--; r.frames == 0 {
		r.next++
	}
}

// passed moves floor on to now, a time read before the call, if nothing has come
// until then. A packet gets its place in the block before its stamp.
func (r *packetRing) passed(now int64) {
	waiting := r.next-r.given < r.blocks && !r.ready() && atomic.LoadUint32(word(r.descriptor(r.next), blockFrames)) == 0
	if waiting && r.frames == 0 {
		r.floor = max(r.floor, now)
	}
}

// drained tells of a stopped ring whether all that came was read.
func (r *packetRing) drained() bool {
	return r.frames == 0 && r.next-r.given < r.blocks && !r.ready() &&
		atomic.LoadUint32(word(r.descriptor(r.next), blockFrames)) == 0
}

// giveBack returns the blocks whose packets were handed out before the last Read.
func (r *packetRing) giveBack() {
	for ; r.given < r.mark; r.given++ {
		atomic.StoreUint32(word(r.descriptor(r.given), blockStatus), unix.TP_STATUS_KERNEL)
	}
	r.mark = r.next
}

// used is how many bytes are in blocks that the kernel has handed over: those from
// given on, up to one that is not.
func (r *packetRing) used() uint64 {
	blocks := sort.Search(int(r.blocks), func(i int) bool {
		return atomic.LoadUint32(word(r.descriptor(r.given+uint64(i)), blockStatus))&unix.TP_STATUS_USER == 0
	})
	return uint64(blocks * r.size)
}
