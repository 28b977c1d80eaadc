// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// drainPatience is more than the kernel takes to hand over its last blocks.
const drainPatience = int64(time.Second)

// packetCapture yields the packets of interfaces by packet sockets (AF_PACKET), for
// where BPF is not to be had. There is one socket, and one ring, per interface: in it
// packets stand in the order in which they came, of both directions and all CPUs.
// Several by fanout would spare the CPUs their common lock, but not the reader
// anything, who merges them by time; whoever needs that speed has BPF's hooks.
type packetCapture struct {
	nics
	watcher watcher
	drops   *deviceWatch
	held    map[*nic]*packetTap // of the watcher
	bytes   int                 // of a ring
	whole   bool                // frames are copied whole
	budget  int                 // what is left for rings of interfaces that come

	taps   []*packetTap // of the reader, which changes them under mu
	epoll  int
	events [1]unix.EpollEvent

	clock    stampClock
	packets  uint64 // outermost ones that Read returned
	spare    [bpf.PacketsMax]bpf.Packet
	rest     []bpf.Packet // of spare, not yet handed out
	segments segmenter
	partial  *packetTap // whose current frame is not yet handed out as a whole
	losses   *losses
	latency  latency
	pin      []int // CPUs that Read still has to move to

	now, offset atomic.Int64
	stopped     atomic.Bool // no packet comes any more
	drained     atomic.Bool // all was read
	drainUntil  int64       // CLOCK_BOOTTIME; 0: not stopped yet

	changed atomic.Bool // taps has to be: by those that are coming or leaving

	mu        sync.Mutex // guards what follows, and the rings' release
	coming    []*packetTap
	gone      []HookStats // of taps that have left
	opened    int         // taps so far
	published uint64      // packets
	fill      RingFill
	closed    bool
	released  bool
}

var _ LiveSource = (*packetCapture)(nil)

// openPackets opens a packet socket per interface.
func openPackets(c LiveConfig) (*packetCapture, error) {
	s := &packetCapture{
		epoll: -1, losses: newLosses(), pin: c.ReaderCPUs, fill: RingFill{CPU: -1}, whole: c.VerifyChecksums,
		held: map[*nic]*packetTap{}, segments: segmenter{apart: c.Identity},
	}
	if err := s.watcher.open(&c, &s.nics, s); err != nil {
		s.watcher.stop()
		return nil, errors.Join(err, s.release())
	}
	s.advance()
	return s, nil
}

// ringsOpen is how many interfaces share the memory for rings at least, if others than
// those that are there may be captured later.
const ringsOpen = 32

// prepare implements taker.
func (s *packetCapture) prepare(c *LiveConfig, interfaces int) (err error) {
	if c.Transport != TransportAuto {
		return fmt.Errorf("--transport %s is of BPF's records; --capture afpacket has none", c.Transport)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("counting CPUs: %w", err)
	}
	rings := max(interfaces, 1)
	if s.watcher.choice.open() {
		rings = max(rings, ringsOpen)
	}
	size, err := ringSize(c.RingBytes, cpus, rings)
	if err != nil {
		return err
	}
	s.bytes, s.budget = int(size), rings
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("polling packet sockets: %w", err)
	}
	s.drops, err = watchDevices()
	s.clock.look()
	return err
}

// attach implements taker. An interface that was captured before keeps its ring: its
// packets go on in it.
func (s *packetCapture) attach(i *Interface, p plan, n *nic) (Attachment, error) {
	t, again := s.held[n]
	if !again {
		var err error
		if t, err = s.newTap(i, p, n); err != nil {
			return Attachment{}, err
		}
	} else if err := t.ring.direct(i, p, s.whole); err != nil {
		return Attachment{}, err
	}
	if err := t.ring.bind(i); err != nil {
		if !again {
			err = errors.Join(err, t.ring.close())
		}
		return Attachment{}, err
	}
	s.drops.add(i.Name, i.Index)
	if !again {
		s.held[n] = t
		s.admit(t)
	}
	return t.attachment(i, p), nil
}

// newTap opens a tap that gets no packets yet.
func (s *packetCapture) newTap(i *Interface, p plan, n *nic) (*packetTap, error) {
	bytes := s.bytes
	if s.budget == 0 { // of so many interfaces nobody thought
		bytes = ringLeast
	}
	t, err := openPacketTap(s.watcher.config, i, p, n, bytes)
	if err != nil {
		return nil, err
	}
	if err := s.watch(t.ring.socket); err != nil {
		return nil, errors.Join(err, t.ring.close())
	}
	s.budget = max(s.budget-1, 0)
	t.ring.floor = bootTime()
	return t, nil
}

