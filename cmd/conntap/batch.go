// SPDX-License-Identifier: Apache-2.0

package main

import (
	"conntap/bpf"
	"conntap/collector"
)

// batch is what one Read of a source brought. Two take turns: one is tracked
// while the source reads the other, which leaves the payloads of the first alone.
type batch struct {
	packets          []bpf.Packet
	n                int // packets that were read
	err              error
	now, clockOffset int64 // of the source, after the read
}

func newBatch() *batch { return &batch{packets: make([]bpf.Packet, batchSize)} }

// readBatches fills empty batches and hands them over until the source ends or
// empty is closed, then closes full.
func readBatches(source collector.Source, full chan<- *batch, empty <-chan *batch) {
	defer close(full)
	for b := range empty {
		b.read(source)
		full <- b
		if b.err != nil {
			return
		}
	}
}

func (b *batch) read(source collector.Source) {
	b.n, b.err = source.Read(b.packets)
	b.now, b.clockOffset = source.Now(), source.ClockOffset()
}
