// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// batched is a transport whose batches are of so many bytes.
func batched(bytes uint32) transportConfig {
	return transportConfig{batchBytes: bytes, flush: flushInterval}
}

// account is what came out of the rings.
type account struct {
	batches int
	frames  uint64 // records of kind packet
	inner   uint64 // records of other kinds
	lost    uint64 // as the last batch of each ring says
	longest int    // batch, bytes
}

// collect reads all that is in the rings, and checks that each ring's batches follow
// upon each other, that their times don't go back and that none begins in the middle
// of a frame.
func (k *testRun) collect(t testing.TB, a *account) {
	t.Helper()
	for _, ring := range k.rings {
		for sample := ring.next(); sample != nil; sample = ring.next() {
			k.take(t, a, sample)
		}
		ring.release(false)
	}
	a.lost = 0
	for _, next := range k.next {
		a.lost += next.lost
	}
}

// next is what a ring's next batch must not be before.
type nextBatch struct {
	sequence, lost, time uint64
}

func (k *testRun) take(t testing.TB, a *account, sample []byte) {
	t.Helper()
	if err := k.batch.Reset(sample); err != nil {
		t.Fatal(err)
	}
	h := k.batch.Header
	next := &k.next[int(h.CPU)*bpf.HookCount+int(h.Hook)]
	if h.Sequence != next.sequence || h.Lost < next.lost || h.BaseNs < next.time {
		t.Fatalf("want a batch after %+v, got %+v", *next, h)
	}
	next.lost, next.time = h.Lost, h.BaseNs
	a.batches++
	a.longest = max(a.longest, len(sample))
	var p bpf.Packet
	for first := true; k.batch.Next(&p); first = false {
		if p.Kind == bpf.KindPacket {
			a.frames++
			next.sequence++
		} else {
			a.inner++
		}
		if first && p.Kind != bpf.KindPacket {
			t.Errorf("a batch begins with kind %d", p.Kind)
		}
		if uint64(p.Time) < next.time {
			t.Errorf("time %d after %d", p.Time, next.time)
		}
		next.time = uint64(p.Time)
	}
	if err := k.batch.Err(); err != nil {
		t.Fatal(err)
	}
}

// feed runs the program on a frame so often.
func (k *testRun) feed(t testing.TB, frame []byte, times uint32) {
	t.Helper()
	if _, err := k.program.Run(&ebpf.RunOptions{Data: frame, Repeat: times}); err != nil {
		t.Fatal(err)
	}
}

// smallFrame is of TCP without payload: its record takes 40 bytes.
func smallFrame() []byte {
	segment := frametest.Segment{SrcPort: 1, DstPort: 2, Flags: 0x10}.Bytes()
	return frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: frametest.TCP}.Packet(segment))
}

// TestBatches has records shipped when a batch is full, and the rest by the end.
func TestBatches(t *testing.T) {
	requireBPF(t)
	tests := []struct {
		name  string
		bytes uint32
		each  int // records that fill a batch
	}{{"per packet", batchPerPacket, 1}, {"two", 32 + 41, 2}, {"half", 2048, 51}, {"default", batchDefault, 102}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := batched(tt.bytes)
			c.flush = 4 * time.Second // nothing but the fill sends
			k := newTransportRun(t, conntapProgConntapXdp, bpf.HookXDP, c, func(c *conntapConfig) { c.L2 = 0 })
			var a account
			runPinned(t, func() { k.feed(t, smallFrame(), 1000) })
			k.collect(t, &a)
			seen := int(k.count(t).Seen) // a signal makes the kernel start over
			if want := seen / tt.each; a.batches != want || a.frames != uint64(want*tt.each) {
				t.Errorf("want %d batches of %d frames, got %+v", want, tt.each, a)
			}
			if err := k.loader.transport.flush(); err != nil {
				t.Fatal(err)
			}
			k.collect(t, &a)
			if a.frames != uint64(seen) {
				t.Errorf("want %d frames after flushing, got %+v", seen, a)
			}
		})
	}
}

