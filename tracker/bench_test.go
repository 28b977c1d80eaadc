// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"fmt"
	"testing"

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
// of another one of the live connections.
func BenchmarkTrackLive(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("connections=%d", n), func(b *testing.B) {
			packets := establishedPackets(n)
			t := New(Config{MaxConnections: 2_000_000}, func(*Conn) {})
			t.Track(packets)
			data := make([]bpf.Packet, 0, n)
			for i := 3; i < len(packets); i += 4 {
				data = append(data, packets[i])
			}
			const batch = 250
			now, k := int64(1e9), 0
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				for i := k; i < k+batch; i++ {
					p := &data[i]
					p.Time = now
					p.Seq += 100
					p.IPLength = 140
					now += 1000
				}
				t.Track(data[k : k+batch])
				if k += batch; k == len(data) {
					k = 0
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/record")
		})
	}
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
