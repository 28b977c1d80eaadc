// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"conntap/cmd/conntap/internal/affinity"
	"conntap/collector/thread"
)

const (
	// liveFrames is linux/bpf.h, BPF_F_TEST_XDP_LIVE_FRAMES: what the program does
	// with the frame is really done. Linux 5.18.
	liveFrames = 1 << 1
	// framesPerFlush is how many frames go to the cable at a time; its queues hold
	// 256 (drivers/net/veth.c, VETH_RING_SIZE).
	framesPerFlush = 64
	// flushInterval is how long a frame may wait for that, at a rate.
	flushInterval = 50 * time.Microsecond
	// manyFrames is more than can be made while a load lasts that ends by time.
	manyFrames = 1<<31 - 1
	// stopInterval is how often a producer that is to stop is told so.
	stopInterval = 10 * time.Millisecond
)

// generator makes frames in the kernel and redirects them to an interface.
type generator struct {
	load      Load
	frame     []byte
	cpus      []int // of the producers
	program   *ebpf.Program
	positions *ebpf.Map
	enter     func() error // puts a locked thread where the interface is
	stop      atomic.Bool
}

// newGenerator loads the generator for an interface, in the calling thread's
// network namespace.
func newGenerator(load Load, interfaceIndex int, cpus []int, enter func() error) (*generator, error) {
	g := &generator{load: load, frame: template(load.Size), cpus: cpus, enter: enter}
	spec, err := loadGenerator()
	if err != nil {
		return nil, fmt.Errorf("reading the generator's object: %w", err)
	}
	err = spec.Variables[generatorVarGenerator].Set(generatorGenerator{
		Interface: uint32(interfaceIndex), Flows: uint32(load.Flows),
		Source: firstSource, Sum: headerSum(g.frame), Port: firstPort, Gap: g.gap(),
	})
	if err != nil {
		return nil, fmt.Errorf("setting the generator's constants: %w", err)
	}
	delete(spec.Programs, generatorProgBaseline)
	var loaded struct {
		Generate  *ebpf.Program `ebpf:"generate"`
		Positions *ebpf.Map     `ebpf:"positions"`
	}
	if err := spec.LoadAndAssign(&loaded, nil); err != nil {
		return nil, fmt.Errorf("loading the generator: %w", needsRoot(err))
	}
	g.program, g.positions = loaded.Generate, loaded.Positions
	return g, nil
}

func (g *generator) close() {
	g.program.Close()
	g.positions.Close()
}

// production is what the producers did in a run.
type production struct {
	frames  uint64
	elapsed time.Duration
	usage   usage // of the producers' threads
}

// run makes frames until the load is made, or the context ends. It is for once.
func (g *generator) run(ctx context.Context) (production, error) {
	defer context.AfterFunc(ctx, g.end)()
	if g.load.Packets == 0 {
		defer time.AfterFunc(g.load.Duration, g.end).Stop()
	}
	start := time.Now()
	used, err := g.produceAll()
	if err = errors.Join(err, ctx.Err()); err != nil {
		return production{}, err
	}
	frames, elapsed, err := g.made()
	if elapsed == 0 { // of a few frames
		elapsed = time.Since(start)
	}
	return production{frames, elapsed, used}, err
}

// end has the producers stop.
func (g *generator) end() { g.stop.Store(true) }

// produceAll has every producer make its share, and adds up their usage.
func (g *generator) produceAll() (sum usage, err error) {
	type ending struct {
		usage usage
		err   error
	}
	endings := make(chan ending)
	for n, cpu := range g.cpus {
		thread.Go(func() {
			used, err := g.produce(cpu, g.share(n))
			endings <- ending{used, err}
		})
	}
	for range g.cpus {
		e := <-endings
		sum, err = sum.plus(e.usage), errors.Join(err, e.err)
	}
	return sum, err
}

// share is how many frames the n-th producer makes, if nothing stops it.
func (g *generator) share(n int) uint64 {
	if g.load.Packets == 0 {
		return manyFrames
	}
	producers := uint64(len(g.cpus))
	return (g.load.Packets + producers - 1 - uint64(n)) / producers
}

