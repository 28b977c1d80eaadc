// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// TestParity sends frames through the kernel's parser and through the Go one and
// compares what comes out, field by field but for time, ordinal and hook.
func TestParity(t *testing.T) {
	requireBPF(t)
	tests := []struct {
		name    string
		program string
		hook    bpf.Hook
		linear  int     // length of the frame's linear part; 0: as the kernel likes
		longest int     // frame; 0: any
		share   float64 // of all frames, that must have been compared at least
		verify  uint8
	}{
		{"xdp", conntapProgConntapXdp, bpf.HookXDP, 0, 0, 0.99, 0},
		{"xdp, checksums", conntapProgConntapXdp, bpf.HookXDP, 0, 0, 0.99, 1},
		{"xdp 34, checksums", conntapProgConntapXdp, bpf.HookXDP, 34, 0, 0.95, 1},
		{"xdp linear", conntapProgConntapXdpLinear, bpf.HookXDP, 0, 3000, 0.9, 0},
		{"xdp 14", conntapProgConntapXdp, bpf.HookXDP, 14, 0, 0.98, 0},
		{"xdp 34", conntapProgConntapXdp, bpf.HookXDP, 34, 0, 0.95, 0},
		{"xdp 54", conntapProgConntapXdp, bpf.HookXDP, 54, 0, 0.7, 0},
		{"xdp 128", conntapProgConntapXdp, bpf.HookXDP, 128, 0, 0.25, 0},
		{"tc ingress", conntapProgConntapTcIngress, bpf.HookTCIngress, 0, 0, 0.95, 0},
		{"tc egress", conntapProgConntapTcEgress, bpf.HookTCEgress, 0, 0, 0.95, 0},
		{"tc ingress, checksums", conntapProgConntapTcIngress, bpf.HookTCIngress, 0, 0, 0.95, 1},
	}
	own, traces := ownFrames(), traceFrames(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newTestRun(t, tt.program, tt.hook, func(c *conntapConfig) { c.Identity, c.Verify, c.Service = 1, tt.verify, 0 })
			if tt.linear != 0 {
				requireLinear(t, k, tt.linear)
			}
			y := parity{run: k, linear: tt.linear, longest: tt.longest, verify: tt.verify != 0}
			y.compare(t, own)
			y.report(t, "own frames", int(tt.share*ownCount))
			if len(traces) == 0 {
				t.Log("no frames of traces: ../shared/conformance/traces is not there")
				return
			}
			y = parity{run: k, linear: tt.linear, longest: tt.longest, verify: tt.verify != 0}
			y.compare(t, traces)
			y.report(t, "frames of traces", int(tt.share*traceCount))
		})
	}
}

const (
	ownCount   = 20_000
	traceCount = 267_000 // there are some more
)

// parity compares frames and counts them.
type parity struct {
	run      *testRun
	linear   int
	compared int                  // records and reasons compared
	skipped  [bpf.ReasonCount]int // of them, no packet, by reason
	refused  int                  // not compared: the kernel doesn't run such a frame
	unfit    int                  // not compared: not longer than the linear part, or too long
	longest  int
	before   bpf.Counters
	failed   int
	verify   bool
	judged   [4]int // packets by bpf.Checksum
	parsed   [bpf.PacketsMax]bpf.Packet
	kinds    [bpf.TunnelAYIYA + 1]int // packets compared by what they came out of
}

func (y *parity) report(t *testing.T, what string, minimum int) {
	t.Helper()
	t.Logf("%s: %d compared, %d refused by the kernel, %d unfit", what, y.compared, y.refused, y.unfit)
	for reason, n := range y.skipped {
		if n != 0 {
			t.Logf("  both skip %d: %v", n, bpf.Reason(reason))
		}
	}
	t.Logf("  packets by tunnel: %v, by checksum: %v", y.kinds, y.judged)
	c := y.run.count(t)
	sum := c.Recorded + c.Filtered + c.Lost
	for _, n := range c.Skipped {
		sum += n
	}
	if c.Seen != sum {
		t.Errorf("%s: %d seen, %d accounted for", what, c.Seen, sum)
	}
	if y.compared < minimum {
		t.Errorf("%s: %d compared, want at least %d", what, y.compared, minimum)
	}
}

