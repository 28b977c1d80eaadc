// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"conntap/tracker"
)

// The second state of many is what a first packet without any flag makes of
// them, which leaves no letter and its side PARTIAL.
func TestPossibleStates(t *testing.T) {
	tests := []struct{ proto, history, want string }{
		{"tcp", "S", "OTH, S0"},
		{"tcp", "Sr", "REJ, RSTRH"},
		{"tcp", "ShADadFf", "SF"},
		{"tcp", "ShADadtR", "OTH, RSTO"},
		{"tcp", "ShAFRf", "SF"},
		{"tcp", "ShAFfR", "SF"},
		{"tcp", "ShAFr", "RSTR"},
		{"tcp", "SR", "RSTOS0"},
		{"tcp", "SAR", "OTH"},
		{"tcp", "R", "OTH"},
		{"tcp", "SF", "SH"},
		{"tcp", "Hs^", "OTH, S1"},
		{"tcp", "^hAD", "OTH, S1"},
		{"tcp", "^hADfF", "SF"},
		{"tcp", "^hR", "OTH, RSTO"},
		{"tcp", "Hr", "REJ, RSTRH"},
		{"tcp", "FfA", "SF"},
		{"tcp", "QI", "OTH"},
		{"tcp", "", "OTH"},
		{"udp", "", "OTH"},
		{"udp", "D", "OTH, S0"},
		{"udp", "^d", "OTH, SHR"},
		{"udp", "Dd", "OTH, S0, SF, SHR"},
		{"udp", "S", ""},
		{"icmp", "", "OTH"},
		{"icmp", "X", "OTH"},
		{"icmp", "D", ""},
	}
	for _, tt := range tests {
		if got := possibleStates(tt.proto, tt.history).String(); got != tt.want {
			t.Errorf("%s %q: want %q, got %q", tt.proto, tt.history, tt.want, got)
		}
	}
}

// TestReferenceRows: no row of the reference's logs is called impossible.
func TestReferenceRows(t *testing.T) {
	rows, narrow := 0, 0
	for _, row := range referenceRows(t) {
		proto, state, history := row[6], row[11], row[15]
		if history == "-" {
			history = ""
		}
		s, ok := parseState(state)
		if !ok {
			t.Fatalf("state %q", state)
		}
		possible := possibleStates(proto, history)
		if !possible.has(s) {
			t.Errorf("%s %s %s called impossible; possible: %s", proto, state, history, possible)
		}
		if err := checkHistory(history); err != nil {
			t.Errorf("%s %s %s: %v", proto, state, history, err)
		}
		rows++
		if possible.count() == 1 {
			narrow++
		}
	}
	t.Logf("%d rows; the history alone tells the state of %d", rows, narrow)
}

// referenceRows are the rows of all reference logs, or the test is skipped.
func referenceRows(t *testing.T) [][]string {
	t.Helper()
	dir, err := filepath.Abs("../../../../../shared/conformance/expected")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference logs: %v", err)
	}
	var rows [][]string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".log") {
			return err
		}
		content, err := os.ReadFile(path)
		for line := range strings.Lines(string(content)) {
			if !strings.HasPrefix(line, "#") {
				rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
			}
		}
		return err
	})
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d rows, error %v", len(rows), err)
	}
	return rows
}

// TestStatesHaveNeeds: each state can occur, and has its need in words.
func TestStatesHaveNeeds(t *testing.T) {
	for state := range tracker.State(tracker.StateCount) {
		if stateWords[state].plain == "" || stateWords[state].needs == "" {
			t.Errorf("%s has no words", state)
		}
	}
}
