// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// collect is the report on one log.
func collect(t *testing.T, top int, log string) *Report {
	t.Helper()
	c := NewCollector(top)
	if err := c.Read("conn.log", strings.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	return c.Report()
}

const header = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
	"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\t" +
	"conn_state\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\n"

const rows = "1700000000.500000\tC1\t10.0.0.1\t40000\t10.0.0.2\t80\ttcp\thttp\t2.000000\t100\t2000\tSF\t0\tShADadFf\t6\t400\t5\t2300\n" +
	"1700000001.000000\tC2\t10.0.0.1\t40001\t10.0.0.2\t81\ttcp\t-\t-\t-\t-\tREJ\t0\tSr\t1\t40\t1\t40\n" +
	"1700000000.000000\tC3\t2001:db8::1\t53000\t2001:db8::2\t53\tudp\tdns\t0.250000\t30\t90\tSF\t0\tDd\t1\t78\t1\t138\n" +
	"1700000009.000000\tC4\t10.0.0.3\t8\t10.0.0.2\t0\ticmp\t-\t1.000000\t56\t56\tOTH\t0\t-\t1\t84\t1\t84\n" +
	"1700000003.000000\tC5\t10.0.0.3\t50000\t10.0.0.9\t443\ttcp\tssl\t5.000000\t10\t500\tRSTO\t70\tShADadtgR\t9\t400\t9\t900\n"

func TestReport(t *testing.T) {
	r := collect(t, 2, header+rows+"broken\tline\n\n#close\t2026\n")
	if r.Connections != 5 || *r.Start != 1700000000 || *r.End != 1700000010 || r.Bytes != 4464 || len(r.Missing) != 0 {
		t.Errorf("want 5 connections in 10 s with 4464 bytes, got %d, %v to %v, %d, missing %q",
			r.Connections, *r.Start, *r.End, r.Bytes, r.Missing)
	}
	if want := (Totals{196, 2646, 1002, 3462, 18, 17, 70}); r.Totals != want {
		t.Errorf("want %+v, got %+v", want, r.Totals)
	}
	if want := (Quality{Gaps: 1, Retransmissions: 1}); r.Quality != want {
		t.Errorf("want %+v, got %+v", want, r.Quality)
	}
	wantMalformed := Malformed{1, []string{"conn.log: line 12: a row of 2 columns, want 18: give the log's #fields line with it"}}
	if !reflect.DeepEqual(r.Malformed, wantMalformed) {
		t.Errorf("want %+v, got %+v", wantMalformed, r.Malformed)
	}
	wantStates := []Group{
		{"SF", "established and closed by both sides (UDP: both sides sent)", 2, 2916},
		{"OTH", "no handshake seen: it began before the capture, or is neither TCP nor UDP", 1, 168},
		{"REJ", "attempt; the responder refused it (RST)", 1, 80},
		{"RSTO", "established; the originator aborted it (RST)", 1, 1300},
	}
	if !reflect.DeepEqual(r.States, wantStates) {
		t.Errorf("want %+v, got %+v", wantStates, r.States)
	}
	wantPairs := List{
		Distinct: 4, Exact: true,
		ByConnections: []Entry{{Name: "10.0.0.1 > 10.0.0.2", Connections: 2, Bytes: 2780}, {Name: "10.0.0.3 > 10.0.0.2", Connections: 1, Bytes: 168}},
		ByBytes:       []Entry{{Name: "10.0.0.1 > 10.0.0.2", Connections: 2, Bytes: 2780}, {Name: "10.0.0.3 > 10.0.0.9", Connections: 1, Bytes: 1300}},
	}
	if !reflect.DeepEqual(r.Pairs, wantPairs) {
		t.Errorf("want %+v, got %+v", wantPairs, r.Pairs)
	}
	if r.Ports.Distinct != 4 || r.Ports.ByBytes[0].Name != "80/tcp" {
		t.Errorf("want 4 ports, ICMP's not among them, got %+v", r.Ports)
	}
	start := 1700000003.0
	wantLongest := Connection{"C5", &start, 5, "10.0.0.3:50000", "10.0.0.9:443", "tcp", "ssl", "RSTO", 1300}
	if len(r.Longest) != 2 || !reflect.DeepEqual(r.Longest[0], wantLongest) || r.Longest[1].UID != "C1" {
		t.Errorf("want %+v and C1, got %+v", wantLongest, r.Longest)
	}
	if len(r.Largest) != 2 || r.Largest[0].UID != "C1" || r.Largest[1].UID != "C5" {
		t.Errorf("want C1 and C5 as the largest, got %+v", r.Largest)
	}
}

// TestSameFromAnyLog: the same rows give the same report in any form.
func TestSameFromAnyLog(t *testing.T) {
	want := collect(t, 5, header+rows)
	names := strings.Split(strings.Split(header, "#fields\t")[1], "\t")
	names[len(names)-1] = strings.TrimSpace(names[len(names)-1])
	asJSON := func(at func(ts string) string) string {
		var b strings.Builder
		for line := range strings.Lines(rows) {
			b.WriteString("{")
			for i, value := range strings.Split(strings.TrimSpace(line), "\t") {
				switch names[i] {
				case "ts":
					fmt.Fprintf(&b, `"ts":%s`, at(value))
				case "uid", "id.orig_h", "id.resp_h", "proto", "service", "conn_state", "history":
					if value != "-" {
						fmt.Fprintf(&b, `,%q:%q`, names[i], value)
					}
				default:
					if value != "-" {
						fmt.Fprintf(&b, `,%q:%s`, names[i], value)
					}
				}
			}
			b.WriteString("}\n")
		}
		return b.String()
	}
	commas := strings.ReplaceAll(strings.NewReplacer("\t", ";", " \\x09", " \\x3b", "-\n", "?\n", "-\t", "?;").Replace(header+rows), "\t", ";")
	tests := []struct{ name, log string }{
		{"json, epoch", asJSON(func(ts string) string { return ts })},
		{"json, millis", asJSON(func(ts string) string { return strings.Replace(ts, ".", "", 1)[:13] })},
		{"json, iso8601", asJSON(func(ts string) string {
			return `"2023-11-14T22:13:2` + strings.TrimPrefix(ts, "170000000") + `Z"`
		})},
		{"another separator and sign for unset", commas},
		{"two logs", header + strings.Replace(rows, "1700000003", "#close\n"+header+"1700000003", 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := collect(t, 5, tt.log); !reflect.DeepEqual(got, want) {
				a, _ := json.Marshal(want)
				b, _ := json.Marshal(got)
				t.Errorf("want\n%s\n got\n%s", a, b)
			}
		})
	}
}

func TestMissingColumns(t *testing.T) {
	r := collect(t, 5, "#fields\tid.orig_h\tconn_state\n10.0.0.1\tS0\n10.0.0.2\t-\n")
	want := []string{
		"ts", "id.resp_h", "id.resp_p", "proto", "service", "duration", "orig_bytes", "resp_bytes", "missed_bytes",
		"history", "orig_pkts", "resp_pkts", "orig_ip_bytes", "resp_ip_bytes",
	}
	if !reflect.DeepEqual(r.Missing, want) || r.Connections != 2 || r.Start != nil || len(r.States) != 1 {
		t.Errorf("want 2 connections, one with a state, without %q, got %+v", want, r)
	}
	var text, page strings.Builder
	if err := errors.Join(r.WriteText(&text), r.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"<svg", "missed payload", "most bytes", "How it was seen", "<dt>IP"} {
		if strings.Contains(page.String(), absent) {
			t.Errorf("%q is on a page without its columns", absent)
		}
	}
	if !strings.Contains(text.String(), "not in the log: ts, id.resp_h") {
		t.Errorf("want the missing columns to be named, got\n%s", text.String())
	}
}

// TestMalformed: what is no row of a conn.log is counted, with the reason.
func TestMalformed(t *testing.T) {
	tests := []struct{ name, log, want string }{
		{"time", "#fields\tts\tproto\nyesterday\ttcp\n", `line 2: ts "yesterday": no time`},
		{"negative time", "#fields\tts\tproto\n-5\ttcp\n", `line 2: ts "-5": no time`},
		{"time that is none", "#fields\tts\tproto\nNaN\ttcp\n", `line 2: ts "NaN": no time`},
		{"far time", "{\"ts\":1e300}\n", `line 1: ts "1e300": no time`},
		{"address", "{\"id.orig_h\":\"<b>\"}\n", `line 1: id.orig_h "<b>": no IP address`},
		{"zone", "{\"id.orig_h\":\"fe80::1%eth0\"}\n", `line 1: id.orig_h "fe80::1%eth0": no IP address`},
		{"port", "{\"id.resp_p\":65536}\n", `line 1: id.resp_p "65536": no port`},
		{"count", "{\"orig_bytes\":-1}\n", `line 1: orig_bytes "-1": no count`},
		{"duration", "{\"duration\":\"Inf\"}\n", `line 1: duration "Inf": no number of seconds`},
		{"another log", "#path\tdns\n#fields\tts\tproto\n1\tudp\n", "line 3: a row of Zeek's dns.log, not of conn.log"},
		{"no column", "{\"a\":1}\n", "line 1: no column of a conn.log"},
		{"red", "931803523.006848 54.3776 http ? 38891 206.132.179.35 128.32.162.134 RSTO X\n", `line 1: local address "206.132.179.35": a red line has no originator: want tsv or json`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := collect(t, 5, tt.log)
			if r.Connections != 0 || r.Malformed.Lines != 1 || !strings.HasPrefix(r.Malformed.First[0], "conn.log: "+tt.want) {
				t.Errorf("want %q, got %+v", tt.want, r.Malformed)
			}
		})
	}
	many := collect(t, 5, strings.Repeat("x\n", 100))
	if many.Malformed.Lines != 100 || len(many.Malformed.First) != mostMistakes {
		t.Errorf("want 100 lines and the first %d, got %+v", mostMistakes, many.Malformed)
	}
}

