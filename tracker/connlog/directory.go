// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookAround is between two looks at the clock and at the files, when no rows come.
	lookAround = time.Second
	// firstPause and longestPause are between tries after an error.
	firstPause, longestPause = 100 * time.Millisecond, 2 * time.Second
	// closePatience is how long Close waits without anything being written.
	closePatience = 5 * time.Second
)

// DirectoryConfig says what becomes of a directory's files. The zero value rotates and
// compresses nothing and has no room for rows that wait.
type DirectoryConfig struct {
	// Rotate is how long a file is written to, by periods that begin at local midnight;
	// 0 for as long as there are rows.
	Rotate time.Duration
	// RotateSize is how many bytes a file has at most, its footer aside; 0 for no limit.
	RotateSize int64
	// Compress is what rotated files are compressed with.
	Compress Compression
	// Keep is how long rotated files are kept after their last row; 0 for ever.
	Keep time.Duration
	// Backlog is how many bytes of rows may wait for the disk.
	Backlog int
	// Now is the clock, by default time.Now.
	Now func() time.Time
}

// Directory is a directory with logs that are written to by one process, for as long as
// it lives: files are rotated, and what an earlier run has left is kept. Rows are handed
// to a goroutine of its own, so that a full or slow disk makes them wait, and not whoever
// has them: whatever fails is tried again until it works. Of the methods of the logs'
// Writers those of one are for one goroutine at a time, of the Directory for any.
type Directory struct {
	path    string
	cfg     DirectoryConfig // from run on, Rotate and RotateSize are that goroutine's
	backlog *backlog
	janitor *janitor

	progress atomic.Int64  // bytes written, and files ended
	patience time.Duration // of Close, with a disk that takes nothing
	closing  chan struct{}
	gaveUp   chan struct{}
	done     chan struct{} // nil until there is a log

	lockMu sync.Mutex
	lock   *os.File // the directory, with a lock on it

	mu      sync.Mutex       // guards also cfg.Compress and cfg.Keep
	changed *DirectoryConfig // that Reconfigure wants; nil once it is done
	logs    []*logFile
	notes   []string
	said    []string // of noteOnce
	err     error    // of the last try
	failing time.Time
	since   time.Time // when what is being done was begun; zero if nothing is
}

// OpenDirectory makes the directory, if there is none, and keeps other processes' logs
// out of it.
func OpenDirectory(path string, cfg DirectoryConfig) (*Directory, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Directory{
		path: path, cfg: cfg, backlog: newBacklog(cfg.Backlog),
		patience: closePatience, closing: make(chan struct{}), gaveUp: make(chan struct{}),
	}
	made, err := d.enter()
	if err != nil {
		return nil, err
	}
	if err := giveToCaller(nil, made); err != nil {
		return nil, errors.Join(fmt.Errorf("create log directory: %w", err), d.lock.Close())
	}
	d.janitor = newJanitor(d)
	return d, nil
}

// NewWriter begins the log name, such as conn.log, in the directory. Its Write and Flush
// never wait and never fail; its Close leaves the ending of the file to the directory's.
// Header and footer are those of each file.
func (d *Directory) NewWriter(name string, cfg Config) (*Writer, error) {
	if strings.ContainsRune(name, os.PathSeparator) {
		return nil, fmt.Errorf("create log %q: the name must not hold a %q", name, os.PathSeparator)
	}
	log := &logFile{dir: d, name: name, naming: namingOf(name), since: d.cfg.Now()}
	if cfg.Now == nil {
		cfg.Now = d.cfg.Now
	}
	w, err := NewWriter(log, cfg)
	if err != nil {
		return nil, err
	}
	w.bare, log.frame = true, w.frame
	if err := log.open(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logs = append(d.logs, log)
	if d.done == nil {
		d.done = make(chan struct{})
		go d.run()
		go d.janitor.run()
	}
	d.janitor.signal()
	return w, nil
}

// Path is the directory as it was opened.
func (d *Directory) Path() string { return d.path }

// Reopen ends, behind all rows so far, the files that were moved away, as logrotate does
// before it sends SIGHUP: they get their footers, and the next row begins a new file.
// Others go on. It does not wait for that.
func (d *Directory) Reopen() { d.backlog.addReopen() }

// Reconfigure has Rotate, RotateSize, Compress and Keep of cfg hold for what comes behind
// all rows so far; the rest of cfg is not looked at. A file that another Rotate would have
// begun at another time is rotated. It does not wait for that.
func (d *Directory) Reconfigure(cfg DirectoryConfig) {
	d.mu.Lock()
	d.changed = &cfg
	d.mu.Unlock()
	d.backlog.addReopen()
}

// adopt takes over what Reconfigure wants.
func (d *Directory) adopt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == nil {
		return
	}
	d.cfg.Rotate, d.cfg.RotateSize = d.changed.Rotate, d.changed.RotateSize
	d.cfg.Compress, d.cfg.Keep = d.changed.Compress, d.changed.Keep
	d.changed = nil
	d.janitor.signal()
}

// tidying is what becomes of rotated files.
func (d *Directory) tidying() (Compression, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg.Compress, d.cfg.Keep
}

// DirectoryState is how writing goes.
type DirectoryState struct {
	// Dropped is how many rows of all logs were dropped since the start, because as many
	// waited as may, or because they could not be written in the end.
	Dropped uint64
	// Waiting is the bytes of rows that wait, Limit how many may.
	Waiting, Limit int
	// Err is why nothing can be written at the moment, and Since from when on; nil if
	// all is well.
	Err   error
	Since time.Time
}

// errSlow is the error of a write that does not return.
var errSlow = errors.New("the disk does not take what is written")

