// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"conntap/cmd/conntap/internal/screen"
	"conntap/collector/host"
)

// wallClock reads the wall clock, ns since 1970; nil: the system's. Tests have another.
var wallClock func() int64

// watchInterval is between two sentences of a kind.
const watchInterval = time.Minute

// watcher says what the machine does to conntap's time.
type watcher struct {
	*host.Watch
	untold host.Disturbances
	// When each kind was said the last time, on the steady clock of time.Time.
	clock, suspend, throttling time.Time
}

func newWatcher() *watcher { return &watcher{Watch: host.NewWatch(wallClock)} }

// sentences looks, and returns what there is to be said about what was found: each
// kind at once, but then once a minute at most, and what came meanwhile together.
func (w *watcher) sentences(now time.Time) (sentences []string) {
	news := w.Look()
	u := &w.untold
	u.Add(&news)
	if u.ForwardSteps+u.BackSteps > 0 && due(&w.clock, now) {
		sentences = append(sentences, "clock: "+stepText(u)+"; connections from now on begin by the new time, open ones keep the old, and no duration is off")
		u.ForwardSteps, u.BackSteps, u.Forward, u.Back = 0, 0, 0, 0
	}
	if u.Suspends > 0 && due(&w.suspend, now) {
		sentences = append(sentences, fmt.Sprintf("suspend: the machine slept for %s; what it missed is in no count", screen.Span(u.Suspended)))
		u.Suspends, u.Suspended = 0, 0
	}
	if u.Throttling.Periods > 0 && due(&w.throttling, now) {
		sentences = append(sentences, fmt.Sprintf("throttled: the CPU quota of the control group was used up in %s, and conntap stood still for %s in all: "+
			"packets are lost if rings fill up meanwhile; raise the quota (cpu.max)",
			screen.Plural(u.Throttling.Periods, "period"), screen.Span(u.Throttling.Time)))
		u.Throttling = host.Throttling{}
	}
	return sentences
}

// due tells whether the last time is long ago, and makes it now if so.
func due(last *time.Time, now time.Time) bool {
	if !last.IsZero() && now.Sub(*last) < watchInterval {
		return false
	}
	*last = now
	return true
}

// stepText is by how much the wall clock was stepped.
func stepText(d *host.Disturbances) string {
	switch {
	case d.BackSteps == 0:
		return "the wall clock was stepped forward by " + screen.Span(d.Forward)
	case d.ForwardSteps == 0:
		return "the wall clock was stepped back by " + screen.Span(d.Back)
	}
	return fmt.Sprintf("the wall clock was stepped forward by %s and back by %s", screen.Span(d.Forward), screen.Span(d.Back))
}

// sayWatch says what the machine did to conntap's time.
func (p *pipeline) sayWatch() {
	if p.watch == nil {
		return
	}
	for _, sentence := range p.watch.sentences(time.Now()) {
		if !p.quiet {
			p.tell(sentence)
		}
	}
}

// disturbances is all that was found by now.
func (p *pipeline) disturbances() host.Disturbances {
	if p.watch == nil {
		return host.Disturbances{}
	}
	return p.watch.Sum()
}
