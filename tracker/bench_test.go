// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"conntap/bpf"
)

// established returns handshakes and one data packet each of n connections.
func establishedPackets(n int) []bpf.Packet {
	packets := make([]bpf.Packet, 0, 4*n)
	for i := range n {
		p := bpf.Packet{Kind: bpf.KindPacket, Protocol: bpf.ProtocolTCP, State: bpf.StateComplete, HeaderLength: 40}
		p.Src[10], p.Src[11], p.Src[12] = 0xff, 0xff, 10
		p.Dst = p.Src
		binary.BigEndian.PutUint32(p.Src[12:], 10<<24+uint32(i>>14))
		binary.BigEndian.PutUint32(p.Dst[12:], 11<<24+uint32(i&63))
		p.SrcPort, p.DstPort = uint16(1024+i&0x3fff), 9999
		add := func(reply bool, flags bpf.Flags, seq, ack, payload uint32) {
			q := p
			if reply {
				q.Src, q.Dst, q.SrcPort, q.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
			}
			q.Flags, q.Seq, q.Ack, q.Window = flags, seq, ack, 1000
			q.IPLength = 40 + payload
			packets = append(packets, q)
		}
		add(false, bpf.SYN, 100, 0, 0)
		add(true, bpf.SYN|bpf.ACK, 500, 101, 0)
		add(false, bpf.ACK, 101, 501, 0)
		add(false, bpf.ACK|bpf.PSH, 101, 501, 100)
	}
	for i := range packets {
		packets[i].Ordinal = uint64(i + 1)
	}
	return packets
}

// BenchmarkTrackLive is the moment of a busy link: every record is a data packet
// of another one of the live connections, in no order. The packets come as decoded,
// and from the ring, as 64-byte records in batches of 32.
func BenchmarkTrackLive(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		packets := establishedPackets(n)
		data := make([]bpf.Packet, 0, n)
		for i := 3; i < len(packets); i += 4 {
			data = append(data, packets[i])
		}
		random := rand.New(rand.NewPCG(1, 2))
		random.Shuffle(n, func(i, j int) { data[i], data[j] = data[j], data[i] })
		t := New(Config{MaxConnections: 2_000_000}, func(*Conn) {})
		t.Track(packets)
		b.Run(fmt.Sprintf("decoded/connections=%d", n), func(b *testing.B) { benchmarkDecoded(b, t, data) })
		t = New(Config{MaxConnections: 2_000_000}, func(*Conn) {})
		t.Track(packets)
		b.Run(fmt.Sprintf("ring/connections=%d", n), func(b *testing.B) { benchmarkRing(b, t, data) })
	}
}

