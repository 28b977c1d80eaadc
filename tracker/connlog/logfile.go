// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// errRemoved says that somebody has removed a file while it was written to.
var errRemoved = errors.New("the file was removed")

// logFile is one log of a [Directory]: the file that is open now, and how those before
// are called. But for Write it is for the directory's goroutine alone.
type logFile struct {
	dir    *Directory
	name   string // conn.log
	naming naming
	frame  frame

	file *File // nil if none is open: until the first row after a rotation
	// since is from when on rows belong into the next file; opened is that of this
	// one, by which it is called later.
	since, opened time.Time
	period        time.Time // in which the file was opened
	full          bool      // the next row does not fit into a file of the size asked for
	cramped       bool      // it could not be rotated, and goes on
}

// Write takes whole lines. It copies them, never waits, and never fails: what can't wait
// any more is counted (Directory.State).
func (l *logFile) Write(lines []byte) (int, error) {
	l.dir.backlog.add(l, lines)
	return len(lines), nil
}

func (l *logFile) path() string { return filepath.Join(l.dir.path, l.name) }

// open makes the file. One that is there already is set aside, unless it is empty.
func (l *logFile) open() error {
	made, err := l.dir.enter()
	if err != nil {
		return err
	}
	path := l.path()
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("open log: %s is no regular file: move it away", path)
	case info.Size() > 0:
		note, err := l.naming.setAside(l.dir.path, l.name)
		if err != nil {
			return fmt.Errorf("set the log aside that is there already: %w", err)
		}
		l.dir.note(note)
		l.dir.janitor.signal()
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|noFollow, 0o640)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if err := giveToCaller(file, made); err != nil { // rather root's than none
		l.dir.noteOnce(fmt.Sprintf("log files belong to root: %v", err))
	}
	l.file, l.full, l.cramped = &File{file: file}, false, false
	l.stamp()
	return nil
}

// stamp notes when the file was opened: with the period, as in Zeek, unless the file
// before ended later.
func (l *logFile) stamp() {
	now := l.dir.cfg.Now()
	l.opened = now
	if l.since.Before(now) {
		l.opened = l.since
	}
	if l.dir.cfg.Rotate > 0 {
		l.period = periodStart(now, l.dir.cfg.Rotate)
		if l.opened.Before(l.period) {
			l.opened = l.period
		}
	}
}

