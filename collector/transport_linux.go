// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// Sizes of batches, bytes, headers included (bpf/maps.h).
const (
	batchPerPacket = 1    // each frame's records are a batch
	batchDefault   = 4096 // 101 records over IPv4 that are without blocks
	batchLargest   = 4096
)

// timerPatience is how late a timer may be, before what it is for is done without it.
const timerPatience = 200 * time.Millisecond

// flushInterval is how long a record waits in the kernel for others at most, but for
// what the timer is late. Where many come the timer takes flushBusy: a record that
// waits is one of the few that don't fill a batch.
const (
	flushInterval = 4 * time.Millisecond
	flushBusy     = 16 * time.Millisecond
)

// Kernels that can send what is left over of a batch: by timers that stay on their
// CPU (BPF_F_TIMER_CPU_PIN), or at user space's request, with softirqs off
// (BPF_F_TEST_XDP_LIVE_FRAMES), from whatever CPU (bpf_map_lookup_percpu_elem).
var (
	pinnedTimerKernel = kernelVersion{6, 7}
	batchKernel       = kernelVersion{5, 19}
)

// transportConfig says how records get to user space.
type transportConfig struct {
	cpus int // possible ones
	// ringBytes is the size of each ring, a power of two and of pages.
	ringBytes uint32
	// batchBytes is how long a batch gets before it is sent: batchPerPacket to
	// batchLargest. Per packet, all CPUs share one ring; else each has its own.
	batchBytes uint32
	// flush is how long a record waits for others, 4 s at most.
	flush time.Duration

	noTimers bool // have user space flush even where the kernel can
}

func (c *transportConfig) perPacket() bool { return c.batchBytes == batchPerPacket }

// fit sets the sizes of the maps.
func (c *transportConfig) fit(spec *ebpf.CollectionSpec) {
	spec.Maps[conntapMapRings].MaxEntries = uint32(c.cpus)
	spec.Maps[conntapMapRings].InnerMap.MaxEntries = c.ringBytes
	spec.Maps[conntapMapPending].MaxEntries = uint32(c.cpus * bpf.HookCount)
	spec.Maps[conntapMapTimers].MaxEntries = uint32(c.cpus * bpf.HookCount)
}

// transport is the way of records to user space: rings, and what sends the batches
// that are left over. The programs put a batch into the ring of their CPU once it is
// long enough; a timer on each CPU or, where the kernel has no such timers, a thread
// on each CPU sends what waits for more.
type transport struct {
	config transportConfig
	// rings are one per possible CPU, in their order; per packet there is one.
	rings   []*ebpf.Map
	pending pendingTimes
	timers  bool
	flusher *flusher
}

