// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

const (
	batchSize     = 8192                   // packets per Read: handing one over costs a wake-up
	batchCount    = 2                      // one is read while the other is tracked
	flushInterval = 500 * time.Millisecond // a row written is readable after at most that
	lineInterval  = time.Second            // between two states of the status line
	readPatience  = 300 * time.Millisecond // for a read of a file to return after a signal
	fewConns      = 3                      // a hint at the end rests on at least so many
	manyConns     = 50                     // a hint in between on so many
)

// pipeline takes packets from a source through the tracker to the log. One
// goroutine reads the source, one writes the rows, and one between them tracks,
// hears signals and redraws the line: a batch is read while the one before it is
// tracked.
type pipeline struct {
	source  collector.Source
	tracker *tracker.Tracker
	rows    *rowWriter
	out     *output
	// live asks to let time move on without packets, and to detach before the
	// end. Close of a live source may be called while it reads.
	live  bool
	quiet bool
	// lineText is what the status line says now.
	lineText func(*pipeline) string

	published publishedStats

	gapped  uint64 // connections that lack payload
	started time.Time
	err     error // of detaching, or of the log
	stopped bool  // by a signal
	ending  bool  // by a signal, or because the log can't be written
	blocked bool  // a read never returned; the source is not to be asked
	unread  bool  // nobody reads the rows any more
	open    uint64
}

// newPipeline connects the rooms. The tracker's connections go to the log.
func newPipeline(source collector.Source, cfg tracker.Config, log *connlog.Writer, out *output) *pipeline {
	p := &pipeline{source: source, rows: newRowWriter(log), out: out, started: time.Now()}
	p.tracker = tracker.New(cfg, p.emit)
	return p
}

func (p *pipeline) emit(c *tracker.Conn) {
	if c.MissedBytes > 0 {
		p.gapped++
	}
	p.rows.add(c)
}

// run works until the source ends, a signal comes or the log can't be written,
// then logs what is open. The errors of source and log come back, but no broken
// pipe: whoever reads the rows has seen enough, and need not hear of it.
func (p *pipeline) run() error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE)

	err := p.loop(signals)
	p.open = p.tracker.Stats().Open
	p.tracker.Close()
	p.keep(p.rows.close())
	p.keep(p.out.Close())
	if !p.blocked {
		err = errors.Join(err, p.source.Close())
	}
	if p.unread = errors.Is(p.err, syscall.EPIPE); p.unread {
		return err
	}
	return errors.Join(err, p.err)
}

// keep stores the first error of the log, or of detaching.
func (p *pipeline) keep(err error) {
	if p.err == nil {
		p.err = err
	}
}

// loop tracks batches until the reader ends, by itself or because of end.
func (p *pipeline) loop(signals chan os.Signal) error {
	full, empty := make(chan *batch, batchCount), make(chan *batch, batchCount)
	for range batchCount {
		empty <- newBatch()
	}
	go readBatches(p.source, full, empty)
	flush, line := time.NewTicker(flushInterval), time.NewTicker(lineInterval)
	defer flush.Stop()
	defer line.Stop()
	var giveUp <-chan time.Time
	for {
		select {
		case b, more := <-full:
			if !more {
				return nil
			}
			p.take(b)
			if b.err != nil {
				return sourceError(b.err)
			}
			if !p.ending || p.live {
				empty <- b
			}
		case <-flush.C:
			p.rows.flush()
			p.keep(p.rows.failed())
		case <-line.C:
			p.show(p.lineText(p))
			p.say(manyConns)
		case <-signals:
			signal.Stop(signals) // the next one kills
			p.stopped = true
		case <-giveUp:
			p.blocked = true
			return nil
		}
		if (p.stopped || p.err != nil) && !p.ending {
			p.ending = true
			if p.live {
				p.keep(p.source.Close()) // detaches; the reader goes on to the end
				continue
			}
			close(empty)
			giveUp = time.After(readPatience)
		}
	}
}

// take tracks one batch.
func (p *pipeline) take(b *batch) {
	p.tracker.SetClockOffset(b.clockOffset)
	p.tracker.Track(b.packets[:b.n])
	if p.live && b.n == 0 {
		p.tracker.Advance(b.now)
	}
	p.published.publish(p.tracker.Stats())
}

// sourceError is the error of a source that ended, if it is one.
func sourceError(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// logged is the number of connections in the log.
func (p *pipeline) logged() uint64 {
	stats := p.tracker.Stats()
	return stats.Opened - stats.Open
}

// show puts text into the status line.
func (p *pipeline) show(text string) {
	p.rows.mu.Lock()
	defer p.rows.mu.Unlock()
	p.out.line.Show(text)
}

// say prints the hints that rest on enough connections.
func (p *pipeline) say(enough uint64) {
	if p.quiet {
		return
	}
	p.rows.mu.Lock()
	defer p.rows.mu.Unlock()
	for _, hint := range p.rows.hints.New(enough) {
		p.out.line.Erase()
		fmt.Fprintln(os.Stderr, "hint:", hint)
	}
}
