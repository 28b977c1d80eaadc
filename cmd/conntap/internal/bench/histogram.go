// SPDX-License-Identifier: Apache-2.0

package bench

import "math/bits"

// The buckets of a histogram: each power of two in bucketsPerOctave parts.
const (
	bucketBits       = 4
	bucketsPerOctave = 1 << bucketBits
)

// histogram counts ns. A quantile is off by 6 % at most, upwards.
type histogram struct {
	counts [64 * bucketsPerOctave]uint64
	total  uint64
	max    int64
}

// bucket is where v belongs: below 16 each value has its own.
func bucket(v uint64) int {
	if v < bucketsPerOctave {
		return int(v)
	}
	shift := bits.Len64(v) - bucketBits - 1
	return shift<<bucketBits + int(v>>shift)
}

// bucketEnd is the largest value of a bucket.
func bucketEnd(i int) int64 {
	if i < 2*bucketsPerOctave {
		return int64(i)
	}
	shift := i>>bucketBits - 1
	return int64(i-shift<<bucketBits+1)<<shift - 1
}

// add counts n times v. Time stamps of other CPUs may lie a little ahead.
func (h *histogram) add(v int64) {
	v = max(v, 0)
	h.counts[bucket(uint64(v))]++
	h.total++
	h.max = max(h.max, v)
}

// merge adds another histogram.
func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// quantile is a value that the share q of all does not exceed.
func (h *histogram) quantile(q float64) int64 {
	wanted := uint64(q * float64(h.total))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen > wanted {
			return min(bucketEnd(i), h.max)
		}
	}
	return h.max
}

func (h *histogram) latency() Latency {
	return Latency{
		P50: h.quantile(0.5), P999: h.quantile(0.999), Max: h.max, Histogram: h.octaves(),
	}
}

// octaves are the powers of two between which there is anything.
func (h *histogram) octaves() []LatencyBucket {
	var octaves []LatencyBucket
	var last int64 = -1
	for i, n := range h.counts {
		if n == 0 {
			continue
		}
		end := int64(1)<<bits.Len64(uint64(bucketEnd(i))) - 1
		if end != last {
			octaves = append(octaves, LatencyBucket{UpTo: end})
			last = end
		}
		octaves[len(octaves)-1].Records += n
	}
	return octaves
}
