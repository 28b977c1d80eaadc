// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// requireBPF skips a test that needs root, or fails it where it must run.
func requireBPF(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CONNTAP_REQUIRE_BPF") == "1" {
		t.Fatal("not root, and CONNTAP_REQUIRE_BPF=1")
	}
	t.Skip("needs root, to load BPF programs")
}

// testRun is a capture program that the test feeds by BPF_PROG_RUN.
type testRun struct {
	hook     bpf.Hook
	loader   *loader
	program  *ebpf.Program
	counters *ebpf.Map
	rings    []*sampleReader
	ring     *sampleReader // the only one, per packet
	batch    bpf.Batch
	next     []nextBatch // by CPU and hook
	batches  int         // read by copies
	perCPU   []bpf.Counters
	decoded  [bpf.PacketsMax + 1]bpf.Packet
}

// capturePrograms are all that record frames.
var capturePrograms = []struct {
	name string
	hook bpf.Hook
}{
	{conntapProgConntapXdp, bpf.HookXDP},
	{conntapProgConntapXdpLinear, bpf.HookXDP},
	{conntapProgConntapTcIngress, bpf.HookTCIngress},
	{conntapProgConntapTcEgress, bpf.HookTCEgress},
}

// newTestRun loads the named program with its constants changed by edit, and itself
// by each of change.
func newTestRun(t testing.TB, name string, hook bpf.Hook, edit func(*conntapConfig), change ...func(*ebpf.ProgramSpec) error) *testRun {
	t.Helper()
	return newTransportRun(t, name, hook, transportConfig{batchBytes: batchPerPacket}, edit, change...)
}

// newTransportRun does so with the transport, whose rings are of 16 MiB unless it says.
func newTransportRun(t testing.TB, name string, hook bpf.Hook, c transportConfig, edit func(*conntapConfig), change ...func(*ebpf.ProgramSpec) error) *testRun {
	t.Helper()
	kernel, _, err := runningKernel()
	if err != nil {
		t.Fatal(err)
	}
	c.cpus = ebpf.MustPossibleCPU()
	if c.ringBytes == 0 {
		c.ringBytes = 1 << 24
	}
	l, err := newLoader(kernel, 1, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	config, err := l.defaults()
	if err != nil {
		t.Fatal(err)
	}
	edit(&config)
	collection, err := l.loadProgram(name, config, ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats}, change...)
	if err != nil {
		var refusal *ebpf.VerifierError
		if errors.As(err, &refusal) {
			t.Log(strings.Join(refusal.Log[max(0, len(refusal.Log)-40):], "\n"))
		}
		t.Fatalf("loading %s: %v", name, err)
	}
	t.Cleanup(collection.Close)
	k := &testRun{hook: hook, loader: l, next: make([]nextBatch, c.cpus*bpf.HookCount), program: collection.Programs[name], counters: collection.Maps[conntapMapCounters]}
	for _, m := range l.transport.rings {
		r, err := openSamples(m)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.close() })
		k.rings = append(k.rings, r)
	}
	k.ring = k.rings[0]
	return k
}

// count adds up the program's counters over all CPUs.
func (k *testRun) count(t testing.TB) bpf.Counters {
	t.Helper()
	if err := k.counters.Lookup(uint32(k.hook), &k.perCPU); err != nil {
		t.Fatal(err)
	}
	var sum bpf.Counters
	for _, c := range k.perCPU {
		addCounters(&sum, &c)
	}
	return sum
}

// xdpContext is struct xdp_md, as far as BPF_PROG_RUN takes it.
type xdpContext struct {
	Data, DataEnd, DataMeta, Ingress, RxQueue, Egress uint32
}

// run sends a frame through the program; linear is the length of its linear
// part, 0 for all of it. The error is the kernel's refusal to run.
func (k *testRun) run(t testing.TB, frame []byte, linear int) error {
	t.Helper()
	opts := ebpf.RunOptions{Data: frame}
	if linear != 0 {
		opts.Context = xdpContext{DataEnd: uint32(linear)}
	}
	verdict, err := k.program.Run(&opts)
	if err != nil {
		return err
	}
	want := uint32(2) // XDP_PASS
	if k.hook != bpf.HookXDP {
		want = 0xffffffff // TCX_NEXT
	}
	if verdict != want {
		t.Fatalf("verdict %d, want %d", verdict, want)
	}
	return nil
}

