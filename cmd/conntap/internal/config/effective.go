// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// originColumn is where the origins stand, at least.
const originColumn = 40

// WriteTo writes all settings with their origins, as a file that gives the same
// settings again: what is a default stands there as a comment.
func (s *Settings) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	s.visit(func(f *pflag.Flag) {
		line := f.Name + " = " + s.literal(f)
		origin, given := s.origins[f.Name]
		switch {
		case !given:
			line, origin = "# "+line, "default"
		case origin == "":
			origin = "command line"
		}
		fmt.Fprintf(&b, "%s%s  # %s\n", line, strings.Repeat(" ", max(0, originColumn-utf8.RuneCountInString(line))), origin)
	})
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// literal is a setting's value in TOML.
func (s *Settings) literal(f *pflag.Flag) string {
	v := s.values[f.Name]
	kind := f.Value.Type()
	if kind == "bool" || isNumber(kind) {
		return v.text()
	}
	words := make([]string, len(v.words))
	for i, word := range v.words {
		words[i] = quote(word)
	}
	if v.list {
		return "[" + strings.Join(words, ", ") + "]"
	}
	return words[0]
}

// quote writes a TOML string. JSON's escapes are all TOML's, too.
func quote(text string) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return strconv.Quote(text) // no text is refused
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// setting is a line of WriteJSON.
type setting struct {
	Name   string `json:"name"`
	Value  any    `json:"value"` // a string, or a list of strings
	Origin string `json:"origin"`
}

// WriteJSON writes an object for each setting, one a line; the values are as on the
// command line.
func (s *Settings) WriteJSON(w io.Writer) (err error) {
	encoder := json.NewEncoder(w)
	s.visit(func(f *pflag.Flag) {
		v, origin := s.values[f.Name], s.origins[f.Name]
		line := setting{f.Name, v.text(), origin}
		if v.list {
			line.Value = append([]string{}, v.words...)
		}
		switch {
		case !s.Given(f.Name):
			line.Origin = "default"
		case origin == "":
			line.Origin = "command line"
		}
		if fault := encoder.Encode(line); err == nil {
			err = fault
		}
	})
	return err
}
