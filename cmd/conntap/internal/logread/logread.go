// SPDX-License-Identifier: Apache-2.0

// Package logread reads the rows of conn.logs: Zeek's TSV and JSON, whoever wrote
// them, and the classic red lines.
package logread

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// longestLine bounds a row, in bytes.
const longestLine = 1 << 20

// ErrNoRow says that a line is of no kind that a conn.log has.
var ErrNoRow = errors.New("not a row of a conn.log: want Zeek's TSV or JSON, or a red line")

// Field is one field of a row as it stands in the log. Set is false for an unset
// one.
type Field struct {
	Name, Value string
	Set         bool
}

// Row is a row: its fields in the log's order.
type Row []Field

// Get is a field's value, "" if it is unset or missing.
func (r Row) Get(name string) string {
	for _, f := range r {
		if f.Name == name && f.Set {
			return f.Value
		}
	}
	return ""
}

// LineError is what is wrong with a line. Reading can go on behind it.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }
func (e *LineError) Unwrap() error { return e.Err }

// Reader reads rows, one line after the other. Logs may follow each other, each with
// a header of its own.
type Reader struct {
	lines  *bufio.Reader
	number int // of the line
	header header
	row    Row // reused
}

// NewReader reads rows from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{lines: bufio.NewReaderSize(r, longestLine), header: defaultHeader()}
}

// Path is Zeek's name of the log according to the latest header, such as conn; ""
// without one.
func (r *Reader) Path() string { return r.header.path }

// Line is the number of the line that Next came to, from 1.
func (r *Reader) Line() int { return r.number }

// Next is the next row, valid until the next call. Its errors are io.EOF, a
// *LineError for a line that is no row, or what the underlying reader had.
func (r *Reader) Next() (Row, error) {
	for {
		line, err := r.line()
		switch {
		case err != nil:
			return nil, err
		case line == "":
			continue
		case line[0] == '#':
			err = r.header.take(line)
		default:
			r.row, err = r.parse(line)
		}
		switch {
		case err != nil:
			return nil, &LineError{r.number, err}
		case line[0] != '#':
			return r.row, nil
		}
	}
}

// line is the next line without its end. One that is too long is passed over.
func (r *Reader) line() (string, error) {
	text, err := r.lines.ReadSlice('\n')
	r.number++
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.lines.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read rows: %w", err)
		}
		return "", &LineError{r.number, fmt.Errorf("longer than %d bytes", longestLine)}
	}
	switch {
	case err == nil, errors.Is(err, io.EOF) && len(text) > 0:
		return strings.TrimRight(string(text), "\r\n"), nil
	case errors.Is(err, io.EOF):
		return "", io.EOF
	}
	return "", fmt.Errorf("read rows: %w", err)
}

func (r *Reader) parse(line string) (Row, error) {
	switch {
	case line[0] == '{':
		return parseJSON(line, r.row[:0])
	case strings.Contains(line, r.header.separator):
		return r.header.parse(line, r.row[:0])
	case len(r.header.names) == 1:
		return r.header.parse(line, r.row[:0])
	}
	return parseRed(line, r.row[:0])
}
