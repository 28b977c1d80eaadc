// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/bpf/filter"
	"conntap/bpf/filter/filtertest"
	"conntap/bpf/frametest"
)

// newFilterRun is a program with a filter, which text says; "" for none.
func newFilterRun(t testing.TB, name string, hook bpf.Hook, text string, edit func(*conntapConfig)) *testRun {
	t.Helper()
	if text == "" {
		return newTestRun(t, name, hook, edit)
	}
	f := parseFilter(t, text)
	filtered := func(c *conntapConfig) { edit(c); c.Filter = 1 }
	return newTestRun(t, name, hook, filtered, func(program *ebpf.ProgramSpec) error {
		return installFilter(program, f)
	})
}

// TestFilterPrograms loads every program with filters of all kinds of conditions, and
// with as many as are taken.
func TestFilterPrograms(t *testing.T) {
	requireBPF(t)
	repeat := func(condition func(i int) string) string {
		words := make([]string, filter.PrimitivesMax-1)
		for i := range words {
			words[i] = condition(i)
		}
		return strings.Join(words, " or ")
	}
	half := make([]string, filter.PrimitivesMax/2)
	for i := range half {
		half[i] = fmt.Sprintf("not (proto %d and net 10.%d)", i&255, i&255)
	}
	tests := []struct{ name, text string }{
		{"host and port", "host 10.0.0.1 and port 80"},
		{"every kind", "(ip6 src net 2001:db8::/32 or dst host 10.0.0.1) and not (tcp portrange 0-1023 or udp src port 53) or vlan 7 or icmp or proto 47"},
		{"constant", "net 0.0.0.0/0 or net ::/0"},
		{"IPv4 hosts", repeat(func(i int) string { return fmt.Sprintf("host 10.0.%d.%d", i>>8, i&255) })},
		{"IPv6 hosts", repeat(func(i int) string { return fmt.Sprintf("host 2001:db8::%x", i) })},
		{"IPv6 nets", repeat(func(i int) string { return fmt.Sprintf("ip6 net 2001:db8:%x::/%d", i, 48+i%80) })},
		{"not nets", "not (" + repeat(func(i int) string { return fmt.Sprintf("net 10.%d.%d.0/25", i>>8, i&255) }) + ")"},
		{"ports", "tcp and (" + repeat(func(i int) string { return fmt.Sprintf("port %d", i) }) + ")"},
		{"port ranges", repeat(func(i int) string { return fmt.Sprintf("portrange %d-%d", 8*i, 8*i+4) })},
		{"vlans", repeat(func(i int) string { return fmt.Sprintf("vlan %d", i+1) })},
		{"protocols and hosts", strings.Join(half, " and ")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, program := range capturePrograms {
				if len(tt.text) > 1000 && (program.name == conntapProgConntapXdpLinear || program.hook == bpf.HookTCEgress) {
					continue // what they share with the others is enough for long ones
				}
				k := newFilterRun(t, program.name, program.hook, tt.text, func(c *conntapConfig) { c.Sample = 10 })
				for line := range strings.Lines(k.program.VerifierLog) {
					if strings.HasPrefix(line, "processed") {
						t.Logf("%s: %s", program.name, strings.TrimSpace(line))
					}
				}
			}
		})
	}
}

// TestFilterParity has the kernel and Go judge the same frames by the same random
// filters.
func TestFilterParity(t *testing.T) {
	requireBPF(t)
	r := rand.New(rand.NewPCG(3, 4))
	frames := append(filterFrames(r), traceSample(t, r)...)
	packets := outermost(frames)
	for _, program := range []struct {
		name    string
		hook    bpf.Hook
		linear  int
		filters int
	}{
		{conntapProgConntapXdp, bpf.HookXDP, 0, 20},
		{conntapProgConntapXdp, bpf.HookXDP, 14, 6},
		{conntapProgConntapTcEgress, bpf.HookTCEgress, 0, 10},
	} {
		t.Run(fmt.Sprint(program.name, program.linear), func(t *testing.T) {
			var passed, filtered int
			for i := range program.filters {
				text := filtertest.Random(r, packets, 8)
				sample := uint32(0)
				if i%3 == 0 {
					text, sample = "", uint32(2+i)
				}
				t.Run(fmt.Sprint(i), func(t *testing.T) { // so that each ring goes when it was used
					p, f := compareFilter(t, program.name, program.hook, program.linear, text, sample, frames)
					passed, filtered = passed+p, filtered+f
				})
			}
			t.Logf("%d frames, %d filters: %d times passed, %d times filtered", len(frames), program.filters, passed, filtered)
			if passed < 100 || filtered < 100 {
				t.Errorf("%d passed, %d filtered: too few to say anything", passed, filtered)
			}
		})
	}
}