// newTransport makes the rings, and has batches flushed if there are any.
func newTransport(l *loader, c transportConfig) (*transport, error) {
	t := &transport{config: c}
	err := t.makeRings(l)
	if err == nil {
		err = t.pending.open(l.shared[conntapMapPending])
	}
	if err == nil && !c.perPacket() {
		err = t.startFlushing(l)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *transport) makeRings(l *loader) error {
	count := t.config.cpus
	if t.config.perPacket() {
		count = 1
	}
	for range count {
		ring, err := ebpf.NewMap(l.spec.Maps[conntapMapRings].InnerMap)
		if err != nil {
			return fmt.Errorf("creating a BPF ring of %d bytes: %w", t.config.ringBytes, refusal(err))
		}
		t.rings = append(t.rings, ring)
	}
	for cpu := range t.config.cpus {
		if err := l.shared[conntapMapRings].Put(uint32(cpu), t.rings[cpu%count]); err != nil {
			return fmt.Errorf("giving CPU %d its ring: %w", cpu, err)
		}
	}
	return nil
}

// configure sets the constants of a program.
func (t *transport) configure(config *conntapConfig) {
	config.BatchBytes = t.config.batchBytes
	config.FlushNs = uint32(t.config.flush.Nanoseconds())
	config.BusyNs = uint32(max(t.config.flush, flushBusy).Nanoseconds())
	if t.timers {
		config.Timers = 1
	}
	if !t.config.perPacket() {
		config.WakeupMask = max(t.config.ringBytes/wakeupShare/batchLargest, 1) - 1
	}
}

// wakeupShare of a ring is what the reader is woken for before the timer does: a word
// to it costs the CPU that captures some microseconds.
const wakeupShare = 16

// errNoBatches means that batches can't be had, but per-packet transport can.
var errNoBatches = errors.New("records can't be shipped in batches: use --transport per-packet")

// startFlushing starts the timers, or threads in their place.
func (t *transport) startFlushing(l *loader) error {
	if l.kernel.before(batchKernel) {
		return fmt.Errorf("on Linux before %v %w", batchKernel, errNoBatches)
	}
	f, err := newFlusher(l, t.config.cpus)
	if err != nil {
		return err
	}
	t.flusher = f
	if !t.config.noTimers && !l.kernel.before(pinnedTimerKernel) {
		if t.timers, err = startTimers(l, t.config.cpus); err != nil {
			return err
		}
	}
	if t.timers {
		return nil
	}
	if err := mayGoAnywhere(); err != nil {
		return err
	}
	f.start(&t.pending, t.config.flush)
	return nil
}

// flush puts into the rings all that still waits for more. It is for the end: no
// program may be running any more.
func (t *transport) flush() error {
	if t.flusher == nil {
		return nil
	}
	t.flusher.stop()
	for start := time.Now(); t.timers && t.pending.anywhere() && time.Since(start) < timerPatience; {
		time.Sleep(time.Millisecond)
	}
	return t.flusher.flushAll()
}

func (t *transport) close() {
	if t.flusher != nil {
		t.flusher.close()
	}
	t.pending.close()
	for _, ring := range t.rings {
		ring.Close()
	}
}

// pendingTimes tells, per CPU and hook, since when records wait that are not in the
// ring yet. Any goroutine may read them.
type pendingTimes struct {
	mapping []byte
	count   int // CPUs times hooks
}

const pendingSize = 64 // struct pending: a cache line

func (p *pendingTimes) open(m *ebpf.Map) error {
	page := os.Getpagesize()
	p.count = int(m.MaxEntries())
	size := (p.count*pendingSize + page - 1) / page * page
	var err error
	if p.mapping, err = unix.Mmap(m.FD(), 0, size, unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("mapping the pending times: %w", err)
	}
	return nil
}

// since is a time, ns of CLOCK_BOOTTIME, before which CPU and hook (i is their CPU *
// [bpf.HookCount] + hook) hold no record back; 0: they hold none. A reader that gets 0
// finds in the ring all that was recorded before the call.
func (p *pendingTimes) since(i int) int64 {
	return int64(atomic.LoadUint64((*uint64)(unsafe.Pointer(&p.mapping[i*pendingSize]))))
}

// word is where the time of a CPU and hook stands, until close.
func (p *pendingTimes) word(cpu int, hook bpf.Hook) *uint64 {
	return (*uint64)(unsafe.Pointer(&p.mapping[(cpu*bpf.HookCount+int(hook))*pendingSize]))
}

// any tells whether a CPU holds records back, whatever the hook.
func (p *pendingTimes) any(cpu int) bool {
	for hook := range bpf.HookCount {
		if p.since(cpu*bpf.HookCount+hook) != 0 {
			return true
		}
	}
	return false
}

// anywhere tells whether some CPU holds records back.
func (p *pendingTimes) anywhere() bool {
	for cpu := range p.count / bpf.HookCount {
		if p.any(cpu) {
			return true
		}
	}
	return false
}

func (p *pendingTimes) close() {
	if p.mapping != nil {
		unix.Munmap(p.mapping) // no error is possible: it is a mapping
		p.mapping = nil
	}
}

// startTimers makes the timers ready, and tells whether the kernel has such.
func startTimers(l *loader, cpus int) (bool, error) {
	collection, err := l.loadHelper(conntapProgConntapStartTimer)
	if err != nil {
		return false, err
	}
	defer collection.Close() // the timers hold the program
	program := collection.Programs[conntapProgConntapStartTimer]
	for cpu := range cpus {
		for hook := range bpf.HookCount {
			verdict, err := program.Run(&ebpf.RunOptions{Data: flushRequest(cpu, hook)})
			if err != nil {
				return false, fmt.Errorf("starting the timers that send batches: %w", err)
			}
			if verdict != timerStarted {
				return false, nil
			}
		}
	}
	return true, nil
}

const timerStarted = 2 // XDP_PASS

// loadHelper loads a program that doesn't capture.
func (l *loader) loadHelper(name string) (*ebpf.Collection, error) {
	config, err := l.defaults()
	if err != nil {
		return nil, err
	}
	config.BatchBytes = batchDefault // whatever isn't per packet
	return l.loadProgram(name, config, ebpf.ProgramOptions{})
}

// flushRequest is struct request of bpf/conntap.bpf.c, in a frame.
func flushRequest(cpu, hook int) []byte {
	frame := make([]byte, 64)
	binary.NativeEndian.PutUint32(frame, uint32(cpu))
	binary.NativeEndian.PutUint32(frame[4:], uint32(hook))
	return frame
}

// flusher sends left-over batches by running a program on the CPU that they wait on.
type flusher struct {
	collection *ebpf.Collection
	cpus       int
	done       chan struct{}
	threads    sync.WaitGroup
	stopOnce   sync.Once
}

func newFlusher(l *loader, cpus int) (*flusher, error) {
	collection, err := l.loadHelper(conntapProgConntapFlush)
	if err != nil {
		return nil, err
	}
	return &flusher{collection: collection, cpus: cpus, done: make(chan struct{})}, nil
}

// start has a thread on each CPU that flushes what waits there, again and again.
func (f *flusher) start(pending *pendingTimes, interval time.Duration) {
	for cpu := range f.cpus {
		f.threads.Add(1)
		go f.serve(cpu, pending, interval)
	}
}

// serve flushes one CPU, while it is online: what is left on one that went offline
// waits until it is back, or for flushAll.
func (f *flusher) serve(cpu int, pending *pendingTimes, interval time.Duration) {
	defer f.threads.Done()
	runtime.LockOSThread() // and never unlocked: the thread ends with its affinity
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-f.done:
			return
		case <-ticker.C:
		}
		if pending.any(cpu) && goTo(cpu) == nil {
			f.flush(cpu) // an error comes again in flushAll
		}
	}
}

