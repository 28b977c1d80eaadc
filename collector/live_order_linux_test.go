// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"conntap/bpf"
	"conntap/bpf/frametest"
	"conntap/tracker"
)

// recordOn has a capture program record a frame, so often, on the CPU that the
// calling thread is on.
func recordOn(program *ebpf.Program, frame []byte, repeat int) error {
	_, err := program.Run(&ebpf.RunOptions{Data: frame, Repeat: uint32(repeat)})
	return err
}

// onCPUs runs f on the first two CPUs at once.
func onCPUs(t *testing.T, f func(cpu int) error) {
	t.Helper()
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	var group sync.WaitGroup
	var errs [2]error
	for cpu := range errs {
		group.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			errs[cpu] = pinned(cpu, func() error { return f(cpu) })
		})
	}
	group.Wait()
	must(t, errors.Join(errs[:]...))
}

// exchange is a TCP connection from handshake to close, packet by packet, the
// originator's first and then in turns; and its history.
func exchange(port uint16) (frames [][]byte, history string) {
	const syn, ack, fin, data = 2, 16, 1, 100
	steps := []struct {
		flags    uint8
		seq, ack uint32
		payload  int
	}{
		{syn, 99, 0, 0},
		{syn | ack, 499, 100, 0},
		{ack, 100, 500, data},
		{ack, 500, 200, data},
		{ack | fin, 200, 600, 0},
		{ack | fin, 600, 201, 0},
		{ack, 201, 601, 0},
	}
	for i, step := range steps {
		segment := frametest.Segment{SrcPort: port, DstPort: 80, Flags: step.flags, Seq: step.seq, Ack: step.ack, Window: 1000}
		if i%2 == 1 {
			segment.SrcPort, segment.DstPort = segment.DstPort, segment.SrcPort
		}
		packet := frametest.IPv4{Protocol: frametest.TCP}.Packet(segment.Bytes(make([]byte, step.payload)...))
		if i%2 == 1 {
			copy(packet[12:], frametest.Dst4[:])
			copy(packet[16:], frametest.Src4[:])
		}
		frames = append(frames, frametest.Ethernet(frametest.TypeIPv4, packet))
	}
	return frames, "ShDdFfA"
}

// TestLiveDirectionsApart has connections whose originators' packets are recorded on
// one CPU, going out, and those of their responders on another, coming in, each
// right after the other: their logs are those of connections in order.
func TestLiveDirectionsApart(t *testing.T) { eachTransport(t, testLiveDirectionsApart) }

func testLiveDirectionsApart(t *testing.T, c LiveConfig) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	addAddress(t, "tap", "10.0.0.2/24")
	c.Interfaces = []string{"tap"}
	l := openLive(t, c)
	l.streams.patience = int64(time.Minute) // a thread that flushes may have to wait for a CPU
	programs := []*ebpf.Program{            // egress was attached first
		tapsOf(l)[0].collection.Programs[programNames[bpf.HookTCEgress]],
		tapsOf(l)[1].collection.Programs[programNames[bpf.HookTCIngress]],
	}
	const connections = 100
	var want string
	var frames [][]byte
	for port := range uint16(connections) {
		var exchanged [][]byte
		exchanged, want = exchange(10_000 + port)
		frames = append(frames, exchanged...)
	}
	rows := map[string]int{}
	tracked := tracker.New(tracker.Config{}, func(c *tracker.Conn) { rows[c.State.String()+" "+string(c.History)]++ })
	read := func(dst []bpf.Packet) error {
		n, err := l.Read(dst)
		tracked.Track(dst[:n])
		return err
	}
	var turn atomic.Int64 // the frame that is to be recorded
	var done atomic.Bool
	reading := make(chan error)
	go func() {
		dst := make([]bpf.Packet, 100)
		for !done.Load() {
			if err := read(dst); err != nil {
				reading <- err
				return
			}
		}
		reading <- nil
	}()
	onCPUs(t, func(cpu int) error {
		for i := range frames {
			if i%(len(frames)/connections)%2 != cpu {
				continue
			}
			for turn.Load() != int64(i) {
				runtime.Gosched()
			}
			if err := recordOn(programs[cpu], frames[i], 1); err != nil {
				turn.Store(int64(len(frames))) // the other must not wait
				return err
			}
			turn.Store(int64(i + 1))
		}
		return nil
	})
	done.Store(true)
	must(t, <-reading)
	must(t, l.Close())
	for dst := make([]bpf.Packet, 100); ; {
		if err := read(dst); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	tracked.Close()
	if stats := l.Stats(); stats.Recorded != uint64(len(frames)) || stats.Late != 0 {
		t.Errorf("want %d packets, none late, got %+v", len(frames), stats)
	}
	if want = "SF " + want; rows[want] != connections {
		t.Errorf("want %d connections with %q, got %v", connections, want, rows)
	}
}