func TestInterimRows(t *testing.T) {
	r := collect(t, 5, strings.Replace(header, "#path\tconn\n", "#path\tconn_long\n", 1)+rows)
	if r.Interim != 5 || !strings.Contains(strings.Join(r.notes(), "\n"), "5 rows of conn_long.log") {
		t.Errorf("want 5 interim rows and a note, got %d, %q", r.Interim, r.notes())
	}
}

// hostile are values that nobody should take at their word.
var hostile = []string{
	"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "' onmouseover='alert(1)", "--></style><b>", "\x1b[31mred\x1b[0m",
	"\u202etxt.exe", "a\u2028b", "{{.Title}}", "url(http://192.0.2.1/)", strings.Repeat("x", 5000),
}

// TestHostileValues: a page has no element and a text no control character that a
// row brought along.
func TestHostileValues(t *testing.T) {
	var log strings.Builder
	for _, value := range hostile {
		quoted, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&log, `{"ts":1700000000,"uid":%s,"proto":%[1]s,"service":%[1]s,"conn_state":%[1]s,"orig_bytes":5,"duration":3}`+"\n", quoted)
		fmt.Fprintf(&log, "{\"ts\":%s}\n", quoted)
	}
	c := NewCollector(20)
	if err := c.Read("<i>"+hostile[4], strings.NewReader(log.String())); err != nil {
		t.Fatal(err)
	}
	checkOutputs(t, c.Report())
}

// checkOutputs wants a page of known elements alone, and text without control
// characters.
func checkOutputs(t *testing.T, r *Report) {
	t.Helper()
	var text, page strings.Builder
	if err := errors.Join(r.WriteText(&text), r.WriteHTML(&page)); err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("as JSON: %v", err)
	}
	if i := strings.IndexFunc(text.String(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r == 0x202e }); i >= 0 {
		t.Errorf("a control character in the text: %q", text.String()[i:min(i+60, text.Len())])
	}
	known := map[string]bool{}
	for name := range strings.FieldsSeq("html head meta title style body header h1 h2 p section dl div dt dd small main figure " +
		"figcaption ul li span svg line text path rect table caption thead tbody tr th td footer") {
		known[name] = true
	}
	d := xml.NewDecoder(strings.NewReader(page.String()))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page: %v", err)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if !known[element.Name.Local] {
			t.Fatalf("an element %q on the page", element.Name.Local)
		}
		for _, a := range element.Attr {
			if name := a.Name.Local; strings.HasPrefix(name, "on") || name == "src" || name == "href" {
				t.Fatalf("an attribute %q on the page", name)
			}
		}
	}
}

