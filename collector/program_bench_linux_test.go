// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// The kernel benchmarks run a program over and over on one frame, while another
// goroutine empties the ring, in rounds that alternate with an empty program, and
// report the best round of each in ns per packet. What they show are differences:
// the clock alone is a good part.

func BenchmarkKernelXDP(b *testing.B) {
	benchmarkKernel(b, conntapProgConntapXdp, bpf.HookXDP, ebpf.XDP, 2)
}

func BenchmarkKernelTC(b *testing.B) {
	benchmarkKernel(b, conntapProgConntapTcIngress, bpf.HookTCIngress, ebpf.SchedCLS, -1)
}

// kernelFrames are the moments of the benchmarks.
func kernelFrames() []struct {
	name   string
	linear int
	verify uint8
	frame  []byte
} {
	syn := frametest.Segment{SrcPort: 40000, DstPort: 443, Flags: 2, Options: bytes.Repeat([]byte{1}, 20)}.Bytes()
	tcp4 := frametest.IPv4{Protocol: frametest.TCP}.Packet(syn)
	tcp6 := frametest.IPv6{Next: frametest.TCP}.Packet(syn)
	dns := frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(40000, 53, make([]byte, 40)...))
	chain := frametest.IPv6{Next: frametest.HopOptions}.Packet(frametest.Extension(frametest.TCP), syn)
	fragment := frametest.IPv4{Protocol: frametest.UDP, Fragment: 1}.Packet(make([]byte, 300))
	segment := func(size int) []byte {
		return frametest.Seal4(frametest.TCP, 16, frametest.Segment{SrcPort: 40000, DstPort: 443}.Bytes(make([]byte, size)...))
	}
	packet64 := frametest.IPv4{Protocol: frametest.TCP}.Packet(segment(64 - 54))
	packet1500 := frametest.IPv4{Protocol: frametest.TCP}.Packet(segment(1500 - 40))
	vxlan := frametest.VXLAN(1, frametest.Ethernet(frametest.TypeIPv4, packet64))
	tunnel := frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(40000, frametest.PortVXLAN, vxlan...))
	return []struct {
		name   string
		linear int
		verify uint8
		frame  []byte
	}{
		{"tcp4", 0, 0, frametest.Ethernet(frametest.TypeIPv4, tcp4)},
		{"tcp6", 0, 0, frametest.Ethernet(frametest.TypeIPv6, tcp6)},
		{"vlan", 0, 0, frametest.Ethernet(frametest.TypeVLAN, frametest.Tag(7, frametest.TypeIPv4), tcp4)},
		{"dns", 0, 0, frametest.Ethernet(frametest.TypeIPv4, dns)},
		{"arp", 0, 0, frametest.Ethernet(0x0806, make([]byte, 46))},
		{"chain", 0, 0, frametest.Ethernet(frametest.TypeIPv6, chain)},
		{"fragment", 0, 0, frametest.Ethernet(frametest.TypeIPv4, fragment)},
		{"tcp4-64", 0, 0, frametest.Ethernet(frametest.TypeIPv4, packet64)},
		{"tcp4-64-checksum", 0, 1, frametest.Ethernet(frametest.TypeIPv4, packet64)},
		{"tcp4-1500", 0, 0, frametest.Ethernet(frametest.TypeIPv4, packet1500)},
		{"tcp4-1500-checksum", 0, 1, frametest.Ethernet(frametest.TypeIPv4, packet1500)},
		{"vxlan", 0, 0, frametest.Ethernet(frametest.TypeIPv4, tunnel)},
		{"tcp4-linear14", 14, 0, frametest.Ethernet(frametest.TypeIPv4, tcp4)},
	}
}

func benchmarkKernel(b *testing.B, name string, hook bpf.Hook, kind ebpf.ProgramType, verdict int32) {
	requireBPF(b)
	empty := emptyProgram(b, kind, verdict)
	for _, tt := range kernelFrames() {
		if tt.linear != 0 && hook != bpf.HookXDP {
			continue
		}
		b.Run(tt.name, func(b *testing.B) {
			k := newTestRun(b, name, hook, func(c *conntapConfig) { c.Verify = tt.verify })
			stop := k.drain()
			defer stop()
			opts := ebpf.RunOptions{Data: tt.frame, Repeat: packetsPerRound}
			if tt.linear != 0 {
				opts.Context = xdpContext{DataEnd: uint32(tt.linear)}
			}
			base, full := math.Inf(1), math.Inf(1)
			for b.Loop() {
				base = min(base, repeat(b, empty, opts))
				lost := k.count(b).Lost
				round := repeat(b, k.program, opts)
				if k.count(b).Lost == lost { // to lose a record is cheaper than to pass it on
					full = min(full, round)
				}
			}
			c := k.count(b)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(base, "ns-empty/packet")
			b.ReportMetric(full, "ns/packet")
			b.ReportMetric(float64(c.Lost)/float64(c.Seen)*100, "%lost")
		})
	}
}

// packetsPerRound hides what a round itself costs the kernel.
const packetsPerRound = 1_000_000

// emptyProgram lets every packet pass and does nothing else.
func emptyProgram(b *testing.B, kind ebpf.ProgramType, verdict int32) *ebpf.Program {
	b.Helper()
	return programOf(b, kind, asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()})
}

func programOf(b *testing.B, kind ebpf.ProgramType, instructions asm.Instructions) *ebpf.Program {
	b.Helper()
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         kind,
		License:      "GPL",
		Instructions: instructions,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { program.Close() })
	return program
}

