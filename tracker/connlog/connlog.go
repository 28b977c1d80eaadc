// SPDX-License-Identifier: Apache-2.0

// Package connlog turns connections into log lines: Zeek's conn.log, tab
// separated or JSON, and the classic one-line summaries.
//
// A [Writer] formats; a [File], or a log of a [Directory], is where the lines may go:
// a File is written to at once, a Directory rotates its logs, and whoever writes to them
// never waits for the disk. The columns of all formats that have columns stand in one
// table, columns.go.
package connlog

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"conntap/tracker"
)

// Format is how a connection becomes a line.
type Format uint8

// The formats.
const (
	Text Format = iota // for people: symbols, sizes, service names
	TSV                // Zeek's conn.log
	JSON               // Zeek's conn.log with LogAscii::use_json
	Red                // the classic blank-separated summary
)

var formatNames = []string{"text", "tsv", "json", "red"}

// String is the format's name on the command line.
func (f Format) String() string { return nameOf(formatNames, int(f)) }

// ParseFormat reads a format's name.
func ParseFormat(name string) (Format, error) {
	i, err := parseName("format", formatNames, name)
	return Format(i), err
}

// TimeFormat is how JSON writes ts (LogAscii::json_timestamps). Durations are
// seconds always.
type TimeFormat uint8

// The time formats.
const (
	Epoch   TimeFormat = iota // seconds since 1970, a double
	Millis                    // whole milliseconds since 1970
	ISO8601                   // 2006-01-02T15:04:05.000000Z
)

var timeFormatNames = []string{"epoch", "millis", "iso8601"}

// String is the time format's name on the command line.
func (t TimeFormat) String() string { return nameOf(timeFormatNames, int(t)) }

// ParseTimeFormat reads a time format's name.
func ParseTimeFormat(name string) (TimeFormat, error) {
	i, err := parseName("time format", timeFormatNames, name)
	return TimeFormat(i), err
}

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "?"
}

func parseName(what string, names []string, name string) (int, error) {
	i := slices.Index(names, name)
	if i < 0 {
		return 0, fmt.Errorf("no %s is called %q: known are %s", what, name, strings.Join(names, ", "))
	}
	return i, nil
}

// Config says what a log looks like. The zero value is text into a pipe.
type Config struct {
	Format Format
	// With adds columns (tsv, json), or history and uid at a line's end (red,
	// text). What a format has no place for is an error.
	With With
	// Fields chooses columns (tsv, json): just these, in the log's order, not in
	// the order given, as in Zeek. Empty: the default columns and With's.
	Fields []string
	// Time is how json writes ts.
	Time TimeFormat
	// Profile is whose conn.log tsv and json are.
	Profile Profile
	// KeyVLAN says that VLAN ids tell connections apart (tracker.Config.KeyVLAN):
	// tsv and json have them as id.ctx.vlan and id.ctx.inner_vlan.
	KeyVLAN bool

	// LocalNets are the user's own networks. The columns local_orig and
	// local_resp know the private address space besides; red, text and the
	// profile Bro26 know these alone.
	LocalNets []netip.Prefix
	// NoLocalNets leaves local_orig and local_resp undefined.
	NoLocalNets bool
	// NeighborNets are the networks whose connections red flags with U.
	NeighborNets []netip.Prefix

	// Sensor is the name of who saw the connections, which tsv and json have in the
	// column sensor; "" for no such column.
	Sensor string
	// Anonymize hides addresses, the MAC addresses' part behind the vendor's, and what
	// uids tell; nil shows them. What is local and who is a neighbor is judged before.
	Anonymize *Anonymization
	// Path is the log's name in tsv's header, "conn" if empty.
	Path string

	// Terminal makes text the aligned view for a screen, Color colours it.
	Terminal, Color bool

	// Sample says that one connection in so many is in the log; tsv has it in its
	// header. 0 and 1: all are.
	Sample uint32

	// Now is the clock of #open and #close, by default time.Now.
	Now func() time.Time
}

// flushAt is the buffered length from which on Write hands rows to the
// underlying writer.
const flushAt = 64 << 10

// Writer writes connections to a log. It hands whole lines to the underlying
// writer, many in one call, so that a reader never finds half a line. It is not
// safe for concurrent use.
//
// The first error of the underlying writer is returned by every later call.
type Writer struct {
	w       io.Writer
	cfg     Config
	frame   frame
	columns []column
	prefix  []string // JSON: what stands before each column's value
	local   *nets    // red: the user's nets
	near    *nets
	width   widths
	row     row
	older   older // the connection as Profile has it
	// anonymizer is the one of Config.Anonymize, or nil.
	anonymizer *anonymizer

	buf    []byte
	opened bool
	closed bool
	bare   bool // header and footer are the underlying writer's, which has several files
	err    error
}

