// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// Live yields the packets of network interfaces. Read is for one goroutine; the
// other methods may be called from any.
type Live struct {
	nics
	watcher watcher
	drops   *deviceWatch
	holds   map[*nic]*hold // of the watcher, and of who has stopped it
	owners  *ownerWatch    // nil unless asked for

	rings   []*mappedRing
	poll    *ringPoll
	pace    pace
	looked  int64 // when the last one was, CLOCK_BOOTTIME
	streams *streams
	losses  *losses
	now     atomic.Int64
	clock   wallClock
	offset  atomic.Int64 // clock's
	packets atomic.Uint64
	latency latency

	pin      []int       // CPUs that Read still has to move to
	detached atomic.Bool // no program runs any more
	drained  atomic.Bool // the ring is empty for good, and unmapped

	mu         sync.Mutex  // guards what follows
	loader     *loader     // nil once everything is released
	gone       []HookStats // of interfaces whose slots are others' now
	final      []HookStats
	finalRings []RingFill
	closed     bool
}

var _ LiveSource = (*Live)(nil)

// OpenLive attaches to interfaces. Errors say what to do. It must run with CAP_BPF,
// CAP_NET_ADMIN and CAP_PERFMON; promiscuous mode takes CAP_NET_RAW. Linux 6.1 and
// later; 5.15 best effort. Until Close, interfaces are followed as they come and go, for
// which the capabilities stay needed.
func OpenLive(c LiveConfig) (*Live, error) {
	if c.Capture == CaptureAFPacket {
		return nil, errors.New("--capture afpacket is for Open")
	}
	l := &Live{losses: newLosses(), pin: c.ReaderCPUs, holds: map[*nic]*hold{}}
	l.clock.wall = c.WallClock
	if err := l.watcher.open(&c, &l.nics, l); err != nil {
		return nil, errors.Join(err, l.abandon())
	}
	return l, nil
}

// prepare implements taker: all that can fail before anything is attached, and what the
// programs need.
func (l *Live) prepare(c *LiveConfig, interfaces int) (err error) {
	kernel, release, err := runningKernel()
	if err != nil {
		return err
	}
	if err := checkKernel(kernel, release); err != nil {
		return err
	}
	if c.VerifyChecksums && kernel.before(xdpFragsKernel) {
		return fmt.Errorf("verifying checksums takes Linux 5.18, this is %s: go without, or capture to a file and read that", release)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("counting CPUs: %w", err)
	}
	if l.drops, err = watchDevices(); err != nil {
		return err
	}
	if err := l.load(c, kernel, l.slots, cpus); err != nil {
		return err
	}
	l.loader.clsact = l.loader.clsact || c.clsact
	l.loader.noTunnels, l.loader.verify = c.NoTunnels, c.VerifyChecksums
	l.loader.noLinkLayer, l.loader.owners, l.loader.identity = c.NoLinkLayer, c.Owners, c.Identity
	l.loader.selection, l.loader.drop = c.Selection, c.XDPAction == XDPDrop
	if err := l.openRings(hooksOf(c)); err != nil {
		return err
	}
	if l.streams.merged() { // else each packet is a batch
		l.streams.giveWay = c.GiveWay
	}
	l.streams.segments.apart = c.Identity
	if c.Owners {
		if l.owners, err = watchOwners(l.loader.shared[conntapMapOwners]); err != nil {
			return err
		}
		l.streams.payloads.groups.fresh = l.owners.cgroups.fresh
	}
	l.advance(bootTime())
	l.losses.settle(l.Now())
	return nil
}

// hold is what keeps an interface captured.
type hold struct {
	taps    []*tap // in the order in which they were attached
	promisc io.Closer
}

// release undoes it all, last first.
func (h *hold) release() error {
	var errs []error
	for _, t := range slices.Backward(h.taps) {
		errs = append(errs, t.detach())
	}
	if h.promisc != nil {
		errs = append(errs, h.promisc.Close())
	}
	h.taps, h.promisc = nil, nil
	return errors.Join(errs...)
}

// attach implements taker.
func (l *Live) attach(i *Interface, p plan, n *nic) (Attachment, error) {
	h := &hold{}
	a, err := l.attachTo(h, i, p, n.number)
	if err != nil {
		return a, errors.Join(err, h.release())
	}
	l.holds[n] = h
	l.drops.add(i.Name, i.Index)
	return a, nil
}

