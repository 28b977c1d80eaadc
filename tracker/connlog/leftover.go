// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// setAside gives a log that is there already, as a killed run leaves it, the name of a
// rotated one, by the time at which it was opened (tsv) or last written. What a kill
// left of a last line that was not complete is taken off. It returns what is to be said
// about it.
func (n *naming) setAside(dir, name string) (note string, err error) {
	path := filepath.Join(dir, name)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	opened, isOpenTime := openTime(file)
	if !isOpenTime {
		opened = info.ModTime()
	}
	torn, err := cutTornLine(file, info.Size())
	if err != nil {
		return "", fmt.Errorf("cutting the torn last line of %s: %w", path, err)
	}
	aside, err := n.free(dir, opened)
	if err != nil {
		return "", err
	}
	if err := os.Rename(path, filepath.Join(dir, aside)); err != nil {
		return "", err
	}
	note = fmt.Sprintf("%s was there already: it is now %s", path, aside)
	if torn > 0 {
		note += fmt.Sprintf(", without its last line, of which only %d bytes had been written", torn)
	}
	return note, nil
}

// openTime reads #open from the beginning of a file, if it is there.
func openTime(file io.ReaderAt) (time.Time, bool) {
	head := make([]byte, 4096)
	n, _ := file.ReadAt(head, 0)
	_, rest, found := bytes.Cut(head[:n], []byte("\n#open\t"))
	line, _, whole := bytes.Cut(rest, []byte("\n"))
	if !found || !whole {
		return time.Time{}, false
	}
	t, err := time.ParseInLocation(stampLayout, string(line), time.Local)
	return t, err == nil
}

// cutTornLine cuts what is behind the last line break, and returns its length. A file
// without a line break is left alone: it is no log of ours.
func cutTornLine(file *os.File, size int64) (torn int64, err error) {
	buffer := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(end-int64(len(buffer)), 0)
		part := buffer[:end-start]
		if _, err := file.ReadAt(part, start); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			whole := start + int64(i) + 1
			if whole == size {
				return 0, nil
			}
			return size - whole, file.Truncate(whole)
		}
		end = start
	}
	return 0, nil
}