// TestBatchFlushed has a record that waits sent by itself, and the word that it waits
// taken back, by timers as by threads.
func TestBatchFlushed(t *testing.T) {
	requireBPF(t)
	for _, tt := range []struct {
		name     string
		noTimers bool
	}{{"timers", false}, {"threads", true}} {
		t.Run(tt.name, func(t *testing.T) {
			c := batched(batchDefault)
			c.noTimers = tt.noTimers
			k := newTransportRun(t, conntapProgConntapXdp, bpf.HookXDP, c, func(*conntapConfig) {})
			transport := k.loader.transport
			if kernel, release, _ := runningKernel(); !tt.noTimers && transport.timers == kernel.before(pinnedTimerKernel) {
				t.Fatalf("timers: %v on kernel %s", transport.timers, release)
			}
			var a account
			for cpu := range k.loader.transport.config.cpus {
				frames := a.frames
				before := bootTime()
				runOn(t, cpu, func() { k.feed(t, smallFrame(), 1) })
				for deadline := time.Now().Add(5 * time.Second); a.frames == frames && time.Now().Before(deadline); {
					since := transport.pending.since(cpu * bpf.HookCount)
					if since != 0 && (since < before || since > bootTime()) {
						t.Fatalf("a record of %d to %d waits since %d", before, bootTime(), since)
					}
					time.Sleep(100 * time.Microsecond)
					k.collect(t, &a)
				}
				if a.frames == frames {
					t.Fatalf("CPU %d: the record never came", cpu)
				}
				t.Logf("CPU %d: after %v", cpu, time.Duration(bootTime()-before))
				for transport.pending.any(cpu) { // its word comes after the batch
					time.Sleep(100 * time.Microsecond)
				}
			}
		})
	}
}

// TestBatchFlushedBusy has a record wait longer where many came before it, and not where
// few did.
func TestBatchFlushedBusy(t *testing.T) {
	requireBPF(t)
	k := newTransportRun(t, conntapProgConntapXdp, bpf.HookXDP, batched(batchDefault), func(*conntapConfig) {})
	if !k.loader.transport.timers {
		t.Skip("this kernel has no timers that stay on their CPU: threads flush at one interval")
	}
	const frames = 40 // busy, and less than a batch
	var a account
	// wait is how long some frames take to come out: a timer is never early.
	wait := func(frames uint32) time.Duration {
		expected, start := a.frames+uint64(frames), time.Now()
		k.feed(t, smallFrame(), frames)
		for a.frames < expected && time.Since(start) < 5*time.Second {
			time.Sleep(100 * time.Microsecond)
			k.collect(t, &a)
		}
		return time.Since(start)
	}
	runOn(t, 0, func() {
		const rounds = 30 // other programs may hold this one up
		long, short := 0, time.Hour
		for range rounds {
			wait(frames)
			if wait(1) >= flushBusy {
				long++
			}
			short = min(short, wait(1))
		}
		if long < rounds/2 || short >= flushBusy {
			t.Errorf("want %v after %d frames and less after one, got that in %d of %d rounds, and %v", flushBusy, frames, long, rounds, short)
		}
	})
}

