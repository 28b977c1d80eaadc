// SPDX-License-Identifier: Apache-2.0

package logread

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Printable quotes what stands in a log that would not stay on its line, do things to
// a terminal, or is no UTF-8.
func Printable(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	return strconv.Quote(text)
}
