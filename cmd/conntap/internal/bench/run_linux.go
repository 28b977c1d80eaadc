// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/collector"
)

// subject is what is measured, a row of the report.
type subject struct {
	name      string
	capture   collector.Capture // "" for the baseline
	transport collector.Transport
}

// subjects are the rows, in order.
func (c *Config) subjects() []rowMaker {
	var all []rowMaker
	if c.Baseline {
		all = append(all, rowMaker{subject: subject{name: baselineName}})
	}
	for _, capture := range c.Captures {
		if capture == collector.CaptureAFPacket { // which has but one way
			all = append(all, rowMaker{subject: subject{name: string(capture), capture: capture}})
			continue
		}
		for _, transport := range c.Transports {
			all = append(all, rowMaker{subject: subject{string(capture), capture, transport}})
		}
	}
	return all
}

// result is what one run gave.
type result struct {
	account  Account
	elapsed  time.Duration // of the load
	records  uint64        // read
	usage    usage         // without the producers
	latency  histogram
	ringFill float64
	steal    float64
	pause    float64 // ns
	kernelNS float64 // per run of the program; only if asked for
}

func (r *result) offeredRate() float64 { return float64(r.account.Offered) / r.elapsed.Seconds() }
func (r *result) loggedRate() float64  { return float64(r.account.Logged) / r.elapsed.Seconds() }

// missing is how many packets are unaccounted for. The baseline has no account.
func (r *result) missing(s subject) int64 {
	if s.name == baselineName {
		return 0
	}
	return r.account.missing()
}

// settling is how long frames may take that have left the producers.
const settling = time.Second

// runCable puts the load on the cable while the subject captures at its end.
// With kernelTime the kernel takes the time of each run of a program, at a cost.
func (b *bench) runCable(ctx context.Context, s subject, load Load, kernelTime bool) (*result, error) {
	var captured *capture
	err := b.cable.captured.do(func() (err error) {
		captured, err = b.startCapture(s, capturedEnd, b.cable.capturedIndex, kernelTime)
		return err
	})
	if err != nil {
		return nil, err
	}
	made, counts, err := b.offer(ctx, captured, load)
	r, finishErr := captured.finish(b.cable.captured.do, made.usage)
	if err := errors.Join(err, finishErr); err != nil {
		return nil, err
	}
	r.elapsed = made.elapsed
	r.account.Offered, r.account.Refused = counts.arrived, counts.refused
	if counts.arrived > captured.seen {
		r.account.Lost.Driver = min(counts.dropped, counts.arrived-captured.seen)
	}
	return r, nil
}

// runInterface captures what passes an interface, in both directions if it has an
// address, as conntap run does. What is offered is what the hooks saw, with all the
// packets that a frame holds, and what the card dropped before.
func (b *bench) runInterface(ctx context.Context, s subject, load Load, kernelTime bool) (*result, error) {
	name := b.config.Interface
	device, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	captured, err := b.startCapture(s, name, device.Attrs().Index, kernelTime)
	if err != nil {
		return nil, err
	}
	before := device.Attrs().Statistics
	captured.mark()
	start := time.Now()
	select {
	case <-ctx.Done():
	case <-time.After(load.Duration):
	}
	elapsed := time.Since(start)
	device, err = netlink.LinkByName(name)
	r, finishErr := captured.finish(callHere, usage{})
	if err := errors.Join(err, finishErr, ctx.Err()); err != nil {
		return nil, err
	}
	r.elapsed = elapsed
	r.account.Lost.Driver = cardDrops(device.Attrs().Statistics) - cardDrops(before)
	r.account.Offered = captured.seen + captured.further + r.account.Lost.Driver
	return r, nil
}

func callHere(f func() error) error { return f() }

// cardDrops is what an interface dropped before any hook saw it: for lack of
// descriptors, or of memory.
func cardDrops(s *netlink.LinkStatistics) uint64 {
	if s == nil {
		return 0
	}
	return s.RxMissedErrors + s.RxFifoErrors
}

// offer puts the load on the cable, and says what became of it there.
func (b *bench) offer(ctx context.Context, captured *capture, load Load) (made production, counts cableCounts, err error) {
	var g *generator
	err = b.cable.sending.do(func() (err error) {
		g, err = newGenerator(load, b.cable.sendingIndex, b.report.ProducerCPUs, b.cable.sending.enterFrom)
		return err
	})
	if err != nil {
		return made, counts, err
	}
	defer g.close()
	before, err := b.cable.counts()
	if err != nil {
		return made, counts, err
	}
	captured.mark()
	if made, err = g.run(ctx); err != nil {
		return made, counts, err
	}
	counts, err = b.settle(before)
	return made, counts, err
}

// settle waits until all that was sent has arrived, and says how much that was.
func (b *bench) settle(before cableCounts) (cableCounts, error) {
	for deadline := time.Now().Add(settling); ; time.Sleep(time.Millisecond) {
		now, err := b.cable.counts()
		counts := now.minus(before)
		if err != nil || counts.arrived == counts.sent || time.Now().After(deadline) {
			return counts, err
		}
	}
}

// capture is a subject at work.
type capture struct {
	subject  subject
	live     collector.LiveSource // nil for the baseline
	consumer *consumer
	attached link.Link // the baseline
	program  *ebpf.Program
	timing   interface{ Close() error }

	usage usage // of the process, at the beginning
	times cpuTimes
	pause func() float64

	seen    uint64 // frames, by the programs' own count
	further uint64 // packets beyond one for each frame: segments, and what is in tunnels
}