func (y *parity) compare(t *testing.T, frames [][]byte) {
	t.Helper()
	y.before = y.run.count(t)
	for _, frame := range frames {
		if y.linear != 0 && len(frame) <= y.linear || y.longest != 0 && len(frame) > y.longest {
			y.unfit++
			continue
		}
		err := y.run.run(t, frame, y.linear)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOMEM) {
			y.refused++
			continue
		}
		if err != nil {
			t.Fatalf("running %d bytes: %v", len(frame), err)
		}
		if !y.same(t, frame) {
			if y.failed++; y.failed > 10 {
				t.Fatal("and so on")
			}
		}
		y.run.ring.release(true)
	}
}

// same compares what the kernel made of a frame with what Go makes of it.
func (y *parity) same(t *testing.T, frame []byte) bool {
	t.Helper()
	shown := frame[:min(len(frame), 300)]
	parser := bpf.Parser{Link: bpf.LinkEthernet, Tunnels: true, VerifyChecksums: y.verify, PartialChecksums: true}
	n, reason := parser.Parse(frame, len(frame), y.parsed[:])
	want := y.parsed[:n]
	if slices.ContainsFunc(want, func(p bpf.Packet) bool { return hasAggregate(&p) }) {
		y.run.packets(t)
		y.before = y.run.count(t)
		y.unfit++
		return true
	}
	y.compared++
	got := y.run.packets(t)
	if reason != bpf.ReasonNone {
		y.skipped[reason]++
		after := y.run.count(t)
		before := y.before
		y.before = after
		if len(got) != 0 || after.Skipped[reason] != before.Skipped[reason]+1 {
			t.Errorf("%x\nkernel %+v, counters %v after %v\ngo     %v", shown, got, after, before, reason)
			return false
		}
		return true
	}
	if len(got) != len(want) {
		t.Errorf("%x\nkernel %+v: %v, before %v\ngo     %+v", shown, got, y.run.count(t), y.before, want)
		return false
	}
	y.before.Seen++
	y.before.Recorded++
	for i := range want {
		y.kinds[want[i].TunnelType]++
		y.judged[want[i].Checksum()]++
		if y.verify && want[i].State&bpf.StateFragment != 0 {
			want[i].FragmentSum = sumOf(want[i].Payload)
		}
		if !samePacket(t, shown, &got[i], &want[i]) {
			return false
		}
	}
	return true
}

// sumOf is the ones' complement sum of a fragment's payload, done the plain way:
// frametest's is of big-endian words, inverted.
func sumOf(b []byte) uint16 {
	sum := ^frametest.Checksum(b)
	if sum == 0 {
		return 0xffff
	}
	return sum<<8 | sum>>8
}

func samePacket(t *testing.T, shown []byte, got, want *bpf.Packet) bool {
	t.Helper()
	payload := recordedPayload(want)
	want.Payload = nil
	want.Time, want.Ordinal, want.Hook = got.Time, got.Ordinal, got.Hook
	if want.Kind == bpf.KindViolation || want.Kind == bpf.KindEmpty {
		want.Src, want.Dst = got.Src, got.Dst
	}
	if !bytes.Equal(got.Payload, payload) {
		t.Errorf("%x\nkernel payload %x\ngo     payload %x", shown, got.Payload, payload)
		return false
	}
	got.Payload = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%x\nkernel %+v\ngo     %+v", shown, got, want)
		return false
	}
	return true
}

