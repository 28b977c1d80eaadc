// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"conntap/tracker"
)

// recorder keeps what each call wrote, and fails from a given call on.
type recorder struct {
	calls  []string
	failAt int // 0: never
}

var errFull = errors.New("no space left on device")

func (r *recorder) Write(b []byte) (int, error) {
	r.calls = append(r.calls, string(b))
	if r.failAt > 0 && len(r.calls) >= r.failAt {
		return 0, errFull
	}
	return len(b), nil
}

// TestWholeLines: each call of the underlying writer gets whole lines, many at
// once.
func TestWholeLines(t *testing.T) {
	var r recorder
	w, err := NewWriter(&r, Config{Format: TSV})
	if err != nil {
		t.Fatal(err)
	}
	const rows = 5000
	for range rows {
		if err := w.Write(sample()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lines, total := 0, 0
	for _, call := range r.calls {
		if !strings.HasSuffix(call, "\n") {
			t.Errorf("a call ends within a line: %q", call[max(0, len(call)-80):])
		}
		lines += strings.Count(call, "\n")
		total += len(call)
	}
	if want := rows + 9; lines != want {
		t.Errorf("want %d lines, got %d", want, lines)
	}
	if want := total/flushAt + 1; len(r.calls) > want {
		t.Errorf("want at most %d calls for %d bytes, got %d", want, total, len(r.calls))
	}
}

func TestFirstErrorStays(t *testing.T) {
	r := recorder{failAt: 2}
	w, err := NewWriter(&r, Config{Format: JSON})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Write(sample()), w.Flush(), w.Flush(), w.Write(sample())); err != nil {
		t.Fatal(err)
	}
	for i, got := range []error{w.Flush(), w.Write(sample()), w.Flush(), w.Close(), w.Close()} {
		if !errors.Is(got, errFull) {
			t.Errorf("call %d: want the first error, got %v", i, got)
		}
	}
	if len(r.calls) != 2 {
		t.Errorf("want 2 calls, got %d", len(r.calls))
	}
}

func TestWriteAfterClose(t *testing.T) {
	var r recorder
	w, err := NewWriter(&r, Config{Format: TSV})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(sample()); err == nil || len(r.calls) > 0 {
		t.Errorf("want an error and nothing written, got %v and %q", err, r.calls)
	}
}

func TestNewWriterRefuses(t *testing.T) {
	tests := []struct {
		cfg  Config
		want string
	}{
		{Config{Format: TSV, Fields: []string{"ts", "bytes"}}, `no field is called "bytes": known are ts, uid, id.orig_h`},
		{Config{Format: Red, Fields: []string{"ts"}}, "red has no fields to choose: use tsv or json"},
		{Config{Format: Text, With: MAC}, "text can add history and uid only: use tsv or json for columns"},
		{Config{Format: TSV, Time: Millis}, "tsv writes its own times: millis is for json"},
		{Config{Format: 9}, "no format has number 9"},
		{Config{Format: TSV, Profile: 2}, "no profile has number 2"},
		{Config{Format: Red, Profile: Bro26}, "red is not Zeek's log: the profile bro-2.6 is for tsv and json"},
		{Config{Format: TSV, Profile: Bro26, Fields: []string{"ts", "ip_proto"}}, `no field is called "ip_proto" in the profile bro-2.6`},
		{Config{Format: TSV, Fields: []string{"id.ctx.vlan"}}, "the fields id.ctx.vlan and id.ctx.inner_vlan are for logs with VLAN ids in the key"},
	}
	for _, tt := range tests {
		if _, err := NewWriter(&recorder{}, tt.cfg); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("want %s, got %v", tt.want, err)
		}
	}
}

func TestParse(t *testing.T) {
	if with, err := ParseWith("rtt, mac,,community-id"); err != nil || with != RTT|MAC|CommunityID {
		t.Errorf("got %v, %v", with, err)
	}
	if format, err := ParseFormat("json"); err != nil || format != JSON {
		t.Errorf("got %v, %v", format, err)
	}
	if format, err := ParseTimeFormat("iso8601"); err != nil || format != ISO8601 {
		t.Errorf("got %v, %v", format, err)
	}
	_, withErr := ParseWith("mac,macs")
	_, formatErr := ParseFormat("xml")
	if profile, err := ParseProfile("bro-2.6"); err != nil || profile != Bro26 {
		t.Errorf("got %v, %v", profile, err)
	}
	_, profileErr := ParseProfile("bro-2")
	_, timeErr := ParseTimeFormat("")
	_, netErr := ParseNets("10.0.0.0/8,10.0.0.0/33")
	_, zoneErr := ParseNets("fe80::1%eth0")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{withErr, `nothing is called "macs": known are mac, vlan, community-id, rtt, counters, loss, history, uid, interface, process`},
		{formatErr, `no format is called "xml": known are text, tsv, json, red`},
		{profileErr, `no profile is called "bro-2": known are zeek-8, bro-2.6`},
		{timeErr, `no time format is called "": known are epoch, millis, iso8601`},
		{netErr, `"10.0.0.0/33" is no network: write it as 198.51.100.0/24 or 2001:db8::/32`},
		{zoneErr, `"fe80::1%eth0" is no network: write it as 198.51.100.0/24 or 2001:db8::/32`},
	} {
		if tt.err == nil || tt.err.Error() != tt.want {
			t.Errorf("want %s, got %v", tt.want, tt.err)
		}
	}
}

// A connection's Additional text ends its red line.
func ExampleWriter() {
	var out strings.Builder
	w, err := NewWriter(&out, Config{Format: Red, With: UID})
	if err != nil {
		fmt.Println(err)
		return
	}
	logConn := func(c *tracker.Conn) error {
		if c.Resp.Port == 80 {
			c.Additional = "web"
		}
		return w.Write(c)
	}
	if err := errors.Join(logConn(sample()), w.Close()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(out.String())
	// Output: 1700000000.123456 0.812345 http 412 1256 203.0.114.7 10.0.0.1 SF X CmFvFkEcIfXkogFhd web
}
