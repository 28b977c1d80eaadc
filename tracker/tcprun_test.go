// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"testing"

	"conntap/bpf"
)

// runFixture is a tracker with one connection, which both sides have sent data on.
func runFixture(start uint32) (t *Tracker, next bpf.Packet) {
	t = New(Config{}, func(*Conn) {})
	p := bpf.Packet{
		Time: 1e9, Kind: bpf.KindPacket, State: bpf.StateComplete, Protocol: bpf.ProtocolTCP, HeaderLength: 40, IPLength: 40,
		Src: bpf.Addr{15: 1}, Dst: bpf.Addr{15: 2}, SrcPort: 40000, DstPort: 9999, Window: 500,
	}
	answer := p
	answer.Src, answer.Dst, answer.SrcPort, answer.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	p.Flags, p.Seq = bpf.SYN, start
	answer.Flags, answer.Seq, answer.Ack = bpf.SYN|bpf.ACK, 7, start+1
	first, reply := p, answer
	first.Flags, first.Seq, first.Ack, first.IPLength = bpf.ACK, start+1, 8, 140
	reply.Flags, reply.Seq, reply.Ack, reply.IPLength = bpf.ACK, 8, start+101, 50
	next = first
	next.Seq, next.Ack = start+101, 18
	t.Track([]bpf.Packet{p, answer, first, reply, next})
	next.Seq += 100
	next.Blocks, next.GSOSize, next.GSOSegments, next.IPLength = bpf.BlockGSO, 100, 30, 40+3000
	return t, next
}

// TestRunAsAWhole tells which runs are booked as a whole.
func TestRunAsAWhole(t *testing.T) {
	const start = 1000
	tests := []struct {
		name   string
		change func(*bpf.Packet)
		whole  bool
	}{
		{"in order", func(*bpf.Packet) {}, true},
		{"pushed", func(p *bpf.Packet) { p.Flags |= bpf.PSH }, true},
		{"again", func(p *bpf.Packet) { p.Seq -= 100 }, false},
		{"behind a hole", func(p *bpf.Packet) { p.Seq += 100 }, false},
		{"acknowledges more", func(p *bpf.Packet) { p.Ack++ }, false},
		{"acknowledges less", func(p *bpf.Packet) { p.Ack-- }, false},
		{"no window", func(p *bpf.Packet) { p.Window = 0 }, false},
		{"FIN", func(p *bpf.Packet) { p.Flags |= bpf.FIN }, false},
		{"bad checksum", func(p *bpf.Packet) { p.SetChecksum(bpf.ChecksumBad) }, false},
		{"cut", func(p *bpf.Packet) { p.State &^= bpf.StateComplete }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tracked, p := runFixture(start)
			tt.change(&p)
			at := tracked.lookUp(&p)
			i, side := tracked.find(at, &p)
			if i == 0 {
				t.Fatal("the connection is not there")
			}
			if whole := tracked.tcpRun(tracked.connectionAt(i), side, &p); whole != tt.whole {
				t.Errorf("booked as a whole: want %v, got %v", tt.whole, whole)
			}
		})
	}
}

// TestRunAccount counts a run as its segments.
func TestRunAccount(t *testing.T) {
	for _, hole := range []uint32{0, 100} {
		tracked, p := runFixture(1000)
		before := tracked.Stats()
		p.Seq += hole
		tracked.Track([]bpf.Packet{p})
		after := tracked.Stats()
		if records, packets, counted, bytes := after.Records-before.Records, after.Packets-before.Packets,
			after.Counted-before.Counted, after.IPBytes-before.IPBytes; records != 30 || packets != 30 || counted != 30 || bytes != 30*140 {
			t.Errorf("hole of %d: want 30 records, packets, counted and 4200 bytes, got %d, %d, %d and %d",
				hole, records, packets, counted, bytes)
		}
	}
}

// runs are transfers in runs of 30 segments, each of which the other side acknowledges.
var runs = []struct {
	name string
	hole uint32 // bytes before each run
	more uint32 // that each run acknowledges
}{{"in order", 0, 0}, {"acknowledging more", 0, 1}, {"behind a hole", 1, 0}}

// runTransfer returns a function that has the next run of a transfer tracked.
func runTransfer(hole, more uint32) func() {
	tracked, p := runFixture(1000)
	answer := p
	answer.Src, answer.Dst, answer.SrcPort, answer.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	answer.Blocks, answer.IPLength, answer.Seq = 0, 40+more, p.Ack
	batch := make([]bpf.Packet, 2)
	return func() {
		p.Seq += hole
		batch[0] = p
		p.Seq += p.PayloadLength()
		answer.Ack = p.Seq
		batch[1] = answer
		answer.Seq += more
		p.Ack = answer.Seq
		tracked.Track(batch)
	}
}

func TestRunDoesNotAllocate(t *testing.T) {
	for _, tt := range runs {
		next := runTransfer(tt.hole, tt.more)
		for range 100 {
			next()
		}
		if n := testing.AllocsPerRun(100, next); n != 0 {
			t.Errorf("%s: want no allocation, got %v for each run", tt.name, n)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	for _, bench := range runs {
		b.Run(bench.name, func(b *testing.B) {
			next := runTransfer(bench.hole, bench.more)
			b.ReportAllocs()
			for b.Loop() {
				next()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/30, "ns/segment")
		})
	}
}
