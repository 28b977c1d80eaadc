// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"conntap/bpf"
	"conntap/tracker"
)

// shardRow is a row and copies of what it must not keep.
type shardRow struct {
	tracker.Conn
	history string
	parents []tracker.UID
}

func shardRowOf(c *tracker.Conn) shardRow {
	row := shardRow{*c, string(c.History), slices.Clone(c.TunnelParents)}
	row.History, row.TunnelParents = nil, nil
	return row
}

// trackAlone returns the rows and the account of a Tracker.
func trackAlone(config tracker.Config, packets []bpf.Packet) (rows []shardRow, stats tracker.Stats) {
	t := tracker.New(config, func(c *tracker.Conn) { rows = append(rows, shardRowOf(c)) })
	t.Track(packets)
	t.Close()
	return rows, t.Stats()
}

// trackSharded returns those of n shards, which take the packets in batches.
func trackSharded(config tracker.Config, n, batch int, packets []bpf.Packet) (rows []shardRow, stats tracker.Stats) {
	shards := tracker.NewShards(config, n, func(c *tracker.Conn) { rows = append(rows, shardRowOf(c)) })
	done := make(chan *tracker.Batch, 2)
	for range cap(done) {
		done <- &tracker.Batch{Done: func(b *tracker.Batch) { done <- b }}
	}
	for chunk := range slices.Chunk(packets, batch) {
		b := <-done
		b.Packets = chunk
		shards.Track(b)
	}
	shards.Close()
	return rows, shards.Stats()
}

// compareSharded checks that shards do what a Tracker does.
func compareSharded(t *testing.T, config tracker.Config, packets []bpf.Packet) (rows int) {
	t.Helper()
	want, wantStats := trackAlone(config, packets)
	for _, n := range []int{1, 2, 4} {
		for _, batch := range []int{3, 100, 1 << 20} {
			got, gotStats := trackSharded(config, n, batch, packets)
			for i := range min(len(got), len(want)) {
				if !reflect.DeepEqual(got[i], want[i]) {
					t.Fatalf("%d shards, batches of %d: row %d: want\n%+v\ngot\n%+v", n, batch, i, want[i], got[i])
				}
			}
			if len(got) != len(want) || gotStats != wantStats {
				t.Fatalf("%d shards, batches of %d: want %d rows and %+v\ngot %d rows and %+v", n, batch, len(want), wantStats, len(got), gotStats)
			}
		}
	}
	return len(want)
}

// TestShardsRandom compares shards with a Tracker over random traces.
func TestShardsRandom(t *testing.T) {
	for _, kind := range modelKinds {
		t.Run(kind.name, func(t *testing.T) {
			rows, begin := 0, time.Now()
			for seed := uint64(1); seed <= 5 || time.Since(begin) < 300*time.Millisecond; seed++ {
				g := newTraffic(seed)
				frames := kind.trace(g)
				if seed%2 == 0 {
					frames, _ = g.superPackets(frames)
				}
				packets := slices.Concat(framesOf(frames)...)
				rows += compareSharded(t, tracker.Config{LinkLayer: true, Seed: fmt.Sprint(seed)}, packets)
			}
			if rows == 0 {
				t.Error("no rows were compared")
			}
		})
	}
}

// framesOf are the frames of several traces at once, interleaved by time.
func framesOf(frames []modelFrame) [][]bpf.Packet {
	packets := make([][]bpf.Packet, len(frames))
	for i, frame := range frames {
		packets[i] = frame
	}
	return packets
}