// attachTo carries out the plan for one interface.
func (l *Live) attachTo(h *hold, i *Interface, p plan, number uint16) (a Attachment, err error) {
	a = Attachment{Interface: *i, Promiscuous: p.promiscuous}
	if p.promiscuous {
		if h.promisc, err = enterPromiscuous(i); err != nil {
			h.promisc = nil
			return a, err
		}
	}
	// Egress first: an answer must not overtake what it answers.
	if p.egress {
		t, err := attachTC(l.loader, i, number, bpf.HookTCEgress)
		if err != nil {
			return a, err
		}
		h.taps, a.Egress = append(h.taps, t), t.mode
	}
	if p.ingress != ingressNone {
		t, err := attachIngress(l.loader, i, p, number, l.watcher.say.now)
		if err != nil {
			return a, err
		}
		h.taps, a.Ingress, a.Dropped = append(h.taps, t), t.mode, l.loader.drop
	}
	return a, nil
}

// widen implements taker.
func (l *Live) widen(i *Interface, p plan, n *nic) (Attachment, error) {
	h, a := l.holds[n], n.attachment
	a.Interface = *i
	if p.egress && a.Egress == "" {
		t, err := attachTC(l.loader, i, n.number, bpf.HookTCEgress)
		if err != nil {
			return a, err
		}
		h.taps, a.Egress = append(h.taps, t), t.mode
	}
	if h.promisc != nil && !p.promiscuous {
		err := h.promisc.Close()
		h.promisc, a.Promiscuous = nil, false
		return a, err
	}
	return a, nil
}

// detach implements taker.
func (l *Live) detach(n *nic) error {
	l.drops.leave(n.name)
	h := l.holds[n]
	delete(l.holds, n)
	err := h.release()
	if l.loader.many != nil {
		l.loader.many.leave(n.index)
	}
	return err
}

// rename implements taker.
func (l *Live) rename(n *nic, to string) { l.drops.rename(n.name, to) }

// forget implements taker: what the slot counted goes to the account of those that are
// gone.
func (l *Live) forget(n *nic) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := l.readSlot(nil, l.slot(n), n.name)
	l.gone = sumByName(append(l.gone, ofGone(rows)...))
	none := make([]bpf.Counters, ebpf.MustPossibleCPU())
	for hook := range bpf.HookCount {
		key := uint32(l.slot(n)*bpf.HookCount + hook)
		if err := l.loader.shared[conntapMapCounters].Put(key, none); err != nil {
			panic(fmt.Sprintf("clearing the BPF counters: %v", err)) // an array has all its keys
		}
	}
	l.drops.rename(n.name, nameGone)
}

// attachIngress attaches to the hook of the plan, or to TCX where the plan
// allows it and the driver has no native XDP.
func attachIngress(l *loader, i *Interface, p plan, number uint16, warn func(string)) (*tap, error) {
	if p.ingress == ingressTCX {
		return attachTC(l, i, number, bpf.HookTCIngress)
	}
	t, err := attachXDP(l, i, number, p.ingress == ingressXDPGeneric)
	if err != nil && l.drop && p.ingress == ingressXDP {
		return nil, fmt.Errorf("%w; --xdp-action drop needs XDP: try --capture xdp-generic", err)
	}
	if err == nil || !p.fallback || errors.Is(err, errHeld) {
		return t, err
	}
	if i.Kind == "device" { // of software interfaces nobody expects it
		warn(fmt.Sprintf("%s: no native XDP (%v); TCX instead", i.Name, rootCause(err)))
	}
	return attachTC(l, i, number, bpf.HookTCIngress)
}

// rootCause is what the kernel said.
func rootCause(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// Obtained is what was obtained, an element per interface.
func (l *Live) Obtained() []Attachment { return l.attachments() }

// Interfaces counts the interfaces.
func (l *Live) Interfaces() InterfaceCount { return l.counts() }

// DeviceDrops are what interfaces dropped by themselves, an element per name.
func (l *Live) DeviceDrops() []DeviceDrops { return l.drops.drops() }

// Capabilities implements LiveSource. Programs, rings and counters are open by now, and a
// link goes with its file; a clsact filter has to be removed.
func (l *Live) Capabilities(attaching bool) []Capability {
	if attaching {
		return l.watcher.config.capabilities()
	}
	var needed []Capability
	if kernel, _, err := runningKernel(); err != nil || kernel.before(unprivilegedLookupKernel) {
		needed = append(needed, CapBPF)
	}
	if l.loader.clsact {
		needed = append(needed, CapNetAdmin)
	}
	return needed
}

// unprivilegedLookupKernel lets processes without CAP_BPF read maps that they have open,
// whatever kernel.unprivileged_bpf_disabled says (kernel/bpf/syscall.c, __sys_bpf).
var unprivilegedLookupKernel = kernelVersion{5, 19}

// Latency says how long packets took until Read returned them.
func (l *Live) Latency() Latency { return l.latency.read() }

// Stats implements Source. It balances when no packet is in the middle of a
// program, so certainly after Close.
func (l *Live) Stats() Stats {
	total := Stats{Packets: l.packets.Load(), Late: l.streams.late.Load()}
	for _, row := range l.HookStats() {
		addCounters(&total.Counters, &row.Counters)
	}
	return total
}

// HookStats is the same account by interface, hook and CPU; rows of zeros are
// left out.
func (l *Live) HookStats() []HookStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loader == nil {
		return l.final
	}
	return l.readCounters()
}

