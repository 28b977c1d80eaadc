// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"conntap/bpf"
)

// maxOpenFiles is how many captures stay open from the start. Of more, each is
// opened when its time comes: a directory of rotated captures needs one or two.
const maxOpenFiles = 16

// FileOptions say how capture files are read.
type FileOptions struct {
	// Parser turns frames into packets; its Link is set for each frame.
	Parser bpf.Parser
	// Selection says which frames are recorded.
	Selection Selection
	// Stdin is what the path "-" stands for, os.Stdin if nil.
	Stdin io.Reader
}

// FileSource yields the packets of capture files, merged by time. Its methods are
// for one goroutine, but Stats, Progress, Parse and InterfaceName, which are for any,
// and Account, which may be called from one beside that of ReadFrames.
type FileSource struct {
	nameTable // as pcapng gives names to its interfaces

	stdin    io.Reader
	parser   bpf.Parser
	selects  Selection
	captures []*capture   // in the order of their names; nil when at their end
	merge    merge        // of captures, by the time of the current frame
	stale    bool         // the first one has no current frame before it is refilled
	read     uint64       // frames read so far
	current  *Frames      // of Read
	before   *Frames      // what current was before, whose payloads are still valid
	parsed   int          // of current's frames
	spare    []bpf.Packet // for a frame that may give more packets than dst has room for
	rest     []bpf.Packet // of spare: not handed out yet
	problems []error      // to be told after the last packet

	files         int
	places        uint16 // interfaces so far
	first, latest int64
	cut, badTimes uint64
	crowded       uint64
	total         int64 // bytes of all files, -1: unknown
	consumed      atomic.Int64

	mutex sync.Mutex
	stats Stats // guarded by mutex, of what Account has added
}

var _ Source = (*FileSource)(nil)

// FileSummary is what is to be said of the input as a whole.
type FileSummary struct {
	// Files is how many captures were opened.
	Files int
	// Size is their bytes on disk, compressed if they are; of streams what was
	// read.
	Size int64
	// First and Last are the earliest and the latest time of a frame, ns since
	// 1970; both 0 without frames.
	First, Last int64
	// Cut is how many frames are shorter than they were on the wire: a snap
	// length was set.
	Cut uint64
	// Crowded is how many frames gave as many packets as a frame may give
	// (bpf.PacketsMax): further ones in it were not read.
	Crowded uint64
	// BadTimes is how many frames have a time beyond the year 2242 or before
	// 1970, which was set to the bound.
	BadTimes uint64
}

// OpenFiles opens capture files, pcap and pcapng, plain or compressed with gzip or
// zstd, which their content tells. A path is a file, a directory (all files below
// it) or "-", which is standard input. If a named file can't be read the error
// says so for each of them; what can't be read in a directory is told by Read
// after the last packet.
func OpenFiles(paths []string, opts FileOptions) (*FileSource, error) {
	s := &FileSource{
		parser: opts.Parser, selects: opts.Selection, stdin: opts.Stdin, current: new(Frames), before: new(Frames),
		spare: make([]bpf.Packet, bpf.PacketsMax),
	}
	if s.stdin == nil {
		s.stdin = os.Stdin
	}
	var failed []error
	for _, path := range paths {
		if err := s.add(path); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 && len(s.merge) == 0 && s.files == 0 {
		failed = append(s.problems, errors.New("no capture files to read"))
	}
	if len(failed) > 0 {
		_ = s.Close()
		return nil, errors.Join(failed...)
	}
	return s, nil
}

// add opens what one path stands for.
func (s *FileSource) add(path string) error {
	if path == "-" {
		return s.addCapture(&capture{name: "standard input", file: io.NopCloser(s.stdin)}, -1)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, withoutPath(err))
	}
	if info.IsDir() {
		s.addDirectory(path)
		return nil
	}
	return s.addFile(path, info)
}

// addDirectory adds the files below a directory in the order of their names.
func (s *FileSource) addDirectory(path string) {
	_ = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			err = fmt.Errorf("%s: %w", path, withoutPath(err))
		} else if !entry.IsDir() {
			err = s.addFound(path)
		}
		if err != nil {
			s.problems = append(s.problems, err)
		}
		return nil
	})
}

func (s *FileSource) addFound(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, withoutPath(err))
	}
	if !info.Mode().IsRegular() { // opening a named pipe would wait for its writer
		return fmt.Errorf("%s: not a regular file", path)
	}
	return s.addFile(path, info)
}

func (s *FileSource) addFile(path string, info fs.FileInfo) error {
	size := int64(-1)
	if info.Mode().IsRegular() {
		size = info.Size()
	}
	return s.addCapture(&capture{name: path, path: path}, size)
}

