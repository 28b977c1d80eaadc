// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"conntap/bpf"
	"conntap/tracker"
)

// The tests in this file read the reference's own logs, make connections of
// their rows, and want the same bytes back.

// sharedDir finds ../shared/sub from the repository's root, or skips.
func sharedDir(t *testing.T, sub string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", sub)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no reference logs: %v", err)
	}
	return dir
}

// logFiles are the .log files below dir.
func logFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".log") {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, error %v", dir, len(files), err)
	}
	return files
}

// rowsOf are the rows of a Zeek log, each as its line and its fields by name.
func rowsOf(t *testing.T, path string) (lines []string, rows []map[string]string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(content)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "#fields\t") {
			names = strings.Split(line, "\t")[1:]
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := map[string]string{}
		for i, v := range strings.Split(line, "\t") {
			row[names[i]] = v
		}
		lines = append(lines, line)
		rows = append(rows, row)
	}
	return lines, rows
}

// parser turns a row's fields into a connection; it remembers the first error.
type parser struct {
	row map[string]string
	err error
}

func (p *parser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *parser) count(name string) uint64 {
	if p.row[name] == "-" {
		return 0
	}
	v, err := strconv.ParseUint(p.row[name], 10, 64)
	p.fail(err)
	return v
}

// micros are ns of a number with 6 decimals.
func (p *parser) micros(name string) int64 {
	if p.row[name] == "-" {
		return 0
	}
	v, err := strconv.ParseInt(strings.Replace(p.row[name], ".", "", 1), 10, 64)
	p.fail(err)
	return v * 1000
}

func (p *parser) addr(name string) bpf.Addr {
	a, err := netip.ParseAddr(p.row[name])
	p.fail(err)
	return a.As16()
}

func (p *parser) mac(name string) (m bpf.MAC) {
	if p.row[name] == "-" {
		return m
	}
	for i, part := range strings.Split(p.row[name], ":") {
		v, err := strconv.ParseUint(part, 16, 8)
		p.fail(err)
		m[i] = byte(v)
	}
	return m
}

func (p *parser) text(name string) string {
	if p.row[name] == "-" {
		return ""
	}
	return p.row[name]
}

func (p *parser) endpoint(side string) tracker.Endpoint {
	return tracker.Endpoint{
		Addr: p.addr("id." + side + "_h"), Port: uint16(p.count("id." + side + "_p")),
		Bytes: p.count(side + "_bytes"), Packets: p.count(side + "_pkts"),
		IPBytes: p.count(side + "_ip_bytes"), MAC: p.mac(side + "_l2_addr"),
	}
}

func (p *parser) conn(t *testing.T) tracker.Conn {
	start := p.micros("ts")
	c := tracker.Conn{
		// The split between steady clock and offset must not show.
		Start: 12345, Last: 12345 + p.micros("duration"), ClockOffset: start - 12345,
		Orig: p.endpoint("orig"), Resp: p.endpoint("resp"), Protocol: uint8(p.count("ip_proto")),
		History: []byte(p.text("history")), MissedBytes: p.count("missed_bytes"),
		VLAN: uint16(p.count("vlan")), InnerVLAN: uint16(p.count("inner_vlan")), Service: p.text("service"),
		UID: parseUID(t, p.row["uid"]),
	}
	for s := range tracker.State(tracker.StateCount) {
		if s.String() == p.row["conn_state"] {
			c.State = s
		}
	}
	if parents := p.text("tunnel_parents"); parents != "" {
		for _, uid := range strings.Split(parents, ",") {
			c.TunnelParents = append(c.TunnelParents, parseUID(t, uid))
		}
	}
	return c
}

func connOf(t *testing.T, row map[string]string) tracker.Conn {
	t.Helper()
	p := parser{row: row}
	c := p.conn(t)
	if p.err != nil {
		t.Fatalf("%v: %v", row, p.err)
	}
	return c
}

// parseUID finds a uid with the given text. Where its first word ends isn't
// written; any split that gives the text back will do.
func parseUID(t *testing.T, text string) tracker.UID {
	t.Helper()
	for i := 2; i < len(text); i++ {
		high, ok1 := parseBase62(text[1:i])
		low, ok2 := parseBase62(text[i:])
		uid := tracker.UID{High: uint32(high), Low: low}
		if ok1 && ok2 && high <= math.MaxUint32 && uid.String() == text {
			return uid
		}
	}
	t.Fatalf("no uid is written %q", text)
	return tracker.UID{}
}

func parseBase62(text string) (v uint64, ok bool) {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for i := len(text) - 1; i >= 0; i-- {
		if v > math.MaxUint64/62 {
			return 0, false
		}
		v = v*62 + uint64(strings.IndexByte(digits, text[i]))
	}
	return v, true
}

func TestReferenceTSV(t *testing.T) {
	dir := sharedDir(t, "conformance/expected")
	count := 0
	for _, path := range logFiles(t, dir) {
		lines, rows := rowsOf(t, path)
		if len(rows) == 0 {
			continue
		}
		var out bytes.Buffer
		w, err := NewWriter(&out, Config{Format: TSV, With: MAC | VLAN | CommunityID})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			c := connOf(t, row)
			if err := w.Write(&c); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel(dir, path)
		compareLines(t, name, string(content), out.String())
		count += len(lines)
	}
	t.Logf("%d rows", count)
}

// compareLines compares two Zeek logs; the reference's have lost the lines with
// the time of writing.
func compareLines(t *testing.T, name, want, got string) {
	t.Helper()
	wants, gots := strings.Split(want, "\n"), strings.Split(stamps.ReplaceAllString(got, ""), "\n")
	if len(wants) != len(gots) {
		t.Fatalf("%s: want %d lines, got %d", name, len(wants), len(gots))
	}
	for i := range wants {
		if wants[i] != gots[i] {
			t.Errorf("%s line %d:\nwant %s\n got %s", name, i+1, wants[i], gots[i])
		}
	}
}

var (
	stamps  = regexp.MustCompile(`(?m)^#(open|close)\t\d{4}(-\d\d){5}\n`)
	jsonUID = regexp.MustCompile(`"uid":"[^"]*"|,"service":"[^"]*"`)
)

func TestReferenceJSON(t *testing.T) {
	dir := sharedDir(t, "conformance/expected-json/synthetic")
	tsv := sharedDir(t, "conformance/expected/synthetic")
	count := 0
	for _, path := range logFiles(t, dir) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, rows := rowsOf(t, filepath.Join(tsv, filepath.Base(path)))
		var out bytes.Buffer
		w, err := NewWriter(&out, Config{Format: JSON})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			c := connOf(t, row)
			if err := w.Write(&c); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		want, got := sortedJSON(string(content)), sortedJSON(out.String())
		if !slices.Equal(want, got) {
			t.Errorf("%s:\nwant %s\n got %s", filepath.Base(path), strings.Join(want, "\n     "), strings.Join(got, "\n     "))
		}
		count += len(got)
	}
	t.Logf("%d rows", count)
}

// sortedJSON are a log's lines without uid and service, sorted: the reference
// doesn't define the order of rows that were open at the end.
func sortedJSON(text string) []string {
	lines := strings.Split(jsonUID.ReplaceAllString(text, ""), "\n")
	slices.Sort(lines)
	return lines
}