// NewWriter makes a log of cfg on w. The header, if the format has one, goes
// out with the first row: no row, no output.
func NewWriter(w io.Writer, cfg Config) (*Writer, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	columns, err := cfg.choose()
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Path == "" {
		cfg.Path = connPath
	}
	lw := &Writer{
		w: w, cfg: cfg, frame: frame{&cfg, columns}, columns: columns, prefix: jsonPrefixes(columns), width: startWidths,
		local: newNets(cfg.LocalNets), near: newNets(cfg.NeighborNets),
		buf: make([]byte, 0, flushAt+flushAt/8),
	}
	lw.row.nets, lw.row.sensor = cfg.localNets(), cfg.Sensor
	if cfg.Anonymize != nil {
		lw.anonymizer = newAnonymizer(cfg.Anonymize)
	}
	return lw, nil
}

// choose picks the columns.
func (cfg *Config) choose() ([]column, error) {
	with := cfg.With &^ (History | UID)
	if cfg.KeyVLAN {
		with |= keyVLAN
	}
	if cfg.Sensor != "" {
		with |= forSensor
	}
	columns, err := choose(with, cfg.Fields)
	if err == nil && cfg.Profile == Bro26 {
		columns, err = chooseBro26(columns, cfg.Fields)
	}
	return columns, err
}

// localNets are the networks that the columns local_orig and local_resp go by;
// nil leaves them undefined.
func (cfg *Config) localNets() *nets {
	switch {
	case cfg.NoLocalNets, cfg.Profile == Bro26 && len(cfg.LocalNets) == 0:
		return nil
	case cfg.Profile == Bro26:
		return newNets(cfg.LocalNets)
	}
	return newNets(slices.Concat(privatePrefixes(), cfg.LocalNets))
}

// SetNets replaces the networks that the log goes by with LocalNets, NoLocalNets and
// NeighborNets of cfg, from the next row on. The rest of cfg is not looked at.
func (w *Writer) SetNets(cfg Config) {
	w.cfg.LocalNets, w.cfg.NoLocalNets, w.cfg.NeighborNets = cfg.LocalNets, cfg.NoLocalNets, cfg.NeighborNets
	w.local, w.near, w.row.nets = newNets(cfg.LocalNets), newNets(cfg.NeighborNets), w.cfg.localNets()
}

// check finds what the format has no place for.
func (cfg *Config) check() error {
	columnar := cfg.Format == TSV || cfg.Format == JSON
	switch {
	case int(cfg.Format) >= len(formatNames):
		return fmt.Errorf("no format has number %d", cfg.Format)
	case !columnar && len(cfg.Fields) > 0:
		return fmt.Errorf("%s has no fields to choose: use tsv or json", cfg.Format)
	case !columnar && cfg.With&^(History|UID) != 0:
		return fmt.Errorf("%s can add history and uid only: use tsv or json for columns", cfg.Format)
	case !columnar && cfg.Sensor != "":
		return fmt.Errorf("%s has no place for a sensor's name: use tsv or json", cfg.Format)
	case cfg.Format != JSON && cfg.Time != Epoch:
		return fmt.Errorf("%s writes its own times: %s is for json", cfg.Format, cfg.Time)
	case int(cfg.Profile) >= len(profileNames):
		return fmt.Errorf("no profile has number %d", cfg.Profile)
	case !columnar && cfg.Profile != Zeek8:
		return fmt.Errorf("%s is not Zeek's log: the profile %s is for tsv and json", cfg.Format, cfg.Profile)
	}
	return nil
}

// Write adds c to the log. It allocates nothing and keeps nothing of c. The
// line may stay in the buffer until Flush. A connection that Profile has no row
// for is counted (Omitted).
func (w *Writer) Write(c *tracker.Conn) error {
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return fmt.Errorf("write to a closed log")
	}
	if w.cfg.Profile == Bro26 {
		if c = w.older.of(c); c == nil {
			return nil
		}
	}
	w.open()
	shown := c
	if w.anonymizer != nil {
		shown = w.anonymizer.of(c)
	}
	w.row.set(c, shown)
	switch w.cfg.Format {
	case TSV:
		w.buf = appendZeekRow(w.buf, w.columns, &w.row)
	case JSON:
		w.buf = w.appendJSONRow(w.buf)
	case Red:
		w.buf = w.appendRed(w.buf)
	case Text:
		w.buf = w.appendText(w.buf)
	}
	if len(w.buf) >= flushAt {
		return w.Flush()
	}
	return nil
}

// open writes the header before the first row.
func (w *Writer) open() {
	if !w.opened && !w.bare {
		w.buf = w.frame.header(w.buf)
	}
	w.opened = true
}

// Flush hands all lines written so far to the underlying writer, in one call.
func (w *Writer) Flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil {
		w.err = fmt.Errorf("write log: %w", err)
	}
	return w.err
}

// Close writes the footer, if the log has a header, and flushes. It leaves the
// underlying writer open; a second Close does nothing.
func (w *Writer) Close() error {
	if w.closed {
		return w.err
	}
	w.closed = true
	if w.opened && !w.bare {
		w.buf = w.frame.footer(w.buf)
	}
	return w.Flush()
}
