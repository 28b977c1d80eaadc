// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Zeek's JSON log (spec 15.2, src/threading/formatters/JSON.cc): one object a
// line, unset columns left out.

// jsonPrefixes are the columns' keys as they stand before the values: `,"ts":`.
func jsonPrefixes(columns []column) []string {
	prefixes := make([]string, len(columns))
	for i := range columns {
		prefixes[i] = `,"` + columns[i].name + `":`
	}
	return prefixes
}

func (w *Writer) appendJSONRow(b []byte) []byte {
	start := len(b)
	for i := range w.columns {
		before := len(b)
		b = append(b, w.prefix[i]...)
		value := len(b)
		if b = w.appendJSONValue(b, &w.columns[i]); len(b) == value {
			b = b[:before]
		}
	}
	if len(b) == start {
		b = append(b, ',')
	}
	b[start] = '{' // for the first comma
	return append(b, '}', '\n')
}

// appendJSONValue appends nothing if the value is unset.
func (w *Writer) appendJSONValue(b []byte, c *column) []byte {
	switch c.kind {
	case kindTime, kindInterval:
		v, set := c.seconds(&w.row)
		switch {
		case !set:
			return b
		case c.kind == kindTime:
			return appendJSONTime(b, v, w.cfg.Time)
		}
		return appendJSONDouble(b, v)
	case kindCount, kindInt, kindPort:
		if v, set := c.number(&w.row); set {
			return strconv.AppendUint(b, v, 10)
		}
		return b
	case kindBool:
		if v, set := c.number(&w.row); set {
			return strconv.AppendBool(b, v == 1)
		}
		return b
	case kindUIDs:
		return appendJSONUIDs(b, &w.row)
	}
	return appendJSONText(b, c, &w.row)
}

func appendJSONText(b []byte, c *column, r *row) []byte {
	at := len(b)
	b = append(b, '"')
	b = c.text(b, r)
	if len(b) == at+1 {
		return b[:at]
	}
	if c.kind == kindFreeText {
		b = escapeJSON(b, at+1)
	}
	return append(b, '"')
}

func appendJSONUIDs(b []byte, r *row) []byte {
	if r.conn.TunnelParents == nil {
		return b
	}
	b = append(b, '[')
	for i, uid := range r.conn.TunnelParents {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(uid.Append(append(b, '"')), '"')
	}
	return append(b, ']')
}

func appendJSONTime(b []byte, v float64, format TimeFormat) []byte {
	switch format {
	case Millis:
		// Zeek cuts the product of doubles.
		return strconv.AppendInt(b, int64(v*1000), 10)
	case ISO8601:
		whole := math.Floor(v)
		b = time.Unix(int64(whole), 0).UTC().AppendFormat(append(b, '"'), "2006-01-02T15:04:05")
		b = strconv.AppendUint(b, 1e6+uint64(math.RoundToEven((v-whole)*1e6)), 10)
		b[len(b)-7] = '.'
		return append(b, 'Z', '"')
	}
	return appendJSONDouble(b, v)
}

// escapeJSON escapes what stands in b from at on; invalid UTF-8 becomes \\xHH,
// as in Zeek.
func escapeJSON(b []byte, at int) []byte {
	if plainJSON(b[at:]) {
		return b
	}
	text := string(b[at:])
	b = b[:at]
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', text[0])
		case r < ' ':
			const hex = "0123456789ABCDEF"
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		case r == utf8.RuneError && n == 1:
			b = appendHexEscape(append(b, '\\'), text[0])
		default:
			b = append(b, text[:n]...)
		}
		text = text[n:]
	}
	return b
}

func plainJSON(b []byte) bool {
	for _, v := range b {
		if v == '"' {
			return false
		}
	}
	return plain(b)
}
