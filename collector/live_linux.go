// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
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
	nameTable
	obtained []Attachment
	taps     []*tap
	promisc  []promiscuousSocket
	owners   *ownerWatch // nil unless asked for

	rings   []*mappedRing
	poll    *ringPoll
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

	mu         sync.Mutex // guards what follows
	loader     *loader    // nil once everything is released
	final      []HookStats
	finalRings []RingFill
	closed     bool
}

var _ LiveSource = (*Live)(nil)

// OpenLive attaches to interfaces in the calling thread's network namespace.
// Errors say what to do. It must run with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON;
// promiscuous mode takes CAP_NET_RAW. Linux 6.1 and later; 5.15 best effort.
func OpenLive(c LiveConfig) (*Live, error) {
	if c.Capture == CaptureAFPacket {
		return nil, errors.New("--capture afpacket is for Open")
	}
	interfaces, plans, err := prepare(&c)
	if err != nil {
		return nil, err
	}
	l := &Live{losses: newLosses(), pin: c.ReaderCPUs}
	if err := l.open(&c, interfaces, plans); err != nil {
		return nil, errors.Join(err, l.abandon())
	}
	return l, nil
}

// prepare does all that can fail before anything is attached.
func prepare(c *LiveConfig) ([]*Interface, []plan, error) {
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	err := errors.Join(oneOf("capture", &c.Capture, Captures), oneOf("direction", &c.Direction, Directions),
		oneOf("promiscuous", &c.Promiscuous, PromiscuousChoices), oneOf("transport", &c.Transport, Transports),
		oneOf("xdp-action", &c.XDPAction, XDPActions))
	if err != nil {
		return nil, nil, err
	}
	interfaces, plans, err := planAll(c)
	if err != nil {
		return nil, nil, err
	}
	promiscuous := false
	for _, p := range plans {
		promiscuous = promiscuous || p.promiscuous
	}
	held, err := effectiveCapabilities()
	if err != nil {
		return nil, nil, err
	}
	needed := neededCapabilities(c.Capture, promiscuous)
	if err := rightsError(held.missing(needed), needed); err != nil {
		return nil, nil, err
	}
	warnings(c.Warn, interfaces, plans)
	return interfaces, plans, nil
}

// planAll finds the interfaces and decides what to do on each.
func planAll(c *LiveConfig) (interfaces []*Interface, plans []plan, err error) {
	if len(c.Interfaces) == 0 {
		return nil, nil, errors.New("no interface to capture on: name one with -i")
	}
	taken := map[int]bool{}
	for _, name := range c.Interfaces {
		i, err := findInterface(name)
		if err != nil {
			return nil, nil, err
		}
		if taken[i.Index] {
			return nil, nil, fmt.Errorf("%s is named twice: its packets would be counted twice", name)
		}
		taken[i.Index] = true
		p, err := planCapture(i, c.Capture, c.Direction, c.Promiscuous)
		if err != nil {
			return nil, nil, err
		}
		if c.XDPAction == XDPDrop {
			users, err := packetUsers(i)
			if err != nil {
				return nil, nil, err
			}
			if err := p.planDrop(i, users, c.Force); err != nil {
				return nil, nil, err
			}
		}
		interfaces, plans = append(interfaces, i), append(plans, p)
	}
	return interfaces, plans, nil
}

func (l *Live) open(c *LiveConfig, interfaces []*Interface, plans []plan) error {
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
	if err := l.load(c, kernel, len(interfaces), cpus); err != nil {
		return err
	}
	l.loader.clsact = l.loader.clsact || c.clsact
	l.loader.noTunnels, l.loader.verify = c.NoTunnels, c.VerifyChecksums
	l.loader.noLinkLayer, l.loader.owners = c.NoLinkLayer, c.Owners
	l.loader.selection, l.loader.drop = c.Selection, c.XDPAction == XDPDrop
	if err := l.openRings(hooksOf(plans)); err != nil {
		return err
	}
	if c.Owners {
		if l.owners, err = watchOwners(l.loader.shared[conntapMapOwners]); err != nil {
			return err
		}
	}
	l.advance(bootTime())
	l.losses.settle(l.Now())
	for slot, i := range interfaces {
		if err := l.attach(i, plans[slot], uint16(slot), c.Warn); err != nil {
			return err
		}
	}
	return nil
}

