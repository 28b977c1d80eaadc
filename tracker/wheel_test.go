// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"conntap/tracker/internal/slab"
)

// wheelModel is what the wheel has to do, in a slice.
type wheelModel struct {
	entries []readyEntry
}

func (m *wheelModel) schedule(e readyEntry) { m.entries = append(m.entries, e) }

func (m *wheelModel) cancel(index uint32) {
	m.entries = slices.DeleteFunc(m.entries, func(e readyEntry) bool { return e.index == index })
}

// pop returns the entry that is due first, ties by ordinal.
func (m *wheelModel) pop(now int64) uint32 {
	if len(m.entries) == 0 {
		return 0
	}
	first := slices.MinFunc(m.entries, func(a, b readyEntry) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.order, b.order))
	})
	if first.due > now {
		return 0
	}
	m.cancel(first.index)
	return first.index
}

// wheelDistances are as far as due times lie ahead of now, and now moves: within a
// tick, around each level's turn, and far beyond.
var wheelDistances = []int64{
	0, 1, 1 << wheelShift, 5 << wheelShift, 1<<28 - 1, 1 << 28, 1<<28 + 1, int64(5 * time.Second), 1 << 36,
	int64(time.Minute), int64(5 * time.Minute), int64(time.Hour), 1 << 44, 1 << 52, 1<<52 + 12345, 1 << 60,
}

// TestWheelAgainstModel schedules, cancels and advances at random, and compares
// what comes out with a sorted slice: all that is due, nothing early, in order.
func TestWheelAgainstModel(t *testing.T) {
	starts := []int64{
		0, 1, 1<<32 - 5000, 1<<(32+wheelShift) - int64(3*time.Second), // the tick crosses 2^32
		1<<36 - 1, 1 << 44, 1<<52 - int64(time.Minute), base, 1<<60 - 1,
	}
	for i, start := range starts {
		t.Run(fmt.Sprintf("start=%d", start), func(t *testing.T) {
			for seed := range uint64(20) {
				testWheel(t, rand.New(rand.NewPCG(seed, uint64(i))), start)
			}
		})
	}
}

func testWheel(t *testing.T, random *rand.Rand, now int64) {
	var connections slab.Slab[warm]
	w := wheel{connections: &connections.Array, next: never}
	var m wheelModel
	ordinal := uint64(0)
	distance := func() int64 {
		d := wheelDistances[random.IntN(len(wheelDistances)-random.IntN(8))]
		return d + random.Int64N(d+1)/4
	}
	if i, _ := w.pop(now); i != 0 {
		t.Fatal("an empty wheel hands something out")
	}
	live := []uint32{}
	for range 400 {
		switch random.IntN(10) {
		case 0, 1, 2, 3:
			i, c := connections.Get()
			ordinal++
			c.order = ordinal / 3 // some are equal, as of segments of one super-frame
			due := min(now+distance(), 1<<62)
			w.schedule(i, c, due)
			m.schedule(readyEntry{due, c.order<<32 | uint64(i), i})
			live = append(live, i)
		case 4: // an earlier or later time, also one that is due at once
			if len(live) == 0 {
				continue
			}
			i := live[random.IntN(len(live))]
			c := connections.At(i)
			w.cancel(c)
			m.cancel(i)
			due := min(now+distance(), 1<<62)
			w.schedule(i, c, due)
			m.schedule(readyEntry{due, c.order<<32 | uint64(i), i})
		case 5: // gone; the index may be handed out again
			if len(live) == 0 {
				continue
			}
			at := random.IntN(len(live))
			i := live[at]
			live = slices.Delete(live, at, at+1)
			w.cancel(connections.At(i))
			m.cancel(i)
			connections.Put(i)
		case 6:
			if random.IntN(4) == 0 {
				w.purge()
			}
		default:
			now = min(now+distance()/8, 1<<62)
			live = drainWheel(t, &w, &m, now, live)
		}
	}
	drainWheel(t, &w, &m, 1<<62, live)
	if len(m.entries) != 0 || w.next != never || w.entries != 0 {
		t.Fatalf("want an empty wheel, got %d entries in the model, %d in it, next at %d", len(m.entries), w.entries, w.next)
	}
}

