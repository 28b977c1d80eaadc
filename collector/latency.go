// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// LatencyBuckets is how many there are in a Latency: the last but one ends above
// half a minute.
const LatencyBuckets = 26

// Latency says how long packets took from their time stamp in the kernel to the
// return of the Read that handed them on. All packets of a Read count as its oldest:
// none took longer than said.
type Latency struct {
	// Packets is how many took less than 2^i microseconds, and no less than half of
	// that, at i; the last one takes the rest.
	Packets [LatencyBuckets]uint64
	// Longest is what none exceeded.
	Longest time.Duration
	// Sum is what all took together.
	Sum time.Duration
}

// Quantile is a bound that a share q of the packets, 0 to 1, did not exceed: the
// end of a bucket, but Longest at most. It is 0 without packets.
func (l *Latency) Quantile(q float64) time.Duration {
	var sum, total uint64
	for _, n := range l.Packets {
		total += n
	}
	for i, n := range l.Packets {
		sum += n
		if sum > 0 && float64(sum) >= q*float64(total) {
			if i == LatencyBuckets-1 {
				break
			}
			return min(LatencyBound(i), l.Longest)
		}
	}
	return l.Longest
}

// LatencyBound is where bucket i of a Latency ends; the last one has no end.
func LatencyBound(i int) time.Duration { return time.Microsecond << i }

// latency counts by Reads. It is written by one goroutine.
type latency struct {
	packets [LatencyBuckets]atomic.Uint64
	longest atomic.Int64 // ns
	sum     atomic.Int64 // ns
}

// add counts n packets that took ns at most.
func (l *latency) add(n int, ns int64) {
	ns = max(ns, 0)
	bucket := min(bits.Len64(uint64(ns)/1000), LatencyBuckets-1)
	l.packets[bucket].Add(uint64(n))
	l.sum.Add(int64(n) * ns)
	if ns > l.longest.Load() {
		l.longest.Store(ns)
	}
}

func (l *latency) read() (copied Latency) {
	for i := range l.packets {
		copied.Packets[i] = l.packets[i].Load()
	}
	copied.Longest, copied.Sum = time.Duration(l.longest.Load()), time.Duration(l.sum.Load())
	return copied
}
