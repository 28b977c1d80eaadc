// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"sync"
)

const (
	// blockSize is the most bytes that lines handed over one after another make for
	// one write.
	blockSize = 256 << 10
	// spareBlocks is how many blocks' memory is kept to be used again.
	spareBlocks = 4
)

// block is whole lines on their way to a log, or, without a log, the wish to reopen
// all.
type block struct {
	log    *logFile
	lines  []byte
	memory []byte // what lines is a part of
	sealed bool   // it is being written, and takes no more
}

// backlog is the lines that wait for the disk, in the order in which they came. Any
// goroutine may add, and never waits; one takes.
type backlog struct {
	limit int           // bytes
	wake  chan struct{} // gets one when there is something new

	mu      sync.Mutex
	blocks  []*block
	bytes   int // of all blocks
	spare   [][]byte
	dropped uint64 // rows for which there was no room
}

func newBacklog(limit int) *backlog {
	return &backlog{limit: limit, wake: make(chan struct{}, 1)}
}

// add takes a copy of lines, or drops and counts them if there is no room.
func (b *backlog) add(log *logFile, lines []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bytes+len(lines) > b.limit {
		b.dropped += countRows(lines)
		return
	}
	b.bytes += len(lines)
	last := b.last()
	if last == nil || last.sealed || last.log != log || len(last.lines)+len(lines) > blockSize {
		last = &block{log: log, lines: b.memory()}
		b.blocks = append(b.blocks, last)
	}
	last.lines = append(last.lines, lines...)
	b.signal()
}

// addReopen marks the place behind all lines so far.
func (b *backlog) addReopen() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocks = append(b.blocks, &block{})
	b.signal()
}

func (b *backlog) last() *block {
	if len(b.blocks) == 0 {
		return nil
	}
	return b.blocks[len(b.blocks)-1]
}

func (b *backlog) memory() []byte {
	n := len(b.spare)
	if n == 0 {
		return nil
	}
	memory := b.spare[n-1]
	b.spare = b.spare[:n-1]
	return memory
}

func (b *backlog) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// first is the block that is next, nil for none. It belongs to the caller until done.
func (b *backlog) first() *block {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.blocks) == 0 {
		return nil
	}
	first := b.blocks[0]
	first.sealed = true
	if first.memory == nil {
		first.memory = first.lines
	}
	return first
}

// done takes n bytes off the first block, and the block away if none are left.
func (b *backlog) done(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.blocks) == 0 { // dropAll was faster
		return
	}
	first := b.blocks[0]
	b.bytes -= n
	first.lines = first.lines[n:]
	if len(first.lines) > 0 {
		return
	}
	b.blocks = append(b.blocks[:0], b.blocks[1:]...)
	if cap(first.memory) > 0 && len(b.spare) < spareBlocks {
		b.spare = append(b.spare, first.memory[:0])
	}
}

// dropAll gives all rows up that still wait, and returns how many they were.
func (b *backlog) dropAll() (rows uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, waiting := range b.blocks {
		rows += countRows(waiting.lines)
	}
	b.blocks, b.bytes, b.limit = nil, 0, 0
	b.dropped += rows
	return rows
}

// state is the bytes that wait and the rows that were dropped.
func (b *backlog) state() (waiting int, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes, b.dropped
}

// countRows counts lines; each row is one.
func countRows(lines []byte) uint64 { return uint64(bytes.Count(lines, []byte{'\n'})) }
