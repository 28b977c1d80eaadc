// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"reflect"
	"testing"
	"time"

	"conntap/bpf"
)

// TestFloodMemory sends floods of several kinds, far more connections than may be open:
// nothing of the tracker grows beyond what its limit allows, and every packet is
// accounted for.
func TestFloodMemory(t *testing.T) {
	const limit, sources, apart = 2000, 100_000, int64(50 * time.Microsecond)
	tests := []struct {
		name     string
		protocol uint8
		answered bool
		ages     []time.Duration
	}{
		{"SYN", bpf.ProtocolTCP, false, nil},
		{"SYN, answered", bpf.ProtocolTCP, true, nil},
		{"UDP", bpf.ProtocolUDP, false, nil},
		{"UDP, answered, with interim records", bpf.ProtocolUDP, true, []time.Duration{time.Hour}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var logged uint64
			tr := New(Config{MaxConnections: limit, LongConnections: tt.ages}, func(c *Conn) { logged += c.Orig.Packets + c.Resp.Packets })
			packets := make([]bpf.Packet, 0, 2)
			at := base
			for i := range uint32(sources) {
				at += apart
				packets = append(packets[:0], floodPacket(tt.protocol, i, false, at))
				if tt.answered {
					packets = append(packets, floodPacket(tt.protocol, i, true, at))
				}
				tr.Track(packets)
			}
			if open := tr.Stats().Open; open != limit {
				t.Errorf("want %d open, got %d", limit, open)
			}
			if end := tr.connections.End(); end > limit+2 {
				t.Errorf("want places for %d connections, got %d", limit, end)
			}
			if n, most := int(tr.wheel.chunks.End()), entriesSpare+4*limit; n > most/len(wheelChunk{}.entries)+2*wheelSlots {
				t.Errorf("timers: want chunks for some %d entries, got %d chunks", most, n)
			}
			tr.Close()
			checkAccount(t, tr, logged)
		})
	}
}

// floodPacket is the first packet of a connection with a number, or the answer to it.
func floodPacket(protocol uint8, number uint32, reply bool, at int64) bpf.Packet {
	p := tcpPacket(0, false, bpf.SYN, 1000, 0, 0)
	p.Time, p.Ordinal, p.Protocol = at, 2*uint64(number)+1, protocol
	binary.BigEndian.PutUint32(p.Src[12:], 11<<24+number)
	if protocol == bpf.ProtocolUDP {
		p.HeaderLength, p.Flags, p.Seq, p.Window, p.IPLength = 28, 0, 0, 20, 40
	}
	if reply {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		p.Ordinal++
		if protocol == bpf.ProtocolTCP {
			p.Flags, p.Seq, p.Ack = bpf.SYN|bpf.ACK, 5000, 1001
		}
	}
	return p
}

// TestFloodSparesSessions sends sessions of several lengths with a flood in between, and compares
// their rows with those of a tracker for which time alone passes instead: with any
// number of shards.
func TestFloodSparesSessions(t *testing.T) {
	var flooded, alone []bpf.Packet
	flood := uint32(0)
	for i := range int64(300) {
		session := []bpf.Packet{
			tcpPacket(100*i, false, bpf.SYN, 1000, 0, 0),
			tcpPacket(100*i+1, true, bpf.SYN|bpf.ACK, 5000, 1001, 0),
			tcpPacket(100*i+2, false, bpf.ACK, 1001, 5001, 0),
			tcpPacket(100*i+60, false, bpf.ACK|bpf.PSH, 1001, 5001, 100),
			tcpPacket(100*i+70, true, bpf.ACK|bpf.FIN, 5001, 1101, 0),
		}
		for k, p := range session[:3+i%3] {
			p.SrcPort, p.DstPort = sessionPorts(k == 1 || k == 4, uint16(i))
			p.Ordinal = uint64(len(flooded) + 1)
			flooded, alone = append(flooded, p), append(alone, p)
			for range 20 {
				f := floodPacket(bpf.ProtocolTCP, flood, false, p.Time)
				f.Ordinal = uint64(len(flooded) + 1)
				flood++
				flooded = append(flooded, f)
				alone = append(alone, bpf.Packet{Kind: bpf.KindNone, Time: f.Time, Ordinal: f.Ordinal})
			}
		}
	}
	want, _ := shardedRows(Config{}, alone, 1, 500)
	for _, n := range []int{1, 3} {
		rows, stats := shardedRows(Config{MaxConnections: 1500}, flooded, n, 500)
		var got []fuzzRow
		for _, row := range rows {
			if row.conn.Orig.Addr[12] != 11 {
				got = append(got, row)
			}
		}
		if stats.Closed[CauseUnanswered] < 1000 || stats.Closed[CauseIdle] != 0 {
			t.Errorf("%d shards: want many evicted that nobody answered, none for being idle, got %v", n, stats.Closed)
		}
		if len(got) != len(want) {
			t.Fatalf("%d shards: want %d rows of sessions, got %d", n, len(want), len(got))
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("%d shards: row %d: want\n%+v\ngot\n%+v", n, i, want[i], got[i])
			}
		}
	}
}

func sessionPorts(reply bool, number uint16) (src, dst uint16) {
	if reply {
		return 9999, 40000 + number
	}
	return 40000 + number, 9999
}
