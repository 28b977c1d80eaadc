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

// rowFlags say which connections have more rows than one, or none.
type rowFlags struct {
	longConnections  durations
	maxRowsPerSecond int
}

func (f *rowFlags) register(fs *pflag.FlagSet) {
	fs.Var(&f.longConnections, "long-connections", "write a connection as far as it is known to conn_long.log in --log-dir, each time\n"+
		"it has been open for so long, such as 10m,1h,12h,1d, and from the last of these on\n"+
		"each time that much again; its row in conn.log comes at its end as ever")
	fs.IntVar(&f.maxRowsPerSecond, "max-rows-per-second", 0, "of connections in which one side alone was seen, as in floods and scans, log so\n"+
		"many a second at most and count the rest; 0 for all")
}

// check finds what the flags can't mean, with a log directory or "".
func (f *rowFlags) check(dir string) error {
	if f.maxRowsPerSecond < 0 {
		return fmt.Errorf("--max-rows-per-second %d: want 0 or more", f.maxRowsPerSecond)
	}
	if len(f.longConnections) > 0 && dir == "" {
		return errors.New("--long-connections writes a second log: say where by --log-dir DIR")
	}
	return nil
}

// open has the output do what the flags say, and opens the log of interim records
// beside that of connections.
func (f *rowFlags) open(out *output, dir, tag string, cfg connlog.Config) (err error) {
	out.rowsPerSecond = uint64(f.maxRowsPerSecond)
	if len(f.longConnections) == 0 {
		return nil
	}
	cfg.Path = connlog.LongPath
	name := connlog.LongFileName(cfg.Format, tag)
	if out.dir != nil {
		out.longLog, err = out.dir.NewWriter(name, cfg)
		return err
	}
	if out.long, err = connlog.CreateFile(dir, name); err != nil {
		return err
	}
	out.longLog, err = connlog.NewWriter(out.long, cfg)
	return err
}

// longest is what a connection can hold, and more than any needs.
const longest = 100 * 365 * 24 * time.Hour

// durations is a flag that takes several times in whole seconds: 90s,10m,12h,3d.
type durations []time.Duration

func (d *durations) String() string {
	words := make([]string, len(*d))
	for i, one := range *d {
		words[i] = one.String()
	}
	return strings.Join(words, ",")
}

func (d *durations) Type() string { return "times" }

// Set adds the flag's values from the command line.
func (d *durations) Set(s string) error {
	for word := range strings.SplitSeq(s, ",") {
		one, err := parseDuration(strings.TrimSpace(word))
		if err != nil || one < time.Second || one%time.Second != 0 || one > longest {
			return fmt.Errorf("%q: want whole seconds or more, such as 10m,1h,12h,1d", word)
		}
		*d = append(*d, one)
	}
	return nil
}

// parseDuration reads a time with Go's units, or in days.
func parseDuration(word string) (time.Duration, error) {
	if days, found := strings.CutSuffix(word, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(word)
}