// hasAggregate tells a GRE packet with an aggregate of IEEE 802.11 in it, which the
// Go parser alone takes apart.
func hasAggregate(p *bpf.Packet) bool {
	gre := p.Payload
	if p.Protocol == bpf.ProtocolUDP && (p.DstPort == 4754 || p.SrcPort == 4754) || p.Protocol == bpf.ProtocolGRE {
		if len(gre) < 4 || gre[2]&0x82 != 0x82 && gre[2] != 0x90 {
			return false
		}
		length := 4
		for _, bit := range []int{0x8000, 0x2000, 0x1000, 0x0080} {
			if int(binary.BigEndian.Uint16(gre))&bit != 0 {
				length += 4
			}
		}
		if len(gre) < length+24 {
			return false
		}
		wlan := gre[length:]
		qos := 24
		if wlan[1]&3 == 3 {
			qos += 6
		}
		return wlan[0]&0x88 == 0x88 && len(wlan) > qos && wlan[qos]&0x80 != 0
	}
	return false
}

// recordedPayload is what the kernel passes of a packet's payload.
func recordedPayload(p *bpf.Packet) []byte {
	direction := map[uint16]bool{53: true, 123: true, 137: true, 5353: true, 5355: true}
	switch {
	case p.Kind != bpf.KindPacket && p.Kind != bpf.KindInner:
	case p.State&bpf.StateFragment != 0:
		return p.Payload[:min(len(p.Payload), bpf.PayloadFragment)]
	case p.Protocol == bpf.ProtocolUDP && (direction[p.SrcPort] || direction[p.DstPort]):
		return p.Payload[:min(len(p.Payload), bpf.PayloadDirection)]
	}
	return nil
}

// requireLinear skips where the kernel can't be told the length of the linear
// part.
func requireLinear(t *testing.T, k *testRun, linear int) {
	t.Helper()
	err := k.run(t, make([]byte, 1000), linear)
	kernel, release, kernelErr := runningKernel()
	if err == nil {
		return
	}
	if kernelErr != nil || !kernel.before(kernelVersion{6, 18}) {
		t.Fatalf("linear part of %d bytes on kernel %s: %v", linear, release, err)
	}
	t.Skipf("kernel %s takes no length of the linear part (6.18 does)", release)
}

// TestParityTags sends tagged frames through a veth: the stack takes the outer tag
// off before the TC hooks see them, which BPF_PROG_RUN can't do.
func TestParityTags(t *testing.T) {
	ip := frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(1, 2, 3))
	tag := func(id, etherType uint16, content ...[]byte) []byte {
		return frametest.Join(frametest.Tag(id, etherType), frametest.Join(content...))
	}
	frames := [][]byte{
		frametest.Ethernet(frametest.TypeIPv4, ip),
		frametest.Ethernet(frametest.TypeVLAN, tag(7, frametest.TypeIPv4, ip)),
		frametest.Ethernet(frametest.TypeVLANOuter, tag(0xe007, frametest.TypeVLAN), tag(0xf008, frametest.TypeIPv4, ip)),
		frametest.Ethernet(frametest.TypeVLAN, tag(0xe000, frametest.TypeVLAN), tag(8, frametest.TypeIPv4, ip)),
		frametest.Ethernet(frametest.TypeQinQ, tag(7, frametest.TypeVLAN), tag(8, frametest.TypeIPv4, ip)),
		frametest.Ethernet(frametest.TypeVLAN, tag(7, frametest.TypeVLAN), tag(8, frametest.TypeVLAN), tag(9, frametest.TypeIPv4, ip)),
		frametest.Ethernet(frametest.TypeVLAN, tag(7, frametest.TypeVLANOuter), tag(8, frametest.TypeIPv4, ip)),
		frametest.Ethernet(frametest.TypeVLAN, tag(7, 0x0806, make([]byte, 46))),
	}
	var want []bpf.Packet
	var counts bpf.Counters
	parser := bpf.Parser{Link: bpf.LinkEthernet}
	var parsed [bpf.PacketsMax]bpf.Packet
	for _, frame := range frames {
		counts.Seen++
		_, reason := parser.Parse(frame, len(frame), parsed[:])
		if reason != bpf.ReasonNone {
			counts.Skipped[reason]++
			continue
		}
		counts.Recorded++
		p := parsed[0]
		p.Blocks &^= bpf.BlockIdentity
		p.Payload = nil
		want = append(want, p)
	}
	for _, capture := range []Capture{CaptureTCX, CaptureXDP} {
		t.Run(fmt.Sprint(capture), func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			l := openLive(t, LiveConfig{Interfaces: []string{"tap"}, Capture: capture})
			newSender(t, "far").send(t, frames...)
			got := readAll(t, l)
			for i := range got {
				got[i].Time, got[i].Ordinal, got[i].Hook = 0, 0, 0
				got[i].Payload = nil // of the first four there is some
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("want %+v\ngot  %+v", want, got)
			}
			if got := l.Stats().Counters; got != counts {
				t.Errorf("want %+v\ngot  %+v", counts, got)
			}
		})
	}
}

