// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// tidyInterval is between two looks at rotated files, when none is new.
const tidyInterval = time.Minute

// janitor compresses rotated files, one at a time and on a goroutine of its own, and
// removes old ones. What is to be done it sees by the names in the directory, so that a
// killed run's work is taken up where it ended.
type janitor struct {
	dir    *Directory
	wake   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}

	complained time.Time // the last time
}

func newJanitor(d *Directory) *janitor {
	j := &janitor{dir: d, wake: make(chan struct{}, 1), done: make(chan struct{})}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	return j
}

// stop ends it, and what it is just compressing.
func (j *janitor) stop() {
	j.cancel()
	select {
	case <-j.done:
	case <-time.After(closePatience): // the disk does not answer
	}
}

func (j *janitor) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

func (j *janitor) run() {
	defer close(j.done)
	for {
		j.complain(j.tidy())
		select {
		case <-j.wake:
		case <-time.After(tidyInterval):
		case <-j.ctx.Done():
			return
		}
	}
}

// complain says what could not be done, once a minute.
func (j *janitor) complain(failed []error) {
	if len(failed) == 0 || j.ctx.Err() != nil || time.Since(j.complained) < tidyInterval {
		return
	}
	j.complained = time.Now()
	sentence := fmt.Sprintf("rotated log files: %v", failed[0])
	if more := len(failed) - 1; more > 0 {
		sentence += fmt.Sprintf(", and %d more", more)
	}
	j.dir.note(sentence + "; it is tried again")
}

// tidy does all that there is to do now, and returns what failed. One file that can't be
// compressed keeps no other waiting.
func (j *janitor) tidy() (failed []error) {
	entries, err := os.ReadDir(j.dir.path) // sorted: of each log the oldest first
	if err != nil {
		return []error{err}
	}
	for _, entry := range entries {
		if j.ctx.Err() != nil || !entry.Type().IsRegular() {
			continue
		}
		if err := j.tidyFile(entry); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, err)
		}
	}
	return failed
}

// tidyFile removes or compresses a file, if it is one to be.
func (j *janitor) tidyFile(entry fs.DirEntry) error {
	name := entry.Name()
	if rotated, _ := j.isRotated(scratchOf(name)); rotated {
		return os.Remove(filepath.Join(j.dir.path, name)) // a killed run was just writing it
	}
	rotated, compressed := j.isRotated(name)
	if !rotated {
		return nil
	}
	compression, keep := j.dir.tidying()
	if keep > 0 {
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if j.dir.cfg.Now().Sub(info.ModTime()) > keep {
			return os.Remove(filepath.Join(j.dir.path, name))
		}
	}
	if compressed || compression == Plain {
		return nil
	}
	return compressFile(j.ctx, j.dir.path, name, compression)
}

// scratchOf is the name of the file for which a temporary one is written, empty if name
// is none.
func scratchOf(name string) string {
	inner, isTemporary := strings.CutSuffix(name, ".tmp")
	inner, isHidden := strings.CutPrefix(inner, ".")
	if !isTemporary || !isHidden {
		return ""
	}
	return inner
}

// isRotated tells whether a file is a rotated one of a log of the directory.
func (j *janitor) isRotated(name string) (rotated, compressed bool) {
	for _, log := range j.dir.allLogs() {
		if rotated, compressed = log.naming.isRotated(name); rotated {
			break
		}
	}
	return rotated, compressed
}
