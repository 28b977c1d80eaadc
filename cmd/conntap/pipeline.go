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

	"conntap/bpf"
	"conntap/cmd/conntap/internal/hints"
	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

const (
	batchSize     = 512                    // packets per Read
	flushInterval = 500 * time.Millisecond // a row written is readable after at most that
	lineInterval  = time.Second            // between two states of the status line
	readPatience  = 300 * time.Millisecond // for a read of a file to return after a signal
	fewConns      = 3                      // a hint at the end rests on at least so many
	manyConns     = 50                     // a hint in between on so many
)

// pipeline takes packets from a source through the tracker to the log. One
// goroutine reads the source, another does the rest; they take turns over one
// batch, so that rows are flushed, signals heard and the line redrawn while a
// read blocks.
type pipeline struct {
	source  collector.Source
	tracker *tracker.Tracker
	log     *connlog.Writer
	out     *output
	// live asks to let time move on without packets, and to detach before the
	// end.
	live  bool
	quiet bool
	// lineText is what the status line says now.
	lineText func(*pipeline) string

	packets  []bpf.Packet
	hints    hints.Observer
	ipBytes  uint64 // IP lengths of all packets
	gapped   uint64 // connections that lack payload
	started  time.Time
	writeErr error // the first one of the log
	stopped  bool  // by a signal
	blocked  bool  // a read never returned; the source is not to be asked
	detached bool
	unread   bool // nobody reads the rows any more
	open     uint64
}

// batch is what one Read returned.
type batch struct {
	n   int
	err error
}

// newPipeline connects the rooms. The tracker's connections go to the log.
func newPipeline(source collector.Source, cfg tracker.Config, log *connlog.Writer, out *output) *pipeline {
	p := &pipeline{source: source, log: log, out: out, packets: make([]bpf.Packet, batchSize), started: time.Now()}
	p.tracker = tracker.New(cfg, p.emit)
	return p
}

func (p *pipeline) emit(c *tracker.Conn) {
	p.hints.Add(c)
	if c.MissedBytes > 0 {
		p.gapped++
	}
	if p.writeErr == nil {
		p.writeErr = p.log.Write(c)
	}
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
	p.keep(p.log.Close())
	p.keep(p.out.Close())
	if !p.blocked {
		err = errors.Join(err, p.source.Close())
	}
	if p.unread = errors.Is(p.writeErr, syscall.EPIPE); p.unread {
		return err
	}
	return errors.Join(err, p.writeErr)
}

// keep stores the first error of the log.
func (p *pipeline) keep(err error) {
	if p.writeErr == nil {
		p.writeErr = err
	}
}

func (p *pipeline) loop(signals chan os.Signal) error {
	batches, next := make(chan batch), make(chan struct{})
	defer close(next)
	go p.read(batches, next)
	flush, line := time.NewTicker(flushInterval), time.NewTicker(lineInterval)
	defer flush.Stop()
	defer line.Stop()
	var giveUp <-chan time.Time
	for {
		select {
		case b := <-batches:
			if done, err := p.take(b); done || err != nil {
				return err
			}
			next <- struct{}{}
		case <-flush.C:
			p.keep(p.log.Flush())
		case <-line.C:
			p.out.line.Show(p.lineText(p))
			p.say(manyConns)
		case <-signals:
			signal.Stop(signals) // the next one kills
			p.stopped = true
			giveUp = time.After(readPatience)
		case <-giveUp:
			if !p.live {
				p.blocked = true
				return nil
			}
		}
	}
}

// read reads batches, each after the one before it was dealt with, until next is
// closed.
func (p *pipeline) read(batches chan<- batch, next <-chan struct{}) {
	for {
		n, err := p.source.Read(p.packets)
		batches <- batch{n, err}
		if _, more := <-next; !more {
			return
		}
	}
}

// take tracks one batch. It is done when the source or the log is.
func (p *pipeline) take(b batch) (done bool, err error) {
	packets := p.packets[:b.n]
	p.tracker.SetClockOffset(p.source.ClockOffset())
	p.tracker.Track(packets)
	for i := range packets {
		p.ipBytes += uint64(packets[i].IPLength)
	}
	if p.live && b.n == 0 {
		p.tracker.Advance(p.source.Now())
	}
	switch {
	case errors.Is(b.err, io.EOF):
		return true, nil
	case b.err != nil:
		return true, b.err
	case !p.stopped && p.writeErr == nil:
		return false, nil
	case !p.live:
		return true, nil
	}
	return p.detach()
}

// detach ends a live capture. What the ring still holds is then read, up to
// io.EOF.
func (p *pipeline) detach() (done bool, err error) {
	if p.detached {
		return false, nil
	}
	p.detached = true
	return false, p.source.Close()
}

// frames is the account of frames: fragments, which the source recorded, gave no
// connection and are among the skipped.
func (p *pipeline) frames() collector.Stats {
	frames, fragments := p.source.Stats(), p.tracker.Stats().Fragments
	frames.Recorded -= fragments
	frames.Skipped[bpf.ReasonFragment] += fragments
	return frames
}

// logged is the number of connections in the log.
func (p *pipeline) logged() uint64 {
	stats := p.tracker.Stats()
	return stats.Opened - stats.Open
}

// say prints the hints that rest on enough connections.
func (p *pipeline) say(enough uint64) {
	if p.quiet {
		return
	}
	for _, hint := range p.hints.New(enough) {
		p.out.line.Erase()
		fmt.Fprintln(os.Stderr, "hint:", hint)
	}
}