// repeat runs the program so often and returns ns per run.
func repeat(b *testing.B, program *ebpf.Program, opts ebpf.RunOptions) float64 {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := time.Now()
	if _, err := program.Run(&opts); err != nil {
		b.Fatal(err)
	}
	return float64(time.Since(start).Nanoseconds()) / float64(opts.Repeat)
}

// drain empties the rings, from another CPU than the calling goroutine's, until the
// returned function is called.
func (k *testRun) drain() func() {
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		var packet bpf.Packet
		for !stop.Load() {
			for _, ring := range k.rings {
				for sample := ring.next(); sample != nil; sample = ring.next() {
					for err := k.batch.Reset(sample); err == nil && k.batch.Next(&packet); {
					}
					if ring.used() > 1<<20 {
						ring.release(false)
					}
				}
				ring.release(false)
			}
			time.Sleep(100 * time.Microsecond)
		}
	}()
	return func() {
		stop.Store(true)
		<-done
	}
}

// BenchmarkKernelTransport is what capture costs, over a program that reads the clock
// and drops: defaults, without link addresses, for IPv4 and IPv6, data and bare SYN,
// each way of transport, and batches without tunnels and services. Rounds alternate;
// -benchtime says how many. It is CPU time of the thread.
func BenchmarkKernelTransport(b *testing.B) {
	requireBPF(b)
	programs := transportPrograms(b)
	for _, tt := range transportFrames() {
		b.Run(tt.name, func(b *testing.B) {
			best := make([]float64, len(programs))
			for i := range best {
				best[i] = math.Inf(1)
			}
			for b.Loop() {
				for i, p := range programs {
					if d, ok := p.round(b, tt.frame); ok {
						best[i] = min(best[i], d)
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, p := range programs {
				b.ReportMetric(best[i], "ns-"+p.name)
			}
		})
	}
}

// measured is a program of the benchmark; run is nil if it captures nothing.
type measured struct {
	name    string
	program *ebpf.Program
	run     *testRun
}

func transportPrograms(b *testing.B) []measured {
	clock := asm.Instructions{asm.FnKtimeGetBootNs.Call(), asm.Mov.Imm(asm.R0, xdpDrop), asm.Return()}
	programs := []measured{
		{"empty", emptyProgram(b, ebpf.XDP, xdpDrop), nil},
		{"clock", programOf(b, ebpf.XDP, clock), nil},
	}
	for _, tt := range []struct {
		name  string
		bytes uint32
		edit  func(*conntapConfig)
	}{
		{"per-packet", batchPerPacket, func(*conntapConfig) {}},
		{"batched", batchDefault, func(*conntapConfig) {}},
		{"batched-plain", batchDefault, func(c *conntapConfig) { c.Tunnels, c.Service = 0, 0 }},
	} {
		k := newTransportRun(b, conntapProgConntapXdp, bpf.HookXDP, batched(tt.bytes), func(c *conntapConfig) {
			c.L2, c.Drop = 0, 1
			tt.edit(c)
		})
		programs = append(programs, measured{tt.name, k.program, k})
	}
	return programs
}

const xdpDrop = 1

func transportFrames() []struct {
	name  string
	frame []byte
} {
	syn := frametest.Segment{SrcPort: 40000, DstPort: 443, Flags: 2, Options: bytes.Repeat([]byte{1}, 20)}.Bytes()
	data4 := frametest.Segment{SrcPort: 40000, DstPort: 443, Flags: 16}.Bytes(make([]byte, 64-54)...)
	data6 := frametest.Segment{SrcPort: 40000, DstPort: 443, Flags: 16}.Bytes(make([]byte, 80-74)...)
	udp := frametest.Datagram(40000, 443, make([]byte, 64-42)...)
	ipv4 := func(protocol uint8, b []byte) []byte {
		return frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: protocol}.Packet(b))
	}
	ipv6 := func(protocol uint8, b []byte) []byte {
		return frametest.Ethernet(frametest.TypeIPv6, frametest.IPv6{Next: protocol}.Packet(b))
	}
	return []struct {
		name  string
		frame []byte
	}{
		{"tcp4-data", ipv4(frametest.TCP, data4)},
		{"tcp4-syn", ipv4(frametest.TCP, syn)},
		{"udp4", ipv4(frametest.UDP, udp)},
		{"tcp6-data", ipv6(frametest.TCP, data6)},
		{"tcp6-syn", ipv6(frametest.TCP, syn)},
		{"udp6", ipv6(frametest.UDP, udp)},
	}
}

// round is one round's ns per run; false if a record was lost, which is cheaper than
// to pass it on.
func (p *measured) round(b *testing.B, frame []byte) (float64, bool) {
	var before bpf.Counters
	if p.run != nil {
		before = p.run.count(b)
		defer p.run.drain()()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadTime(b)
	if _, _, err := p.program.Benchmark(frame, packetsPerRound/4, nil); err != nil {
		b.Fatal(err)
	}
	each := float64(threadTime(b)-start) / (packetsPerRound / 4)
	return each, p.run == nil || p.run.count(b).Lost == before.Lost
}

// threadTime is the thread's CPU time, ns: the kernel's own measurement of a run is in
// whole ns, and the clock goes on while a run waits for its end.
func threadTime(b *testing.B) int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		b.Fatal(err)
	}
	return now.Nano()
}
