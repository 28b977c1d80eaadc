// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"conntap/bpf"
)

// newMemoryRing is a ring that no kernel writes to, of a power of two in bytes.
func newMemoryRing(size int) *ring {
	words := make([]uint64, 2*size/8) // samples stand on 8-byte boundaries
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 2*size)
	return &ring{consumer: new(uint64), producer: new(uint64), data: data, mask: uint64(size - 1)}
}

// put is bpf_ringbuf_output; false without room. With busy the sample stays
// reserved, to be submitted by submit.
func (r *ring) put(sample []byte, busy bool) (position uint64, ok bool) {
	size := uint64(sampleHeader + (len(sample)+7)&^7)
	if *r.producer+size-*r.consumer > r.size() {
		return 0, false
	}
	header := uint32(len(sample))
	if busy {
		header |= sampleBusy
	}
	position = *r.producer
	r.store(position, binary.NativeEndian.AppendUint32(nil, header))
	r.store(position+sampleHeader, sample)
	*r.producer += size
	return position, true
}

func (r *ring) submit(position uint64) { r.data[position&r.mask+3] &^= sampleBusy >> 24 }

// store writes to both images of the ring.
func (r *ring) store(position uint64, bytes []byte) {
	for i, b := range bytes {
		at := (position + uint64(i)) & r.mask
		r.data[at], r.data[at+r.size()] = b, b
	}
}

// recorder is one CPU's program at one hook: what it stages and hands in.
type recorder struct {
	ring    *ring
	header  bpf.BatchHeader
	staged  []byte // records
	frames  uint64 // in staged
	latest  int64
	pending uint64
}

// record stages a frame of so many packets; id is found in Seq again.
func (r *recorder) record(time int64, id uint32, packets int) {
	if r.frames == 0 {
		r.header.BaseNs = uint64(time)
		r.pending = uint64(time)
	}
	r.latest = time
	r.frames++
	for i := range packets {
		r.staged = appendRecord(r.staged, uint32(time-int64(r.header.BaseNs)), id, i > 0)
	}
}

// appendRecord adds a TCP record of IPv4, of 64 bytes if it is no inner one.
func appendRecord(batch []byte, dt, id uint32, inner bool) []byte {
	head := bpf.RecordHead{
		DtNs: dt, Words: 8, Kind: bpf.KindPacket, Blocks: bpf.BlockL2 | bpf.BlockIdentity, State: bpf.StateComplete,
		Protocol: bpf.ProtocolTCP, TCPFlags: bpf.ACK, HeaderLength: 40, IPLength: 40, Seq: id,
	}
	if inner {
		head.Kind, head.Blocks, head.Words = bpf.KindInner, bpf.BlockTunnel, 6
	}
	batch = append(batch, unsafe.Slice((*byte)(unsafe.Pointer(&head)), unsafe.Sizeof(head))...)
	address := bpf.RecordIPv4{Src: [4]byte{10, 0, 0, 1}, Dst: [4]byte{10, 0, 0, 2}}
	batch = append(batch, unsafe.Slice((*byte)(unsafe.Pointer(&address)), unsafe.Sizeof(address))...)
	return append(batch, make([]byte, int(head.Words)*8-40)...)
}

// batch is what is staged, as a sample.
func (r *recorder) batch() []byte {
	r.header.Version = bpf.WireVersion
	r.header.Length = uint32(unsafe.Sizeof(r.header)) + uint32(len(r.staged))
	return append(slices.Clone(unsafe.Slice((*byte)(unsafe.Pointer(&r.header)), unsafe.Sizeof(r.header))), r.staged...)
}

// flush hands in what is staged, or loses it.
func (r *recorder) flush() {
	if r.frames == 0 {
		return
	}
	if _, ok := r.ring.put(r.batch(), false); ok {
		r.header.Sequence += r.frames
	} else {
		r.header.Lost += r.frames
	}
	r.forget()
}

func (r *recorder) forget() { r.staged, r.frames, r.pending = r.staged[:0], 0, 0 }

// machine is so many CPUs with programs at all hooks, and what reads them.
type machine struct {
	recorders []recorder // by CPU, then hook
	streams   *streams
	now       int64
	events    uint32
}

func newMachine(cpus, ringBytes int) *machine {
	m := &machine{now: 1e9, recorders: make([]recorder, cpus*bpf.HookCount)}
	var rings []*ring
	var hooks []bpf.Hook
	for hook := range bpf.Hook(bpf.HookCount) {
		hooks = append(hooks, hook)
	}
	for cpu := range cpus {
		rings = append(rings, newMemoryRing(ringBytes))
		for _, hook := range hooks {
			m.at(cpu, hook).ring = rings[cpu]
			m.at(cpu, hook).header = bpf.BatchHeader{CPU: uint16(cpu), Hook: hook}
		}
	}
	pending := func(cpu int, hook bpf.Hook) *uint64 { return &m.at(cpu, hook).pending }
	m.streams = newStreams(rings, hooks, pending, newLosses())
	return m
}

