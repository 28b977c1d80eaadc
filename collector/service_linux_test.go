// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// TestFirstPayloads holds which packets' payload is recorded: of the first four
// that have any, in each direction of a flow, counted anew from a SYN.
func TestFirstPayloads(t *testing.T) {
	requireBPF(t)
	payload := bytes.Repeat([]byte("conntap "), 12)
	ports := func(src, dst uint16, flags uint8, payload ...byte) []byte {
		return frametest.IPv4{Protocol: frametest.TCP}.Packet(frametest.Segment{SrcPort: src, DstPort: dst, Flags: flags}.Bytes(payload...))
	}
	udp := func(payload ...byte) []byte {
		return frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(1000, 80, payload...))
	}
	udp6 := func(payload ...byte) []byte {
		return frametest.IPv6{Next: frametest.UDP}.Packet(frametest.Datagram(1000, 80, payload...))
	}
	const ack, syn = 0x10, 0x02
	tests := []struct {
		name    string
		packets [][]byte
		want    []int // bytes recorded
	}{
		{"longer than is recorded", repeated(ports(1000, 80, ack, payload...), 6), []int{64, 64, 64, 64, 0, 0}},
		{"shorter", [][]byte{ports(1001, 80, ack, payload[:5]...)}, []int{5}},
		{"without payload none is counted", slices.Concat(repeated(ports(1002, 80, ack), 5),
			repeated(ports(1002, 80, ack, 1), 5)), []int{0, 0, 0, 0, 0, 1, 1, 1, 1, 0}},
		{
			"each direction", slices.Concat(repeated(ports(1003, 80, ack, 1), 5), repeated(ports(80, 1003, ack, 1, 2), 5)),
			[]int{1, 1, 1, 1, 0, 2, 2, 2, 2, 0},
		},
		{"a SYN", slices.Concat(repeated(ports(1004, 80, ack, 1), 5), repeated(ports(1004, 80, syn), 1),
			repeated(ports(1004, 80, ack, 1), 5)), []int{1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0}},
		{"a SYN with payload", slices.Concat(repeated(ports(1005, 80, ack, 1), 5), repeated(ports(1005, 80, syn, 1, 2), 1),
			repeated(ports(1005, 80, ack, 1), 4)), []int{1, 1, 1, 1, 0, 2, 1, 1, 1, 0}},
		{"UDP", repeated(udp(payload...), 5), []int{64, 64, 64, 64, 0}},
		{"UDP over IPv6", repeated(udp6(payload...), 5), []int{64, 64, 64, 64, 0}},
		{"UDP without payload", repeated(udp(), 1), []int{0}},
	}
	for _, path := range []struct {
		name   string
		linear int
	}{{"direct", 0}, {"layers", 14}} {
		for _, tt := range tests {
			t.Run(path.name+", "+tt.name, func(t *testing.T) {
				k := newTestRun(t, conntapProgConntapXdp, bpf.HookXDP, func(*conntapConfig) {})
				if path.linear != 0 {
					requireLinear(t, k, path.linear)
				}
				var got []int
				runPinned(t, func() {
					for _, packet := range tt.packets {
						got = append(got, k.payloadOf(t, packet, path.linear))
					}
				})
				if !slices.Equal(got, tt.want) {
					t.Errorf("want %v, got %v", tt.want, got)
				}
			})
		}
	}
}

// payloadOf is how many bytes of an IP packet's payload are recorded. They must be
// the first.
func (k *testRun) payloadOf(t *testing.T, packet []byte, linear int) int {
	t.Helper()
	etherType := uint16(frametest.TypeIPv4)
	if packet[0]>>4 == 6 {
		etherType = frametest.TypeIPv6
	}
	frame := frametest.Ethernet(etherType, packet)
	if err := k.run(t, frame, linear); err != nil {
		t.Fatal(err)
	}
	var p bpf.Packet
	if !k.packet(t, &p) {
		t.Fatalf("no record: %+v", k.count(t))
	}
	if want := packet[p.HeaderLength:]; !bytes.HasPrefix(want, p.Payload) {
		t.Errorf("want the start of %x, got %x", want, p.Payload)
	}
	n := len(p.Payload)
	k.ring.release(true)
	return n
}

// TestNoFirstPayloads has none recorded.
func TestNoFirstPayloads(t *testing.T) {
	requireBPF(t)
	k := newTestRun(t, conntapProgConntapXdp, bpf.HookXDP, func(c *conntapConfig) { c.Service = 0 })
	packet := frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(1000, 80, 1, 2, 3))
	if n := k.payloadOf(t, packet, 0); n != 0 {
		t.Errorf("want no payload, got %d bytes", n)
	}
}

func repeated(packet []byte, times int) [][]byte {
	return slices.Repeat([][]byte{packet}, times)
}

// runPinned runs f on one CPU: each has its own table of flows.
func runPinned(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := pinned(0, func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// TestManyFlows has few flows of consecutive addresses drive each other out: once the
// first payloads of each are recorded, nearly no more are.
func TestManyFlows(t *testing.T) {
	requireBPF(t)
	const flows, rounds = 4000, 5
	k := newTransportRun(t, conntapProgConntapXdp, bpf.HookXDP, batched(batchDefault), func(*conntapConfig) {})
	packet := frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(40000, 443, make([]byte, 18)...))
	frame := frametest.Ethernet(frametest.TypeIPv4, packet)
	source := frame[14+12:]
	var counts [rounds]int // of payloads
	runPinned(t, func() {
		for range rounds {
			for i := range flows {
				binary.BigEndian.PutUint32(source, 0x0a000000+uint32(i))
				must(t, k.run(t, frame, 0))
			}
		}
	})
	must(t, k.loader.transport.flush())
	for i, p := range k.copies(t) {
		if len(p.Payload) != 0 {
			counts[i/flows]++
		}
	}
	if counts[0] != flows || counts[3] != flows || counts[4] > flows/10 {
		t.Errorf("%d flows have %v payloads recorded, want all of four rounds and few of the fifth", flows, counts)
	}
}

// TestReplacedFlows has so many flows that a fourth of them share a slot: in turn they
// drive each other out, but no more than so many a batch, and the rest do without.
func TestReplacedFlows(t *testing.T) {
	requireBPF(t)
	const flows, rounds = 30_000, 5
	for _, limit := range []uint32{0, 8} {
		k := newTransportRun(t, conntapProgConntapXdp, bpf.HookXDP, batched(batchDefault),
			func(c *conntapConfig) { c.L2, c.ReplacedMax = 0, limit })
		var most, sum uint32 // of the last round
		runPinned(t, func() {
			for i := range rounds * flows {
				datagram := frametest.Datagram(uint16(10_000+i%flows), 80, 1, 2, 3)
				k.feed(t, frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: frametest.UDP}.Packet(datagram)), 1)
				for sample := k.ring.next(); sample != nil; sample = k.ring.next() {
					if n := countPayloads(t, sample); i >= (rounds-1)*flows+200 {
						most = max(most, n)
						sum += n
					}
				}
				k.ring.release(false)
			}
		})
		// Who has got in has its first payloads recorded, if nobody else gets there.
		if most > 4*limit || (sum == 0) != (limit == 0) {
			t.Errorf("limit of %d: got %d payloads, %d in a batch", limit, sum, most)
		}
	}
}

// countPayloads counts a batch's packets with payload.
func countPayloads(t *testing.T, sample []byte) (count uint32) {
	t.Helper()
	var b bpf.Batch
	must(t, b.Reset(sample))
	for p := new(bpf.Packet); b.Next(p); {
		if len(p.Payload) > 0 {
			count++
		}
	}
	return count
}
