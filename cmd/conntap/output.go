// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"os"

	"golang.org/x/term"

	"conntap/cmd/conntap/internal/screen"
	"conntap/tracker/connlog"
)

// output is where rows go, and what stands beside them on the terminal.
type output struct {
	// rows takes the log: standard output or file.
	rows io.Writer
	// line is the status line or progress bar; nil unless standard error is a
	// terminal.
	line *screen.Line
	file *connlog.File // of read
	// Interim records have a log and file of their own; nil without.
	long    *connlog.File
	longLog *connlog.Writer

	dir      *connlog.Directory // of run: the logs that may never hold rows up
	confined bool               // no other directory may be written to
	// rowsPerSecond is how many rows of one-sided connections are written; 0: all.
	rowsPerSecond uint64
}

func newOutput() *output {
	o := &output{}
	if isTerminal(os.Stderr) && !dumb() {
		o.line = screen.NewLine(os.Stderr, terminalWidth)
	}
	return o
}

// open makes the log file name in dir, or takes standard output if dir is empty. An
// existing file is left alone and is an error.
func (o *output) open(dir, name string) (err error) {
	if dir != "" {
		o.file, err = connlog.CreateFile(dir, name)
		o.rows = o.file
		return err
	}
	o.rows = os.Stdout
	if isTerminal(os.Stdout) {
		o.rows = o.line.Over(os.Stdout)
	}
	return nil
}

// Close takes the line off the screen and closes the log files.
func (o *output) Close() error {
	o.line.Erase()
	var errs []error
	if o.dir != nil {
		errs = append(errs, o.dir.Close())
	}
	for _, file := range []*connlog.File{o.file, o.long} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	return errors.Join(errs...)
}

// dumb tells whether the terminal knows no escape sequences.
func dumb() bool { return os.Getenv("TERM") == "dumb" }

func isTerminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

func terminalWidth() int {
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}