func benchmarkDecoded(b *testing.B, t *Tracker, data []bpf.Packet) {
	const batch = 250
	data = slices.Clone(data)
	now, k := t.now+1e9, 0
	b.ReportAllocs()
	for b.Loop() {
		for i := k; i < k+batch; i++ {
			p := &data[i]
			p.Time = now
			p.Seq += 100
			p.IPLength = 140
			now += 100
		}
		t.Track(data[k : k+batch])
		if k += batch; k == len(data) {
			k = 0
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/record")
}

const (
	recordBytes = 64 // head, IPv4 addresses, link layer, identity
	recordSeq   = 24 // the sequence number's place
	batchHead   = 32
	batchBase   = 24 // the base time's place
)

// ringSamples are the packets as the kernel would pass them on.
func ringSamples(data []bpf.Packet, records int) [][]byte {
	var samples [][]byte
	for len(data) > 0 {
		n := min(records, len(data))
		s := make([]byte, batchHead+n*recordBytes)
		s[0] = bpf.WireVersion
		binary.NativeEndian.PutUint32(s[4:], uint32(len(s)))
		for i := range data[:n] {
			putRecord(s[batchHead+i*recordBytes:], &data[i])
		}
		samples = append(samples, s)
		data = data[n:]
	}
	return samples
}

func putRecord(r []byte, p *bpf.Packet) {
	r[4], r[5], r[6], r[7] = recordBytes/8, byte(bpf.KindPacket), byte(bpf.BlockL2|bpf.BlockIdentity), byte(p.State)
	r[10], r[11] = p.Protocol, byte(p.Flags)
	binary.NativeEndian.PutUint16(r[12:], p.HeaderLength)
	binary.NativeEndian.PutUint16(r[14:], p.Window)
	binary.NativeEndian.PutUint32(r[16:], p.IPLength)
	binary.BigEndian.PutUint16(r[20:], p.SrcPort)
	binary.BigEndian.PutUint16(r[22:], p.DstPort)
	binary.NativeEndian.PutUint32(r[recordSeq:], p.Seq)
	binary.NativeEndian.PutUint32(r[28:], p.Ack)
	copy(r[32:], p.Src[12:])
	copy(r[36:], p.Dst[12:])
}

func benchmarkRing(b *testing.B, t *Tracker, data []bpf.Packet) {
	const records = 32
	samples := ringSamples(data, records)
	packets := make([]bpf.Packet, 256+1) // Next wants room before it says that there is nothing
	now, k, tracked := t.now+1e9, 0, 0
	var batch bpf.Batch
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for n+records < len(packets) {
			s := samples[k]
			if k++; k == len(samples) {
				k = 0
			}
			binary.NativeEndian.PutUint64(s[batchBase:], uint64(now))
			now += 100 * records
			for i := batchHead; i < len(s); i += recordBytes {
				seq := s[i+recordSeq:]
				binary.NativeEndian.PutUint32(seq, binary.NativeEndian.Uint32(seq)+100)
			}
			for err := batch.Reset(s); err == nil && batch.Next(&packets[n]); {
				n++
			}
			if err := batch.Err(); err != nil {
				b.Fatal(err)
			}
		}
		t.Track(packets[:n])
		tracked += n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(tracked), "ns/record")
}

// BenchmarkTrackFlood is a SYN flood: each record opens a connection.
func BenchmarkTrackFlood(b *testing.B) {
	t := New(Config{MaxConnections: 100_000}, func(*Conn) {})
	one := establishedPackets(1)[:1]
	p := &one[0]
	p.Time = 1e9
	b.ReportAllocs()
	for b.Loop() {
		p.Ordinal++
		p.Time += 1000
		binary.BigEndian.PutUint64(p.Src[8:], 0x0000ffff_00000000|p.Ordinal&0xffffffff)
		t.Track(one)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/record")
}

// BenchmarkShards is BenchmarkTrackLive for shards: as many records as go through
// all of them, on however many CPUs there are.
func BenchmarkShards(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("shards=%d", n), func(b *testing.B) {
			const connections, size = 100_000, 2000
			packets := establishedPackets(connections)
			h := NewShards(Config{}, n, func(*Conn) {})
			h.Track(&Batch{Packets: packets})
			free := make(chan *Batch, 4)
			for range cap(free) {
				free <- &Batch{Packets: make([]bpf.Packet, size), Done: func(done *Batch) { free <- done }}
			}
			now, k, round := int64(1e9), 0, uint32(0)
			for b.Loop() {
				batch := <-free
				for i := range batch.Packets {
					p := &batch.Packets[i]
					*p = packets[4*k+3]
					p.Time = now
					p.Seq += 100 * round
					now += 1000
					if k++; k == connections {
						k, round = 0, round+1
					}
				}
				h.Track(batch)
			}
			h.Close()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/record")
		})
	}
}

// BenchmarkExpireFlood is the end of a SYN flood: a million attempts of one second
// time out within a second, while as many new ones come. The longest call of Track is
// for 256 packets.
func BenchmarkExpireFlood(b *testing.B) {
	const n, batch = 1_000_000, 256
	syn := establishedPackets(1)[0]
	packets := make([]bpf.Packet, batch)
	rows := 0
	t := New(Config{}, func(*Conn) { rows++ })
	ordinal, at := uint64(0), int64(1e9)
	longest := time.Duration(0)
	flood := func(n int, measured bool) {
		for range n / batch {
			for i := range packets {
				p := &packets[i]
				*p = syn
				ordinal++
				at += 1000
				p.Ordinal, p.Time = ordinal, at
				binary.BigEndian.PutUint32(p.Src[12:], uint32(ordinal))
			}
			start := time.Now()
			t.Track(packets)
			if took := time.Since(start); measured && took > longest {
				longest = took
			}
		}
	}
	for b.Loop() {
		b.StopTimer()
		flood(n, false)
		at += int64(3500 * time.Millisecond) // one short of the attempts' end
		before := rows
		flood(n/2, false)
		if rows != before {
			b.Fatalf("%d connections ended too early", rows-before)
		}
		b.StartTimer()
		flood(n, true)
		b.StopTimer()
		if rows-before < n*9/10 {
			b.Fatalf("%d connections have ended, want a million", rows-before)
		}
		at += int64(time.Minute)
		t.Advance(at)
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
	b.ReportMetric(float64(longest.Microseconds()), "µs/longest")
}

// BenchmarkConnections is a walk over a million open connections while no packet
// comes: what a connection costs, and how long the shard is not there for packets.
func BenchmarkConnections(b *testing.B) {
	const n = 1_000_000
	packets := establishedPackets(n)
	h := NewShards(Config{}, 1, func(*Conn) {})
	done := make(chan struct{})
	h.Track(&Batch{Packets: packets, Done: func(*Batch) { close(done) }})
	<-done
	var took, longest time.Duration
	for b.Loop() {
		w := &walk{next: 1, chunk: newRowChunk(), done: make(chan struct{}, 1)}
		for w.next != 0 && h.shards[0].step(w) {
			took, longest = took+w.took, max(longest, w.took)
		}
	}
	b.ReportMetric(float64(took)/float64(b.N)/n, "ns/connection")
	b.ReportMetric(float64(longest.Microseconds()), "longest-step-µs")
	h.Close()
}
