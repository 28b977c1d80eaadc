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
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         kind,
		License:      "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()},
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

// drain empties the ring until the returned function is called.
func (k *testRun) drain() func() {
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		var packet bpf.Packet
		for !stop.Load() {
			for sample := k.ring.next(); sample != nil; sample = k.ring.next() {
				if k.batch.Reset(sample) == nil {
					k.batch.Next(&packet)
				}
				if k.ring.used() > 1<<20 {
					k.ring.release(false)
				}
			}
			k.ring.release(false)
			time.Sleep(100 * time.Microsecond)
		}
	}()
	return func() {
		stop.Store(true)
		<-done
	}
}
