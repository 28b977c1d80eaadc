// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"conntap/tracker/connlog"
)

// longestLine bounds a row, in bytes.
const longestLine = 1 << 20

// Rows explains rows of a conn.log, field by field: Zeek's TSV, with its header
// or, with the default columns, without; Zeek's JSON; red lines. What a row
// contradicts itself in is said in its place. A line of another kind is an
// error.
func Rows(w io.Writer, r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	var names []string
	rows := 0
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if header, ok := strings.CutPrefix(line, "#fields\t"); ok {
			names = strings.Split(header, "\t")
		}
		if line == "" || line[0] == '#' {
			continue
		}
		rec, err := parseRow(line, names)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if rows++; rows > 1 {
			rec.separate(w)
		}
		if err := rec.write(w); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	if rows == 0 {
		return errors.New("no rows to explain: give lines of a conn.log")
	}
	return nil
}

func parseRow(line string, names []string) (record, error) {
	switch {
	case line[0] == '{':
		return parseJSON(line)
	case strings.Contains(line, "\t"):
		return parseTSV(line, names)
	}
	return parseRed(line)
}

// parseTSV reads a row of Zeek's TSV; names are the header's. Without a header
// the columns are the default ones of Zeek 8, or what older versions had of
// them.
func parseTSV(line string, names []string) (record, error) {
	values := strings.Split(line, "\t")
	if names == nil {
		names = headerless(values)
	}
	if len(names) != len(values) {
		return nil, fmt.Errorf("a row of %d columns, want %d: give the log's #fields line with it", len(values), len(names))
	}
	rec := make(record, len(values))
	for i, v := range values {
		rec[i] = field{names[i], v, v != "-"}
	}
	return rec, nil
}

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

// parseJSON reads an object, keeping the order of its fields.
func parseJSON(line string) (record, error) {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	var rec record
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		rec = append(rec, jsonField(fmt.Sprint(name), raw))
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if len(rec) == 0 {
		return nil, errors.New("an object without fields")
	}
	return rec, nil
}

func jsonField(name string, raw json.RawMessage) field {
	var text string
	var list []string
	switch {
	case bytes.Equal(raw, []byte("null")):
		return field{name: name}
	case json.Unmarshal(raw, &text) == nil:
		return field{name, text, true}
	case json.Unmarshal(raw, &list) == nil:
		return field{name, strings.Join(list, ","), true}
	}
	return field{name, string(raw), true}
}

// parseRed reads a classic summary. Its addresses are local and remote, and its
// ports are gone.
func parseRed(line string) (record, error) {
	values := strings.Fields(line)
	names := []string{"ts", "duration", "service", "orig_bytes", "resp_bytes", "local address", "remote address", "conn_state", "flags"}
	if len(values) < len(names) {
		return nil, errNoRow
	}
	if _, err := strconv.ParseFloat(values[0], 64); err != nil {
		return nil, errNoRow
	}
	if _, ok := parseState(values[7]); !ok {
		return nil, errNoRow
	}
	var rec record
	for i, name := range names {
		rec = append(rec, field{name, values[i], values[i] != "?"})
	}
	if rest := values[len(names):]; len(rest) > 0 {
		rec = append(rec, field{"additional", strings.Join(rest, " "), true})
	}
	return rec, nil
}

var errNoRow = errors.New("not a row of a conn.log: want Zeek's TSV or JSON, or a red line")

// separate writes the blank line between two rows; write meets its errors too.
func (r record) separate(w io.Writer) { fmt.Fprintln(w) }

// write explains the row, a field a line, state and history more closely.
func (r record) write(w io.Writer) error {
	var b strings.Builder
	history := r.get("history")
	for _, f := range r {
		value := printable(f.value)
		if !f.set {
			value = "-"
		}
		meaning := r.meaning(f)
		if f.name == "conn_state" {
			meaning = r.stateMeaning(history)
		}
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("%-18s  %-24s  %s", printable(f.name), value, meaning), " "))
		if f.name == "history" && f.set {
			writeLetters(&b, "    ", r.get("proto"), history)
		}
	}
	if note := r.contradiction(history); note != "" {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable quotes what would not stay on its line, or do things to a terminal.
func printable(text string) string {
	for _, r := range text {
		if !strconv.IsPrint(r) {
			return strconv.Quote(text)
		}
	}
	return text
}

func (r record) stateMeaning(history string) string {
	s, ok := parseState(r.get("conn_state"))
	if !ok {
		return "not a state that Zeek writes"
	}
	return fmt.Sprintf("%s  %s", connlog.Symbol(s), inWords(r.get("proto"), s, history))
}

// contradiction is what can't be in a row of Zeek 8, or "".
func (r record) contradiction(history string) string {
	s, ok := parseState(r.get("conn_state"))
	if !ok || !r.has("history") {
		return ""
	}
	if err := checkHistory(history); err != nil {
		return err.Error()
	}
	if err := contradiction(r.get("proto"), s, history); err != nil {
		return err.Error() + "; logs of other versions differ, see conntap explain"
	}
	return ""
}

// has says that the log has a history: JSON leaves an unset one out, so there
// it is the state that counts; red lines have none.
func (r record) has(name string) bool {
	return r.get("proto") != "" || r.get(name) != ""
}
