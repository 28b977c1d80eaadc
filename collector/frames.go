// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"slices"

	"conntap/bpf"
)

// framesMax is how many frames are read at a time: enough that handing them over
// does not count, few enough that their packets stay in a processor's cache.
const framesMax = 4096

// Frames is a run of captured frames between [FileSource.ReadFrames] and the packets
// that [FileSource.Parse] makes of them. It holds the memory that they stand in, and
// that the payloads of their packets are part of, until Release. The zero value is
// empty and ready; it may be used again after Release.
type Frames struct {
	frames   []frame
	ordinal  uint64 // of the first
	memories []*memory
	parsed   parsedFrames
}

// parsedFrames is the account of frames that were parsed, but for what Account has
// added to the source's.
type parsedFrames struct {
	Stats
	cut, crowded  uint64
	first, latest int64 // valid if Seen
}

// Len is how many frames there are.
func (f *Frames) Len() int { return len(f.frames) }

// Release gives the memory back. The payloads of the frames' packets are valid no
// more.
func (f *Frames) Release() {
	for _, m := range f.memories {
		m.drop()
	}
	f.frames, f.memories = f.frames[:0], f.memories[:0]
}

// add takes a capture's current frame.
func (f *Frames) add(c *capture) {
	f.frames = append(f.frames, c.frame)
	m := c.window.memory
	if n := len(f.memories); n > 0 && f.memories[n-1] == m || slices.Contains(f.memories, m) {
		return
	}
	m.users.Add(1)
	f.memories = append(f.memories, m)
}

// ReadFrames reads frames into f, which must be empty: up to where a file's memory
// must be refilled, perhaps none. After the last frame it returns io.EOF, or all
// that was wrong with the files.
func (s *FileSource) ReadFrames(f *Frames) error {
	f.ordinal = s.read + 1
	if s.stale {
		s.stale = false
		s.advanced(s.next().refillNext())
	}
	for len(f.frames) < framesMax && len(s.merge) > 0 && !s.stale {
		c := s.next()
		if c.parked() && !s.resume(c) {
			continue
		}
		f.add(c)
		s.advanced(c.next())
	}
	s.read += uint64(len(f.frames))
	if len(f.frames) == 0 && len(s.merge) == 0 {
		return s.lastError()
	}
	return nil
}

// Parse appends to dst the packets of frames that ReadFrames has read; those of a
// frame stand together. A frame without one comes as bpf.KindNone. It may be called
// from any goroutine, once for each Frames; Account must follow.
func (s *FileSource) Parse(f *Frames, dst []bpf.Packet) []bpf.Packet {
	parser := s.parser
	n := len(dst)
	for i := range f.frames {
		if cap(dst)-n < bpf.PacketsMax {
			dst = slices.Grow(dst[:n], max(bpf.PacketsMax, n/2, len(f.frames)-i+bpf.PacketsMax))
		}
		n += f.parse(i, &parser, &s.selects, dst[n:n+bpf.PacketsMax])
	}
	return dst[:n]
}

// Account adds frames that were parsed to the source's account. It is for one
// goroutine, which takes the frames in the order in which they were read.
func (s *FileSource) Account(f *Frames) {
	p := &f.parsed
	if p.Seen == 0 {
		return
	}
	if s.stats.Seen == 0 {
		s.first, s.latest = p.first, p.latest
	}
	s.first, s.latest = min(s.first, p.first), max(s.latest, p.latest)
	s.cut += p.cut
	s.crowded += p.crowded
	s.mutex.Lock()
	addCounters(&s.stats.Counters, &p.Counters)
	s.stats.Packets += p.Packets
	s.stats.Bytes += p.Bytes
	s.mutex.Unlock()
	*p = parsedFrames{}
}

// seenAt tells apart where frames with packets were seen. A capture of Linux's "any"
// device says so for each (tcpdump.org, LINKTYPE_LINUX_SLL and LINKTYPE_LINUX_SLL2).
func (fr *frame) seenAt() (place uint16, hook bpf.Hook) {
	const outgoing = 4
	var packetType uint16
	switch fr.link {
	case bpf.LinkSLL:
		place, packetType = fr.place, binary.BigEndian.Uint16(fr.data)
	case bpf.LinkSLL2: // with the interface's number
		place, packetType = fr.place<<8+binary.BigEndian.Uint16(fr.data[6:]), uint16(fr.data[10])
	default:
		return fr.place, 0
	}
	if packetType == outgoing {
		return place, bpf.HookTCEgress
	}
	return place, bpf.HookTCIngress
}

// parse turns a frame into packets, counts it and says how many there are. A frame
// without one still moves time, and with it Zeek's timers; so does one that is not to
// be recorded, as the clock does live. dst has room for bpf.PacketsMax.
func (f *Frames) parse(i int, parser *bpf.Parser, selects *Selection, dst []bpf.Packet) int {
	fr, p := &f.frames[i], &f.parsed
	if p.Seen == 0 {
		p.first, p.latest = fr.time, fr.time
	}
	p.Seen++
	p.first, p.latest = min(p.first, fr.time), max(p.latest, fr.time)
	if uint64(len(fr.data)) < uint64(fr.wire) {
		p.cut++
	}
	ordinal := f.ordinal + uint64(i)
	parser.Link = fr.link
	n, reason := parser.Parse(fr.data, int(fr.wire), dst)
	if n == bpf.PacketsMax {
		p.crowded++
	}
	if reason != bpf.ReasonNone {
		p.Skipped[reason]++
	} else if n = selects.keep(dst[:n]); n == 0 {
		p.Filtered++
	}
	if n == 0 {
		dst[0] = bpf.Packet{Kind: bpf.KindNone, Time: fr.time, Ordinal: ordinal}
		return 1
	}
	place, hook := fr.seenAt()
	for i := range dst[:n] {
		dst[i].Time, dst[i].Ordinal, dst[i].Interface, dst[i].Hook = fr.time, ordinal, place, hook
		if dst[i].Kind == bpf.KindPacket {
			p.Packets++
		}
	}
	p.Recorded++
	p.Bytes += uint64(fr.wire)
	return n
}
