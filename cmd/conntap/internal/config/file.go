// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/pflag"
)

// fromFile takes what the file has. The mistakes come with their lines.
func (s *Settings) fromFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("--%s: %w", FileFlag, err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // which some editors put there
	r := reader{Settings: s, path: path, lines: make(map[string]int)}
	r.parser.Reset(text)
	for r.parser.NextExpression() {
		r.expression(r.parser.Expression())
	}
	// The parser that knows the places leaves what values may be to the decoder.
	var decoded *toml.DecodeError
	if err := toml.Unmarshal(text, new(map[string]any)); len(r.faults) == 0 && errors.As(err, &decoded) {
		line, _ := decoded.Position()
		r.fault(line, "%s", strings.TrimPrefix(decoded.Error(), "toml: "))
	} else if len(r.faults) == 0 && err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return errors.Join(r.faults...)
}

// reader goes through a file.
type reader struct {
	*Settings
	path   string
	parser unstable.Parser
	lines  map[string]int // of the settings so far
	faults []error
}

func (r *reader) fault(line int, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s:%d: %s", r.path, line, fmt.Sprintf(format, args...)))
}

// expression takes a line of the file, or what a bracket makes of several.
func (r *reader) expression(e *unstable.Node) {
	name, line := r.key(e)
	if e.Kind != unstable.KeyValue {
		r.fault(line, "[%s]: settings stand in no table: write their names alone", name)
		return
	}
	f := r.lookup(name)
	switch first, twice := r.lines[name]; {
	case f == nil:
		r.fault(line, "no setting %q%s", name, r.suggest(name))
		return
	case twice:
		r.fault(line, "%s is set twice, first in line %d", name, first)
		return
	}
	r.lines[name] = line
	words, err := wordsOf(f, e.Value())
	if err == nil {
		err = r.set(f, words, fmt.Sprintf("%s:%d", r.path, line))
	}
	if err != nil {
		r.fault(line, "%s: %v", name, err)
	}
}

// key is the name that an expression begins with, and its line.
func (r *reader) key(e *unstable.Node) (name string, line int) {
	var parts []string
	for it := e.Key(); it.Next(); {
		part := it.Node()
		if line == 0 {
			line = r.parser.Shape(part.Raw).Start.Line
		}
		parts = append(parts, string(part.Data))
	}
	return strings.Join(parts, "."), line
}

// suggest says what may have been meant instead of a name.
func (r *reader) suggest(name string) string {
	if near := r.nearest(name); near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ": a setting is a flag's long name"
}

// kinds are TOML's types in words.
var kinds = map[unstable.Kind]string{
	unstable.String: "a string", unstable.Bool: "a boolean", unstable.Integer: "a number", unstable.Float: "a number",
	unstable.Array: "a list", unstable.InlineTable: "a table", unstable.LocalDate: "a date", unstable.LocalTime: "a time",
	unstable.LocalDateTime: "a date", unstable.DateTime: "a date",
}

// wordsOf is what a flag is to be set to, word by word.
func wordsOf(f *pflag.Flag, v *unstable.Node) ([]string, error) {
	several, joined := takesList(f)
	if v.Kind != unstable.Array || !several {
		word, err := wordOf(f, v)
		return []string{word}, err
	}
	var words []string
	for it := v.Children(); it.Next(); {
		word, err := wordOf(f, it.Node())
		if err != nil {
			return nil, err
		}
		words = append(words, word)
	}
	if joined && len(words) > 0 {
		words = []string{strings.Join(words, ",")}
	}
	return words, nil
}

// takesList tells whether a flag takes several values, and if so, whether in one text,
// separated by commas: then its type, or the placeholder in its help, says so.
func takesList(f *pflag.Flag) (several, joined bool) {
	if _, ok := f.Value.(pflag.SliceValue); ok {
		return true, false
	}
	placeholder, _ := pflag.UnquoteUsage(f)
	joined = placeholder == "list" || placeholder == "times"
	return joined, joined
}

// wordOf is a single value as on the command line, if it is of a type that the flag
// can have: a flag that is no number on the command line, as a size, may be written
// as one.
func wordOf(f *pflag.Flag, v *unstable.Node) (string, error) {
	want, allowed := "a string", []unstable.Kind{unstable.String}
	switch kind := f.Value.Type(); {
	case kind == "bool":
		want, allowed = "true or false", []unstable.Kind{unstable.Bool}
	case isNumber(kind):
		want, allowed = "a number", []unstable.Kind{unstable.Integer, unstable.Float}
	case kind != "string" && kind != "stringArray" && kind != "stringSlice" && kind != "word":
		want, allowed = "a string", []unstable.Kind{unstable.String, unstable.Integer, unstable.Float}
	}
	for _, kind := range allowed {
		if v.Kind == kind && kind == unstable.Integer {
			return strings.ReplaceAll(string(v.Data), "_", ""), nil
		} else if v.Kind == kind {
			return string(v.Data), nil
		}
	}
	if several, _ := takesList(f); several {
		want += " or a list of them"
	}
	return "", fmt.Errorf("want %s, not %s", want, kinds[v.Kind])
}

// isNumber tells whether values of a flag's type are written as numbers.
func isNumber(kind string) bool {
	return strings.HasPrefix(kind, "int") || strings.HasPrefix(kind, "uint") || strings.HasPrefix(kind, "float")
}