// packets decodes the records that a frame made. The ring must be released after.
func (k *testRun) packets(t testing.TB) []bpf.Packet {
	t.Helper()
	sample := k.ring.next()
	if sample == nil {
		return nil
	}
	if err := k.batch.Reset(sample); err != nil {
		t.Fatal(err)
	}
	n := 0
	for k.batch.Next(&k.decoded[n]) {
		n++
	}
	if n == 0 || k.batch.Err() != nil {
		t.Fatalf("%d records in a batch: %v", n, k.batch.Err())
	}
	if int(k.batch.Header.Length) != len(sample) {
		t.Errorf("batch of %d bytes in a sample of %d", k.batch.Header.Length, len(sample))
	}
	return k.decoded[:n]
}

// packet decodes the one record that a frame made; false if it made none.
func (k *testRun) packet(t testing.TB, p *bpf.Packet) bool {
	t.Helper()
	packets := k.packets(t)
	if len(packets) == 0 {
		return false
	}
	*p = packets[0]
	if len(packets) != 1 {
		t.Fatalf("%d records, want 1: %+v", len(packets), packets)
	}
	return true
}

// TestPrograms loads every program in the shapes that interfaces and kernels ask
// for, and shows what the verifier had to look at.
func TestPrograms(t *testing.T) {
	requireBPF(t)
	shapes := []struct {
		name string
		edit func(*conntapConfig)
	}{
		{"default", func(*conntapConfig) {}},
		{"all blocks", func(c *conntapConfig) { c.Identity = 1 }},
		{"bare IP", func(c *conntapConfig) { c.Link = linkIP }},
		{"no layers", func(c *conntapConfig) { c.Layers = 0 }},
		{"no tunnels", func(c *conntapConfig) { c.Tunnels = 0 }},
		{"verify", func(c *conntapConfig) { c.Identity, c.Verify = 1, 1 }},
		{"owner", func(c *conntapConfig) { c.Owner = 1 }},
		{"owner, all blocks", func(c *conntapConfig) { c.Owner, c.Identity, c.Verify = 1, 1, 1 }},
	}
	for _, program := range capturePrograms {
		for _, shape := range shapes {
			k := newTestRun(t, program.name, program.hook, shape.edit)
			for line := range strings.Lines(k.program.VerifierLog) {
				if strings.HasPrefix(line, "processed") {
					t.Logf("%s, %s: %s", program.name, shape.name, strings.TrimSpace(line))
				}
			}
		}
	}
}

// TestLinks holds enum link of bpf/maps.h and the constants here together.
func TestLinks(t *testing.T) {
	compareEnum(t, objectTypes(t), "link", map[string]uint64{"LINK_ETHERNET": linkEthernet, "LINK_IP": linkIP})
}

// TestNoLayers has frames that only the layer path reads counted where there is
// none.
func TestNoLayers(t *testing.T) {
	requireBPF(t)
	k := newTestRun(t, conntapProgConntapXdp, bpf.HookXDP, func(c *conntapConfig) { c.Layers = 0 })
	segment := frametest.Segment{SrcPort: 1, DstPort: 2}.Bytes()
	plain := frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: frametest.TCP}.Packet(segment))
	for _, frame := range [][]byte{plain, frametest.Ethernet(0x0806, make([]byte, 46))} {
		if err := k.run(t, frame, 0); err != nil {
			t.Fatal(err)
		}
	}
	want := bpf.Counters{Seen: 2, Recorded: 1}
	want.Skipped[bpf.ReasonLoad] = 1
	if got := k.count(t); got != want {
		t.Errorf("want %+v\ngot  %+v", want, got)
	}
}