// drainWheel pops all that is due from both, and returns the live connections that
// are left.
func drainWheel(t *testing.T, w *wheel, m *wheelModel, now int64, live []uint32) []uint32 {
	t.Helper()
	if first := w.next; len(m.entries) > 0 {
		due := slices.MinFunc(m.entries, func(a, b readyEntry) int { return cmp.Compare(a.due, b.due) }).due
		if first > due {
			t.Fatalf("next: want %d at the latest, got %d", due, first)
		}
	}
	due := map[uint32]int64{}
	for _, e := range m.entries {
		due[e.index] = e.due
	}
	var got, want []readyEntry
	for i, at := w.pop(now); i != 0; i, at = w.pop(now) {
		got = append(got, readyEntry{at, w.connections.At(i).order, i})
	}
	for i := m.pop(now); i != 0; i = m.pop(now) {
		want = append(want, readyEntry{due[i], w.connections.At(i).order, i})
	}
	byIndex := func(a, b readyEntry) int { // equal ordinals come in any order
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.order, b.order), cmp.Compare(a.index, b.index))
	}
	if !slices.IsSortedFunc(got, inOrder) {
		t.Fatalf("now %d: out of order: %v", now, got)
	}
	slices.SortFunc(got, byIndex)
	slices.SortFunc(want, byIndex)
	if !slices.Equal(got, want) {
		t.Fatalf("now %d\nwant %v\ngot  %v", now, want, got)
	}
	return slices.DeleteFunc(live, func(i uint32) bool {
		return slices.ContainsFunc(got, func(e readyEntry) bool { return e.index == i })
	})
}

// inOrder compares by due time, then by ordinal.
func inOrder(a, b readyEntry) int {
	return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.order, b.order))
}

// TestWheelStaleEntries cancels and schedules again connections whose tick has
// come, so that their entries in ready are stale.
func TestWheelStaleEntries(t *testing.T) {
	var connections slab.Slab[warm]
	w := wheel{connections: &connections.Array, next: never}
	i, c := connections.Get()
	j, d := connections.Get()
	d.order = 1
	w.schedule(i, c, 100)
	w.schedule(j, d, 200)
	for range 3 { // both are in the tick at which the wheel stands
		w.cancel(c)
		w.schedule(i, c, 300)
		w.cancel(c)
		w.schedule(i, c, 100)
	}
	w.cancel(c)
	w.schedule(i, c, 250)
	for _, want := range []struct {
		now int64
		i   uint32
	}{{99, 0}, {199, 0}, {200, j}, {200, 0}, {249, 0}, {250, i}, {1000, 0}} {
		if got, _ := w.pop(want.now); got != want.i {
			t.Errorf("pop(%d): want %d, got %d", want.now, want.i, got)
		}
	}
	if len(w.ready) != 0 {
		t.Errorf("want no entries left, got %v", w.ready)
	}
}

// TestWheelReusedIndex gives an index back while its entry is in ready; the next
// connection there must not come out by it.
func TestWheelReusedIndex(t *testing.T) {
	var connections slab.Slab[warm]
	w := wheel{connections: &connections.Array, next: never}
	i, c := connections.Get()
	c.order = 1
	w.schedule(i, c, 100)
	w.cancel(c)
	connections.Put(i)
	j, d := connections.Get()
	d.order = 2
	w.schedule(j, d, 500)
	if i != j {
		t.Fatalf("want index %d again, got %d", i, j)
	}
	if got, _ := w.pop(499); got != 0 {
		t.Errorf("want nothing before 500, got %d", got)
	}
	if got, _ := w.pop(500); got != j {
		t.Errorf("want %d at 500, got %d", j, got)
	}
}
