// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"conntap/bpf"
)

const (
	// stampSlack is more than a store takes to be seen by other CPUs: a program
	// announces a packet before it reads the clock for it.
	stampSlack = int64(5 * time.Microsecond)
	// waitLongest is how long the packets of all CPUs are held back for one that has
	// announced some, and does not deliver.
	waitLongest = int64(50 * time.Millisecond)
	// giveWayEvery is how many batches are read in between: some 20 µs.
	giveWayEvery = 2
	// frameOpen is the time of a stream in the middle of a frame: it goes on first.
	frameOpen = math.MinInt64
)

// streams are the packets of all CPUs and hooks: each CPU's packets of one hook
// are a stream in time order, and all of them are merged by time, ties in the order
// of CPUs and hooks. The stages are ring, decode, merge, GSO expansion.
//
// What has been stamped but is not yet in its ring is known by its pending word, a
// lower bound of its time: no packet beyond the least of them is handed on before
// it is there, or waitLongest is over. What comes behind a later packet all the
// same is handed on at once, and counted as late.
//
// Without pending words there is one stream alone, in which the packets stand in
// the order in which the programs have handed them in.
type streams struct {
	rings []*ring
	all   []stream
	merge merge   // of those that have a packet, by the time of the next
	dry   []int32 // those that have none before their ring's limit

	until  int64 // packets stamped before it are all there, those from it on must wait
	last   int64 // time of the latest packet handed on
	oldest int64 // time of the oldest packet that the last fill handed on
	late   atomic.Uint64

	packets uint64 // outermost ones handed on

	patience int64 // how long to wait for what is announced, ns
	losses   *losses
	giveWay  func() // nil: nobody is to go first
	batches  uint   // begun
	segments segmenter
	payloads payloadMemory
	err      error
}

// stream is what one CPU records at one hook, or all that is in the ring.
type stream struct {
	ring  *ring
	hook  bpf.Hook // hookAny: of all hooks
	batch bpf.Batch
	start uint64 // of the sample that batch is in: what is before it in the ring is done with
	next  uint64 // of the sample to be looked at next

	pending *uint64 // nil: there is none
	seen    uint64  // what stood there at the last look
	since   int64   // and when it was seen first, ns
}

// hookAny stands for all hooks.
const hookAny = bpf.HookCount

// newStreams merges the packets of rings, one for each CPU, each with batches of
// these hooks. pending is where the word of a CPU and hook stands.
func newStreams(rings []*ring, hooks []bpf.Hook, pending func(int, bpf.Hook) *uint64, losses *losses) *streams {
	s := &streams{rings: rings, patience: waitLongest, losses: losses}
	for cpu, r := range rings {
		for _, hook := range hooks {
			s.add(stream{ring: r, hook: hook, pending: pending(cpu, hook)})
		}
	}
	return s
}

// newSingleStream takes the packets of a ring as they come.
func newSingleStream(r *ring, losses *losses) *streams {
	s := &streams{rings: []*ring{r}, losses: losses, until: math.MaxInt64}
	s.add(stream{ring: r, hook: hookAny})
	return s
}

func (s *streams) add(one stream) {
	one.next = atomic.LoadUint64(one.ring.consumer)
	one.start = one.next
	s.dry = append(s.dry, int32(len(s.all)))
	s.all = append(s.all, one)
}

// look takes in what the rings hold now, and finds up to which time that is all.
// Now must have been read before.
func (s *streams) look(now int64) {
	until := now - stampSlack
	for i := range s.all {
		until = min(until, s.all[i].announced(now, s.patience)) // before the ring is looked at
	}
	s.until = max(s.until, until)
	for _, r := range s.rings {
		r.look()
	}
	dry := s.dry[:0]
	for _, i := range s.dry {
		if time, more := s.nextTime(&s.all[i]); more {
			s.merge.push(head{time, i})
		} else {
			dry = append(dry, i)
		}
	}
	s.dry = dry
}

// announced is a lower bound of the times of what is not in the ring yet. A word
// that stands still for longer than patience counts for nothing until it changes:
// of a CPU that was taken away, for one.
func (s *stream) announced(now, patience int64) int64 {
	if s.pending == nil {
		return math.MaxInt64
	}
	word := atomic.LoadUint64(s.pending)
	if word != s.seen {
		s.seen, s.since = word, now
	}
	if word == 0 || now-s.since > patience {
		return math.MaxInt64
	}
	return int64(word)
}

// finish lets everything through: the programs have ended, and nothing is pending.
func (s *streams) finish() { s.until = math.MaxInt64 }

// waiting tells whether there are packets that must wait for those of others.
func (s *streams) waiting() bool { return len(s.merge) > 0 }

// merged tells whether the streams are several CPUs' own.
func (s *streams) merged() bool { return s.all[0].hook != hookAny }

// complete is the time before which all packets were handed on; what is late aside.
func (s *streams) complete() int64 {
	if s.segments.left > 0 || s.until == math.MaxInt64 || len(s.merge) > 0 && s.merge[0].time < s.until {
		return s.last
	}
	return s.until
}