// TestBareIP has frames without a link layer, as on a tun device.
func TestBareIP(t *testing.T) {
	requireBPF(t)
	k := newTestRun(t, conntapProgConntapTcEgress, bpf.HookTCEgress, func(c *conntapConfig) { c.Link, c.Interface = linkIP, 0 })
	frame := frametest.IPv6{Next: frametest.UDP}.Packet(frametest.Datagram(1, 53, 1, 2, 3))
	if err := k.run(t, frame, 0); err != nil {
		t.Fatal(err)
	}
	var got bpf.Packet
	if !k.packet(t, &got) {
		t.Fatalf("no record: %+v", k.count(t))
	}
	var parsed [bpf.PacketsMax]bpf.Packet
	parser := bpf.Parser{Link: bpf.LinkRawIP}
	if _, reason := parser.Parse(frame, len(frame), parsed[:]); reason != bpf.ReasonNone {
		t.Fatal(reason)
	}
	want := parsed[0]
	want.Time, want.Ordinal, want.Hook = got.Time, got.Ordinal, bpf.HookTCEgress
	want.Blocks, want.IPID = 0, 0
	if !reflect.DeepEqual(got, want) {
		t.Errorf("want %+v\ngot  %+v", want, got)
	}
}

// skbContext is struct __sk_buff, as far as BPF_PROG_RUN takes it.
type skbContext struct {
	_           [164]byte
	GSOSegments uint32
	_           [8]byte
	GSOSize     uint32
	_           [12]byte
}

// TestSuperPacket has the lengths that a super-packet's headers don't say.
func TestSuperPacket(t *testing.T) {
	requireBPF(t)
	k := newTestRun(t, conntapProgConntapTcEgress, bpf.HookTCEgress, func(*conntapConfig) {})
	segment := frametest.Segment{SrcPort: 1, DstPort: 2}.Bytes(make([]byte, 1000)...)
	jumbo := frametest.Extension(frametest.TCP, 0xc2, 4, 0, 0, 4, 4)
	tests := []struct {
		name     string
		frame    []byte
		segments uint32
		length   uint32 // want; 0: no record, for its length
		header   uint16
	}{
		{"ipv4", frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: 6}.Packet(segment)), 10, 1040, 40},
		{"ipv4, length 0", frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: 6, Length: -1}.Packet(segment)), 10, 1040, 40},
		{"ipv4, length 0, no super-packet", frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: 6, Length: -1}.Packet(segment)), 0, 0, 0},
		{"ipv6", frametest.Ethernet(frametest.TypeIPv6, frametest.IPv6{Next: 6}.Packet(segment)), 10, 1060, 60},
		{"ipv6, length 0", frametest.Ethernet(frametest.TypeIPv6, frametest.IPv6{Next: 6, Length: -1}.Packet(segment)), 10, 1060, 60},
		{"ipv6, jumbo option", frametest.Ethernet(frametest.TypeIPv6, frametest.IPv6{Next: 0, Length: -1}.Packet(jumbo, segment)), 10, 1060, 60},
		{"ipv6, length 0, no super-packet", frametest.Ethernet(frametest.TypeIPv6, frametest.IPv6{Next: 0, Length: -1}.Packet(jumbo, segment)), 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			context := skbContext{GSOSegments: tt.segments, GSOSize: tt.segments * 10}
			if _, err := k.program.Run(&ebpf.RunOptions{Data: tt.frame, Context: context}); err != nil {
				t.Fatal(err)
			}
			var p bpf.Packet
			if recorded := k.packet(t, &p); recorded != (tt.length != 0) {
				t.Fatalf("record: %v, counters %+v", recorded, k.count(t))
			}
			if p.IPLength != tt.length || p.HeaderLength != tt.header {
				t.Errorf("IP length %d, header %d, want %d, %d", p.IPLength, p.HeaderLength, tt.length, tt.header)
			}
			if want := uint16(tt.segments); tt.length != 0 && (p.GSOSegments != want || p.GSOSize != want*10) {
				t.Errorf("%d segments of %d, want %d of %d", p.GSOSegments, p.GSOSize, want, want*10)
			}
		})
	}
}

