// SPDX-License-Identifier: Apache-2.0

package main

import (
	"conntap/bpf"
	"conntap/collector"
)

// keptPayload is how much of each payload outlives the read that brought it: what
// a live record can carry, so that files and live capture agree.
const keptPayload = bpf.PayloadFragment

// batch is what one Read of a source brought, with payloads of its own: it can
// be tracked while the source reads on.
type batch struct {
	packets          []bpf.Packet
	n                int // packets that were read
	err              error
	now, clockOffset int64 // of the source, after the read
	payloads         []byte
}

func newBatch() *batch {
	return &batch{packets: make([]bpf.Packet, batchSize), payloads: make([]byte, 0, batchSize*keptPayload)}
}

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
	kept := b.payloads[:0]
	for i := range b.packets[:b.n] {
		p := &b.packets[i]
		start := len(kept)
		kept = append(kept, p.Payload[:min(len(p.Payload), keptPayload)]...)
		p.Payload = kept[start:]
	}
}
