// SPDX-License-Identifier: Apache-2.0

package top

import (
	"time"

	"conntap/tracker"
)

// Sample is one look at a capture's counters.
type Sample struct {
	// Time is when it was taken.
	Time time.Time
	// Now is the capture's steady clock, ns, on the scale of tracker.Conn.Start.
	Now int64
	// Seen and Lost are numbers of frames since the start.
	Seen, Lost uint64
	// RingUsed and RingHighest are how full the fullest ring is, and has been: 0 to 1.
	RingUsed, RingHighest float64
	// Connections is the tracker's account.
	Connections tracker.Stats
}

// seriesLength is how many samples the sparklines reach back.
const seriesLength = 60

// Figures are what follows from the samples so far.
type Figures struct {
	Sample
	// PacketRate, BitRate, OpenRate and LogRate are per second, between the last two
	// samples: frames, bits of IP packets, connections that opened and that were
	// logged.
	PacketRate, BitRate, OpenRate, LogRate float64
	// LostNow is how many frames were lost between the last two samples.
	LostNow uint64
	// Packets and Bits are the last rates, the latest at the end.
	Packets, Bits []float64
}

// next returns the figures after a further sample. It changes nothing that f shows.
func (f *Figures) next(s Sample) Figures {
	n := Figures{Sample: s}
	seconds := s.Time.Sub(f.Time).Seconds()
	if f.Time.IsZero() || seconds <= 0 {
		n.Packets, n.Bits = f.Packets, f.Bits
		return n
	}
	before, now := &f.Connections, &s.Connections
	n.PacketRate = float64(s.Seen-f.Seen) / seconds
	n.BitRate = float64(now.IPBytes-before.IPBytes) * 8 / seconds
	n.OpenRate = float64(now.Opened-before.Opened) / seconds
	n.LogRate = float64(logged(now)-logged(before)) / seconds
	n.LostNow = s.Lost - f.Lost
	n.Packets, n.Bits = appendSeries(f.Packets, n.PacketRate), appendSeries(f.Bits, n.BitRate)
	return n
}

// logged is the number of connections that came to an end.
func logged(s *tracker.Stats) uint64 { return s.Opened - s.Open }

// appendSeries returns a new series that ends with v.
func appendSeries(series []float64, v float64) []float64 {
	if len(series) == seriesLength {
		series = series[1:]
	}
	return append(append(make([]float64, 0, seriesLength), series...), v)
}

// share is part of a whole in percent, 0 of nothing.
func share(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) * 100 / float64(whole)
}
