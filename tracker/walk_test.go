// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"conntap/tracker"
)

// walkAll are the connections that a walk finds, by uid.
func walkAll(shards *tracker.Shards) []shardRow {
	rows := []shardRow{}
	for c := range shards.Connections() {
		rows = append(rows, shardRowOf(c))
	}
	byUID(rows)
	return rows
}

func byUID(rows []shardRow) {
	slices.SortFunc(rows, func(a, b shardRow) int { return strings.Compare(a.UID.String(), b.UID.String()) })
}

// TestConnections: a walk finds all that is open and nothing else, as it is logged
// when the input ends there, and changes none of it.
func TestConnections(t *testing.T) {
	found := 0
	for _, kind := range modelKinds {
		packets := slices.Concat(framesOf(kind.trace(newTraffic(3)))...)
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", kind.name, n), func(t *testing.T) {
				var mu sync.Mutex
				var logged []shardRow
				shards := tracker.NewShards(tracker.Config{LinkLayer: true}, n, func(c *tracker.Conn) {
					mu.Lock()
					defer mu.Unlock()
					logged = append(logged, shardRowOf(c))
				})
				done := make(chan struct{})
				shards.Track(&tracker.Batch{Packets: packets, Done: func(*tracker.Batch) { close(done) }})
				<-done
				open := walkAll(shards)
				again := walkAll(shards)
				want := int(shards.Stats().Open)
				shards.Close()
				atEnd := append([]shardRow{}, logged[len(logged)-want:]...)
				byUID(atEnd)
				found += want
				if !reflect.DeepEqual(open, atEnd) || !reflect.DeepEqual(again, open) {
					t.Errorf("want the %d connections that are open at the end\n%+v\ngot\n%+v\nand\n%+v", want, atEnd, open, again)
				}
				if late := walkAll(shards); len(late) > 0 {
					t.Errorf("want nothing after Close, got %+v", late)
				}
			})
		}
	}
	if found < 20 {
		t.Errorf("only %d connections were open", found)
	}
}

// TestConnectionsMeanwhile walks while packets come and until after the end.
func TestConnectionsMeanwhile(t *testing.T) {
	packets := slices.Concat(framesOf(modelKinds[0].trace(newTraffic(4)))...)
	want, wantStats := trackAlone(tracker.Config{}, packets)
	var rows []shardRow
	shards := tracker.NewShards(tracker.Config{}, 2, func(c *tracker.Conn) { rows = append(rows, shardRowOf(c)) })
	var walkers sync.WaitGroup
	ended := make(chan struct{})
	for range 2 {
		walkers.Go(func() {
			for {
				for range shards.Connections() {
				}
				select {
				case <-ended:
					return
				default:
				}
			}
		})
	}
	for chunk := range slices.Chunk(packets, 10) {
		shards.Track(&tracker.Batch{Packets: chunk})
	}
	shards.Close()
	close(ended)
	walkers.Wait()
	if !reflect.DeepEqual(rows, want) || shards.Stats() != wantStats {
		t.Errorf("want %d rows and %+v, got %d rows and %+v", len(want), wantStats, len(rows), shards.Stats())
	}
}