// gap is the time between two frames of a producer, in 1/1024 ns.
func (g *generator) gap() uint64 {
	if g.load.Rate == 0 {
		return 0
	}
	return uint64(1024 * 1e9 * float64(len(g.cpus)) / g.load.Rate)
}

// flush is how many frames go to the cable at a time.
func (g *generator) flush() uint32 {
	if g.load.Rate == 0 {
		return framesPerFlush
	}
	return uint32(min(max(g.load.Rate*flushInterval.Seconds()/float64(len(g.cpus)), 1), framesPerFlush))
}

// made is how many frames were made, and in what time: what a call takes before
// the first and after the last is no part of it.
func (g *generator) made() (frames uint64, elapsed time.Duration, err error) {
	perCPU, err := g.perCPU()
	var first, last uint64
	for i := range perCPU {
		frames += perCPU[i].Frames
		last = max(last, perCPU[i].LastNs)
		if at := perCPU[i].FirstNs; at != 0 && (first == 0 || at < first) {
			first = at
		}
	}
	return frames, time.Duration(last - first), err
}

func (g *generator) perCPU() ([]generatorPosition, error) {
	var perCPU []generatorPosition
	if err := g.positions.Lookup(uint32(0), &perCPU); err != nil {
		return nil, fmt.Errorf("reading the generator's counters: %w", err)
	}
	return perCPU, nil
}

// produce makes frames on one CPU. The calling thread must end with it.
func (g *generator) produce(cpu int, frames uint64) (usage, error) {
	if err := errors.Join(affinity.Pin(cpu), g.enter()); err != nil {
		return usage{}, err
	}
	defer g.interruptWhenStopped(unix.Gettid())()
	before := threadUsage()
	err := g.makeOn(cpu, frames)
	return threadUsage().minus(before), err
}

// interruptWhenStopped has a signal interrupt the thread's call into the kernel
// when it is to stop, until the returned function is called. The signal is the one
// by which Go's scheduler interrupts threads, so that it means nothing else.
func (g *generator) interruptWhenStopped(thread int) (done func()) {
	ended := make(chan struct{})
	go func() {
		ticker := time.NewTicker(stopInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ended:
				return
			case <-ticker.C:
				if g.stop.Load() {
					_ = unix.Tgkill(unix.Getpid(), thread, unix.SIGURG)
				}
			}
		}
	}()
	return func() { close(ended) }
}

// makeOn makes n frames on the thread's CPU, or as many as it can until stop is
// set. One call makes them all, as a call takes many ms to set up; but any signal
// ends it.
func (g *generator) makeOn(cpu int, n uint64) error {
	for !g.stop.Load() {
		perCPU, err := g.perCPU()
		if err != nil || perCPU[cpu].Frames >= n {
			return err
		}
		err = g.make(min(n-perCPU[cpu].Frames, manyFrames))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return nil
}

// programRun is union bpf_attr (linux/bpf.h) for BPF_PROG_TEST_RUN.
type programRun struct {
	program, result   uint32
	sizeIn, sizeOut   uint32
	dataIn, dataOut   unsafe.Pointer
	repeat, duration  uint32
	ctxIn, ctxOut     uint32
	ctxFrom, ctxTo    unsafe.Pointer
	flags, cpu, batch uint32
}

// make makes n frames. It is a system call of its own because Program.Run starts
// anew when a signal comes.
func (g *generator) make(n uint64) error {
	call := programRun{
		program: uint32(g.program.FD()), dataIn: unsafe.Pointer(&g.frame[0]), sizeIn: uint32(len(g.frame)),
		repeat: uint32(n), flags: liveFrames, batch: g.flush(),
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_TEST_RUN, uintptr(unsafe.Pointer(&call)), unsafe.Sizeof(call))
	switch errno {
	case 0:
		return nil
	case unix.EINVAL:
		return fmt.Errorf("making frames in the kernel (live frames take Linux 5.18): %w", errno)
	}
	return fmt.Errorf("making frames in the kernel: %w", errno)
}