// compareFilter sends the frames through one program, and asks Go.
func compareFilter(t *testing.T, name string, hook bpf.Hook, linear int, text string, sample uint32, frames [][]byte) (passed, filtered int) {
	t.Helper()
	k := newFilterRun(t, name, hook, text, func(c *conntapConfig) { c.Sample = sample })
	if linear != 0 {
		requireLinear(t, k, linear)
	}
	selection := Selection{Sample: sample}
	if text != "" {
		selection.Filter = parseFilter(t, text)
	}
	parser := bpf.Parser{Link: bpf.LinkEthernet, Tunnels: true}
	var parsed [bpf.PacketsMax]bpf.Packet
	var want bpf.Counters
	before := k.count(t)
	for _, frame := range frames {
		if len(frame) <= linear {
			continue
		}
		err := k.run(t, frame, linear)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOMEM) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		n, reason := parser.Parse(frame, len(frame), parsed[:])
		want.Seen++
		switch {
		case reason != bpf.ReasonNone:
			want.Skipped[reason]++
		case selection.keep(parsed[:n]) == 0:
			want.Filtered++
		default:
			want.Recorded++
		}
		if recorded := k.ring.next() != nil; recorded != (reason == bpf.ReasonNone && selection.has(&parsed[0])) {
			t.Fatalf("filter %q, sample %d: recorded %v, want %v: %+v", text, sample, recorded, !recorded, parsed[0])
		}
		k.ring.release(false)
	}
	addCounters(&want, &before)
	if got := k.count(t); got != want {
		t.Fatalf("filter %q, sample %d:\nwant %+v\ngot  %+v", text, sample, want, got)
	}
	return int(want.Recorded - before.Recorded), int(want.Filtered - before.Filtered)
}

// filterFrames are random frames, and fragments of unknown protocols.
func filterFrames(r *rand.Rand) [][]byte {
	var frames [][]byte
	for range 2000 {
		frames = append(frames, frametest.Random(r))
	}
	for _, next := range append(filter.ExtensionProtocols[:], frametest.TCP, frametest.UDP, frametest.ICMPv6) {
		fragment := []byte{next, 0, 0, 9, 0, 0, 0, 7}
		frames = append(frames,
			frametest.Ethernet(frametest.TypeIPv6, frametest.IPv6{Next: frametest.Fragment}.Packet(fragment, make([]byte, 64))),
			frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: next, Fragment: 1}.Packet(make([]byte, 64))))
	}
	return frames
}

// traceSample is some frames of the traces, if they are there.
func traceSample(t *testing.T, r *rand.Rand) [][]byte {
	t.Helper()
	frames := traceFrames(t)
	r.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	return frames[:min(len(frames), 3000)]
}

// outermost are the first packets of the frames that have any.
func outermost(frames [][]byte) []bpf.Packet {
	parser := bpf.Parser{Link: bpf.LinkEthernet}
	var packets []bpf.Packet
	var parsed [bpf.PacketsMax]bpf.Packet
	for _, frame := range frames {
		if n, _ := parser.Parse(frame, len(frame), parsed[:]); n > 0 {
			packets = append(packets, parsed[0])
		}
	}
	return packets
}

// BenchmarkKernelFilter shows what conditions cost, of packets that the last one
// refuses: what becomes of those that pass costs more, and varies more. The rounds
// alternate with the same program and a filter that is false by itself.
func BenchmarkKernelFilter(b *testing.B) {
	requireBPF(b)
	segment := frametest.Segment{SrcPort: 40000, DstPort: 443}.Bytes(make([]byte, 10)...)
	frame4 := frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: frametest.TCP}.Packet(segment))
	frame6 := frametest.Ethernet(frametest.TypeIPv6, frametest.IPv6{Next: frametest.TCP}.Packet(segment))
	var hosts strings.Builder
	for i := range 99 {
		fmt.Fprintf(&hosts, "host 10.9.0.%d or ", i)
	}
	const nothing = "not (net 0.0.0.0/0 or net ::/0)"
	for _, tt := range []struct {
		name, filter string
		sample       uint32
		frame        []byte
	}{
		{"host4-port", "host 192.0.2.2 and port 80", 0, frame4},
		{"host6-port", "host 2001:db8::2 and port 80", 0, frame6},
		{"100-hosts", hosts.String() + "host 192.0.2.3", 0, frame4},
		{"sample4", nothing, math.MaxUint32, frame4},
		{"sample6", nothing, math.MaxUint32, frame6},
	} {
		b.Run(tt.name, func(b *testing.B) {
			base := newFilterRun(b, conntapProgConntapXdp, bpf.HookXDP, nothing, func(*conntapConfig) {})
			k := newFilterRun(b, conntapProgConntapXdp, bpf.HookXDP, tt.filter, func(c *conntapConfig) { c.Sample = tt.sample })
			opts := ebpf.RunOptions{Data: tt.frame, Repeat: 5 * packetsPerRound}
			without, with := math.Inf(1), math.Inf(1)
			for b.Loop() {
				without = min(without, repeat(b, base.program, opts))
				with = min(with, repeat(b, k.program, opts))
			}
			if c := k.count(b); c.Filtered != c.Seen {
				b.Errorf("%+v: want all filtered", c)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(without, "ns-false/packet")
			b.ReportMetric(with, "ns/packet")
		})
	}
}

// TestFilterUnused has programs without a filter not call its function: the verifier
// took the calls out.
func TestFilterUnused(t *testing.T) {
	requireBPF(t)
	const direct = 1 // calls without the layer path
	without, with := functionCalls(t, ""), functionCalls(t, "tcp")
	if with-without != direct {
		t.Errorf("%d calls of functions with a filter, %d without, want %d more", with, without, direct)
	}
}

// functionCalls counts the calls of functions in a program with a filter.
func functionCalls(t *testing.T, filter string) int {
	t.Helper()
	k := newFilterRun(t, conntapProgConntapXdp, bpf.HookXDP, filter, func(c *conntapConfig) { c.Layers = 0 })
	info, err := k.program.Info()
	if err != nil {
		t.Fatal(err)
	}
	instructions, err := info.Instructions()
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for i := range instructions {
		if instructions[i].IsFunctionCall() {
			calls++
		}
	}
	return calls
}
