// SPDX-License-Identifier: Apache-2.0

package logread

import "strings"

// parsePlainJSON reads what nearly all rows are, several times as fast as encoding/json
// does: an object without blanks, whose values are numbers, words, and strings of
// printable ASCII without escapes. Of anything else it says so.
func parsePlainJSON(line string, row Row) (Row, bool) {
	rest, ok := strings.CutPrefix(line, "{")
	for ok {
		var f Field
		if f.Name, rest, ok = cutString(rest); !ok || rest == "" || rest[0] != ':' {
			return nil, false
		}
		if f.Value, f.Set, rest, ok = cutValue(rest[1:]); !ok {
			return nil, false
		}
		row = append(row, f)
		if rest == "}" {
			return row, true
		}
		rest, ok = strings.CutPrefix(rest, ",")
	}
	return nil, false
}

// cutString takes a string off the front of text.
func cutString(text string) (value, rest string, ok bool) {
	if text == "" || text[0] != '"' {
		return "", "", false
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return text[1:i], text[i+1:], true
		case c < ' ', c >= 0x7f, c == '\\':
			return "", "", false
		}
	}
	return "", "", false
}

// cutValue takes a value off the front of text; null is unset.
func cutValue(text string) (value string, set bool, rest string, ok bool) {
	if text != "" && text[0] == '"' {
		value, rest, ok = cutString(text)
		return value, true, rest, ok
	}
	end := strings.IndexAny(text, ",}")
	if end <= 0 {
		return "", false, "", false
	}
	value, rest = text[:end], text[end:]
	switch value {
	case "null":
		return "", false, rest, true
	case "true", "false":
		return value, true, rest, true
	}
	return value, true, rest, isNumber(value)
}

// isNumber tells a number by JSON's grammar (RFC 8259, section 6).
func isNumber(text string) bool {
	text = strings.TrimPrefix(text, "-")
	leadingZero := strings.HasPrefix(text, "0")
	whole, text := cutDigits(text)
	if whole == 0 || whole > 1 && leadingZero {
		return false
	}
	if after, found := strings.CutPrefix(text, "."); found {
		var n int
		if n, text = cutDigits(after); n == 0 {
			return false
		}
	}
	if text != "" && (text[0] == 'e' || text[0] == 'E') {
		text = text[1:]
		if text != "" && (text[0] == '+' || text[0] == '-') {
			text = text[1:]
		}
		var n int
		if n, text = cutDigits(text); n == 0 {
			return false
		}
	}
	return text == ""
}

// cutDigits takes digits off the front of text.
func cutDigits(text string) (n int, rest string) {
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	return n, text[n:]
}
