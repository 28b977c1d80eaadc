// SPDX-License-Identifier: Apache-2.0

package logread

import (
	"strconv"
	"strings"

	"conntap/tracker"
)

// redNames are the fields of a red line. Its addresses are local and remote, and its
// ports are gone.
var redNames = []string{
	"ts", "duration", "service", "orig_bytes", "resp_bytes", "local address", "remote address", "conn_state", "flags",
}

// parseRed reads a classic summary into row.
func parseRed(line string, row Row) (Row, error) {
	values := strings.Fields(line)
	if len(values) < len(redNames) {
		return row, ErrNoRow
	}
	if _, err := strconv.ParseFloat(values[0], 64); err != nil || !isState(values[7]) {
		return row, ErrNoRow
	}
	for i, name := range redNames {
		row = append(row, Field{name, values[i], values[i] != "?"})
	}
	if rest := values[len(redNames):]; len(rest) > 0 {
		row = append(row, Field{"additional", strings.Join(rest, " "), true})
	}
	return row, nil
}

func isState(name string) bool {
	for s := range tracker.State(tracker.StateCount) {
		if strings.EqualFold(s.String(), name) {
			return true
		}
	}
	return false
}
