// SPDX-License-Identifier: Apache-2.0

package main

import (
	"sync"
	"sync/atomic"

	"conntap/cmd/conntap/internal/hints"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

// giveWayEvery is how many rows are written in between: some 10 µs.
const giveWayEvery = 2

// rowWriter writes the tracker's rows, on the goroutine on which they come out.
type rowWriter struct {
	// lost is how many packets the source lost from one time to another; nil if no
	// column wants it, or if nobody knows. It is called without mu.
	lost func(from, to int64) uint64
	// interfaceName is what the source calls the interface of a number; nil if no
	// column wants it, or if nobody knows.
	interfaceName func(number uint16) string
	// cgroupPath is what the source calls the control group of an id; nil if no column
	// wants it.
	cgroupPath func(id uint64) string

	// giveWay is called now and then between rows: for other programs that wait for the
	// CPU. Nil: they need not be thought of.
	giveWay func()
	rows    uint // handed to add

	limit rowLimit

	long *connlog.Writer // takes the interim records; nil if there are none

	written, unwritten atomic.Uint64 // connections that the log took, and did not take

	// mu guards what follows, and whatever else is written to the terminal.
	mu     sync.Mutex
	log    *connlog.Writer
	hints  hints.Observer
	gapped uint64 // connections that lack payload
	err    error  // the first one
}

// add takes a connection.
func (w *rowWriter) add(c *tracker.Conn) {
	if w.lost != nil {
		c.LostRecords, c.LostKnown = w.lost(c.Start, c.Last), true
	}
	if w.interfaceName != nil {
		c.InterfaceName = w.interfaceName(c.Interface)
	}
	if w.cgroupPath != nil && c.Owner.PID != 0 {
		c.Cgroup = w.cgroupPath(c.Owner.Cgroup)
	}
	if w.rows++; w.rows%giveWayEvery == 0 && w.giveWay != nil {
		w.giveWay()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Interim {
		w.note(w.long.Write(c))
		return
	}
	if c.MissedBytes > 0 {
		w.gapped++
	}
	w.hints.Add(c)
	if w.limit.holds(c) {
		return
	}
	if w.err == nil {
		w.err = w.log.Write(c)
	}
	if w.err == nil {
		w.written.Add(1)
	} else {
		w.unwritten.Add(1)
	}
}

// note keeps the first error.
func (w *rowWriter) note(err error) {
	if w.err == nil {
		w.err = err
	}
}

// flush makes the rows so far readable, and returns the first error of the logs.
func (w *rowWriter) flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, log := range w.logs() {
		if w.err == nil {
			w.err = log.Flush()
		}
	}
	return w.err
}

// failing is the first error of the log. It may be called from any goroutine, and does
// not wait for a write that is under way.
func (w *rowWriter) failing() error {
	if !w.mu.TryLock() {
		return nil
	}
	defer w.mu.Unlock()
	return w.err
}

// close ends the logs, after the last row.
func (w *rowWriter) close() error {
	for _, log := range w.logs() {
		w.note(log.Close())
	}
	return w.err
}

// logs are those that there are.
func (w *rowWriter) logs() []*connlog.Writer {
	if w.long == nil {
		return []*connlog.Writer{w.log}
	}
	return []*connlog.Writer{w.log, w.long}
}
