// SPDX-License-Identifier: Apache-2.0

package report

// mostBins bounds the timeline.
const mostBins = 240

// binWidths are the widths that a bin can have, µs: each a multiple of the one
// before.
var binWidths = [...]int64{
	second / 100, second / 10, second, 10 * second, 30 * second, minute, 5 * minute, 10 * minute, 30 * minute,
	hour, 3 * hour, 6 * hour, 12 * hour, day, 7 * day, 28 * day, 364 * day, 3640 * day, 36400 * day,
}

const (
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// The groups of states that a timeline tells apart.
const (
	groupClosed = iota
	groupOpen
	groupAborted
	groupUnanswered
	groupOther

	groupCount
)

// groupOf is a state's group.
func groupOf(state string) int {
	switch state {
	case "SF":
		return groupClosed
	case "S1", "S2", "S3":
		return groupOpen
	case "RSTO", "RSTR", "RSTRH":
		return groupAborted
	case "S0", "REJ", "RSTOS0", "SH":
		return groupUnanswered
	}
	return groupOther
}

// timeline adds up connections by the time at which they began, and their bytes by
// the time that they took, evenly. Its bins grow wider as need be.
type timeline struct {
	step  int   // index of the width
	first int64 // number of the first bin: its start by the width
	bins  []bin
}

// bin is a part of the timeline.
type bin struct {
	connections [groupCount]uint64
	bytes       [groupCount]float64
}

func (t *timeline) width() int64 { return binWidths[t.step] }

// add takes a connection that began at start and took duration, both µs, neither
// below 0.
func (t *timeline) add(start, duration int64, group int, bytes uint64) {
	t.cover(start, start+duration)
	from, to := start/t.width()-t.first, (start+duration)/t.width()-t.first
	t.bins[from].connections[group]++
	if duration == 0 {
		t.bins[from].bytes[group] += float64(bytes)
		return
	}
	rate := float64(bytes) / float64(duration)
	for i := from; i <= to; i++ {
		begin := max(start, (t.first+i)*t.width())
		end := min(start+duration, (t.first+i+1)*t.width())
		t.bins[i].bytes[group] += rate * float64(end-begin)
	}
}

// cover makes room for what is from one time to another.
func (t *timeline) cover(from, to int64) {
	for {
		low, high := from/t.width(), to/t.width()
		if len(t.bins) > 0 {
			low, high = min(low, t.first), max(high, t.first+int64(len(t.bins))-1)
		}
		if high-low < mostBins {
			t.extend(low, high)
			return
		}
		t.widen()
	}
}

// extend has the bins go from number low to number high, which holds them all.
func (t *timeline) extend(low, high int64) {
	if n := int(high - low + 1); n != len(t.bins) {
		bins := make([]bin, n)
		copy(bins[max(t.first-low, 0):], t.bins)
		t.bins = bins
	}
	t.first = low
}

// widen merges bins into those of the next width.
func (t *timeline) widen() {
	factor := binWidths[t.step+1] / binWidths[t.step]
	t.step++
	first := t.first / factor
	var bins []bin
	if n := int64(len(t.bins)); n > 0 {
		bins = make([]bin, (t.first+n-1)/factor-first+1)
	}
	for i := range t.bins {
		to := &bins[(t.first+int64(i))/factor-first]
		for g := range groupCount {
			to.connections[g] += t.bins[i].connections[g]
			to.bytes[g] += t.bins[i].bytes[g]
		}
	}
	t.first, t.bins = first, bins
}
