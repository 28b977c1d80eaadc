// SPDX-License-Identifier: Apache-2.0

package main

import (
	"sync"
	"sync/atomic"

	"conntap/cmd/conntap/internal/hints"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

const (
	rowsPerBatch = 256
	rowBatches   = 4 // on their way to the log
)

// rowBatch is connections on their way to the log, with copies of what the tracker
// uses again.
type rowBatch struct {
	rows    []tracker.Conn
	history []byte
	parents []tracker.UID
	flush   bool // the log is to be readable up to here
}

// add copies a connection. What grew while it was filled stays valid in its old
// place.
func (b *rowBatch) add(c *tracker.Conn) {
	history, parents := len(b.history), len(b.parents)
	b.history = append(b.history, c.History...)
	b.parents = append(b.parents, c.TunnelParents...)
	b.rows = append(b.rows, *c)
	row := &b.rows[len(b.rows)-1]
	row.History = b.history[history:]
	if row.TunnelParents != nil { // nil is unset, and no empty set
		row.TunnelParents = b.parents[parents:]
	}
}

func (b *rowBatch) clear() {
	b.rows, b.history, b.parents, b.flush = b.rows[:0], b.history[:0], b.parents[:0], false
}

// rowWriter formats and writes rows on a goroutine of its own, beside the tracker.
type rowWriter struct {
	full, empty chan *rowBatch
	current     *rowBatch // being filled
	done        chan struct{}
	// lost is how many packets the source lost from one time to another; nil if no
	// column wants it, or if nobody knows. It is called without mu.
	lost func(from, to int64) uint64

	written, unwritten atomic.Uint64 // connections that the log took, and did not take

	// mu guards what follows, and whatever else is written to the terminal.
	mu    sync.Mutex
	log   *connlog.Writer
	hints hints.Observer
	err   error // the first one
}

func newRowWriter(log *connlog.Writer) *rowWriter {
	w := &rowWriter{
		full: make(chan *rowBatch, rowBatches), empty: make(chan *rowBatch, rowBatches+1),
		current: new(rowBatch), done: make(chan struct{}), log: log,
	}
	for range rowBatches {
		w.empty <- new(rowBatch)
	}
	go w.run()
	return w
}

// add takes a connection, which the caller may use again.
func (w *rowWriter) add(c *tracker.Conn) {
	w.current.add(c)
	if len(w.current.rows) == rowsPerBatch {
		w.handOver()
	}
}

func (w *rowWriter) handOver() {
	w.full <- w.current
	w.current = <-w.empty
	w.current.clear()
}

// flush makes the rows so far readable, soon.
func (w *rowWriter) flush() {
	w.current.flush = true
	w.handOver()
}

// close writes all rows and ends the log.
func (w *rowWriter) close() error {
	w.full <- w.current
	close(w.full)
	<-w.done
	if err := w.log.Close(); w.err == nil {
		w.err = err
	}
	return w.err
}

// failed is the first error of the log so far.
func (w *rowWriter) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *rowWriter) run() {
	defer close(w.done)
	for b := range w.full {
		w.write(b)
		w.empty <- b
	}
}

func (w *rowWriter) write(b *rowBatch) {
	if w.lost != nil {
		for i := range b.rows {
			row := &b.rows[i]
			row.LostRecords, row.LostKnown = w.lost(row.Start, row.Last), true
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range b.rows {
		w.hints.Add(&b.rows[i])
		if w.err == nil {
			w.err = w.log.Write(&b.rows[i])
		}
		if w.err == nil {
			w.written.Add(1)
		} else {
			w.unwritten.Add(1)
		}
	}
	if b.flush && w.err == nil {
		w.err = w.log.Flush()
	}
}
