// SPDX-License-Identifier: Apache-2.0

package collector

import (
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
	}{{"per packet", batchPerPacket, 1}, {"two", 32 + 41, 2}, {"default", 2048, 51}, {"largest", 4096, 102}}
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