// TestLiveTwoProducers has two CPUs record as fast as they can, which may be more
// than the reader takes: what was offered was handed on or lost, to the packet, and
// what stands behind a later packet was counted.
func TestLiveTwoProducers(t *testing.T) { eachTransport(t, testLiveTwoProducers) }

func testLiveTwoProducers(t *testing.T, c LiveConfig) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	c.Interfaces = []string{"tap"}
	l := openLive(t, c)
	program := tapsOf(l)[0].collection.Programs[programNames[bpf.HookTCIngress]]
	const rounds, perRound = 10, 20_000
	read := make(chan [3]uint64) // packets, behind a later one, in the wrong order of their CPU
	go func() {
		var packets, behind, wrong uint64
		var latest int64
		next := map[uint64]uint64{} // ordinals
		dst := make([]bpf.Packet, 8192)
		for {
			n, err := l.Read(dst)
			for i := range dst[:n] {
				p := &dst[i]
				packets++
				if p.Time < latest {
					behind++
				}
				latest = max(latest, p.Time)
				if p.Ordinal&(1<<48-1) != next[p.Ordinal>>48] {
					wrong++
				}
				next[p.Ordinal>>48]++
			}
			if err != nil {
				read <- [3]uint64{packets, behind, wrong}
				return
			}
		}
	}()
	onCPUs(t, func(cpu int) error {
		frame := udpFrame(uint16(1+cpu), 30)
		for range rounds {
			if err := recordOn(program, frame, perRound); err != nil {
				return err
			}
			time.Sleep(time.Millisecond) // the reader may share the CPU
		}
		return nil
	})
	must(t, l.Close())
	got := <-read
	packets, behind, wrong := got[0], got[1], got[2]
	stats := l.Stats()
	const offered = 2 * rounds * perRound
	if stats.Seen != offered || stats.Recorded != packets || stats.Recorded+stats.Lost != offered || wrong != 0 {
		t.Errorf("want %d = %d read + lost, in order, got %d in the wrong one, %+v", offered, packets, wrong, stats)
	}
	if lost := l.LostBetween(0, bootTime()); lost != stats.Lost {
		t.Errorf("want %d lost between start and end, got %d", stats.Lost, lost)
	}
	if c.Transport == TransportBatched && behind != stats.Late {
		t.Errorf("want as many late as came behind later ones, %d, got %d", behind, stats.Late)
	}
	t.Logf("%d read, %d lost, %d late; latency p50 %v, p99 %v, longest %v", packets, stats.Lost, stats.Late,
		quantile(l, 0.5), quantile(l, 0.99), l.Latency().Longest)
}

func quantile(l *Live, q float64) time.Duration {
	latency := l.Latency()
	return latency.Quantile(q)
}

// TestLiveLatency sends packets one at a time and measures how long they take to
// the return of Read. Every tenth must come before another one is sent, which fills no
// batch: something must have flushed it.
func TestLiveLatency(t *testing.T) { eachTransport(t, testLiveLatency) }

func testLiveLatency(t *testing.T, c LiveConfig) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	c.Interfaces = []string{"tap"}
	l := openLive(t, c)
	far := newSender(t, "far")
	const sent = 200
	var got atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		dst := make([]bpf.Packet, 100)
		for {
			n, err := l.Read(dst)
			if got.Add(int64(n)); err != nil {
				return
			}
		}
	}()
	for i := range int64(sent) {
		far.send(t, udpFrame(1, 30))
		time.Sleep(time.Duration(i%11) * time.Millisecond)
		for deadline := time.Now().Add(30 * time.Second); i%10 == 9 && got.Load() != i+1; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("packet %d has not come, only %d have", i+1, got.Load())
			}
		}
	}
	must(t, l.Close())
	<-done
	if got.Load() != sent {
		t.Errorf("want %d packets, got %d", sent, got.Load())
	}
	t.Logf("p50 %v, p99 %v, longest %v", quantile(l, 0.5), quantile(l, 0.99), l.Latency().Longest)
}