// write writes lines, as many as the file has room for by --rotate-size, at least one.
// After an error, and if not all of them fit, n bytes of whole lines are in the file.
func (l *logFile) write(lines []byte) (n int, err error) {
	if l.due() && !l.cramped {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	var header []byte
	if l.file.size == 0 {
		l.stamp()
		header = l.frame.header(nil)
	}
	fitting := l.fitting(int64(len(header)), lines)
	if l.full = len(fitting) < len(lines); len(fitting) == 0 {
		return 0, nil
	}
	out := fitting
	if len(header) > 0 {
		out = append(header, fitting...)
	}
	n, err = l.file.Write(out)
	if err != nil && n < len(header) { // all of it or nothing
		err = errors.Join(err, l.file.cut(0))
	}
	n = max(n-len(header), 0)
	switch {
	case err == nil && l.removed():
		l.noteRemoved()
		return 0, errors.Join(fmt.Errorf("write %s: %w", l.path(), errRemoved), l.leave(l.dir.cfg.Now()))
	case err != nil && !noSpace(err):
		err = errors.Join(err, l.leave(l.dir.cfg.Now())) // it is set aside when the next one is opened
	}
	return n, err
}

// fitting are the lines that fit behind a header, or behind what there is.
func (l *logFile) fitting(header int64, lines []byte) []byte {
	if l.dir.cfg.RotateSize <= 0 || l.cramped {
		return lines
	}
	room := l.dir.cfg.RotateSize - l.file.size - header
	if int64(len(lines)) <= room {
		return lines
	}
	if end := bytes.LastIndexByte(lines[:max(room, 0)], '\n'); end >= 0 {
		return lines[:end+1]
	}
	if l.file.size > 0 {
		return nil
	}
	return lines[:bytes.IndexByte(lines, '\n')+1]
}

// noSpace tells errors that go away when there is space again, and leave the file as it
// was.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// lookAfter does what is due without rows: it rotates, and takes note of a file that was
// removed.
func (l *logFile) lookAfter() error {
	switch {
	case l.file == nil:
		return nil
	case l.removed():
		l.noteRemoved()
		return l.leave(l.dir.cfg.Now())
	case l.due():
		return l.rotate()
	}
	return nil
}

func (l *logFile) noteRemoved() {
	l.dir.note(l.path() + " was removed, with the rows in it: the next row begins a new one")
}

// due tells whether the file is to be rotated.
func (l *logFile) due() bool {
	if l.file == nil || l.file.size == 0 {
		return false
	}
	return l.full || l.dir.cfg.Rotate > 0 && !periodStart(l.dir.cfg.Now(), l.dir.cfg.Rotate).Equal(l.period)
}

// rotate ends the file and gives it its own name. Without success it goes on being the
// current one.
func (l *logFile) rotate() error {
	since := l.dir.cfg.Now()
	if !l.full && l.dir.cfg.Rotate > 0 {
		since = periodStart(since, l.dir.cfg.Rotate)
	}
	if !l.isCurrent() {
		return l.endMoved(since)
	}
	l.cramped = true
	size := l.file.size
	if err := l.end(); err != nil {
		return err
	}
	name, err := l.naming.free(l.dir.path, l.opened)
	if err == nil {
		err = os.Rename(l.path(), filepath.Join(l.dir.path, name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("rotate log: %w", err), l.file.cut(size))
	}
	err = l.leave(since)
	l.dir.janitor.signal()
	return err
}

// reopen ends a file that somebody has moved away.
func (l *logFile) reopen() error {
	if l.file == nil || l.isCurrent() {
		return nil
	}
	return l.endMoved(l.dir.cfg.Now())
}

// endMoved ends a file that was moved away or removed; a name of its own it has.
func (l *logFile) endMoved(since time.Time) error {
	if !l.removed() {
		if err := l.end(); err != nil {
			return err
		}
	}
	return l.leave(since)
}

// close ends the file for good, by its own name if files are rotated. Without a line
// there is none, as in Zeek.
func (l *logFile) close() error {
	switch rotates := l.dir.cfg.Rotate > 0 || l.dir.cfg.RotateSize > 0; {
	case l.file == nil:
		return nil
	case l.removed():
	case l.file.size == 0 && l.isCurrent():
		return errors.Join(os.Remove(l.path()), l.leave(l.dir.cfg.Now()))
	case rotates && l.file.size > 0:
		l.full = true // it ends now
		return l.rotate()
	default:
		if err := l.end(); err != nil {
			return err
		}
	}
	return l.leave(l.dir.cfg.Now())
}

// end writes the footer.
func (l *logFile) end() error {
	footer := l.frame.footer(nil)
	if l.file.size == 0 || len(footer) == 0 {
		return nil
	}
	_, err := l.file.Write(footer)
	return err
}

// leave closes the file as it is. Rows from since on go to the next one.
func (l *logFile) leave(since time.Time) error {
	err := l.file.file.Close()
	l.file, l.since = nil, since
	return err
}

// isCurrent tells whether the file still has its name.
func (l *logFile) isCurrent() bool {
	named, err := os.Lstat(l.path())
	if err != nil {
		return false
	}
	open, err := l.file.file.Stat()
	return err == nil && os.SameFile(named, open)
}

// removed tells whether the open file has no name any more.
func (l *logFile) removed() bool {
	info, err := l.file.file.Stat()
	if err != nil {
		return false
	}
	return unlinked(info)
}