// newPlace numbers an interface. It goes round after 65,536.
func (s *FileSource) newPlace(name string) uint16 {
	place := s.places
	s.places++
	s.set(place, name)
	return place
}

// addCapture opens a capture and reads its first frame, by which it is merged.
func (s *FileSource) addCapture(c *capture, size int64) error {
	c.consumed, c.newPlace = &s.consumed, s.newPlace
	if err := c.open(); err != nil {
		return err
	}
	order := int32(s.files)
	s.files++
	s.captures = append(s.captures, c)
	if size < 0 || s.total < 0 {
		s.total = -1
	} else {
		s.total += size
	}
	if err := c.refillNext(); err != nil {
		s.end(order, err)
		return nil
	}
	if s.files > maxOpenFiles && size >= 0 {
		c.park()
	}
	s.merge.push(head{c.frame.time, order})
	return nil
}

// end closes a capture that has no further frame and notes why, if it wasn't its
// end.
func (s *FileSource) end(order int32, err error) {
	c := s.captures[order]
	if err != io.EOF {
		s.problems = append(s.problems, c.broken(err))
	}
	s.badTimes += c.badTimes
	c.close()
	s.captures[order] = nil
}

// next is the capture whose frame comes next.
func (s *FileSource) next() *capture { return s.captures[s.merge[0].source] }

// Read implements [Source]. It returns fewer packets than asked for, even none,
// when a file's memory must be refilled. After the last packet it returns io.EOF,
// or all that was wrong with the files. ReadFrames and Parse do the same on several
// goroutines; use the one or the other.
func (s *FileSource) Read(dst []bpf.Packet) (int, error) {
	n := copy(dst, s.rest)
	s.rest = s.rest[n:]
	if n == 0 && len(s.current.frames) == s.parsed {
		s.current, s.before, s.parsed = s.before, s.current, 0
		s.current.Release()
		if err := s.ReadFrames(s.current); err != nil {
			return 0, err
		}
	}
	for ; n < len(dst) && s.parsed < len(s.current.frames); s.parsed++ {
		if len(dst)-n >= bpf.PacketsMax {
			n += s.current.parse(s.parsed, &s.parser, &s.selects, dst[n:])
			continue
		}
		taken := s.current.parse(s.parsed, &s.parser, &s.selects, s.spare)
		copied := copy(dst[n:], s.spare[:taken])
		s.rest = s.spare[copied:taken]
		n += copied
	}
	s.Account(s.current)
	return n, nil
}

// advanced goes on after the first capture moved to its next frame, or not.
func (s *FileSource) advanced(err error) {
	switch err {
	case nil:
		s.merge.advance(s.next().frame.time)
	case errRefill:
		s.stale = true
	default:
		s.end(s.merge[0].source, err)
		s.merge.pop()
	}
}

// resume opens a parked capture again and goes to its first frame.
func (s *FileSource) resume(c *capture) bool {
	err := c.open()
	if err != nil {
		s.problems = append(s.problems, err)
		s.captures[s.merge[0].source] = nil
		s.merge.pop()
		return false
	}
	time := c.frame.time
	if err = c.refillNext(); err != nil {
		s.advanced(err)
		return false
	}
	if c.frame.time != time { // it was written anew in the meantime
		s.merge.advance(c.frame.time)
		return false
	}
	return true
}

func (s *FileSource) lastError() error {
	if len(s.problems) > 0 {
		return errors.Join(s.problems...)
	}
	return io.EOF
}

// Now implements [Source].
func (s *FileSource) Now() int64 { return s.latest }

// ClockOffset implements [Source].
func (s *FileSource) ClockOffset() int64 { return 0 }

// Stats implements [Source]: the account as of the end of the last Read, or of the
// last Account.
func (s *FileSource) Stats() Stats {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.stats
}

// Progress says how many bytes of how many were read, compressed ones of
// compressed files. total is -1 where it can't be known, as of a pipe. It may be
// called from any goroutine.
func (s *FileSource) Progress() (read, total int64) {
	return s.consumed.Load(), s.total
}

// Summary describes what was read so far.
func (s *FileSource) Summary() FileSummary {
	size := s.total
	if size < 0 {
		size = s.consumed.Load()
	}
	return FileSummary{
		Files: s.files, Size: size, First: s.first, Last: s.latest, Cut: s.cut, Crowded: s.crowded, BadTimes: s.badTimes,
	}
}

// Close implements [Source]. Read then returns what it returns after the last
// packet.
func (s *FileSource) Close() error {
	for _, c := range s.captures {
		if c != nil {
			c.close()
		}
	}
	s.captures, s.merge, s.stale = nil, nil, false
	return nil
}