// TestLiveFullBatch has a burst end with the end of a batch, so that no timer has
// anything to send: the reader is woken all the same.
func TestLiveFullBatch(t *testing.T) {
	for _, noTimers := range []bool{false, true} {
		t.Run(fmt.Sprintf("threads flush %v", noTimers), func(t *testing.T) { testLiveFullBatch(t, noTimers) })
	}
}

func testLiveFullBatch(t *testing.T, noTimers bool) {
	enterNamespace(t)
	addVeth(t, "tap", "far")
	toOneCPU(t)
	l := openLive(t, LiveConfig{Interfaces: []string{"tap"}, Transport: TransportBatched, noTimers: noTimers})
	program := tapsOf(l)[0].collection.Programs[programNames[bpf.HookTCIngress]]
	pending := l.loader.transport.pending.word(0, bpf.HookTCIngress)
	var read atomic.Int64
	end := make(chan error)
	go func() {
		dst := make([]bpf.Packet, 8192)
		for {
			n, err := l.Read(dst)
			read.Add(int64(n))
			if err != nil {
				end <- err
				return
			}
		}
	}()
	var waits []time.Duration
	for sent := int64(0); len(waits) < 9; {
		time.Sleep(10 * time.Millisecond) // the reader waits
		for batches := 0; batches < 3; sent++ {
			must(t, recordOn(program, udpFrame(1, 30), 1))
			if atomic.LoadUint64(pending) == 0 {
				batches++
			}
		}
		start := time.Now()
		for read.Load() != sent {
			time.Sleep(100 * time.Microsecond)
		}
		waits = append(waits, time.Since(start))
	}
	must(t, l.Close())
	if err := <-end; err != io.EOF {
		t.Error(err)
	}
	slices.Sort(waits)
	t.Logf("after bursts packets took %v", waits)
	if waits[len(waits)/2] > readTimeout/2 {
		t.Errorf("want the reader woken after a burst, packets took %v", waits)
	}
}

// TestLiveHotplug takes a CPU away while a record may wait there, and gives it back:
// the others' packets are not held up, and none is missing in the end.
func TestLiveHotplug(t *testing.T) { eachTransport(t, testLiveHotplug) }

func testLiveHotplug(t *testing.T, c LiveConfig) {
	if os.Getenv("CONNTAP_TEST_MACHINE") != "1" || runtime.NumCPU() < 2 {
		t.Skip("takes a CPU away from the machine: for virtual ones, with CONNTAP_TEST_MACHINE=1")
	}
	enterNamespace(t)
	addVeth(t, "tap", "far")
	c.Interfaces = []string{"tap"}
	l := openLive(t, c)
	program := tapsOf(l)[0].collection.Programs[programNames[bpf.HookTCIngress]]
	var recorded, got int
	record := func(cpu, packets int) {
		t.Helper()
		must(t, pinned(cpu, func() error { return recordOn(program, udpFrame(1, 30), packets) }))
		recorded += packets
	}
	online := func(state string) {
		t.Helper()
		must(t, os.WriteFile("/sys/devices/system/cpu/cpu1/online", []byte(state), 0))
	}
	read := func(least int) {
		t.Helper()
		dst := make([]bpf.Packet, 100)
		for start := time.Now(); got < least && time.Since(start) < 10*time.Second; {
			n, err := l.Read(dst)
			must(t, err)
			got += n
		}
		if got < least {
			t.Errorf("want %d packets by now, got %d", least, got)
		}
	}
	t.Cleanup(func() { online("1") })
	for range 5 {
		record(1, 3)
		online("0")
		record(0, 100)
		read(recorded - 3) // they may wait until the CPU is back
		online("1")
		record(1, 1)
		read(recorded)
	}
	got += len(readAll(t, l))
	if stats := l.Stats(); got != recorded || stats.Lost != 0 || stats.Seen != stats.Recorded {
		t.Errorf("want %d packets, none lost, got %d, %+v", recorded, got, stats)
	}
}
