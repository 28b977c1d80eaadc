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

	"conntap/cmd/conntap/internal/health"
	"conntap/cmd/conntap/internal/notify"
	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

const (
	flushInterval = 500 * time.Millisecond // a row written is readable after at most that
	lineInterval  = time.Second            // between two states of the status line
	readPatience  = 300 * time.Millisecond // for a read of a file to return after a signal
	fewConns      = 3                      // a hint at the end rests on at least so many
	manyConns     = 50                     // a hint in between on so many
)

// pipeline takes packets from a source through the tracker to the log. Reading,
// parsing, tracking and writing are stages, each on goroutines of its own; one
// goroutine between them keeps the batches in order, hears signals and redraws the
// line.
type pipeline struct {
	source  collector.Source
	tracker *tracker.Shards
	rows    *rowWriter
	out     *output
	// live asks to let time move on without packets, and to detach before the
	// end. Close of a live source may be called while it reads.
	live  bool
	quiet bool
	// watch notices what the machine does to conntap's time; nil for a file.
	watch *watcher
	// reload reads the configuration again, on SIGHUP; nil if there is none to be read.
	reload func()
	dedup  *collector.Dedup // takes duplicates out; nil: they count
	// lineText is what the status line says now.
	lineText func(*pipeline) string
	health   *health.Monitor
	service  *notify.Service // nil unless systemd started it

	logNews    logNews
	signals    chan os.Signal   // those that end it; nil: they are caught from run on
	hangups    <-chan os.Signal // nil: none is caught
	onTerminal bool             // standard error was a terminal at the start

	started time.Time
	err     error // of detaching, or of the log
	stopped bool  // by a signal
	ending  bool  // by a signal, or because the log can't be written
	blocked bool  // a read never returned; the source is not to be asked
	unread  bool  // nobody reads the rows any more
}

// newPipeline connects the rooms. The connections of as many shards go to the log.
func newPipeline(source collector.Source, cfg tracker.Config, shards int, log *connlog.Writer, out *output) *pipeline {
	p := &pipeline{
		source: source, rows: &rowWriter{log: log, long: out.longLog}, out: out,
		started: time.Now(), onTerminal: isTerminal(os.Stderr), health: health.New(),
	}
	p.rows.hints.Written, p.rows.limit.most = log.Written, out.rowsPerSecond
	p.tracker = tracker.NewShards(cfg, shards, p.rows.add)
	return p
}

// run works until the source ends, a signal comes or the log can't be written,
// then logs what is open. The errors of source and log come back, but no broken
// pipe: whoever reads the rows has seen enough, and need not hear of it.
func (p *pipeline) run() error {
	signals := p.signals
	if signals == nil {
		signals = catchEnd()
	}
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE)

	err := p.loop(signals)
	p.tracker.Close()
	p.keep(p.rows.close())
	p.keep(p.out.Close())
	p.sayLogNews()
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
	feed := newFeed(p.source, p.tracker, p.live, p.dedup)
	flush, line := time.NewTicker(flushInterval), time.NewTicker(lineInterval)
	defer flush.Stop()
	defer line.Stop()
	var giveUp <-chan time.Time
	for {
		select {
		case b, more := <-feed.full:
			if !more {
				return nil
			}
			if err := feed.track(b); err != nil {
				return sourceError(err)
			}
			p.health.Moved(health.Reader)
		case <-flush.C:
			p.keep(p.rows.flush())
			p.health.Moved(health.Writer)
		case <-line.C:
			text := p.lineText(p)
			p.show(text)
			_ = p.service.Status(text) // a manager that does not listen is no reason to end
			p.say(manyConns)
			p.sayLogNews()
			p.sayWatch()
		case <-p.hangups:
			if p.hangUp() {
				p.stop(signals)
			}
		case <-signals:
			p.stop(signals)
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
			close(feed.stop)
			giveUp = time.After(readPatience)
		}
	}
}

// stop has the loop end. The next signal kills.
func (p *pipeline) stop(signals chan os.Signal) {
	signal.Stop(signals)
	p.stopped = true
	_ = p.service.Stopping()
}

// sourceError is the error of a source that ended, if it is one.
func sourceError(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// logged is the number of connections in the log, or nearly there.
func (p *pipeline) logged() uint64 {
	held, stats := p.rows.limit.rows.Load(), p.tracker.Stats()
	closed := stats.Opened - stats.Open
	return closed - min(held, closed) // rows may be ahead of the account
}

// show puts text into the status line.
func (p *pipeline) show(text string) {
	p.rows.mu.Lock()
	defer p.rows.mu.Unlock()
	if p.quiet {
		p.out.line.Erase()
	} else {
		p.out.line.Show(text)
	}
}

// tell says a sentence about a source, beside the status line. There may be no pipeline
// yet.
func (p *pipeline) tell(sentence string) {
	if p != nil {
		p.rows.mu.Lock()
		defer p.rows.mu.Unlock()
		p.out.line.Erase()
	}
	tell(sentence)
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