// slow is how long a write may take before that is an error.
const slow = 5 * time.Second

// State tells how writing goes.
func (d *Directory) State() DirectoryState {
	s := DirectoryState{Limit: d.cfg.Backlog}
	s.Waiting, s.Dropped = d.backlog.state()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.since.IsZero() && time.Since(d.since) > slow:
		s.Err, s.Since = fmt.Errorf("write to %s: %w", d.path, errSlow), d.since
	case d.err != nil:
		s.Err, s.Since = d.err, d.failing
	}
	return s
}

// Notes are sentences about what was found or done, each once: files set aside, and files
// that could not be compressed.
func (d *Directory) Notes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	notes := d.notes
	d.notes = nil
	return notes
}

// noteOnce is note, but of the same sentence only the first time.
func (d *Directory) noteOnce(sentence string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.said, sentence) {
		d.said = append(d.said, sentence)
		d.notes = append(d.notes, sentence)
	}
}

func (d *Directory) note(sentence string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.notes, sentence) {
		d.notes = append(d.notes, sentence)
	}
}

// enter makes the directory and locks it, if that is not done yet, or if somebody has
// removed it. It returns the directories made.
func (d *Directory) enter() (made []string, err error) {
	d.lockMu.Lock()
	defer d.lockMu.Unlock()
	if made, err = makeDir(d.path); err != nil {
		return nil, fmt.Errorf("create log directory: %w", err)
	}
	if d.lock != nil && sameDir(d.path, d.lock) {
		return made, nil
	}
	dir, err := os.Open(d.path)
	if err != nil {
		return nil, fmt.Errorf("open log directory: %w", err)
	}
	// A file system may have no locks; then whoever shares a directory is not found out.
	if lockedByOther(dir) {
		_ = dir.Close()
		return nil, fmt.Errorf("another conntap writes its logs to %s: choose another directory", d.path)
	}
	if d.lock != nil {
		_ = d.lock.Close()
	}
	d.lock = dir
	return made, nil
}

func sameDir(path string, open *os.File) bool {
	named, err := os.Stat(path)
	if err != nil {
		return false
	}
	info, err := open.Stat()
	return err == nil && os.SameFile(named, info)
}

// run writes until Close.
func (d *Directory) run() {
	defer close(d.done)
	closing := d.closing
	var pause time.Duration
	for !d.hasGivenUp() {
		ending := closing == nil
		err := d.work(ending)
		d.report(err)
		if err == nil && ending {
			return
		}
		wake, wait := d.backlog.wake, lookAround
		if pause = nextPause(pause, err); pause > 0 {
			wake, wait = nil, pause // new rows make nothing better
		}
		select {
		case <-wake:
		case <-time.After(wait):
		case <-closing:
			closing = nil
		case <-d.gaveUp:
		}
	}
}

// hasGivenUp tells whether Close has returned.
func (d *Directory) hasGivenUp() bool {
	select {
	case <-d.gaveUp:
		return true
	default:
		return false
	}
}

// nextPause is how long to wait before the next try, 0 after none that failed.
func nextPause(pause time.Duration, err error) time.Duration {
	if err == nil {
		return 0
	}
	return min(max(2*pause, firstPause), longestPause)
}

// work does all that is due: it rotates, writes what waits, and at the end closes. A
// rotation that fails keeps no row waiting: the file goes on.
func (d *Directory) work(ending bool) error {
	defer d.idle()
	logs := d.allLogs()
	var failed error
	for _, log := range logs {
		d.busy()
		failed = errors.Join(failed, log.lookAfter())
	}
	for next := d.backlog.first(); next != nil; next = d.backlog.first() {
		d.busy()
		if err := d.take(next, logs); err != nil {
			return err
		}
	}
	for _, log := range logs {
		if ending {
			d.busy()
			failed = errors.Join(failed, log.close())
		}
	}
	return failed
}

// take does what a block is for.
func (d *Directory) take(b *block, logs []*logFile) error {
	if b.log == nil {
		d.adopt()
		for _, log := range logs {
			if err := log.reopen(); err != nil {
				return err
			}
		}
		d.backlog.done(0)
		return nil
	}
	n, err := b.log.write(b.lines)
	d.progress.Add(int64(n))
	d.backlog.done(n)
	return err
}

func (d *Directory) allLogs() []*logFile {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.logs
}

// busy begins something that may take long.
func (d *Directory) busy() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since = time.Now()
}

func (d *Directory) idle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since = time.Time{}
}

// report notes how the last try went.
func (d *Directory) report(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err = err; err == nil {
		d.failing = time.Time{}
	} else if d.failing.IsZero() {
		d.failing = time.Now()
	}
}

// Close writes what waits, ends all files, and returns. Of a disk that takes nothing it
// says, after some seconds, how many rows were not written. What is not compressed by
// then is by the next run.
func (d *Directory) Close() error {
	var err error
	if d.done != nil {
		d.janitor.cancel()
		close(d.closing)
		err = d.await()
		d.janitor.stop()
	}
	return errors.Join(err, d.lock.Close())
}

// await waits until all is written, as long as the disk takes something.
func (d *Directory) await() error {
	for progress := d.progress.Load(); ; {
		select {
		case <-d.done:
			return nil
		case <-time.After(d.patience):
		}
		before := progress
		if progress = d.progress.Load(); progress == before {
			break
		}
	}
	state := d.State()
	close(d.gaveUp)
	err := state.Err
	if err == nil {
		err = errSlow
	}
	if rows := d.backlog.dropAll(); rows > 0 {
		return fmt.Errorf("%d rows were not written: %w", rows, err)
	}
	return fmt.Errorf("end the log: %w", err)
}