// admit hands a tap to the reader.
func (s *packetCapture) admit(t *packetTap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.stream = s.opened
	s.opened++
	s.coming = append(s.coming, t)
	s.fill.Size += uint64(len(t.ring.memory))
	s.changed.Store(true)
}

// widen implements taker.
func (s *packetCapture) widen(i *Interface, p plan, n *nic) (Attachment, error) {
	t := s.held[n]
	err := t.ring.direct(i, p, s.whole)
	return t.attachment(i, p), err
}

// detach implements taker. The ring stays, for what is in it, and for the interface's
// return.
func (s *packetCapture) detach(n *nic) error {
	s.drops.leave(n.name)
	return s.held[n].ring.stop()
}

// rename implements taker.
func (s *packetCapture) rename(n *nic, to string) { s.drops.rename(n.name, to) }

// forget implements taker.
func (s *packetCapture) forget(n *nic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.held[n]; t != nil {
		t.nic = nil
		delete(s.held, n)
		s.changed.Store(true)
	}
	s.drops.rename(n.name, nameGone)
}

// change brings taps up to date, at a Read's start.
func (s *packetCapture) change() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Store(false)
	for _, t := range s.coming {
		t.ring.floor = max(t.ring.floor, s.now.Load())
		s.taps = append(s.taps, t)
	}
	s.coming = nil
	var errs []error
	s.taps = slices.DeleteFunc(slices.Clone(s.taps), func(t *packetTap) bool {
		if t.nic != nil {
			return false
		}
		if !t.ring.drained() || t.ring.given != t.ring.next {
			s.changed.Store(true) // some other time
			return false
		}
		errs = append(errs, s.dismiss(t))
		return true
	})
	return errors.Join(errs...)
}

// dismiss releases a tap from which nothing will come. Its account stays.
func (s *packetCapture) dismiss(t *packetTap) error {
	packets, lost, err := t.ring.statistics()
	t.ringed, t.lost = t.ringed+packets, t.lost+lost
	t.published = t.counted
	rows := t.stats(nameGone)
	s.gone = sumByName(append(s.gone, rows[:]...))
	s.fill.Size -= uint64(len(t.ring.memory))
	return errors.Join(err, t.ring.close())
}

// watch has wait return when the kernel hands over a block of the socket. Edge
// triggered: a block that Read still holds is no news.
func (s *packetCapture) watch(socket int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, socket, &event); err != nil {
		return fmt.Errorf("polling packet sockets: %w", err)
	}
	return nil
}

// Obtained implements LiveSource.
func (s *packetCapture) Obtained() []Attachment { return s.attachments() }

// Interfaces implements LiveSource.
func (s *packetCapture) Interfaces() InterfaceCount { return s.counts() }

// DeviceDrops implements LiveSource.
func (s *packetCapture) DeviceDrops() []DeviceDrops { return s.drops.drops() }

// Read implements Source. It waits for 100 ms at most.
func (s *packetCapture) Read(dst []bpf.Packet) (int, error) {
	if s.drained.Load() {
		return 0, io.EOF
	}
	if s.pin != nil {
		if err := pinReader(s.pin); err != nil {
			return 0, err
		}
		s.pin = nil
	}
	for _, t := range s.taps {
		t.ring.giveBack()
	}
	if s.changed.Load() {
		if err := s.change(); err != nil {
			return 0, err
		}
	}
	stopped := s.stopped.Load() // before the rings are found empty
	n := s.store(dst)
	if n == 0 && stopped && s.isDrained() {
		return 0, s.end()
	}
	if n == 0 {
		if err := s.wait(); err != nil {
			return 0, err
		}
		n = s.store(dst)
	}
	s.advance()
	if n > 0 {
		s.latency.add(n, bootTime()-dst[0].Time)
	}
	return n, s.publish()
}

// store stores what is there in dst, by time.
func (s *packetCapture) store(dst []bpf.Packet) (n int) {
	for n < len(dst) {
		if s.partial != nil {
			n += s.goOn(dst[n:])
			continue
		}
		t, until := s.earliest()
		if t == nil {
			break
		}
		n += s.run(t, until, dst[n:])
	}
	return n
}