func TestOpen(t *testing.T) {
	var packed bytes.Buffer
	write := map[string]func() io.WriteCloser{
		"plain": func() io.WriteCloser { return nopCloser{&packed} },
		"gzip":  func() io.WriteCloser { return gzip.NewWriter(&packed) },
		"zstd": func() io.WriteCloser {
			w, err := zstd.NewWriter(&packed)
			if err != nil {
				t.Fatal(err)
			}
			return w
		},
	}
	for name, pack := range write {
		t.Run(name, func(t *testing.T) {
			packed.Reset()
			w := pack()
			if _, err := io.WriteString(w, header+rows); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "conn.log")
			if err := os.WriteFile(path, packed.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err = errors.Join(err, r.Close()); err != nil || string(got) != header+rows {
				t.Errorf("want the log, got %q, %v", got, err)
			}
		})
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		if _, err := Open(path); err == nil {
			t.Errorf("%s: want an error", path)
		}
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func FuzzReport(f *testing.F) {
	f.Add(header + rows)
	f.Add(`{"ts":1700000000.5,"id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2","id.resp_p":80,"proto":"tcp","conn_state":"S0"}`)
	f.Add(`{"ts":"2023-11-14T22:13:20.000000Z","duration":1e9,"orig_ip_bytes":9223372036854775807,"history":"^TtGg"}`)
	f.Add("#separator \\x2c\n#fields,ts,uid,service\n1,<b>,\x1b[31m\n253402300799,x,y\n")
	f.Fuzz(func(t *testing.T, log string) {
		c := NewCollector(3)
		if err := c.Read("conn.log", strings.NewReader(log)); err != nil {
			t.Fatal(err)
		}
		r := c.Report()
		if lines := 1 + uint64(strings.Count(log, "\n")); r.Connections+r.Malformed.Lines > lines {
			t.Errorf("%d connections and %d mistakes in %d lines", r.Connections, r.Malformed.Lines, lines)
		}
		checkOutputs(t, r)
	})
}