func (l *Live) readCounters() []HookStats {
	var rows []HookStats
	l.nics.mu.Lock()
	defer l.nics.mu.Unlock()
	for slot, n := range l.list {
		rows = l.readSlot(rows, slot, n.name)
	}
	return sumByName(append(rows, l.gone...))
}

// readSlot appends what a slot has counted.
func (l *Live) readSlot(rows []HookStats, slot int, name string) []HookStats {
	for hook := range bpf.Hook(bpf.HookCount) {
		var perCPU []bpf.Counters
		key := uint32(slot*bpf.HookCount) + uint32(hook)
		if err := l.loader.shared[conntapMapCounters].Lookup(key, &perCPU); err != nil {
			panic(fmt.Sprintf("reading the BPF counters: %v", err)) // an array has all its keys
		}
		for cpu := range perCPU {
			if perCPU[cpu].Seen != 0 {
				rows = append(rows, HookStats{name, hook, cpu, perCPU[cpu]})
			}
		}
	}
	return rows
}

// noteLosses takes from the counters what was lost after the last batch, once all
// batches up to now have been read: who lost it may never send another. It does so
// once in a while only, as it reads the counters of all CPUs.
func (l *Live) noteLosses(now int64) {
	if now-l.losses.settled < settleInterval*int64(1+l.counts().Captured/16) && !l.detached.Load() {
		return
	}
	lost := make(map[int]uint64)
	for _, row := range l.HookStats() {
		lost[lossStream(row.CPU, row.Hook)] += row.Lost
	}
	after := bootTime()
	for stream, n := range lost {
		l.losses.note(stream, n, now-stampMargin, after)
	}
	l.losses.settle(now - stampMargin)
}

// LostBetween is how many frames were lost, for want of room in the ring, from one
// time to another on the scale of Packet.Time: as far as is known by now, and at
// most, as losses are known to the batch and to 1 ms, or after hours of losses to
// some seconds. It may be called from any goroutine.
func (l *Live) LostBetween(from, to int64) uint64 { return l.losses.between(from, to) }

// CgroupPath implements LiveSource. It may be called after the end, too.
func (l *Live) CgroupPath(id uint64) string {
	if l.owners == nil {
		return ""
	}
	return l.owners.cgroups.path(id)
}

// closeOwners is for when no packet is read any more.
func (l *Live) closeOwners() {
	if l.owners != nil {
		l.owners.cgroups.close()
	}
}

// Close detaches from all interfaces; Read then returns what the ring still
// holds, and io.EOF. Who does not read on calls Close again, when no Read is
// under way, to release the ring.
func (l *Live) Close() error {
	l.watcher.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.release()
	}
	l.closed = true
	err := l.detachAll()
	waitForPrograms()
	err = errors.Join(err, l.loader.transport.flush())
	l.detached.Store(true)
	return err
}

// detachAll undoes attach.
func (l *Live) detachAll() error {
	holds := slices.Collect(maps.Values(l.holds))
	errs := []error{sideBySide(len(holds), func(i int) error { return holds[i].release() })}
	if l.owners != nil {
		errs = append(errs, l.owners.detach())
	}
	clear(l.holds)
	l.drops.close()
	return errors.Join(errs...)
}

// membarrierGlobal is linux/membarrier.h, MEMBARRIER_CMD_GLOBAL.
const membarrierGlobal = 1

// waitForPrograms returns when every BPF program that ran at the call has ended.
func waitForPrograms() {
	// The command is synchronize_rcu, and programs run in RCU read-side sections
	// (kernel/sched/membarrier.c). It is refused with nohz_full.
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
	if errno != 0 {
		time.Sleep(5 * readTimeout)
	}
}

// release gives back what Close left for Read. The account stays.
func (l *Live) release() error {
	if l.loader == nil {
		return nil
	}
	l.final, l.finalRings = l.readCounters(), l.readRings()
	l.drained.Store(true)
	l.closeOwners()
	err := l.closeRings()
	l.loader.close()
	l.loader = nil
	return err
}

// abandon releases what a failed open has got so far.
func (l *Live) abandon() error {
	l.watcher.stop()
	var err error
	if l.drops != nil {
		err = l.detachAll()
	}
	err = errors.Join(err, l.closeRings())
	l.closeOwners()
	if l.loader != nil {
		l.loader.close()
	}
	return err
}
