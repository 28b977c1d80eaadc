// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"fmt"
	"testing"
	"unsafe"

	"conntap/bpf"
	"conntap/tracker"
)

const (
	benchRing    = 4 << 20 // of each CPU, bytes; filled anew while the clock stands
	benchRecords = 32      // in a batch
	benchRead    = 8192    // packets, as conntap run does
)

// BenchmarkStreams measures from the ring to the packet, and to the connection:
// records of 64 bytes, each of another connection than the one before. One CPU
// records them all; or two take turns by batches, or by packets, which has the
// merge compare for each.
func BenchmarkStreams(b *testing.B) {
	for _, tt := range []struct {
		name  string
		cpus  int
		turns int // records of one CPU before the other's
	}{{"cpus=1", 1, 1}, {"cpus=2/turns=32", 2, benchRecords}, {"cpus=2/turns=1", 2, 1}} {
		b.Run(tt.name, func(b *testing.B) {
			f := newFeed(tt.cpus, tt.turns, 1000)
			f.run(b, func([]bpf.Packet) {})
		})
	}
	for _, connections := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("tracked/connections=%d", connections), func(b *testing.B) {
			f := newFeed(1, 1, connections)
			t := tracker.New(tracker.Config{MaxConnections: 2 * connections}, func(*tracker.Conn) {})
			f.open(t)
			for tracked := 0; tracked < connections; { // each connection's first data takes memory
				f.fill()
				tracked += f.read(b, t.Track)
			}
			f.run(b, t.Track)
			if stats := t.Stats(); stats.Open != uint64(connections) || stats.MissedBytes != 0 {
				b.Errorf("want %d live connections and nothing missed, got %d and %d bytes", connections, stats.Open, stats.MissedBytes)
			}
		})
	}
}

// feed fills rings with the data packets of established connections.
type feed struct {
	streams     *streams
	rings       []*ring
	turns       int
	connections uint32
	time        int64
	sent        uint32
	sequences   []uint64
	batches     [][]byte
	begun       []int64
	dst         []bpf.Packet
}

func newFeed(cpus, turns, connections int) *feed {
	f := &feed{
		turns: turns, connections: uint32(connections), time: 1e9, sequences: make([]uint64, cpus),
		batches: make([][]byte, cpus), begun: make([]int64, cpus), dst: make([]bpf.Packet, benchRead),
	}
	var idle uint64
	for range cpus {
		f.rings = append(f.rings, newMemoryRing(benchRing))
	}
	pending := func(int, bpf.Hook) *uint64 { return &idle }
	f.streams = newStreams(f.rings, []bpf.Hook{bpf.HookXDP}, pending, newLosses())
	return f
}

// connection is the n-th to have a packet: neighbours in time are none in memory.
func (f *feed) connection(n uint32) uint32 { return uint32(uint64(n) * 7919 % uint64(f.connections)) }

// endpoints are a connection's addresses and ports.
func endpoints(connection uint32) (src, dst [4]byte, srcPort, dstPort uint16) {
	binary.BigEndian.PutUint32(src[:], 10<<24+connection>>14)
	binary.BigEndian.PutUint32(dst[:], 11<<24+connection&63)
	return src, dst, uint16(1024 + connection&0x3fff), 9999
}

// open has the connections' handshakes tracked.
func (f *feed) open(t *tracker.Tracker) {
	for i := range f.connections {
		p := bpf.Packet{
			Time: f.time, Ordinal: uint64(i), Kind: bpf.KindPacket, Protocol: bpf.ProtocolTCP, State: bpf.StateComplete,
			HeaderLength: 40, IPLength: 40, Flags: bpf.SYN, Seq: 99, Window: 1000,
		}
		p.Src[10], p.Src[11] = 0xff, 0xff
		p.Dst = p.Src
		src, dst, srcPort, dstPort := endpoints(i)
		copy(p.Src[12:], src[:])
		copy(p.Dst[12:], dst[:])
		p.SrcPort, p.DstPort = srcPort, dstPort
		answer, last := p, p
		answer.Src, answer.Dst, answer.SrcPort, answer.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		answer.Flags, answer.Seq, answer.Ack = bpf.SYN|bpf.ACK, 499, 100
		last.Flags, last.Seq, last.Ack = bpf.ACK, 100, 500
		t.Track([]bpf.Packet{p, answer, last})
	}
}

// fill fills the rings, and says how many records that took.
func (f *feed) fill() (records int) {
	for {
		cpu := int(f.sent) / f.turns % len(f.rings)
		if len(f.batches[cpu]) == 0 {
			f.batches[cpu] = make([]byte, unsafe.Sizeof(bpf.BatchHeader{}), 32+64*benchRecords)
			f.begun[cpu] = f.time
		}
		f.batches[cpu] = f.record(f.batches[cpu], uint32(f.time-f.begun[cpu]))
		f.sent++
		f.time += 1000
		records++
		if len(f.batches[cpu]) < cap(f.batches[cpu]) {
			continue
		}
		if !f.hand(cpu) {
			return records - f.withdraw()
		}
	}
}

// record adds a data packet of the next connection.
func (f *feed) record(batch []byte, dt uint32) []byte {
	n := len(batch)
	batch = appendRecord(batch, dt, 100+f.sent/f.connections*100, false)
	head := (*bpf.RecordHead)(unsafe.Pointer(&batch[n]))
	address := (*bpf.RecordIPv4)(unsafe.Pointer(&batch[n+int(unsafe.Sizeof(*head))]))
	var srcPort, dstPort uint16
	address.Src, address.Dst, srcPort, dstPort = endpoints(f.connection(f.sent))
	binary.BigEndian.PutUint16(head.SrcPort[:], srcPort)
	binary.BigEndian.PutUint16(head.DstPort[:], dstPort)
	head.IPLength, head.Ack, head.Window = 140, 500, 1000
	return batch
}

// hand puts the CPU's batch into its ring; false without room.
func (f *feed) hand(cpu int) bool {
	batch := f.batches[cpu]
	*(*bpf.BatchHeader)(unsafe.Pointer(unsafe.SliceData(batch))) = bpf.BatchHeader{
		Version: bpf.WireVersion, CPU: uint16(cpu), Length: uint32(len(batch)),
		Sequence: f.sequences[cpu], BaseNs: uint64(f.begun[cpu]),
	}
	if _, ok := f.rings[cpu].put(batch, false); !ok {
		return false
	}
	f.sequences[cpu] += benchRecords
	f.batches[cpu] = nil
	return true
}

// withdraw takes back the records that no ring has taken, the last ones, and says
// how many: lost ones would be gaps, of ever more connections.
func (f *feed) withdraw() (records int) {
	for cpu := range f.batches {
		if f.batches[cpu] != nil {
			records += (len(f.batches[cpu]) - 32) / 64
			f.batches[cpu] = nil
		}
	}
	f.sent -= uint32(records)
	return records
}

// read reads what the rings hold, and says how many records that were.
func (f *feed) read(b *testing.B, use func([]bpf.Packet)) (records int) {
	f.streams.look(f.time + stampSlack)
	for {
		f.streams.payloads.turn()
		n, err := f.streams.fill(f.dst)
		must(b, err)
		if n == 0 {
			return records
		}
		use(f.dst[:n])
		records += n
	}
}

// run fills the rings and reads them, over and over.
func (f *feed) run(b *testing.B, use func([]bpf.Packet)) {
	records := 0
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		filled := f.fill()
		b.StartTimer()
		if n := f.read(b, use); n != filled {
			b.Fatalf("want %d records, got %d", filled, n)
		}
		records += filled
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
	b.ReportMetric(float64(records)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}
