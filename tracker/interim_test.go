// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"conntap/bpf"
)

// interimAges are a few, in no order and with one that can't be meant.
var interimAges = []time.Duration{time.Minute, 7*time.Second + 1, 0, 10 * time.Minute, time.Hour}

// TestInterimChangesNothing compares the rows of connections that end with those of a
// tracker without interim records, over the packets of the fuzz target; and the
// interim ones with those of shards.
func TestInterimChangesNothing(t *testing.T) {
	var interim uint64
	for seed := range uint64(40) {
		config, packets := interimInput(seed)
		want, wantStats := shardedRows(config, packets, 1, 64)
		config.LongConnections = interimAges
		all, stats := shardedRows(config, packets, 1, 64)
		interim += stats.Interim
		for _, n := range []int{2, 3} {
			if got, gotStats := shardedRows(config, packets, n, 64); !reflect.DeepEqual(got, all) || gotStats != stats {
				t.Fatalf("seed %d, %d shards: want\n%+v\n%+v\ngot\n%+v\n%+v", seed, n, stats, all, gotStats, got)
			}
		}
		checkInterimRows(t, all, stats)
		got := slices.DeleteFunc(all, func(row fuzzRow) bool { return row.conn.Interim })
		stats.Interim = 0
		if !reflect.DeepEqual(got, want) || stats != wantStats {
			t.Fatalf("seed %d: want\n%+v\n%+v\ngot\n%+v\n%+v", seed, wantStats, want, stats, got)
		}
	}
	if interim == 0 {
		t.Error("want interim records, got none")
	}
}

// interimInput is what the fuzz target would make of random bytes.
func interimInput(seed uint64) (config Config, packets []bpf.Packet) {
	random := rand.New(rand.NewPCG(seed, 2))
	in := fuzzInput{bytes: make([]byte, 200+random.IntN(8000)), now: base}
	for i := range in.bytes {
		in.bytes[i] = byte(random.Uint32())
	}
	config = in.config()
	config.MaxConnections = 0 // each shard has a share of it
	for len(in.bytes) > 0 {
		packets = append(packets, in.packet())
	}
	return config, packets
}

// checkInterimRows checks that each interim record has its connection's final row
// behind it, and no more packets than that.
func checkInterimRows(t *testing.T, rows []fuzzRow, stats Stats) {
	t.Helper()
	final := map[UID]*Conn{}
	var interim uint64
	for i := len(rows) - 1; i >= 0; i-- {
		c := &rows[i].conn
		if !c.Interim {
			final[c.UID] = c
			continue
		}
		interim++
		end := final[c.UID]
		if end == nil || end.Start != c.Start || c.Orig.Packets+c.Resp.Packets > end.Orig.Packets+end.Resp.Packets {
			t.Fatalf("interim record %+v: want a later final row of it, got %+v", c, end)
		}
	}
	if interim != stats.Interim {
		t.Errorf("want %d interim records as counted, got %d", stats.Interim, interim)
	}
}

// TestInterimAllocations makes interim records without allocating.
func TestInterimAllocations(t *testing.T) {
	rows := 0
	tr := New(Config{LongConnections: []time.Duration{10 * time.Second}}, func(*Conn) { rows++ })
	p := tcpPacket(0, false, bpf.SYN|bpf.ACK, 1000, 0, 0)
	p.Time, p.Ordinal = base, 1
	track := func() {
		tr.Track([]bpf.Packet{p})
		p.Time += int64(30 * time.Second)
	}
	track()
	if n := testing.AllocsPerRun(100, track); n != 0 {
		t.Errorf("want no allocation, got %v", n)
	}
	if rows < 100 {
		t.Errorf("want a record every 30 s, got %d", rows)
	}
}
