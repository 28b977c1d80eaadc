// SPDX-License-Identifier: Apache-2.0

package logread

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseJSON reads an object into row, keeping the order of its fields.
func parseJSON(line string, row Row) (Row, error) {
	if plain, ok := parsePlainJSON(line, row); ok {
		return plain, nil
	}
	return parseAnyJSON(line, row)
}

// parseAnyJSON reads any object.
func parseAnyJSON(line string, row Row) (Row, error) {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return row, notJSON(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return row, notJSON(err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return row, notJSON(err)
		}
		row = append(row, jsonField(fmt.Sprint(name), raw))
	}
	if _, err := d.Token(); err != nil {
		return row, notJSON(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return row, errors.New("not JSON: more behind the object")
	}
	if len(row) == 0 {
		return row, errors.New("an object without fields")
	}
	return row, nil
}

// notJSON says what is wrong. The end of a line is not the end of the log, which
// io.EOF stands for.
func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: the object is cut off")
	}
	return fmt.Errorf("not JSON: %w", err)
}

func jsonField(name string, raw json.RawMessage) Field {
	var text string
	var list []string
	switch {
	case bytes.Equal(raw, []byte("null")):
		return Field{Name: name}
	case raw[0] == '"' && json.Unmarshal(raw, &text) == nil:
		return Field{name, text, true}
	case raw[0] == '[' && json.Unmarshal(raw, &list) == nil:
		return Field{name, strings.Join(list, ","), true}
	}
	return Field{name, string(raw), true}
}
