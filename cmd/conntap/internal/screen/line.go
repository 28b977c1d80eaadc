// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// eraseLine puts the cursor at the line's start and clears the line (ECMA-48
// EL).
const eraseLine = "\r\x1b[K"

// Line is a line at the bottom of a terminal that is rewritten in place. It is
// for one goroutine. A nil Line shows nothing.
type Line struct {
	w     io.Writer
	width func() int
	text  string
}

// NewLine makes a line on the terminal w, whose width in columns width tells.
func NewLine(w io.Writer, width func() int) *Line {
	return &Line{w: w, width: width}
}

// Show replaces the line's text, cut to the terminal's width.
func (l *Line) Show(text string) {
	if l == nil {
		return
	}
	if columns := l.width() - 1; utf8.RuneCountInString(text) > columns {
		text = string([]rune(text)[:max(columns, 0)])
	}
	l.text = text
	fmt.Fprint(l.w, eraseLine, text)
}

// Erase takes the line off the screen, so that others can write there.
func (l *Line) Erase() {
	if l != nil && l.text != "" {
		l.text = ""
		fmt.Fprint(l.w, eraseLine)
	}
}

// Over returns a writer to w that erases the line first and shows it again
// afterwards: for rows on the same terminal. Each Write must end with a row.
func (l *Line) Over(w io.Writer) io.Writer {
	if l == nil {
		return w
	}
	return overWriter{l, w}
}

type overWriter struct {
	line *Line
	w    io.Writer
}

func (o overWriter) Write(p []byte) (int, error) {
	text := o.line.text
	o.line.Erase()
	n, err := o.w.Write(p)
	if text != "" {
		o.line.Show(text)
	}
	return n, err
}

// Status is the text of the status line of a live capture.
type Status struct {
	// PacketRate and BitRate are per second.
	PacketRate, BitRate float64
	// Open is the number of connections in the table.
	Open uint64
	// Logged and Lost count connections and packets since the start.
	Logged, Lost uint64
	// Held is how many connections the limit of rows kept out of the log.
	Held uint64
}

// String is the line's text.
func (s Status) String() string {
	text := fmt.Sprintf("%s  %s  open %s  logged %s  lost %s", Rate(s.PacketRate, "pps"),
		Rate(s.BitRate, "bit/s"), Count(s.Open), Count(s.Logged), Count(s.Lost))
	if s.Held > 0 {
		text += "  held back " + Count(s.Held)
	}
	return text
}

// Progress is the text of the progress bar of a long read.
type Progress struct {
	// Done and Total are bytes of the input; Total is 0 if it is not known.
	Done, Total int64
	// Packets and Connections are the numbers so far.
	Packets, Connections uint64
	// Elapsed is the time since the start.
	Elapsed time.Duration
}

// String is the bar's text.
func (p Progress) String() string {
	counts := fmt.Sprintf("%s  %s", Plural(p.Packets, "packet"), Plural(p.Connections, "connection"))
	if p.Total <= 0 || p.Done > p.Total {
		return counts
	}
	const cells = 20
	share := float64(p.Done) / float64(p.Total)
	bar := strings.Repeat("=", int(share*cells)) + strings.Repeat(" ", cells-int(share*cells))
	text := fmt.Sprintf("[%s] %3.0f %%  %s", bar, share*100, counts)
	if share < 0.02 {
		return text
	}
	left := time.Duration(float64(p.Elapsed) * (1 - share) / share)
	return fmt.Sprintf("%s  %d:%02d left", text, int(left.Minutes()), int(left.Seconds())%60)
}
