// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"conntap/tracker/connlog"
)

// fileFlags say what becomes of the log files of run.
type fileFlags struct {
	rotate     interval
	rotateSize byteSize
	compress   choice
	keep       interval
	backlog    byteSize
}

// defaultBacklog is how many bytes of rows may wait for the disk.
const defaultBacklog = 64 << 20

func (f *fileFlags) register(fs *pflag.FlagSet) {
	fs.Var(&f.rotate, "rotate", "begin new log files every hour (1h), day (1d) and so on since midnight, as Zeek\n"+
		"does: conn.log becomes conn.2026-03-04-05-00-00.log (needs --log-dir)")
	fs.Var(&f.rotateSize, "rotate-size", "begin a new log file before one grows beyond so many bytes, such as 1G")
	f.compress = choice{connlog.Plain.String(), []string{connlog.Plain.String(), connlog.Gzip.String(), connlog.Zstd.String()}}
	fs.Var(&f.compress, "compress", "compress rotated files: none, gzip or zstd")
	fs.Var(&f.keep, "keep", "remove rotated files whose last row is older, such as 7d (default: never)")
	f.backlog = defaultBacklog
	fs.Var(&f.backlog, "log-backlog", "memory for rows that wait while the disk is full or slow; beyond it rows are\n"+
		"dropped, and counted")
	section(fs, "Log files")
}

// check finds what the flags can't mean.
func (f *fileFlags) check(dir string) error {
	switch {
	case dir != "":
	case f.rotate > 0:
		return errors.New("--rotate is about files: --log-dir DIR")
	case f.rotateSize > 0:
		return errors.New("--rotate-size is about files: --log-dir DIR")
	case f.compress.value != connlog.Plain.String():
		return errors.New("--compress is about rotated files: --log-dir DIR")
	case f.keep > 0:
		return errors.New("--keep is about rotated files: --log-dir DIR")
	}
	if f.backlog < leastBacklog {
		return fmt.Errorf("--log-backlog %s: want 1M or more", f.backlog.String())
	}
	if f.rotateSize > 0 && f.rotateSize < 64<<10 {
		return fmt.Errorf("--rotate-size %s: want 64K or more", f.rotateSize.String())
	}
	return nil
}

// rotates tells whether a log has several files.
func (f *fileFlags) rotates() bool { return f.rotate > 0 || f.rotateSize > 0 }

func (f *fileFlags) config() (cfg connlog.DirectoryConfig, err error) {
	cfg = connlog.DirectoryConfig{
		Rotate: time.Duration(f.rotate), RotateSize: int64(f.rotateSize), Keep: time.Duration(f.keep), Backlog: int(f.backlog),
	}
	cfg.Compress, err = connlog.ParseCompression(f.compress.value)
	return cfg, err
}

// create begins the log in a directory whose disk may be full or slow without holding
// packets up, or takes standard output.
func (f *runFlags) create(out *output, name string, cfg connlog.Config) (log *connlog.Writer, err error) {
	if f.dir == "" {
		return f.logFlags.create(out, name, cfg)
	}
	files, err := f.files.config()
	if err != nil {
		return nil, err
	}
	if out.dir, err = connlog.OpenDirectory(f.dir, files); err != nil {
		return nil, err
	}
	log, err = out.dir.NewWriter(name, cfg)
	for _, note := range out.dir.Notes() {
		tell(note)
	}
	return log, err
}

// interval is a flag that takes a time such as 90s, 15m, 1h or 7d.
type interval time.Duration

func (i *interval) String() string {
	switch d := time.Duration(*i); {
	case d == 0:
		return ""
	case d%(24*time.Hour) == 0:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	default: // 1h0m0s is 1h
		text := d.String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		return text
	}
}

func (i *interval) Type() string { return "time" }

// Set takes the flag's value from the command line.
func (i *interval) Set(s string) error {
	d, err := parseDuration(s)
	if err != nil || d < time.Second {
		return errors.New("want a time such as 15m, 1h or 7d, at least 1s")
	}
	*i = interval(d)
	return nil
}

var _ pflag.Value = (*interval)(nil)
