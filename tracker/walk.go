// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"iter"
	"time"
)

const (
	walkStep = 1024 // indexes of connections that a shard reads at a time
	// walkShare is one part in so many of a shard's time, which a walk takes at most.
	walkShare = 20
)

// walk is a step of a walk over a shard's open connections.
type walk struct {
	from  uint32 // the first index
	next  uint32 // where to go on; 0: that was all
	chunk *rowChunk
	took  time.Duration
	done  chan struct{} // gets one after the step
}

// Connections walks over the open connections as they are meanwhile, each as it
// would be logged if it ended then. A connection that is open from the beginning to
// the end of the walk comes exactly once, one that opens or ends meanwhile once or
// not at all; their order says nothing. The values are used again, and are
// not to be kept.
//
// It may be called from any goroutine, and several may walk. The shards serve it
// between their batches, in steps that take at most a twentieth of their time: a
// million connections take some seconds. After Close nothing comes.
func (h *Shards) Connections() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		w := &walk{chunk: newRowChunk(), done: make(chan struct{}, 1)}
		for _, s := range h.shards {
			for w.next = 1; w.next != 0 && s.step(w); {
				begin := time.Now()
				for i := range w.chunk.rows {
					if !yield(&w.chunk.rows[i]) {
						return
					}
				}
				if w.next != 0 {
					time.Sleep((walkShare-1)*w.took - time.Since(begin))
				}
			}
		}
	}
}

// step has the shard's goroutine do the next step of a walk; it can't once the shard
// has taken its last batch.
func (s *shard) step(w *walk) bool {
	w.from = w.next
	select {
	case s.walks <- w:
		<-w.done
		return true
	case <-s.ending:
		return false
	}
}

// walk does a step.
func (s *shard) walk(w *walk) {
	begin := time.Now()
	w.chunk.clear()
	t := s.tracker
	end := min(w.from+walkStep, t.connections.End())
	for i := w.from; i < end; i++ {
		if c := t.connectionAt(i); c.bits&bitLive != 0 {
			t.fillRow(c)
			w.chunk.add(&t.row, rowKey{})
		}
	}
	if w.next = end; end == t.connections.End() {
		w.next = 0
	}
	w.took = time.Since(begin)
	w.done <- struct{}{}
}