// startCapture attaches the subject to an interface in the calling thread's
// network namespace.
func (b *bench) startCapture(s subject, name string, index int, kernelTime bool) (_ *capture, err error) {
	c := &capture{subject: s}
	defer func() {
		if err != nil {
			c.abandon()
		}
	}()
	if kernelTime {
		// Before the program runs for the first time.
		if c.timing, err = ebpf.EnableStats(unix.BPF_STATS_RUN_TIME); err != nil {
			return nil, fmt.Errorf("turning the kernel's BPF statistics on: %w", needsRoot(err))
		}
	}
	if s.name == baselineName {
		return c, c.attachBaseline(index)
	}
	c.live, err = collector.Open(b.liveConfig(s, name))
	if err != nil {
		c.live = nil // and no interface around nil
		return nil, err
	}
	if kernelTime {
		if c.program, err = attachedProgram(c.live.Obtained()[0].Ingress, index); err != nil {
			return nil, err
		}
	}
	c.consumer = startConsumer(c.live, b.config.Consume)
	return c, nil
}

// liveConfig is what conntap run has by default, but that the cable's end is a port
// for conntap alone: XDP in the driver ends packets there, as the baseline does.
func (b *bench) liveConfig(s subject, name string) collector.LiveConfig {
	c := collector.LiveConfig{Interfaces: []string{name}, Capture: s.capture, Transport: s.transport, NoLinkLayer: true, Warn: b.config.Warn}
	if b.cable != nil && s.capture == collector.CaptureXDP {
		c.XDPAction = collector.XDPDrop
	}
	if b.cable != nil && !slices.Contains(b.report.ConsumerCPUs, b.report.ProducerCPUs[0]) {
		c.ReaderCPUs = b.report.ConsumerCPUs[:1] // as with run --cpus
	}
	return c
}

// attachBaseline attaches the program that reads the clock and drops.
func (c *capture) attachBaseline(index int) error {
	spec, err := loadGenerator()
	if err != nil {
		return fmt.Errorf("reading the baseline's object: %w", err)
	}
	c.program, err = ebpf.NewProgram(spec.Programs[generatorProgBaseline])
	if err != nil {
		return fmt.Errorf("loading the baseline: %w", needsRoot(err))
	}
	c.attached, err = link.AttachXDP(link.XDPOptions{Program: c.program, Interface: index, Flags: link.XDPDriverMode})
	if err != nil {
		return fmt.Errorf("attaching the baseline: %w", needsRoot(err))
	}
	return nil
}

// attachedProgram is the BPF program on an interface's way in, nil if there is none,
// or none that the kernel tells of.
func attachedProgram(hook string, index int) (*ebpf.Program, error) {
	var id ebpf.ProgramID
	switch {
	case strings.HasPrefix(hook, "XDP"):
		device, err := netlink.LinkByIndex(index)
		if err != nil {
			return nil, fmt.Errorf("looking for the attached program: %w", err)
		}
		if xdp := device.Attrs().Xdp; xdp != nil {
			id = ebpf.ProgramID(xdp.ProgId)
		}
	case hook == "TCX":
		query, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return nil, fmt.Errorf("looking for the attached program: %w", err)
		}
		if len(query.Programs) > 0 {
			id = query.Programs[0].ID // conntap's is the first
		}
	}
	if id == 0 {
		return nil, nil
	}
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return nil, fmt.Errorf("looking for the attached program: %w", err)
	}
	return program, nil
}

// mark is the beginning of what is measured.
func (c *capture) mark() {
	pauses := gcPauses()
	c.pause = func() float64 { return longestPause(pauses) }
	c.usage, c.times = processUsage(), readCPUTimes()
}

// finish detaches the subject, which do must have attached, reads what is left and
// gives the account; of what was offered it knows nothing. The producers' usage is
// left out.
func (c *capture) finish(do func(func() error) error, producers usage) (*result, error) {
	r := &result{}
	var runs *ebpf.ProgramStats
	var err error
	if c.program != nil {
		if runs, err = c.program.Stats(); err == nil && runs.RunCount > 0 {
			r.kernelNS = float64(runs.Runtime.Nanoseconds()) / float64(runs.RunCount)
		}
	}
	if c.live == nil {
		c.abandon()
		return r, err
	}
	err = errors.Join(err, do(c.live.Close))
	err = errors.Join(err, c.consumer.wait(), c.live.Close())
	c.tally(r, producers)
	c.abandon()
	return r, err
}

// tally fills in what the consumer found.
func (c *capture) tally(r *result, producers usage) {
	frames, connections := c.live.Stats(), &c.consumer.consumed.Tracked
	c.seen, c.further = frames.Seen, c.consumer.read+connections.Joined-connections.Notes-frames.Recorded
	r.account.Logged = c.consumer.consumed.Logged
	r.account.Lost = Losses{
		Ring: frames.Lost, Filtered: frames.Filtered, Tracker: connections.Packets - connections.Counted,
	}
	for _, n := range frames.Skipped {
		r.account.Lost.Skipped += n
	}
	for _, ring := range c.live.Rings() {
		r.ringFill = max(r.ringFill, float64(ring.Highest)/float64(ring.Size))
	}
	r.records, r.latency = c.consumer.read, c.consumer.latency
	r.usage = c.consumer.usage.minus(c.usage).minus(producers)
	r.steal, r.pause = stolenSince(c.times), c.pause()
}

// abandon releases what there is.
func (c *capture) abandon() {
	if c.attached != nil {
		_ = c.attached.Close()
	}
	if c.program != nil {
		_ = c.program.Close()
	}
	if c.timing != nil {
		_ = c.timing.Close()
	}
	if c.live != nil && c.consumer == nil {
		_ = c.live.Close()
		_ = c.live.Close() // releases the ring, which nobody reads
	}
}
