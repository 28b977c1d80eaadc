// SPDX-License-Identifier: Apache-2.0

package top

import (
	"iter"
	"slices"
	"sync"
	"time"

	"conntap/tracker"
)

const (
	interval    = time.Second // between two looks at the counters, and between walks at least
	rowsMost    = 1000        // on the screen, of open connections, of hosts and of pairs each
	loggedMost  = 4096        // connections that were logged, on the screen
	clockStride = 256         // connections of a walk between two looks at the clock
)

// Capture is what top looks at. Its functions may be called from any goroutine.
type Capture struct {
	// Sample takes a sample.
	Sample func() Sample
	// Now is the steady clock of Sample.Now.
	Now func() int64
	// Connections walks over the open connections.
	Connections func() iter.Seq[*tracker.Conn]
}

// Query says what is wanted on the screen.
type Query struct {
	Filter Filter
	// Rows and Talkers are the orders of open connections and of hosts and pairs.
	Rows, Talkers Order
	// Keep is a connection that is to be there in any case.
	Keep tracker.UID
}

// Picture is what a walk over the open connections gave.
type Picture struct {
	// Open are the first of the connections that match, Matching how many do.
	Open     []Row
	Matching uint64
	// States are how many open connections have each state.
	States [tracker.StateCount]uint64
	// Hosts and Pairs are the first of those of the open connections that match, and,
	// without a filter, of those that were logged.
	Hosts, Pairs []Talker
}

// Watcher takes the figures of a capture and pictures of its connections.
type Watcher struct {
	capture Capture
	wake    chan struct{} // gets one when the query has changed

	mu      sync.Mutex // guards what follows
	query   Query
	logged  []Row // a ring: the next one goes to place % loggedMost
	place   uint64
	talkers talkers // of what was logged

	rates rates // of who walks
}

// NewWatcher returns a Watcher of a capture.
func NewWatcher(capture Capture) *Watcher {
	return &Watcher{capture: capture, wake: make(chan struct{}, 1), talkers: newTalkers()}
}

// Log takes a connection that ended, which the caller may use again. It is for any
// goroutine.
func (w *Watcher) Log(c *tracker.Conn) {
	row := Row{Conn: *c, Ended: true, Age: c.Duration()}
	row.History, row.TunnelParents = slices.Clone(c.History), slices.Clone(c.TunnelParents)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.place++
	row.Place = w.place
	if len(w.logged) < loggedMost {
		w.logged = append(w.logged, row)
	} else {
		w.logged[(w.place-1)%loggedMost] = row
	}
	w.talkers.add(c, Sum{Logged: 1})
}

// Ask changes what is wanted, and has it looked for at once.
func (w *Watcher) Ask(q Query) {
	w.mu.Lock()
	w.query = q
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// lastLogged are the connections that were logged last, in no order.
func (w *Watcher) lastLogged() []Row {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.logged)
}

// WatchCounters hands the figures and the connections logged last to show, again and
// again until stop is closed.
func (w *Watcher) WatchCounters(stop <-chan struct{}, show func(Figures, []Row)) {
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	var f Figures
	for {
		f = f.next(w.capture.Sample())
		show(f, w.lastLogged())
		select {
		case <-stop:
			return
		case <-ticks.C:
		}
	}
}

// WatchConnections hands pictures to show, again and again until stop is closed.
func (w *Watcher) WatchConnections(stop <-chan struct{}, show func(*Picture)) {
	for {
		begin := time.Now()
		show(w.look())
		rest := time.NewTimer(interval - time.Since(begin))
		select {
		case <-stop:
			rest.Stop()
			return
		case <-w.wake:
			rest.Stop()
		case <-rest.C:
		}
	}
}

// look walks over the open connections once.
func (w *Watcher) look() *Picture {
	w.mu.Lock()
	q := w.query
	w.mu.Unlock()
	picture, open := &Picture{}, newTalkers()
	first := ranking{order: q.Rows, limit: rowsMost, keep: q.Keep}
	now := w.capture.Now()
	w.rates.begin(now)
	n := 0
	for c := range w.capture.Connections() {
		if n++; n%clockStride == 0 {
			now = w.capture.Now()
		}
		row := Row{Conn: *c, Age: now - c.Start}
		row.BitRate, row.RateKnown = w.rates.of(c, now)
		picture.States[c.State]++
		if q.Filter.matches(c) {
			picture.Matching++
			first.add(&row)
			open.add(c, Sum{Open: 1, BitRate: row.BitRate})
		}
	}
	picture.Open = first.ranked()
	w.mu.Lock()
	defer w.mu.Unlock()
	ended := w.talkers
	if len(q.Filter.terms) > 0 { // what matched of them nobody knows any more
		ended = talkers{}
	}
	picture.Hosts = merged(open.hosts, ended.hosts, true, q.Talkers, rowsMost)
	picture.Pairs = merged(open.pairs, ended.pairs, false, q.Talkers, rowsMost)
	return picture
}
