// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Zeek's tab-separated log (spec 15.1, src/logging/writers/ascii/Ascii.cc).

const (
	unsetField = "-"
	emptyField = "(empty)"
	// stampLayout is how #open and #close write the local wall-clock time.
	stampLayout = "2006-01-02-15-04-05"
)

// appendZeekHeader has a line that Zeek's has not for a sample. It stands before
// #open: zeek-cut and Zeek's own reader pass over header lines that they don't know,
// but others want #types right behind #fields.
func appendZeekHeader(b []byte, cfg *Config, columns []column) []byte {
	b = append(b, "#separator \\x09\n#set_separator\t,\n#empty_field\t"+emptyField+
		"\n#unset_field\t"+unsetField+"\n#path\t"...)
	b = append(append(b, cfg.Path...), '\n')
	if cfg.Sample > 1 {
		b = append(strconv.AppendUint(append(b, "#sample\t1/"...), uint64(cfg.Sample), 10), '\n')
	}
	b = append(b, "#open\t"...)
	b = cfg.Now().AppendFormat(b, stampLayout)
	b = append(b, "\n#fields"...)
	for i := range columns {
		b = append(append(b, '\t'), columns[i].name...)
	}
	b = append(b, "\n#types"...)
	for i := range columns {
		b = append(append(b, '\t'), kindNames[columns[i].kind]...)
	}
	return append(b, '\n')
}

func appendZeekFooter(b []byte, now time.Time) []byte {
	b = now.AppendFormat(append(b, "#close\t"...), stampLayout)
	return append(b, '\n')
}

func appendZeekRow(b []byte, columns []column, r *row) []byte {
	start := len(b)
	for i := range columns {
		if i > 0 {
			b = append(b, '\t')
		}
		b = appendZeekField(b, &columns[i], r)
	}
	if b[start] == '#' { // else the row would read as a header line
		b = append(b[:start], append([]byte(`\x23`), b[start+1:]...)...)
	}
	return append(b, '\n')
}

func appendZeekField(b []byte, c *column, r *row) []byte {
	at := len(b)
	switch c.kind {
	case kindTime, kindInterval:
		if v, set := c.seconds(r); set {
			return appendFixed(b, v)
		}
	case kindCount, kindInt, kindPort:
		if v, set := c.number(r); set {
			return appendUint(b, v)
		}
	case kindBool:
		if v, set := c.number(r); set {
			return append(b, "FT"[v])
		}
	case kindUIDs:
		return appendZeekUIDs(b, r)
	case kindFreeText:
		b = escapeZeek(c.text(b, r), at)
	default:
		b = c.text(b, r)
	}
	if len(b) == at {
		return append(b, unsetField...)
	}
	return b
}

func appendZeekUIDs(b []byte, r *row) []byte {
	uids := r.conn.TunnelParents
	switch {
	case uids == nil:
		return append(b, unsetField...)
	case len(uids) == 0:
		return append(b, emptyField...)
	}
	for i, uid := range uids {
		if i > 0 {
			b = append(b, ',')
		}
		b = uid.Append(b)
	}
	return b
}

// escapeZeek escapes what stands in b from at on: backslashes, control bytes,
// invalid UTF-8, and texts that mean something else in a log.
func escapeZeek(b []byte, at int) []byte {
	if plain(b[at:]) && string(b[at:]) != unsetField && string(b[at:]) != emptyField {
		return b
	}
	text := string(b[at:])
	b = b[:at]
	if text == unsetField || text == emptyField {
		return append(appendHexEscape(b, text[0]), text[1:]...)
	}
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == '\\':
			b = append(b, `\\`...)
		case r < ' ' || r == 0x7f || r == utf8.RuneError && n == 1:
			b = appendHexEscape(b, text[0])
		default:
			b = append(b, text[:n]...)
		}
		text = text[n:]
	}
	return b
}

// plain says that b is printable ASCII without backslashes.
func plain(b []byte) bool {
	for _, v := range b {
		if v < ' ' || v >= 0x7f || v == '\\' {
			return false
		}
	}
	return true
}

func appendHexEscape(b []byte, v byte) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'x', hex[v>>4], hex[v&15])
}
