// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"conntap/bpf"
)

// seen is a packet that looks like number id, at a place and a time in ms.
func seen(id uint32, place uint16, ms int64) bpf.Packet {
	return bpf.Packet{
		Kind: bpf.KindPacket, Protocol: bpf.ProtocolTCP, Time: 1e15 + ms*int64(time.Millisecond), IPID: id,
		Interface: place, Blocks: bpf.BlockIdentity,
	}
}

func TestDedup(t *testing.T) {
	const a, b, c = 0, 1, 2
	inner := bpf.Packet{Kind: bpf.KindInner, TunnelDepth: 1}
	empty := bpf.Packet{Kind: bpf.KindEmpty, TunnelDepth: 1}
	changed := func(change func(p *bpf.Packet)) bpf.Packet {
		p := seen(1, b, 1)
		change(&p)
		return p
	}
	tests := []struct {
		name    string
		packets []bpf.Packet
		want    string // = taken, d duplicate, - something else
	}{
		{"on three interfaces", []bpf.Packet{seen(1, a, 0), seen(1, b, 0), seen(1, c, 1)}, "=dd"},
		{"retransmission", []bpf.Packet{seen(1, a, 0), seen(1, a, 10)}, "=="},
		{"retransmission on both", []bpf.Packet{seen(1, a, 0), seen(1, b, 0), seen(1, a, 10), seen(1, b, 10)}, "=d=d"},
		{"both sent before either arrives", []bpf.Packet{seen(1, a, 0), seen(1, a, 1), seen(1, b, 2), seen(1, b, 3)}, "==dd"},
		{"one place has lost the first", []bpf.Packet{seen(1, b, 0), seen(1, a, 10), seen(1, b, 10)}, "=d="},
		{"other packets", []bpf.Packet{seen(1, a, 0), seen(2, b, 0), seen(2, a, 0), seen(1, b, 1)}, "==dd"},
		{"at the end of the window", []bpf.Packet{seen(1, a, 0), seen(1, b, 50)}, "=d"},
		{"after it", []bpf.Packet{seen(1, a, 0), seen(1, b, 51)}, "=="},
		{"the window is one of each packet", []bpf.Packet{seen(1, a, 0), seen(1, a, 30), seen(1, b, 51), seen(1, b, 52)}, "==d="},
		{"late", []bpf.Packet{seen(1, a, 100), seen(1, b, 90)}, "=d"},
		{"another time", []bpf.Packet{seen(1, a, 2000), seen(1, b, 0), seen(1, a, 1)}, "==d"},
		{"of tunnels all or nothing", []bpf.Packet{seen(1, a, 0), inner, empty, seen(1, b, 0), inner, empty, seen(2, a, 0), inner}, "==-dd-=="},
		{"another hook", []bpf.Packet{seen(1, b, 0), changed(func(p *bpf.Packet) { p.Hook = bpf.HookTCEgress })}, "=d"},
		{"source", []bpf.Packet{seen(1, a, 0), changed(func(p *bpf.Packet) { p.Src[15] = 1 })}, "=="},
		{"destination", []bpf.Packet{seen(1, a, 0), changed(func(p *bpf.Packet) { p.Dst[0] = 1 })}, "=="},
		{"ports", []bpf.Packet{seen(1, a, 0), changed(func(p *bpf.Packet) { p.SrcPort = 1 }), changed(func(p *bpf.Packet) { p.DstPort = 1 })}, "==="},
		{"protocol", []bpf.Packet{seen(1, a, 0), changed(func(p *bpf.Packet) { p.Protocol = 17 })}, "=="},
		{"sequence number", []bpf.Packet{seen(1, a, 0), changed(func(p *bpf.Packet) { p.Seq = 1 })}, "=="},
		{"acknowledgment", []bpf.Packet{seen(1, a, 0), changed(func(p *bpf.Packet) { p.Ack = 1 })}, "=="},
		{"flags", []bpf.Packet{seen(1, a, 0), changed(func(p *bpf.Packet) { p.Flags = bpf.FIN })}, "=="},
		{"window", []bpf.Packet{seen(1, a, 0), changed(func(p *bpf.Packet) { p.Window = 1 })}, "=="},
		{"length", []bpf.Packet{seen(1, a, 0), changed(func(p *bpf.Packet) { p.IPLength = 1 })}, "=="},
		{"fragments of a datagram", []bpf.Packet{
			seen(1, a, 0),
			changed(func(p *bpf.Packet) { p.State |= bpf.StateFragment }),
			changed(func(p *bpf.Packet) { p.State |= bpf.StateFragment; p.FragmentOffset = 8 }),
		}, "==="},
		{"MAC, VLAN, checksum", []bpf.Packet{
			seen(1, a, 0),
			changed(func(p *bpf.Packet) {
				p.SrcMAC[0], p.VLAN, p.Blocks = 1, 7, p.Blocks|bpf.BlockL2
				p.SetChecksum(bpf.ChecksumNotFinal)
			}),
		}, "=d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, batch := range []int{1, len(tt.packets)} {
				packets := slices.Clone(tt.packets)
				d := NewDedup()
				for chunk := range slices.Chunk(packets, batch) {
					d.Mark(chunk)
				}
				if got := marks(packets); got != tt.want {
					t.Errorf("batches of %d: want %s, got %s", batch, tt.want, got)
				}
			}
		})
	}
}

