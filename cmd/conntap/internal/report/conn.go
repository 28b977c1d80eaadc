// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"

	"conntap/cmd/conntap/internal/logread"
)

// conn is what the report goes by of a row. What the row has not is zero.
type conn struct {
	// start is in µs since 1970, noTime if it is not known; duration in µs.
	start, duration int64

	uid                            string
	orig, resp                     endpoint
	proto, service, state, history string
	missed                         uint64
}

// endpoint is a side. An address that is not known is invalid.
type endpoint struct {
	addr                    netip.Addr
	port                    uint16
	ported                  bool // the port is known
	bytes, ipBytes, packets uint64
}

const (
	noTime = math.MinInt64
	// latest is the end of the year 9999, in µs since 1970: what is later is a mistake.
	latest = 253402300799_999999
	second = 1_000_000
	// longestName bounds what a log may call things, in bytes.
	longestName = 200
)

// column is a bit for a column of the log.
type column uint32

const (
	columnTime column = 1 << iota
	columnOrig
	columnResp
	columnPort
	columnProto
	columnService
	columnDuration
	columnBytes
	columnState
	columnMissed
	columnHistory
	columnPackets
	columnIPBytes
)

// columnNames are the columns that the report goes by, in the order of their bits.
var columnNames = [][]string{
	{"ts"},
	{"id.orig_h"},
	{"id.resp_h"},
	{"id.resp_p"},
	{"proto"},
	{"service"},
	{"duration"},
	{"orig_bytes", "resp_bytes"},
	{"conn_state"},
	{"missed_bytes"},
	{"history"},
	{"orig_pkts", "resp_pkts"},
	{"orig_ip_bytes", "resp_ip_bytes"},
}

// parse reads a row, and returns which columns it has.
func (c *conn) parse(row logread.Row) (has column, err error) {
	*c = conn{start: noTime}
	for _, f := range row {
		bit, err := c.set(f)
		if err != nil {
			return has, fmt.Errorf("%s %.40q: %w", f.Name, f.Value, err)
		}
		has |= bit
	}
	if has == 0 {
		return has, errors.New("no column of a conn.log")
	}
	if c.duration = max(c.duration, 0); c.start != noTime {
		c.duration = min(c.duration, latest-c.start)
	}
	return has, nil
}

// set takes one field.
func (c *conn) set(f logread.Field) (bit column, err error) {
	switch f.Name {
	case "ts":
		bit, err = columnTime, setUnless(f, &c.start, parseTime)
	case "uid":
		c.uid = name(f)
	case "id.orig_h":
		bit, err = columnOrig, setUnless(f, &c.orig.addr, parseAddr)
	case "id.resp_h":
		bit, err = columnResp, setUnless(f, &c.resp.addr, parseAddr)
	case "id.orig_p":
		c.orig.ported, err = f.Set, setUnless(f, &c.orig.port, parsePort)
	case "id.resp_p":
		c.resp.ported = f.Set
		bit, err = columnPort, setUnless(f, &c.resp.port, parsePort)
	case "proto":
		bit, c.proto = columnProto, name(f)
	case "service":
		bit, c.service = columnService, name(f)
	case "conn_state":
		bit, c.state = columnState, name(f)
	case "history":
		bit, c.history = columnHistory, name(f)
	case "duration":
		bit, err = columnDuration, setUnless(f, &c.duration, parseSeconds)
	case "missed_bytes":
		bit, err = columnMissed, setUnless(f, &c.missed, parseCount)
	default:
		return c.setSize(f)
	}
	return bit, err
}

// setSize takes a field that is a size of one side.
func (c *conn) setSize(f logread.Field) (bit column, err error) {
	switch f.Name {
	case "orig_bytes":
		return columnBytes, setUnless(f, &c.orig.bytes, parseCount)
	case "resp_bytes":
		return columnBytes, setUnless(f, &c.resp.bytes, parseCount)
	case "orig_pkts":
		return columnPackets, setUnless(f, &c.orig.packets, parseCount)
	case "resp_pkts":
		return columnPackets, setUnless(f, &c.resp.packets, parseCount)
	case "orig_ip_bytes":
		return columnIPBytes, setUnless(f, &c.orig.ipBytes, parseCount)
	case "resp_ip_bytes":
		return columnIPBytes, setUnless(f, &c.resp.ipBytes, parseCount)
	case "local address":
		return 0, errors.New("a red line has no originator: want tsv or json")
	}
	return 0, nil
}

// setUnless sets what a field says, unless it is unset.
func setUnless[T any](f logread.Field, to *T, parse func(string) (T, error)) error {
	if !f.Set {
		return nil
	}
	v, err := parse(f.Value)
	if err != nil {
		return err
	}
	*to = v
	return nil
}

// name is a field's text, within bounds.
func name(f logread.Field) string {
	switch {
	case !f.Set:
		return ""
	case len(f.Value) > longestName:
		return f.Value[:longestName] + "..."
	}
	return f.Value
}

func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, errors.New("no IP address")
	}
	return addr, nil
}

func parsePort(text string) (uint16, error) {
	v, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, errors.New("no port")
	}
	return uint16(v), nil
}

func parseCount(text string) (uint64, error) {
	v, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, errors.New("no count")
	}
	return v, nil
}

// parseSeconds reads seconds as µs, rounded.
func parseSeconds(text string) (int64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(math.Abs(v) <= latest/second) { // which a NaN is not either
		return 0, errors.New("no number of seconds")
	}
	return int64(math.Round(v * second)), nil
}

// parseTime reads a time in any of Zeek's forms: seconds since 1970 with a fraction,
// whole milliseconds, ISO 8601.
func parseTime(text string) (int64, error) {
	const millis = 1e11 // seconds reach it in the year 5138, milliseconds in 1973
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		if v >= millis {
			v /= 1000
		}
		if v >= 0 && v <= latest/second {
			return int64(math.Round(v * second)), nil
		}
		return 0, errors.New("no time")
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.UnixMicro() < 0 || at.UnixMicro() > latest {
		return 0, errors.New("no time")
	}
	return at.UnixMicro(), nil
}

// bytes are those of IP packets, or of the payload in a log without.
func (c *conn) bytes(has column) uint64 {
	if has&columnIPBytes != 0 {
		return plus(c.orig.ipBytes, c.resp.ipBytes)
	}
	return plus(c.orig.bytes, c.resp.bytes)
}

// plus adds without running over.
func plus(a, b uint64) uint64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return math.MaxUint64
}
