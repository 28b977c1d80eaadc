// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"conntap/cmd/conntap/internal/logread"
	"conntap/tracker/connlog"
)

// Rows explains rows of a conn.log, field by field: Zeek's TSV, with its header
// or, with the default columns, without; Zeek's JSON; red lines. What a row
// contradicts itself in is said in its place. A line of another kind is an
// error.
func Rows(w io.Writer, r io.Reader) error {
	lines := logread.NewReader(r)
	for rows := 0; ; rows++ {
		row, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF) && rows == 0:
			return errors.New("no rows to explain: give lines of a conn.log")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if rows > 0 {
			record(row).separate(w)
		}
		if err := record(row).write(w); err != nil {
			return err
		}
	}
}

// record is a row that can be said in words.
type record logread.Row

// get is a field's value, "" if it is unset or missing.
func (r record) get(name string) string { return logread.Row(r).Get(name) }

// separate writes the blank line between two rows; write meets its errors too.
func (r record) separate(w io.Writer) { fmt.Fprintln(w) }

// write explains the row, a field a line, state and history more closely.
func (r record) write(w io.Writer) error {
	var b strings.Builder
	history := r.get("history")
	for _, f := range r {
		value := logread.Printable(f.Value)
		if !f.Set {
			value = "-"
		}
		meaning := r.meaning(f)
		if f.Name == "conn_state" {
			meaning = r.stateMeaning(history)
		}
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("%-18s  %-24s  %s", logread.Printable(f.Name), value, meaning), " "))
		if f.Name == "history" && f.Set {
			writeLetters(&b, "    ", r.get("proto"), history)
		}
	}
	if note := r.contradiction(history); note != "" {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	_, err := io.WriteString(w, b.String())
	return err
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