func marks(packets []bpf.Packet) string {
	var b strings.Builder
	for i := range packets {
		b.WriteByte("?==--d"[packets[i].Kind])
	}
	return b.String()
}

// TestDedupFiles tells the interfaces of capture files apart: of several files, in a
// pcapng, and of the "any" device.
func TestDedupFiles(t *testing.T) {
	frame := datagram(7, "payload")
	any2 := func(nic, packetType byte) []byte {
		return append([]byte{8, 0, 0, 0, 0, 0, 0, nic, 0, 1, packetType, 6, 0, 0, 0, 0, 0, 0, 0, 0}, frame[14:]...)
	}
	any1 := func(packetType byte) []byte {
		return append([]byte{0, packetType, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0}, frame[14:]...)
	}
	pcap := func(link uint32, frames ...[]byte) []byte {
		w := newCapture(0xa1b2c3d4, binary.LittleEndian)
		binary.LittleEndian.PutUint32(w.Bytes()[20:], link)
		for _, f := range frames {
			w.add(1, 0, len(f), f)
		}
		return w.Bytes()
	}
	ng := little().section().nic(1, 0).nic(1, 0).enhanced(0, 1e6, frame).enhanced(0, 1e6, frame).enhanced(1, 1e6, frame)
	tests := []struct {
		name  string
		files map[string][]byte
		want  string
	}{
		{"one", map[string][]byte{"a": pcap(1, frame, frame)}, "=="},
		{"two", map[string][]byte{"a": pcap(1, frame, frame), "b": pcap(1, frame, frame, frame)}, "==dd="},
		{"pcapng", map[string][]byte{"a": ng.bytes}, "==d"},
		{"any, version 2", map[string][]byte{"a": pcap(276, any2(2, 0), any2(2, 0), any2(3, 0), any2(3, 4), any2(3, 4))}, "==ddd"},
		{"any, version 1", map[string][]byte{"a": pcap(113, any1(0), any1(4), any1(4), any1(3))}, "=d=d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := openAll(t, save(t, tt.files))
			defer source.Close()
			packets, err := readToEnd(t, source, 100)
			if err != nil {
				t.Fatal(err)
			}
			NewDedup().Mark(packets)
			if got := marks(packets); got != tt.want {
				t.Errorf("want %s, got %s", tt.want, got)
			}
		})
	}
}

// TestDedupModel compares with a list of all that was seen, and checks that nothing is
// kept beyond the window.
func TestDedupModel(t *testing.T) {
	type look struct {
		time  int64
		id    uint32
		place uint16
		taken bool
	}
	random := rand.New(rand.NewPCG(1, 1))
	d := NewDedup()
	var model []look
	duplicates, now := 0, int64(0)
	for i := range 30_000 {
		if random.IntN(1000) == 0 {
			now += int64(random.IntN(100))
		}
		if i%20 == 0 {
			now++
		}
		p := seen(random.Uint32N(3000)*random.Uint32N(2), uint16(random.IntN(4)), now)
		for len(model) > 0 && model[0].time < p.Time-dedupWindow {
			model = model[1:]
		}
		here, taken := 0, 0
		for _, l := range model {
			if l.id == p.IPID && l.place == p.Interface {
				here++
			}
			if l.id == p.IPID && l.taken {
				taken++
			}
		}
		want := here < taken
		model = append(model, look{p.Time, p.IPID, p.Interface, !want})
		packets := []bpf.Packet{p}
		d.Mark(packets)
		if got := packets[0].Kind == bpf.KindDuplicate; got != want {
			t.Fatalf("packet %d: want duplicate %v, got %v", i, want, got)
		}
		if want {
			duplicates++
		}
	}
	if duplicates < 1000 {
		t.Errorf("want many duplicates, got %d", duplicates)
	}
	d.Mark([]bpf.Packet{seen(1, 1, now+1000)})
	used := 0
	for _, c := range d.counters {
		if c.n > 0 {
			used++
		}
	}
	if d.count != 1 || used != 2 {
		t.Errorf("after the window: want one packet with two counters, got %d with %d", d.count, used)
	}
}

// TestDedupBound fills it beyond what it may remember, across its growth.
func TestDedupBound(t *testing.T) {
	d := NewDedup()
	d.most = 4 * sightingsLeast
	var packets []bpf.Packet
	for i := range uint32(5 * sightingsLeast) {
		packets = append(packets, seen(i, 0, 0))
	}
	d.Mark(packets)
	if len(d.sightings) != d.most || d.count != d.most {
		t.Errorf("want %d packets remembered, got %d in room for %d", d.most, d.count, len(d.sightings))
	}
	again := []bpf.Packet{seen(uint32(len(packets)-1), 1, 1), seen(uint32(sightingsLeast+10), 1, 1), seen(0, 1, 1)}
	d.Mark(again)
	if got := marks(again); got != "dd=" {
		t.Errorf("the newest, the oldest remembered and one beyond: want dd=, got %s", got)
	}
	if n := testing.AllocsPerRun(10, func() { d.Mark(packets) }); n != 0 {
		t.Errorf("want no allocation, got %v", n)
	}
}

func BenchmarkDedup(b *testing.B) {
	d := NewDedup()
	packets := make([]bpf.Packet, 1)
	var now int64
	for i := 0; b.Loop(); i++ { // 1 million a second, each on two interfaces
		now += 1000
		packets[0] = seen(uint32(i/2), uint16(i%2), 0)
		packets[0].Time = now
		d.Mark(packets)
	}
}
