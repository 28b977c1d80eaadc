// SPDX-License-Identifier: Apache-2.0

package collector

import "time"

const (
	// napQuiet is how long a reader sleeps if few packets come: with each batch of each
	// CPU and hook it would be woken otherwise. Together with flushInterval it is how long
	// a packet waits on idle CPUs.
	napQuiet = 4 * time.Millisecond
	// napBusy is the same if many come. Waking up costs the programs beside it more, by
	// threads that move and caches that are cold, than a record does.
	napBusy = 16 * time.Millisecond
	// busyBytes in the rings since the last nap are many, and over crowdedShare of a
	// ring's size so many that it is time to hurry.
	busyBytes    = 4096
	crowdedShare = 16
	// quietFill and busyFill are how many bytes of a CPU's ring there must be for each ns
	// of a nap. 15 million packets a second fill 0.6 of one.
	quietFill = 4
	busyFill  = 1
	// napShortest is what sleep is exact enough for.
	napShortest = time.Millisecond
)

// pace says how long the reader of rings sleeps once it has emptied them.
type pace struct {
	quiet, busy time.Duration
	crowded     uint64 // bytes
	seen        uint64 // bytes that had come into all rings before the last nap
}

// newPace is for rings of so many bytes per CPU.
func newPace(ringBytes uint64) pace {
	p := pace{
		quiet:   min(time.Duration(ringBytes/quietFill), napQuiet),
		busy:    min(time.Duration(ringBytes/busyFill), napBusy),
		crowded: ringBytes / crowdedShare,
	}
	if p.quiet < napShortest {
		p.quiet = 0
	}
	if p.busy < napShortest {
		p.busy = 0
	}
	return p
}

// nap is how long to sleep now that so many bytes have come into all rings, ever.
func (p *pace) nap(bytes uint64) time.Duration {
	came := bytes - p.seen
	p.seen = bytes
	if came < busyBytes || came > p.crowded {
		return p.quiet
	}
	return p.busy
}