// run takes frames of one tap up to some time.
func (s *packetCapture) run(t *packetTap, until int64, dst []bpf.Packet) (n int) {
	for n < len(dst) && s.partial == nil && t.ring.settle(&s.clock) && t.ring.time <= until {
		if !t.isSuper() && len(dst)-n >= bpf.PacketsMax {
			taken := t.take(dst[n:])
			s.packets += countOutermost(dst[n : n+taken])
			n += taken
			t.ring.step()
			continue
		}
		s.takeApart(t)
	}
	return n
}

// takeApart takes a frame that may have more packets than there is room for.
func (s *packetCapture) takeApart(t *packetTap) {
	taken := t.take(s.spare[:])
	s.partial = t
	if taken == 0 || s.spare[0].Blocks&bpf.BlockGSO == 0 {
		s.rest = s.spare[:taken]
		return
	}
	s.segments.take(&s.spare[0])
	for i := range s.spare[1:taken] {
		*s.segments.next() = s.spare[1+i]
		s.segments.keep()
	}
	s.segments.start()
}

// goOn hands out what takeApart took. The frame's block stays until all of it is.
func (s *packetCapture) goOn(dst []bpf.Packet) int {
	n := copy(dst, s.rest)
	s.rest = s.rest[n:]
	n += s.segments.fill(dst[n:])
	if len(s.rest) == 0 && s.segments.left == 0 {
		s.partial.ring.step()
		s.partial = nil
	}
	s.packets += countOutermost(dst[:n])
	return n
}

// earliest is the tap with the earliest packet, and the time up to which no other
// one has any; nil while one may still have an earlier one.
func (s *packetCapture) earliest() (first *packetTap, until int64) {
	first, until = s.compare()
	if first != nil && first.ring.time > until {
		s.look()
		first, until = s.compare()
	}
	if first == nil || first.ring.time > until {
		return nil, 0
	}
	return first, until
}

// compare finds the tap with the earliest packet. Of the others, until is the
// earliest time that a packet may have.
func (s *packetCapture) compare() (first *packetTap, until int64) {
	until = math.MaxInt64
	for _, t := range s.taps {
		if !t.ring.settle(&s.clock) {
			until = min(until, t.ring.floor)
			continue
		}
		if first == nil || t.ring.time < first.ring.time {
			first, t = t, first
		}
		if t != nil {
			until = min(until, t.ring.time)
		}
	}
	return first, until
}

// look notes which rings are empty by now.
func (s *packetCapture) look() {
	now := bootTime()
	for _, t := range s.taps {
		t.ring.passed(now)
	}
}

// wait returns when the kernel has handed over a block, or after readTimeout. When
// packets wait for those of another interface, or the last ones are awaited, a
// block is not far. Nor does it keep blocks from the kernel for long that the next
// Reads give back: a small ring may have no other.
func (s *packetCapture) wait() error {
	timeout := int(readTimeout.Milliseconds())
	if s.drainUntil != 0 || s.isHeld() || s.holdsBlocks() {
		timeout = packetRetire
	}
	_, err := unix.EpollWait(s.epoll, s.events[:], timeout)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("waiting for packets: %w", err)
	}
	s.look()
	return nil
}

// isHeld tells whether packets are there that may not be handed out yet.
func (s *packetCapture) isHeld() bool {
	for _, t := range s.taps {
		if t.ring.settled {
			return true
		}
	}
	return false
}

// holdsBlocks tells whether blocks have been read that are not given back.
func (s *packetCapture) holdsBlocks() bool {
	for _, t := range s.taps {
		if t.ring.given < t.ring.next {
			return true
		}
	}
	return false
}

// isDrained tells, after stop, whether nothing is left in the rings.
func (s *packetCapture) isDrained() bool {
	now := bootTime()
	if s.drainUntil == 0 {
		s.drainUntil = now + drainPatience
	}
	for _, t := range s.taps {
		if !t.ring.drained() && now < s.drainUntil {
			return false
		}
	}
	return true
}

// advance moves Now to where no ring will have an earlier packet.
func (s *packetCapture) advance() {
	now := int64(math.MaxInt64)
	if len(s.taps) == 0 {
		now = bootTime()
	}
	for _, t := range s.taps {
		now = min(now, t.ring.floor) // the time of a packet that waits, too
	}
	s.now.Store(now)
	s.offset.Store(s.clock.offset)
}