// attach carries out the plan for one interface.
func (l *Live) attach(i *Interface, p plan, slot uint16, warn func(string)) error {
	a := Attachment{Interface: *i, Promiscuous: p.promiscuous}
	if p.promiscuous {
		socket, err := enterPromiscuous(i)
		if err != nil {
			return err
		}
		l.promisc = append(l.promisc, socket)
	}
	// Egress first: an answer must not overtake what it answers.
	if p.egress {
		t, err := attachTC(l.loader, i, slot, bpf.HookTCEgress)
		if err != nil {
			return err
		}
		l.taps, a.Egress = append(l.taps, t), t.mode
	}
	if p.ingress != ingressNone {
		t, err := attachIngress(l.loader, i, p, slot, warn)
		if err != nil {
			return err
		}
		l.taps, a.Ingress, a.Dropped = append(l.taps, t), t.mode, l.loader.drop
	}
	l.set(slot, i.Name)
	l.obtained = append(l.obtained, a)
	return nil
}

// attachIngress attaches to the hook of the plan, or to TCX where the plan
// allows it and the driver has no native XDP.
func attachIngress(l *loader, i *Interface, p plan, slot uint16, warn func(string)) (*tap, error) {
	if p.ingress == ingressTCX {
		return attachTC(l, i, slot, bpf.HookTCIngress)
	}
	t, err := attachXDP(l, i, slot, p.ingress == ingressXDPGeneric)
	if err != nil && l.drop && p.ingress == ingressXDP {
		return nil, fmt.Errorf("%w; --xdp-action drop needs XDP: try --capture xdp-generic", err)
	}
	if err == nil || !p.fallback || errors.Is(err, errHeld) {
		return t, err
	}
	if i.Kind == "device" { // of software interfaces nobody expects it
		warn(fmt.Sprintf("%s: no native XDP (%v); TCX instead", i.Name, rootCause(err)))
	}
	return attachTC(l, i, slot, bpf.HookTCIngress)
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
func (l *Live) Obtained() []Attachment { return l.obtained }

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
	counters := l.loader.shared[conntapMapCounters]
	for slot := range l.obtained {
		for hook := range bpf.Hook(bpf.HookCount) {
			var perCPU []bpf.Counters
			if err := counters.Lookup(uint32(slot)*bpf.HookCount+uint32(hook), &perCPU); err != nil {
				panic(fmt.Sprintf("reading the BPF counters: %v", err)) // an array has all its keys
			}
			for cpu := range perCPU {
				if perCPU[cpu].Seen != 0 {
					rows = append(rows, HookStats{l.obtained[slot].Interface.Name, hook, cpu, perCPU[cpu]})
				}
			}
		}
	}
	return rows
}

// noteLosses takes from the counters what was lost after the last batch, once all
// batches up to now have been read: who lost it may never send another. It does so
// once in a while only, as it reads the counters of all CPUs.
func (l *Live) noteLosses(now int64) {
	if now-l.losses.settled < settleInterval && !l.detached.Load() {
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

// Close detaches from all interfaces; Read then returns what the ring still
// holds, and io.EOF. Who does not read on calls Close again, when no Read is
// under way, to release the ring.
func (l *Live) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.release()
	}
	l.closed = true
	err := l.detach()
	waitForPrograms()
	err = errors.Join(err, l.loader.transport.flush())
	l.detached.Store(true)
	return err
}

// detach undoes attach, last first.
func (l *Live) detach() error {
	var errs []error
	for _, t := range slices.Backward(l.taps) {
		errs = append(errs, t.detach())
	}
	for _, socket := range l.promisc {
		errs = append(errs, socket.Close())
	}
	if l.owners != nil {
		errs = append(errs, l.owners.close())
	}
	l.taps, l.promisc, l.owners = nil, nil, nil
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
	err := l.closeRings()
	l.loader.close()
	l.loader = nil
	return err
}

// abandon releases what a failed open has got so far.
func (l *Live) abandon() error {
	err := errors.Join(l.detach(), l.closeRings())
	if l.loader != nil {
		l.loader.close()
	}
	return err
}
