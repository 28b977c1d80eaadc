// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"conntap/cmd/conntap/internal/report"
	"conntap/cmd/conntap/internal/screen"
)

// reportFlags are the flags of report.
type reportFlags struct {
	top  int
	json bool
	html string // file; "" for none
}

func newReportCommand() *cobra.Command {
	f := &reportFlags{}
	c := &cobra.Command{
		Use:   "report FILE... | -",
		Short: "Sum up conn.logs: who talked most, what failed, how it went over time",
		Long: `Sum up conn.logs, ours or Zeek's: TSV with any columns, JSON with any kind of time;
plain or compressed with gzip or zstd; several as one. - is standard input.

What there was in all; protocols, states and services; originators, responders, ports
and pairs by connections and by bytes; the largest and longest connections; who may
have scanned; what was missed. Bytes are those of IP packets, or of the payload where
the log has no columns for the former. Memory is bounded: lists are exact for up to
131,072 different values, beyond it says by how much figures may be low.

Lines that are no rows are counted and the first few shown. The exit code is 1 if a
file could not be read to its end, or has no row.`,
		Example: `  conntap report conn.log
  conntap report /var/log/conntap/conn.2026-*.log.gz
  conntap report --html monday.html conn.log
  conntap report --json conn.log | jq .suspects
  conntap read -q --format tsv capture.pcap | conntap report -`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return usage(c, err)
			}
			return f.report(c.OutOrStdout(), args)
		},
	}
	fs := c.Flags()
	fs.SortFlags = false
	fs.IntVar(&f.top, "top", 10, "how long the lists are, up to 1000")
	fs.BoolVar(&f.json, "json", false, "everything, for machines")
	fs.StringVar(&f.html, "html", "", "write a page with plots into `file`, in place of one that is there")
	return c
}

// check finds what flags and arguments can't mean.
func (f *reportFlags) check(files []string) error {
	const most = 1000
	switch {
	case len(files) == 0:
		return errors.New("no log given: conntap report conn.log, or - for standard input")
	case f.top < 1 || f.top > most:
		return fmt.Errorf("--top %d: want 1 to %d", f.top, most)
	}
	return nil
}

// report reads the logs and writes what was asked for. What can't be read does not
// keep it from saying what could be.
func (f *reportFlags) report(w io.Writer, files []string) error {
	collector := report.NewCollector(f.top)
	var line *screen.Line
	if isTerminal(os.Stderr) && !dumb() {
		line = screen.NewLine(os.Stderr, terminalWidth)
	}
	var failures error
	for _, path := range files {
		failures = errors.Join(failures, collectFile(collector, path, line))
	}
	line.Erase()
	r := collector.Report()
	if r.Connections == 0 && (failures != nil || r.Malformed.Lines > 0) {
		for _, mistake := range r.Malformed.First {
			failures = errors.Join(failures, errors.New(mistake))
		}
		return failures
	}
	if f.html != "" {
		failures = errors.Join(failures, writePage(f.html, r))
	}
	return errors.Join(failures, f.write(w, r))
}

// collectFile takes one log, and shows how far it is on line.
func collectFile(collector *report.Collector, path string, line *screen.Line) error {
	log, err := report.Open(path)
	if err != nil {
		return err
	}
	progress := &progressReader{log: log, line: line, path: path, collector: collector, shown: time.Now()}
	return errors.Join(collector.Read(path, progress), log.Close())
}

// progressReader reads a log and says once a second how many rows there were.
type progressReader struct {
	log       io.Reader
	line      *screen.Line
	path      string
	collector *report.Collector
	shown     time.Time
}

func (r *progressReader) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(r.shown) >= lineInterval {
		r.shown = now
		r.line.Show(fmt.Sprintf("%s: %s", r.path, screen.Plural(r.collector.Connections(), "row")))
	}
	return r.log.Read(b)
}

// write writes what goes to standard output. A reader that has seen enough is no
// failure.
func (f *reportFlags) write(w io.Writer, r *report.Report) error {
	buffered := bufio.NewWriter(w)
	var err error
	if f.json {
		encoder := json.NewEncoder(buffered)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	} else {
		err = r.WriteText(buffered)
	}
	if err = errors.Join(err, buffered.Flush()); errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// writePage puts a page in its place, whole or not at all.
func writePage(path string, r *report.Report) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	page := bufio.NewWriter(file)
	err = errors.Join(r.WriteHTML(page), page.Flush(), file.Chmod(0o640), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write page: %w", err), os.Remove(file.Name()))
	}
	return nil
}