// Now implements Source.
func (s *packetCapture) Now() int64 { return s.now.Load() }

// ClockOffset implements Source.
func (s *packetCapture) ClockOffset() int64 { return s.offset.Load() }

// publish makes the account of what was read so far that of Stats.
func (s *packetCapture) publish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published = s.packets
	s.fill.Used = 0
	for _, t := range s.taps {
		s.fill.Used += t.ring.used()
	}
	s.fill.Highest = max(s.fill.Highest, s.fill.Used)
	for _, t := range s.taps {
		t.published = t.counted
	}
	return s.noteLosses()
}

// noteLosses takes what was lost since the last Read from the kernel.
func (s *packetCapture) noteLosses() error {
	before := bootTime()
	err := s.askKernel()
	after := bootTime()
	for _, t := range s.taps {
		s.losses.note(t.stream, t.lost, before, after)
	}
	s.losses.settle(before)
	return err
}

// askKernel adds up what the kernel counted.
func (s *packetCapture) askKernel() error {
	for _, t := range s.taps {
		packets, lost, err := t.ring.statistics()
		if err != nil {
			return err
		}
		t.ringed += packets
		t.lost += lost
	}
	return nil
}

// Stats implements Source. A frame is seen when Read comes to it, or when it is
// lost, so that the account balances always.
func (s *packetCapture) Stats() Stats {
	var total Stats
	for _, row := range s.HookStats() {
		addCounters(&total.Counters, &row.Counters)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	total.Packets = s.published
	return total
}

// HookStats implements LiveSource.
func (s *packetCapture) HookStats() []HookStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.released {
		_ = s.askKernel() // Read says it, too
	}
	var rows []HookStats
	s.nics.mu.Lock()
	defer s.nics.mu.Unlock()
	for _, t := range s.taps {
		name := nameGone
		if t.nic != nil {
			name = t.nic.name
		}
		of := t.stats(name)
		rows = append(rows, of[:]...)
	}
	rows = append(rows, s.gone...)
	rows = slices.DeleteFunc(rows, func(row HookStats) bool { return row.Seen == 0 })
	return sumByName(rows)
}

// Rings implements LiveSource: an element for all of them, as of the last Read. A
// block that was handed over counts as a whole.
func (s *packetCapture) Rings() []RingFill {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []RingFill{s.fill}
}

// Latency implements LiveSource.
func (s *packetCapture) Latency() Latency { return s.latency.read() }

// CgroupPath implements LiveSource: no packet has an owner.
func (s *packetCapture) CgroupPath(uint64) string { return "" }

// LostBetween implements LiveSource.
func (s *packetCapture) LostBetween(from, to int64) uint64 { return s.losses.between(from, to) }

// Capabilities implements LiveSource: sockets that are open need none.
func (s *packetCapture) Capabilities(attaching bool) []Capability {
	if attaching {
		return s.watcher.config.capabilities()
	}
	return nil
}

// Close implements Source. The second one, when no Read is under way and no payload
// in use, releases the rings: what was not read then is lost, and counted.
func (s *packetCapture) Close() error {
	s.watcher.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return s.release()
	}
	s.closed = true
	taps := slices.Concat(s.taps, s.coming) // the reader may be at work on taps
	err := sideBySide(len(taps), func(i int) error { return taps[i].ring.stop() })
	s.drops.close()
	waitForPrograms()
	s.stopped.Store(true)
	return err
}

// end is reached after the last packet. The rings stay: payloads of the last Read
// are in them.
func (s *packetCapture) end() error {
	if err := s.publish(); err != nil {
		return err
	}
	s.drained.Store(true)
	return io.EOF
}

// release gives all back. The account stays, and has what nobody read as lost.
func (s *packetCapture) release() error {
	if s.released {
		return nil
	}
	s.taps, s.coming = slices.Concat(s.taps, s.coming), nil
	err := s.askKernel()
	for _, t := range s.taps {
		t.abandon()
	}
	err = errors.Join(err, sideBySide(len(s.taps), func(i int) error { return s.taps[i].ring.close() }))
	if s.epoll >= 0 {
		err = errors.Join(err, unix.Close(s.epoll))
	}
	if s.drops != nil {
		s.drops.close()
	}
	s.released = true
	s.drained.Store(true)
	return err
}
