// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"conntap/bpf"
	"conntap/tracker"
)

var (
	modelSeeds = flag.Uint64("model.seeds", 0, "how many random traces of each kind to compare with the model; 0: as many as a few seconds allow")
	modelFirst = flag.Uint64("model.first", 1, "the first seed")
	modelKind  = flag.String("model.kind", "", "compare traces of this kind alone")
)

// modelKinds are the kinds of random traces.
var modelKinds = []struct {
	name  string
	trace func(*traffic) []modelFrame
}{
	{"sessions", (*traffic).sessions},
	{"alphabet", (*traffic).alphabet},
	{"timers", (*traffic).timers},
	{"windows", (*traffic).windows},
	{"datagrams", (*traffic).datagrams},
	{"fragments", (*traffic).fragments},
	{"tunnels", (*traffic).tunnels},
}

// TestModel compares the Tracker with the model, row for row, over random traces.
// A difference is shown with the fewest frames that still show it, in the notation
// of testdata/README.md as far as that goes.
func TestModel(t *testing.T) {
	seen := modelSeen{}
	for _, kind := range modelKinds {
		if *modelKind == "" || *modelKind == kind.name {
			t.Run(kind.name, func(t *testing.T) { modelCompareKind(t, kind.trace, seen) })
		}
	}
	if *modelKind == "" && !t.Failed() {
		seen.check(t)
	}
}

// modelSeen counts what the rows that were compared had in them.
type modelSeen map[string]int

func (seen modelSeen) add(rows []modelRow) {
	for i := range rows {
		r := &rows[i]
		seen[r.state]++
		seen[r.cause.String()]++
		for _, letter := range r.history {
			seen[string(letter)]++
		}
		for _, side := range []*modelRowSide{&r.orig, &r.resp} {
			if max(side.retransmits, side.gaps, side.zeroWindows, side.badChecksums) >= 10 {
				seen["counted to 10"]++
			}
		}
		if len(r.parents) > 1 {
			seen["several parents"]++
		}
	}
}

// check checks that the traces reach every state and letter.
func (seen modelSeen) check(t *testing.T) {
	t.Helper()
	for state := range tracker.State(tracker.StateCount) {
		if seen[state.String()] == 0 {
			t.Errorf("no row with state %s", state)
		}
	}
	for _, letter := range "SsHhAaDdFfRrCcTtWwGgIiQq^X" {
		if seen[string(letter)] == 0 {
			t.Errorf("no row with the letter %c", letter)
		}
	}
	for _, what := range []string{"counted to 10", "several parents", "timeout", "reuse", "end"} {
		if seen[what] == 0 {
			t.Errorf("no row of the kind: %s", what)
		}
	}
}

func modelCompareKind(t *testing.T, trace func(*traffic) []modelFrame, seen modelSeen) {
	rows, seed, begin := 0, *modelFirst, time.Now()
	for ; ; seed++ {
		if done := seed - *modelFirst; *modelSeeds > 0 && done >= *modelSeeds ||
			*modelSeeds == 0 && done >= 20 && time.Since(begin) > 500*time.Millisecond {
			break
		}
		frames := trace(newTraffic(seed))
		got, want := trackFrames(frames), modelFrames(frames)
		rows += len(want)
		seen.add(want)
		if difference := compareRows(got, want); difference != "" {
			frames = shrink(frames)
			got, want = trackFrames(frames), modelFrames(frames)
			t.Fatalf("seed %d, shrunk to %d frames: %s\n%s--\nmodel:\n%stracker:\n%s", seed, len(frames),
				compareRows(got, want), notation(frames), rowLines(want), rowLines(got))
		}
	}
	t.Logf("%d seeds, %d rows", seed-*modelFirst, rows)
	if rows == 0 {
		t.Error("no rows were compared")
	}
}

// modelFrame is a packet and what stands in it.
type modelFrame []bpf.Packet

// trackFrames returns the Tracker's rows.
func trackFrames(frames []modelFrame) (rows []modelRow) {
	frame, before := 0, tracker.Stats{}
	var t *tracker.Tracker
	t = tracker.New(tracker.Config{LinkLayer: true}, func(c *tracker.Conn) {
		row := trackedRow(c)
		row.frame = frame
		for after := t.Stats(); row.cause < tracker.CauseCount-1 && after.Closed[row.cause] == before.Closed[row.cause]; {
			row.cause++
		}
		before = t.Stats()
		rows = append(rows, row)
	})
	for frame = range frames {
		t.Track(frames[frame])
	}
	frame = len(frames)
	t.Close()
	return rows
}