// ownFrames are made here: they need no file.
func ownFrames() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	var frames [][]byte
	for range ownCount {
		frames = append(frames, frametest.Random(r))
	}
	return append(frames, boundFrames()...)
}

// boundFrames have as many tags, labels, extension headers and fragments in tunnels as
// are followed, and a few less and more.
func boundFrames() [][]byte {
	packet := frametest.IPv4{Protocol: frametest.TCP}.Packet(frametest.Segment{SrcPort: 1, DstPort: 2}.Bytes(1, 2, 3))
	var frames [][]byte
	for n := range 40 {
		tags, labels := packet, frametest.Join(frametest.Label(1, true), packet)
		for range n {
			tags = frametest.Join(frametest.Tag(7, frametest.TypeVLAN), tags)
			labels = frametest.Join(frametest.Label(1, false), labels)
		}
		gtp := frametest.Datagram(1, frametest.PortGTP, frametest.GTP(1, n, packet)...)
		nested := frametest.IPv4{Protocol: frametest.UDP, Fragment: 1}.Packet(make([]byte, 280))
		for depth := range n % 8 {
			if depth%2 == 0 {
				nested = frametest.VXLAN(uint32(depth), frametest.Ethernet(frametest.TypeIPv4, nested))
				nested = frametest.IPv6{Next: frametest.UDP}.Packet(frametest.Datagram(53, frametest.PortVXLAN, nested...))
			} else {
				nested = frametest.IPv6{Next: frametest.GRE}.Packet(frametest.GREHeader(0x2000, frametest.TypeBridge, frametest.Ethernet(frametest.TypeIPv6, nested)))
			}
		}
		etherType := uint16(frametest.TypeIPv6)
		if n%8 == 0 {
			etherType = frametest.TypeIPv4
		}
		frames = append(frames, frametest.Ethernet(frametest.TypeVLAN, frametest.Tag(7, frametest.TypeIPv4), tags),
			frametest.Ethernet(frametest.TypeVLAN, tags), frametest.Ethernet(frametest.TypeMPLS, labels),
			frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: frametest.UDP}.Packet(gtp)),
			frametest.Ethernet(etherType, nested))
	}
	return frames
}

// traceFrames are the Ethernet frames of at least 14 bytes of all traces that
// stand beside the repository.
func traceFrames(t *testing.T) [][]byte {
	t.Helper()
	root := filepath.Join("..", "..", "shared", "conformance", "traces")
	if _, err := os.Stat(root); err != nil {
		return nil
	}
	var frames [][]byte
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			frames = append(frames, framesOf(t, path)...)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// framesOf reads a capture up to its end or to where it breaks.
func framesOf(t *testing.T, path string) [][]byte {
	t.Helper()
	c := capture{name: path, path: path, consumed: new(atomic.Int64), newPlace: func(string) uint16 { return 0 }}
	if err := c.open(); err != nil {
		t.Log(err)
		return nil
	}
	defer c.close()
	var frames [][]byte
	for c.refillNext() == nil {
		if c.frame.link == bpf.LinkEthernet && len(c.frame.data) >= 14 {
			frames = append(frames, bytes.Clone(c.frame.data))
		}
	}
	return frames
}
