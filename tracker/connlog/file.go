// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// File is a log file. What fails in the middle of a write, as on a full disk,
// leaves whole lines only. It is not safe for concurrent use.
type File struct {
	file *os.File
	size int64 // bytes written, all of them whole lines
}

// FileName is the name of a format's log: conn.log for tsv and json, red.TAG
// and text.TAG for the summaries.
func FileName(format Format, tag string) string {
	switch format {
	case Red, Text:
		return format.String() + "." + tag
	}
	return "conn.log"
}

// The names of logs in Zeek's header.
const (
	connPath = "conn"
	LongPath = "conn_long" // of interim records
)

// LongFileName is the name of a format's log of interim records: conn_long.log for
// tsv and json, red_long.TAG and text_long.TAG for the summaries.
func LongFileName(format Format, tag string) string {
	switch format {
	case Red, Text:
		return format.String() + "_long." + tag
	}
	return LongPath + ".log"
}

// DefaultTag is HOST.YY-MM-DD_HH.MM.SS, local time.
func DefaultTag(host string, now time.Time) string {
	return host + now.Format(".06-01-02_15.04.05")
}

// CreateFile makes a new log file, mode 0640, and its directory, mode 0750, if
// there is none. An existing file is left alone: that is an error. Run by sudo,
// what was made belongs to the user who called sudo.
func CreateFile(dir, name string) (*File, error) {
	if strings.ContainsRune(name, os.PathSeparator) {
		return nil, fmt.Errorf("create log %q: the name must not hold a %q", name, os.PathSeparator)
	}
	made, err := makeDir(dir)
	if err != nil {
		return nil, fmt.Errorf("create log directory: %w", err)
	}
	path := filepath.Join(dir, name)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create log: %s exists and is left alone: move it away or choose another directory", path)
	}
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	if err := giveToCaller(file, made); err != nil {
		return nil, errors.Join(fmt.Errorf("create log: %w", err), file.Close(), os.Remove(path))
	}
	return &File{file: file}, nil
}

// makeDir makes dir and what is missing above it, and returns what it made,
// from the top down.
func makeDir(dir string) (made []string, err error) {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return nil, fmt.Errorf("%s is not a directory", dir)
	case err == nil:
		return nil, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if made, err = makeDir(parent); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return nil, err
	}
	return append(made, dir), nil
}

// giveToCaller hands the file, if it is not nil, and the directories to the user who
// called sudo, if that is how root came about.
func giveToCaller(file *os.File, dirs []string) error {
	uid, uidErr := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, gidErr := strconv.Atoi(os.Getenv("SUDO_GID"))
	if os.Geteuid() != 0 || uidErr != nil || gidErr != nil {
		return nil
	}
	for _, dir := range dirs {
		if err := os.Lchown(dir, uid, gid); err != nil {
			return err
		}
	}
	if file == nil {
		return nil
	}
	return file.Chown(uid, gid)
}

// Path is the file's name as it was opened.
func (f *File) Path() string { return f.file.Name() }

// Write appends lines. After an error the file ends with the last whole line
// that fitted.
func (f *File) Write(lines []byte) (int, error) {
	n, err := f.file.Write(lines)
	if err == nil {
		f.size += int64(n)
		return n, nil
	}
	whole := bytes.LastIndexByte(lines[:n], '\n') + 1
	if f.size += int64(whole); whole < n {
		err = errors.Join(err, f.cut(f.size))
	}
	return whole, err
}

// cut takes off what is behind the first size bytes.
func (f *File) cut(size int64) error {
	f.size = size
	_, err := f.file.Seek(size, io.SeekStart)
	return errors.Join(f.file.Truncate(size), err)
}

// Close closes the file. One without a line is removed: no connection, no log,
// as in Zeek.
func (f *File) Close() error {
	var err error
	if f.size == 0 {
		err = os.Remove(f.file.Name())
	}
	return errors.Join(err, f.file.Close())
}
