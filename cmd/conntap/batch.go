// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"

	"conntap/bpf"
	"conntap/collector"
	"conntap/tracker"
)

const (
	batchSize  = 2048 // packets of a Read: their memory stays in a processor's cache
	batchCount = 3    // on their way, beside one for each goroutine that parses
	parsersMax = 8
)

// batch is packets on their way from the source to the shards, and what they stand
// in.
type batch struct {
	tracker.Batch
	frames   collector.Frames // of a capture file
	payloads []byte           // of any other source
	err      error
	ready    chan struct{} // gets one when the packets are there
}

// feed brings batches of a source in order. Batches that the tracker has done with
// are filled again.
type feed struct {
	source  collector.Source
	tracker *tracker.Shards
	live    bool             // let time move on without packets
	dedup   *collector.Dedup // marks duplicates; nil: they count
	full    chan *batch
	empty   chan *batch
	stop    chan struct{} // closed to end it early
}

func newFeed(source collector.Source, shards *tracker.Shards, live bool, dedup *collector.Dedup) *feed {
	files, isFile := source.(*collector.FileSource)
	parsers := 1
	if isFile {
		parsers = min(runtime.GOMAXPROCS(0), parsersMax)
	}
	n := batchCount + parsers
	f := &feed{
		source: source, tracker: shards, live: live, dedup: dedup,
		full: make(chan *batch, n), empty: make(chan *batch, n), stop: make(chan struct{}),
	}
	for range n {
		b := &batch{ready: make(chan struct{}, 1)}
		b.Done = func(*tracker.Batch) { f.giveBack(b) }
		f.empty <- b
	}
	if isFile {
		go f.readFiles(files, parsers)
	} else {
		go f.read()
	}
	return f
}

func (f *feed) giveBack(b *batch) {
	b.frames.Release()
	f.empty <- b
}

// track has a batch tracked, and returns the error that came with it. Batches are for
// one goroutine, in their order.
func (f *feed) track(b *batch) error {
	<-b.ready
	if files, ok := f.source.(*collector.FileSource); ok {
		files.Account(&b.frames)
	}
	if f.dedup != nil {
		f.dedup.Mark(b.Packets)
	}
	err := b.err // the batch is not ours once it is tracked
	f.tracker.Track(&b.Batch)
	return err
}

// next returns a batch to be filled, nil when the feed is to end.
func (f *feed) next() *batch {
	select {
	case <-f.stop:
		return nil
	case b := <-f.empty:
		b.Packets, b.err = b.Packets[:0], nil
		return b
	}
}

// readFiles reads frames, which several goroutines parse.
func (f *feed) readFiles(files *collector.FileSource, parsers int) {
	defer close(f.full)
	frames := make(chan *batch, cap(f.full))
	defer close(frames)
	for range parsers {
		go f.parse(files, frames)
	}
	for b := f.next(); b != nil; b = f.next() {
		b.err = files.ReadFrames(&b.frames)
		if b.err != nil { // what is in it after an error is nothing
			b.ready <- struct{}{}
			f.full <- b
			return
		}
		frames <- b
		f.full <- b
	}
}

func (f *feed) parse(files *collector.FileSource, frames <-chan *batch) {
	for b := range frames {
		b.Packets = files.Parse(&b.frames, b.Packets)
		if f.dedup == nil { // packets are not to change any more
			f.tracker.Prepare(&b.Batch)
		}
		b.ready <- struct{}{}
	}
}

// read reads packets, and keeps their payloads, as the source does not for long. It
// does nothing else: the rings are waiting.
func (f *feed) read() {
	defer close(f.full)
	for b := f.next(); b != nil; b = f.next() {
		if cap(b.Packets) < batchSize {
			b.Packets = make([]bpf.Packet, batchSize)
		}
		var n int
		n, b.err = f.source.Read(b.Packets[:batchSize])
		b.Packets = b.Packets[:n]
		b.keepPayloads()
		b.ClockOffset, b.Now = f.source.ClockOffset(), 0
		if f.live && n == 0 {
			b.Now = f.source.Now()
		}
		b.ready <- struct{}{}
		f.full <- b
		if b.err != nil {
			return
		}
	}
}

// keepPayloads copies the payloads to the batch's own memory. Few live packets
// carry any.
func (b *batch) keepPayloads() {
	b.payloads = b.payloads[:0]
	for i := range b.Packets {
		if p := &b.Packets[i]; len(p.Payload) > 0 {
			start := len(b.payloads)
			b.payloads = append(b.payloads, p.Payload...) // what it grew out of stays valid
			p.Payload = b.payloads[start:len(b.payloads):len(b.payloads)]
		}
	}
}