// fill stores packets in dst, and gives back the room of the samples that are done
// with. An error may come together with packets.
func (s *streams) fill(dst []bpf.Packet) (n int, err error) {
	s.oldest = math.MaxInt64
	n = s.segments.fill(dst)
	s.packets += countOutermost(dst[:n])
	for i := range dst[:n] {
		s.oldest = min(s.oldest, dst[i].Time)
		s.payloads.keep(&dst[i])
	}
	for n < len(dst) && len(s.merge) > 0 && s.merge[0].time < s.until && s.err == nil {
		n = s.run(dst, n)
	}
	s.release()
	return n, s.err
}

// run hands on the packets of the first stream for as long as they come before
// those of all others, and returns how many are in dst then.
func (s *streams) run(dst []bpf.Packet, n int) int {
	first, end := s.merge[0], min(s.merge.runEnd(), s.until)
	late := first.time < s.last && first.time != frameOpen && s.merged()
	if late {
		end = min(end, s.last)
	}
	from, one := n, &s.all[first.source]
	time, more := first.time, true
	for more && time < end && n < len(dst) && s.err == nil {
		n = s.take(&one.batch, dst, n, end)
		time, more = s.nextTime(one)
	}
	s.account(dst[from:n], late)
	if more {
		s.merge.advance(time)
	} else {
		s.merge.pop()
		s.dry = append(s.dry, first.source)
	}
	return n
}

// account is told what a run has handed on.
func (s *streams) account(run []bpf.Packet, late bool) {
	if len(run) == 0 {
		return
	}
	s.oldest = min(s.oldest, run[0].Time)
	s.last = max(s.last, run[len(run)-1].Time)
	if !late {
		return
	}
	s.late.Add(countOutermost(run))
}

// take hands on packets of a batch that are stamped before end, and the frame that
// was begun.
func (s *streams) take(b *bpf.Batch, dst []bpf.Packet, n int, end int64) int {
	for n < len(dst) {
		if time, more := b.NextTime(); !more || time >= end && !b.InFrame() {
			break
		}
		p := &dst[n]
		if !b.Next(p) {
			break
		}
		s.payloads.keep(p)
		if p.Blocks&bpf.BlockGSO == 0 {
			if p.Kind == bpf.KindPacket {
				s.packets++
			}
			n++
			continue
		}
		if !b.InFrame() && s.segments.isRun(p) {
			s.packets += uint64(p.GSOSegments)
			n++
			continue
		}
		s.takeFrame(b, p)
		filled := s.segments.fill(dst[n:])
		s.packets += countOutermost(dst[n : n+filled])
		n += filled
	}
	return n
}

// takeFrame hands to the segmenter the first packet of a frame, and the others.
func (s *streams) takeFrame(b *bpf.Batch, p *bpf.Packet) {
	s.segments.take(p)
	for b.InFrame() {
		next := s.segments.next()
		if next == nil || !b.Next(next) {
			break
		}
		s.payloads.keep(next)
		s.segments.keep()
	}
	s.segments.start()
}

// nextTime is the time of a stream's next packet, false if there is none before
// its ring's limit.
func (s *streams) nextTime(one *stream) (int64, bool) {
	for {
		if time, more := one.batch.NextTime(); more {
			if one.batch.InFrame() {
				return frameOpen, true
			}
			return time, true
		}
		if !s.nextBatch(one) {
			return 0, false
		}
	}
}

// nextBatch goes on to the stream's next batch, if there is one.
func (s *streams) nextBatch(one *stream) bool {
	if err := one.batch.Err(); err != nil {
		return s.fail(err)
	}
	for {
		sample, next := one.ring.sample(one.next)
		one.start = one.next
		if next == one.next {
			return false
		}
		one.next = next
		if sample == nil || !one.holds(sample) {
			continue
		}
		if err := one.batch.Reset(sample); err != nil {
			return s.fail(err)
		}
		s.losses.noteBatch(&one.batch.Header)
		if s.batches++; s.batches%giveWayEvery == 0 && s.giveWay != nil {
			s.giveWay()
		}
		return true
	}
}

func (s *streams) fail(err error) bool {
	s.err = fmt.Errorf("reading the ring: %w", err)
	return false
}

// holds tells whether the sample is one of the stream's.
func (s *stream) holds(sample []byte) bool {
	const hook = unsafe.Offsetof(bpf.BatchHeader{}.Hook)
	return s.hook == hookAny || len(sample) <= int(hook) || bpf.Hook(sample[hook]) == s.hook
}

// release gives back the room of all samples that no stream needs any more.
func (s *streams) release() {
	each := len(s.all) / len(s.rings)
	for i, r := range s.rings {
		done := s.all[i*each].start
		for k := range s.all[i*each+1 : (i+1)*each] {
			done = min(done, s.all[i*each+1+k].start)
		}
		r.release(done)
	}
}
