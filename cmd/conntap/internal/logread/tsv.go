// SPDX-License-Identifier: Apache-2.0

package logread

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"conntap/tracker/connlog"
)

// header is what the lines in front of a log say of its rows (Zeek,
// src/logging/writers/ascii/Ascii.cc).
type header struct {
	separator    string
	unset, empty string
	path         string
	names        []string // nil: no header
}

// defaultHeader is what holds without one.
func defaultHeader() header { return header{separator: "\t", unset: "-", empty: "(empty)"} }

// take reads a header line. Lines that say nothing of rows are passed over.
func (h *header) take(line string) error {
	if value, found := strings.CutPrefix(line, "#separator "); found {
		*h = defaultHeader() // a log begins
		separator, err := unescape(value)
		if err != nil || separator == "" {
			return fmt.Errorf("a separator of %q: want one as \\x09", value)
		}
		h.separator = separator
		return nil
	}
	key, value, _ := strings.Cut(line, h.separator)
	switch key {
	case "#unset_field":
		h.unset = value
	case "#empty_field":
		h.empty = value
	case "#path":
		h.path = value
	case "#fields":
		h.names = strings.Split(value, h.separator)
	}
	return nil
}

// unescape reads \xHH.
func unescape(text string) (string, error) {
	var b strings.Builder
	for text != "" {
		digits, escaped := strings.CutPrefix(text, `\x`)
		if !escaped {
			b.WriteByte(text[0])
			text = text[1:]
			continue
		}
		if len(digits) < 2 {
			return "", errors.New("an escape is cut off")
		}
		v, err := strconv.ParseUint(digits[:2], 16, 8)
		if err != nil {
			return "", err
		}
		b.WriteByte(byte(v))
		text = digits[2:]
	}
	return b.String(), nil
}

// parse reads a row of Zeek's TSV into row. Without a header the columns are the
// default ones of Zeek 8, or what older versions had of them.
func (h *header) parse(line string, row Row) (Row, error) {
	names := h.names
	if names == nil {
		names = headerless(strings.Split(line, h.separator))
	}
	columns := 1 + strings.Count(line, h.separator)
	if len(names) != columns {
		return row, fmt.Errorf("a row of %d columns, want %d: give the log's #fields line with it", columns, len(names))
	}
	for _, name := range names {
		value, rest, _ := strings.Cut(line, h.separator)
		field := Field{name, value, value != h.unset}
		if value == h.empty {
			field.Value = emptyField
		}
		row = append(row, field)
		line = rest
	}
	return row, nil
}

// emptyField is what an empty set is in a row, whatever the header calls it.
const emptyField = "(empty)"

// headerless are the columns of a row without header: Zeek's defaults, 22 since
// 7.1 and 21 before, and then mac, vlan and community-id as far as the row goes.
// A row with VLAN ids in its key has its transport two places later.
func headerless(values []string) []string {
	const transportAt, last = 6, "community_id"
	names := connlog.FieldNames()
	if len(values) <= transportAt+2 || !isTransport(values[transportAt+2]) {
		names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, "id.ctx.") })
	}
	least := slices.Index(names, "tunnel_parents") + 1
	return names[:min(max(len(values), least), slices.Index(names, last)+1)]
}

// isTransport tells a value of the column proto.
func isTransport(value string) bool {
	switch value {
	case "tcp", "udp", "icmp", "unknown_transport":
		return true
	}
	return false
}