func (m *machine) at(cpu int, hook bpf.Hook) *recorder {
	return &m.recorders[cpu*bpf.HookCount+int(hook)]
}

// read looks and reads all that there is, in portions of so many packets.
func (m *machine) read(t testing.TB, portion int) (all []bpf.Packet) {
	t.Helper()
	m.streams.look(m.now)
	dst := make([]bpf.Packet, portion)
	for {
		m.streams.payloads.turn()
		n, err := m.streams.fill(dst)
		must(t, err)
		all = append(all, dst[:n]...)
		if n == 0 {
			return all
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ids are the numbers by which record was called.
func ids(packets []bpf.Packet) []uint32 {
	var ids []uint32
	for i := range packets {
		if packets[i].Kind == bpf.KindPacket {
			ids = append(ids, packets[i].Seq)
		}
	}
	return ids
}

// TestStreamsOrder has packets recorded anywhere, batches handed in whenever, and
// reads in between: all come in the order of their times, those of one frame
// together, and none after the time up to which all was said to be there.
func TestStreamsOrder(t *testing.T) {
	for _, cpus := range []int{1, 2, 16} {
		t.Run(fmt.Sprintf("cpus=%d", cpus), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(cpus)))
			m := newMachine(cpus, 16<<10)
			var got []bpf.Packet
			var complete int64
			read := func() {
				for _, p := range m.read(t, 1+random.IntN(70)) {
					if p.Time < complete {
						t.Fatalf("packet of %d came after all before %d were said to be there", p.Time, complete)
					}
					got = append(got, p)
				}
				complete = m.streams.complete()
			}
			for range 60_000 {
				r := &m.recorders[random.IntN(len(m.recorders))]
				switch {
				case random.IntN(16) == 0:
					r.flush()
				case random.IntN(100) == 0:
					read()
				default:
					m.events++
					m.now += int64(random.IntN(300))
					r.record(m.now, m.events, 1+random.IntN(8)/6)
					if len(r.staged) > 2000 {
						r.flush()
					}
				}
			}
			for i := range m.recorders {
				m.recorders[i].flush()
			}
			m.streams.finish()
			read()
			checkOrder(t, m, got)
		})
	}
}

// checkOrder looks at all that a machine's events have become.
func checkOrder(t *testing.T, m *machine, got []bpf.Packet) {
	t.Helper()
	var recorded, lost uint64
	for i := range m.recorders {
		recorded, lost = recorded+m.recorders[i].header.Sequence, lost+m.recorders[i].header.Lost
	}
	if n := len(ids(got)); uint64(n) != recorded || recorded+lost != uint64(m.events) {
		t.Errorf("want %d frames of %d, %d lost, got %d", recorded, m.events, lost, n)
	}
	if late := m.streams.late.Load(); late != 0 {
		t.Errorf("want none late, got %d", late)
	}
	stream := func(p *bpf.Packet) uint64 { return p.Ordinal >> 48 }
	for i := 1; i < len(got); i++ {
		a, b := &got[i-1], &got[i]
		switch {
		case b.Kind == bpf.KindInner && (a.Ordinal != b.Ordinal || a.Kind != bpf.KindPacket):
			t.Fatalf("packet %d: an inner one away from its carrier", i)
		case b.Time < a.Time, b.Time == a.Time && stream(b) < stream(a):
			t.Fatalf("packet %d: %d of stream %d after %d of stream %d", i, b.Time, stream(b), a.Time, stream(a))
		}
	}
	for _, r := range m.streams.rings {
		if r.used() != 0 {
			t.Errorf("want all room given back, %d bytes are in use", r.used())
		}
	}
}

// TestStreamsWait has a packet wait for those of another CPU as long as they are
// pending, and no longer than 50 ms.
func TestStreamsWait(t *testing.T) {
	m := newMachine(2, 16<<10)
	slow, fast := m.at(0, bpf.HookXDP), m.at(1, bpf.HookTCEgress)
	expect := func(what string, want ...uint32) {
		t.Helper()
		if got := ids(m.read(t, 8)); !slices.Equal(got, want) {
			t.Errorf("%s: want %v, got %v", what, want, got)
		}
	}
	const ms = int64(1e6)
	slow.record(m.now, 1, 1)
	fast.record(m.now+1, 2, 1)
	fast.flush()
	m.now += ms
	expect("while 1 is pending")
	slow.flush()
	expect("after 1 was handed in", 1, 2)

	fast.record(m.now, 3, 1)
	fast.flush()
	expect("stamped just now")
	m.now += ms
	expect("nothing is pending", 3)

	slow.record(m.now, 4, 1)
	fast.record(m.now+1, 5, 1)
	fast.flush()
	m.now += ms
	expect("while 4 is pending")
	m.now += waitLongest
	expect("pending for 50 ms")
	m.now++
	expect("pending for longer", 5)
	fast.record(m.now, 6, 1)
	fast.flush()
	m.now += ms
	expect("a CPU that has been given up", 6)
	if late := m.streams.late.Load(); late != 0 {
		t.Errorf("want none late, got %d", late)
	}

	slow.record(m.now, 7, 2) // in the batch of 4
	slow.flush()
	fast.record(m.now+1, 8, 1)
	fast.flush()
	m.now += ms
	expect("what is late comes first", 4, 7, 8)
	if late := m.streams.late.Load(); late != 1 {
		t.Errorf("want 1 late, got %d", late)
	}
	slow.record(m.now, 9, 1)
	fast.record(m.now+1, 10, 1)
	fast.flush()
	m.now += ms
	expect("a CPU that is back is waited for")
}