// TestTunnelledSuperPacket has carrier and inner packet of a super-packet recorded,
// so that each segment gets both.
func TestTunnelledSuperPacket(t *testing.T) {
	requireBPF(t)
	k := newTestRun(t, conntapProgConntapTcEgress, bpf.HookTCEgress, func(*conntapConfig) {})
	inner := frametest.IPv4{Protocol: frametest.TCP}.Packet(frametest.Segment{SrcPort: 1, DstPort: 2}.Bytes(make([]byte, 1000)...))
	vxlan := frametest.VXLAN(1, frametest.Ethernet(frametest.TypeIPv4, inner))
	outer := frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(40000, frametest.PortVXLAN, vxlan...))
	context := skbContext{GSOSegments: 10, GSOSize: 100}
	if _, err := k.program.Run(&ebpf.RunOptions{Data: frametest.Ethernet(frametest.TypeIPv4, outer), Context: context}); err != nil {
		t.Fatal(err)
	}
	var s segmenter
	if !start(&s, k.packets(t)...) {
		t.Fatal("want a super-packet")
	}
	got := drain(t, &s, 7)
	if len(got) != 20 {
		t.Fatalf("want 20 packets, got %d", len(got))
	}
	for i, p := range got {
		want := uint32(190) // 28 of UDP over IPv4, 22 of VXLAN, 40, 100
		if i%2 == 1 {
			want = 140
		}
		if p.IPLength != want {
			t.Errorf("packet %d: want %d bytes, got %d", i, want, p.IPLength)
		}
	}
}

// TestLost fills the ring: what finds no room is counted, here and in the batch
// after it.
func TestLost(t *testing.T) {
	requireBPF(t)
	k := newTestRun(t, conntapProgConntapXdp, bpf.HookXDP, func(*conntapConfig) {})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	segment := frametest.Segment{SrcPort: 1, DstPort: 2}.Bytes()
	frame := frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: frametest.TCP}.Packet(segment))
	if _, err := k.program.Run(&ebpf.RunOptions{Data: frame, Repeat: 400_000}); err != nil {
		t.Fatal(err)
	}
	full := k.count(t)
	if full.Lost == 0 || full.Seen != full.Recorded+full.Lost {
		t.Fatalf("after filling the ring: %+v", full)
	}
	var samples, next [bpf.HookCount * 64]uint64
	for sample := k.ring.next(); sample != nil; sample = k.ring.next() {
		if err := k.batch.Reset(sample); err != nil {
			t.Fatal(err)
		}
		cpu := k.batch.Header.CPU
		if k.batch.Header.Sequence != next[cpu] {
			t.Fatalf("batch %d of CPU %d, want %d", k.batch.Header.Sequence, cpu, next[cpu])
		}
		next[cpu]++
		samples[cpu]++
	}
	k.ring.release(false)
	var sum uint64
	for _, n := range samples {
		sum += n
	}
	if sum != full.Recorded {
		t.Errorf("%d samples, %d recorded", sum, full.Recorded)
	}
	// One more on each CPU that there was tells what was lost before it.
	var lost uint64
	for cpu := range k.perCPU {
		before := k.perCPU[cpu].Lost
		if err := pinned(cpu, func() error { return k.run(t, frame, 0) }); err != nil {
			t.Fatal(err)
		}
		var p bpf.Packet
		if !k.packet(t, &p) {
			t.Fatal("no record although there is room")
		}
		if k.batch.Header.Lost != before || int(k.batch.Header.CPU) != cpu {
			t.Errorf("CPU %d: lost %d, want CPU %d, %d", k.batch.Header.CPU, k.batch.Header.Lost, cpu, before)
		}
		lost += k.batch.Header.Lost
	}
	if lost != full.Lost {
		t.Errorf("batches tell of %d lost, counters of %d", lost, full.Lost)
	}
}

// pinned runs f on one CPU.
func pinned(cpu int, f func() error) error {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &all))
}
