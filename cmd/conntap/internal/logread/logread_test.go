// SPDX-License-Identifier: Apache-2.0

package logread

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// all are the rows of a log, and the errors of its other lines.
func all(in string) (rows []Row, mistakes []string, err error) {
	r := NewReader(strings.NewReader(in))
	for {
		row, err := r.Next()
		var line *LineError
		switch {
		case errors.Is(err, io.EOF):
			return rows, mistakes, nil
		case errors.As(err, &line):
			mistakes = append(mistakes, err.Error())
		case err != nil:
			return rows, mistakes, err
		default:
			rows = append(rows, append(Row(nil), row...))
		}
	}
}

func TestReader(t *testing.T) {
	tests := []struct {
		name, in string
		want     []Row
		mistakes []string
	}{
		{"nothing", "", nil, nil},
		{"empty lines", "\n\r\n\n", nil, nil},
		{
			"any columns", "#fields\tproto\tuid\n#types\tenum\tstring\ntcp\t-\n#close\t2026\nudp\t(empty)",
			[]Row{
				{{"proto", "tcp", true}, {"uid", "-", false}},
				{{"proto", "udp", true}, {"uid", "(empty)", true}},
			},
			nil,
		},
		{"one column", "#fields\tproto\ntcp\n-\n", []Row{{{"proto", "tcp", true}}, {{"proto", "-", false}}}, nil},
		{
			"the header's own signs", "#separator \\x2c\n#set_separator,;\n#empty_field,none\n#unset_field,?\n#path,conn\n" +
				"#fields,proto,history,tunnel_parents\ntcp,?,none\n",
			[]Row{{{"proto", "tcp", true}, {"history", "?", false}, {"tunnel_parents", "(empty)", true}}},
			nil,
		},
		{
			"two logs", "#separator \\x7c\n#fields|proto|uid\ntcp|C1\n#separator \\x09\n#fields\tuid\tproto\nC2\tudp\r\n",
			[]Row{
				{{"proto", "tcp", true}, {"uid", "C1", true}},
				{{"uid", "C2", true}, {"proto", "udp", true}},
			},
			nil,
		},
		{
			"json", `{"proto":"tcp","id.orig_p":80,"local_orig":false,"service":null,"tunnel_parents":["C1","C2"],"x":{"y":1}}` + "\n",
			[]Row{{
				{"proto", "tcp", true},
				{"id.orig_p", "80", true},
				{"local_orig", "false", true},
				{"service", "", false},
				{"tunnel_parents", "C1,C2", true},
				{"x", `{"y":1}`, true},
			}},
			nil,
		},
		{
			"mistakes", "#fields\tproto\tuid\n#separator \\x0\ntcp\nhello world\n{\"a\":\n{}\n{\"a\":1}}\n" +
				strings.Repeat("x", longestLine+5) + "\n{\"a\":1}\n",
			[]Row{{{"a", "1", true}}},
			[]string{
				`line 2: a separator of "\\x0": want one as \x09`,
				"line 3: " + ErrNoRow.Error(),
				"line 4: " + ErrNoRow.Error(),
				"line 5: not JSON: the object is cut off",
				"line 6: an object without fields",
				"line 7: not JSON: more behind the object",
				"line 8: longer than 1048576 bytes",
			},
		},
		{
			"a column too few", "#fields\ta\tb\tc\n1\t2\n",
			nil,
			[]string{"line 2: a row of 2 columns, want 3: give the log's #fields line with it"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, mistakes, err := all(tt.in)
			if err != nil || !reflect.DeepEqual(rows, tt.want) || !reflect.DeepEqual(mistakes, tt.mistakes) {
				t.Errorf("want %v, %q\n got %v, %q, %v", tt.want, tt.mistakes, rows, mistakes, err)
			}
		})
	}
}

// failing fails in the middle of a line.
type failing struct{ once bool }

var errDisk = errors.New("input/output error")

func (f *failing) Read(b []byte) (int, error) {
	if f.once {
		return 0, errDisk
	}
	f.once = true
	return copy(b, "{\"a\":1}\n{\"b\""), nil
}

func TestReadError(t *testing.T) {
	r := NewReader(&failing{})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	var line *LineError
	if _, err := r.Next(); !errors.Is(err, errDisk) || errors.As(err, &line) {
		t.Errorf("want the reader's error, got %v", err)
	}
}

// TestPlainJSON: both ways of reading an object agree, and the quick one takes what
// logs are made of.
func TestPlainJSON(t *testing.T) {
	plain := []string{
		`{"ts":1700000000.0,"uid":"C1","id.orig_p":0,"local_orig":true,"service":null,"x":-1.5e+10,"y":"","":false}`,
	}
	for _, line := range plain {
		if _, ok := parsePlainJSON(line, nil); !ok {
			t.Errorf("%s: want it taken", line)
		}
		comparePlain(t, line)
	}
	others := []string{
		`{}`, `{"a":01}`, `{"a":-}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":+1}`, `{"a":1,}`, `{"a":1}}`, `{"a" :1}`, `{"a":"\u0041"}`,
		"{\"a\":\"\xff\"}", "{\"a\":\"\t\"}", `{"a":"é"}`, `{"a":[1]}`, `{"a":["b"]}`, `{"a":{"b":1}}`, `{"a":nul}`, `{"a":1`, `{"a"`, `{a:1}`, `{`,
		`{"a":1}x`, `{"a":-0}`, `{"a":1E5}`,
	}
	for _, line := range others {
		comparePlain(t, line)
	}
}

// comparePlain wants what the quick way takes to be what the other one does.
func comparePlain(t *testing.T, line string) {
	t.Helper()
	got, ok := parsePlainJSON(line, nil)
	if !ok {
		return
	}
	if want, err := parseAnyJSON(line, nil); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q: want %v, %v, got %v", line, want, err, got)
	}
}

func FuzzReader(f *testing.F) {
	f.Add("#separator \\x09\n#unset_field\t-\n#path\tconn\n#fields\tts\tuid\tproto\n1700000000.5\tC1\ttcp\n#close\t2026\n")
	f.Add("{\"ts\":1.5,\"proto\":\"tcp\",\"tunnel_parents\":[\"C1\"]}\n")
	f.Add("931803523.006848 54.3776 http ? 38891 206.132.179.35 128.32.162.134 RSTO X %103\n")
	f.Add("#separator \\x2c\n#fields,a,b\n1,2\n")
	f.Fuzz(func(t *testing.T, in string) {
		for line := range strings.Lines(in) {
			comparePlain(t, strings.TrimRight(line, "\r\n"))
		}
		rows, mistakes, err := all(in)
		if err != nil {
			t.Fatalf("an error of reading, of a string: %v", err)
		}
		lines := 1 + strings.Count(in, "\n")
		if n := len(rows) + len(mistakes); n > lines {
			t.Errorf("%d rows and mistakes of %d lines", n, lines)
		}
		for _, row := range rows {
			if len(row) == 0 {
				t.Error("a row without fields")
			}
		}
	})
}