// TestStreamsBusy has a sample that is still being written, and packets of the
// same CPU behind it.
func TestStreamsBusy(t *testing.T) {
	m := newMachine(1, 16<<10)
	writing, other := m.at(0, bpf.HookTCEgress), m.at(0, bpf.HookXDP)
	writing.record(m.now, 1, 1)
	other.record(m.now+1, 2, 1)
	position, _ := writing.ring.put(writing.batch(), true)
	other.flush()
	m.now += 1e6
	if got := m.read(t, 8); len(got) != 0 {
		t.Errorf("want nothing, got %v", ids(got))
	}
	writing.ring.submit(position)
	writing.forget()
	if got := ids(m.read(t, 8)); !slices.Equal(got, []uint32{1, 2}) {
		t.Errorf("want 1 and 2, got %v", got)
	}
}

func TestStreamsGarbage(t *testing.T) {
	good := (&recorder{staged: appendRecord(nil, 0, 1, false)}).batch()
	tests := []struct {
		name string
		edit func(sample []byte) []byte
		want string
	}{
		{"another version", func(b []byte) []byte { b[0] = 9; return b }, "reading the ring: ring sample of wire version 9"},
		{"no header", func(b []byte) []byte { return b[:1] }, "reading the ring: ring sample of 1 bytes"},
		{"a broken record", func(b []byte) []byte { b[36] = 1; return b }, "reading the ring: record of kind 1, 1 words"},
		{"half a record", func(b []byte) []byte { b[4] -= 40; return b }, "reading the ring: 24 bytes after the last record"},
	}
	for _, tt := range tests {
		m := newMachine(2, 16<<10)
		m.streams.rings[0].put(tt.edit(slices.Clone(good)), false)
		m.streams.look(m.now)
		n, err := m.streams.fill(make([]bpf.Packet, 4))
		if n != 0 || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: want no packet and %q, got %d, %v", tt.name, tt.want, n, err)
		}
	}
}

// TestStreamsSingle has batches of two CPUs in one ring come as they stand there.
func TestStreamsSingle(t *testing.T) {
	r := newMemoryRing(16 << 10)
	a := recorder{ring: r, header: bpf.BatchHeader{CPU: 0}}
	b := recorder{ring: r, header: bpf.BatchHeader{CPU: 1, Hook: bpf.HookTCEgress}}
	s := newSingleStream(r, newLosses())
	a.record(2000, 1, 2)
	b.record(1000, 2, 1)
	a.flush()
	b.flush()
	m := &machine{streams: s}
	if got := ids(m.read(t, 1)); !slices.Equal(got, []uint32{1, 2}) {
		t.Errorf("want 1 and 2, got %v", got)
	}
	if s.late.Load() != 0 || s.complete() != 2000 {
		t.Errorf("want none late, complete to 2000; got %d, %d", s.late.Load(), s.complete())
	}
}

func TestLatency(t *testing.T) {
	var l latency
	if q := l.read(); q.Quantile(0.5) != 0 {
		t.Errorf("of nothing: want 0, got %v", q.Quantile(0.5))
	}
	l.add(90, 700)
	l.add(9, 3000)
	l.add(1, 5_000_100)
	got := l.read()
	for _, tt := range []struct {
		q    float64
		want string
	}{{0, "1µs"}, {0.9, "1µs"}, {0.91, "4µs"}, {0.99, "4µs"}, {0.999, "5.0001ms"}, {1, "5.0001ms"}} {
		if q := got.Quantile(tt.q); q.String() != tt.want {
			t.Errorf("quantile %v: want %s, got %v", tt.q, tt.want, q)
		}
	}
	l.add(1000, math.MaxInt64)
	if got = l.read(); got.Packets[LatencyBuckets-1] != 1000 || got.Quantile(0.999) != math.MaxInt64 {
		t.Errorf("want the last bucket to take what is long, got %v", got)
	}
}