// TestBatchOverflow has a ring too small for all: what was offered came out or was
// lost, to the frame, and counters and batches say the same.
func TestBatchOverflow(t *testing.T) {
	requireBPF(t)
	for _, bytes := range []uint32{batchPerPacket, 500, batchDefault} {
		t.Run(fmt.Sprint(bytes), func(t *testing.T) {
			c := batched(bytes)
			c.ringBytes = ringLeast
			k := newTransportRun(t, conntapProgConntapXdp, bpf.HookXDP, c, func(*conntapConfig) {})
			var a account
			for range 5 { // full, emptied, full again
				for cpu := range k.loader.transport.config.cpus {
					runOn(t, cpu, func() {
						k.feed(t, smallFrame(), 1000)
						k.feed(t, vxlanFrame(3), 1000)
					})
				}
				k.collect(t, &a)
			}
			// What still waits tells of all that was lost before it.
			for cpu := range k.loader.transport.config.cpus {
				runOn(t, cpu, func() { k.feed(t, smallFrame(), 1) })
			}
			if err := k.loader.transport.flush(); err != nil {
				t.Fatal(err)
			}
			k.collect(t, &a)
			count := k.count(t)
			if count.Lost == 0 || a.frames != count.Recorded || a.lost != count.Lost || count.Seen != count.Recorded+count.Lost {
				t.Errorf("counted %+v\nread    %+v", count, a)
			}
		})
	}
}

// TestBatchMixed has frames of all sizes, those with the most records too, on either
// side of the end of a batch: none is cut, and what comes is what one batch per frame
// would hold.
func TestBatchMixed(t *testing.T) {
	requireBPF(t)
	c := batched(batchDefault)
	frames := [][]byte{smallFrame(), vxlanFrame(1), vxlanFrame(6)}
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		frames = append(frames, frametest.Random(random))
	}
	frames = append(frames, boundFrames()...)
	random.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	edit := func(c *conntapConfig) { c.Identity, c.Service = 1, 0 }
	single := newTestRun(t, conntapProgConntapXdp, bpf.HookXDP, edit)
	many := newTransportRun(t, conntapProgConntapXdp, bpf.HookXDP, c, edit)
	var want, got []bpf.Packet
	runOn(t, 0, func() {
		for range 10 {
			for _, frame := range frames {
				if errors.Join(single.run(t, frame, 0), many.run(t, frame, 0)) != nil {
					continue // a frame that the kernel doesn't run
				}
			}
			want = append(want, single.copies(t)...)
		}
	})
	must(t, many.loader.transport.flush())
	got = many.copies(t)
	if len(got) != len(want) {
		t.Fatalf("want %d packets, got %d", len(want), len(got))
	}
	for i := range want {
		want[i].Time, got[i].Time = 0, 0
		if !reflect.DeepEqual(want[i], got[i]) {
			t.Fatalf("packet %d\nwant %+v\ngot  %+v", i, want[i], got[i])
		}
	}
	if longest := len(frames) / 20; many.batches < longest {
		t.Errorf("%d batches, want at least %d", many.batches, longest)
	}
}

// copies are the packets of all batches so far, each frame's in one batch.
func (k *testRun) copies(t *testing.T) []bpf.Packet {
	t.Helper()
	var all []bpf.Packet
	for _, ring := range k.rings {
		for sample := ring.next(); sample != nil; sample = ring.next() {
			must(t, k.batch.Reset(sample))
			k.batches++
			var p bpf.Packet
			for first := true; k.batch.Next(&p); first = false {
				if first && p.Kind != bpf.KindPacket {
					t.Fatalf("a batch begins with kind %d", p.Kind)
				}
				p.Payload = bytes.Clone(p.Payload)
				all = append(all, p)
			}
			must(t, k.batch.Err())
		}
		ring.release(false)
	}
	return all
}

// vxlanFrame has a packet in so many tunnels.
func vxlanFrame(depth int) []byte {
	packet := frametest.IPv4{Protocol: frametest.TCP}.Packet(frametest.Segment{SrcPort: 1, DstPort: 2, Flags: 0x10}.Bytes())
	for i := range depth {
		vxlan := frametest.VXLAN(uint32(i), frametest.Ethernet(frametest.TypeIPv4, packet))
		packet = frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(40000, frametest.PortVXLAN, vxlan...))
	}
	return frametest.Ethernet(frametest.TypeIPv4, packet)
}

// runOn runs f on a CPU.
func runOn(t testing.TB, cpu int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(t, pinned(cpu, func() error { f(); return nil }))
}