// goTo moves the calling thread to one of some CPUs, for as long as they are online.
func goTo(cpus ...int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	return unix.SchedSetaffinity(0, &set)
}

// mayGoAnywhere tells whether threads can run on every CPU that is online, which is
// where packets may come in.
func mayGoAnywhere() error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its affinity
		result <- visitOnline()
	}()
	return <-result
}

func visitOnline() error {
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return fmt.Errorf("listing CPUs: %w", err)
	}
	for part := range strings.SplitSeq(strings.TrimSpace(string(online)), ",") {
		var first, last int
		if n, _ := fmt.Sscanf(part, "%d-%d", &first, &last); n == 1 {
			last = first
		}
		for cpu := first; cpu <= last; cpu++ {
			if err := goTo(cpu); err != nil {
				return fmt.Errorf("CPU %d is out of reach (cpuset?), and on this kernel a thread there is needed: %w", cpu, errNoBatches)
			}
		}
	}
	return nil
}

// flush sends what waits on a CPU: that of the calling thread, or one on which no
// program runs.
func (f *flusher) flush(cpu int) error {
	_, err := f.collection.Programs[conntapProgConntapFlush].Run(&ebpf.RunOptions{
		Data: flushRequest(cpu, 0), Repeat: 1, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES, BatchSize: 1,
	})
	if err != nil {
		return fmt.Errorf("sending the batch that waits on CPU %d: %w", cpu, err)
	}
	return nil
}

// flushAll sends what waits on all CPUs, on which no program runs any more.
func (f *flusher) flushAll() error {
	var errs []error
	for cpu := range f.cpus {
		errs = append(errs, f.flush(cpu))
	}
	return errors.Join(errs...)
}

// stop ends the threads.
func (f *flusher) stop() {
	f.stopOnce.Do(func() { close(f.done) })
	f.threads.Wait()
}

func (f *flusher) close() {
	f.stop()
	f.collection.Close()
}