func trackedRow(c *tracker.Conn) modelRow {
	side := func(e *tracker.Endpoint) modelRowSide {
		return modelRowSide{
			e.Addr, e.Port, e.MAC, e.Bytes, e.Packets, e.IPBytes, e.TCP,
			e.Retransmits, e.Gaps, e.ZeroWindows, e.BadChecksums,
		}
	}
	return modelRow{
		protocol: c.Protocol, start: c.Start, last: c.Last, orig: side(&c.Orig), resp: side(&c.Resp),
		state: c.State.String(), history: string(c.History), missed: c.MissedBytes,
		vlan: c.VLAN, innerVLAN: c.InnerVLAN, uid: c.UID, parentUIDs: slices.Clone(c.TunnelParents),
	}
}

// modelFrames returns the model's rows.
func modelFrames(frames []modelFrame) []modelRow {
	m := newModel()
	for i, frame := range frames {
		m.frame = i
		for j := range frame {
			m.take(&frame[j])
		}
	}
	m.frame = len(frames)
	m.close()
	return m.rows
}

// compareRows tells how two lists of rows differ. Where the rules leave the order of
// rows open, among timers of one moment, the tracker's is taken.
func compareRows(got, want []modelRow) string {
	if len(got) != len(want) {
		return fmt.Sprintf("want %d rows, got %d", len(want), len(got))
	}
	for i := 0; i < len(want); {
		end := i + 1
		for end < len(want) && want[end].frame == want[i].frame && want[end].due == want[i].due && want[i].cause != tracker.CauseReuse {
			end++
		}
		for k := i; k < end; k++ {
			for j := k; j < end && want[k].line() != got[k].line(); j++ {
				want[k], want[j] = want[j], want[k]
				if want[k].line() != got[k].line() {
					want[k], want[j] = want[j], want[k]
				}
			}
			if w, g := want[k].line(), got[k].line(); w != g {
				return fmt.Sprintf("row %d: want\n%s\ngot\n%s", k+1, w, g)
			}
		}
		i = end
	}
	return compareParents(got, want)
}

// compareParents compares the names of parents: each of the model's must be one uid
// and no other's.
func compareParents(got, want []modelRow) string {
	uids, names := map[string]tracker.UID{}, map[tracker.UID]string{}
	same := func(name string, uid tracker.UID) bool {
		if uids[name] == (tracker.UID{}) && names[uid] == "" {
			uids[name], names[uid] = uid, name
		}
		return uids[name] == uid && names[uid] == name
	}
	for i := range want {
		if !same(fmt.Sprintf("connection %d", want[i].id), got[i].uid) {
			return fmt.Sprintf("row %d: uid %s came twice", i+1, got[i].uid)
		}
	}
	for i := range want {
		w, g := want[i].parents, got[i].parentUIDs
		if len(w) != len(g) {
			return fmt.Sprintf("row %d: want %d parents, got %d", i+1, len(w), len(g))
		}
		for j := range w {
			if !same(w[j], g[j]) {
				return fmt.Sprintf("row %d: want parent %s, got %s, which is %q", i+1, w[j], g[j], names[g[j]])
			}
		}
	}
	return ""
}

// shrink leaves frames out as long as there is a difference.
func shrink(frames []modelFrame) []modelFrame {
	differs := func(frames []modelFrame) bool {
		return compareRows(trackFrames(frames), modelFrames(frames)) != ""
	}
	for size := len(frames) / 2; size > 0; {
		smaller := false
		for i := 0; i+size <= len(frames); {
			if fewer := slices.Delete(slices.Clone(frames), i, i+size); differs(fewer) {
				frames, smaller = fewer, true
			} else {
				i += size
			}
		}
		if !smaller || size > len(frames) {
			size /= 2
		}
	}
	return frames
}

func newTraffic(seed uint64) *traffic {
	return &traffic{Rand: rand.New(rand.NewPCG(seed, 0))}
}

// line is all of a row that has to agree.
func (r *modelRow) line() string {
	side := func(s *modelRowSide) string {
		return fmt.Sprintf("bytes=%d packets=%d/%d tcp=%d counted=%d,%d,%d,%d mac=%x", s.bytes, s.packets, s.ipBytes, s.tcp,
			s.retransmits, s.gaps, s.zeroWindows, s.badChecksums, s.mac)
	}
	return fmt.Sprintf("%d %s > %s %s %q start=%s last=%s missed=%d vlan=%d,%d %s in frame %d | %s | %s",
		r.protocol, endpointNotation(r.orig.addr, r.orig.port), endpointNotation(r.resp.addr, r.resp.port),
		r.state, r.history, timeNotation(r.start), timeNotation(r.last), r.missed, r.vlan, r.innerVLAN, r.cause, r.frame+1,
		side(&r.orig), side(&r.resp))
}

func rowLines(rows []modelRow) string {
	var b strings.Builder
	for i := range rows {
		fmt.Fprintf(&b, "%s %v%v\n", rows[i].line(), rows[i].parents, rows[i].parentUIDs)
	}
	return b.String()
}
