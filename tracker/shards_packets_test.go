// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"conntap/bpf"
)

// TestShardsAnyPackets compares shards with a Tracker over the packets of the fuzz
// target, of which the parsers would never give most. It is no fuzz target itself:
// how goroutines meet is coverage of another kind.
func TestShardsAnyPackets(t *testing.T) {
	for seed := range uint64(150) {
		random := rand.New(rand.NewPCG(seed, 1))
		in := fuzzInput{bytes: make([]byte, 200+random.IntN(8000)), now: base}
		for i := range in.bytes {
			in.bytes[i] = byte(random.Uint32())
		}
		config := in.config()
		config.MaxConnections = 0 // each shard has a share of it
		if in.take()&1 != 0 {
			in.now = 0
		}
		var packets []bpf.Packet
		for len(in.bytes) > 0 {
			packets = append(packets, in.packet())
		}
		want, wantStats := shardedRows(config, packets, 1, 64)
		for _, n := range []int{2, 4} {
			got, gotStats := shardedRows(config, packets, n, 64)
			if !reflect.DeepEqual(got, want) || gotStats != wantStats {
				t.Fatalf("seed %d, %d shards: want\n%+v\n%+v\ngot\n%+v\n%+v", seed, n, wantStats, want, gotStats, got)
			}
		}
	}
}

func shardedRows(config Config, packets []bpf.Packet, n, batch int) (rows []fuzzRow, stats Stats) {
	h := NewShards(config, n, func(c *Conn) {
		row := fuzzRow{*c, string(c.History)}
		row.conn.History = nil
		row.conn.TunnelParents = slices.Clone(c.TunnelParents)
		rows = append(rows, row)
	})
	for chunk := range slices.Chunk(packets, batch) {
		h.Track(&Batch{Packets: chunk})
	}
	h.Close()
	return rows, h.Stats()
}

// TestShardsClock lets time move on without packets, with an offset of its own for
// each batch.
func TestShardsClock(t *testing.T) {
	const second = int64(1e9)
	run := func(n int) (rows []Conn, stats Stats) {
		h := NewShards(Config{}, n, func(c *Conn) {
			rows = append(rows, Conn{UID: c.UID, Start: c.Start, ClockOffset: c.ClockOffset, Orig: c.Orig})
		})
		for i := range int64(50) {
			b := &Batch{ClockOffset: i, Now: i*second + second/2}
			for k := range int64(4) {
				p := tcpPacket(0, false, bpf.SYN, 1000, 0, 0)
				p.Time = i*second + k
				p.Ordinal, p.SrcPort = uint64(4*i+k+1), uint16(1000+4*i+k)
				b.Packets = append(b.Packets, p)
			}
			h.Track(b)
			h.Track(&Batch{ClockOffset: i, Now: i*second + 3*second/4})
		}
		h.Close()
		return rows, h.Stats()
	}
	want, wantStats := run(1)
	if wantStats.Closed[CauseTimeout] == 0 || len(want) != 200 {
		t.Fatalf("want 200 rows, some of timers, got %d and %v", len(want), wantStats.Closed)
	}
	for n := 2; n < 6; n++ {
		if got, stats := run(n); !reflect.DeepEqual(got, want) || stats != wantStats {
			t.Errorf("%d shards: want %+v\n%+v\ngot %+v\n%+v", n, wantStats, want, stats, got)
		}
	}
}
