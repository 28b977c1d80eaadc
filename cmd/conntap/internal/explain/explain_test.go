// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"conntap/tracker"
	"conntap/tracker/connlog"
)

func TestPair(t *testing.T) {
	tests := []struct{ state, history, want string }{
		{"RSTO", "ShADadtR", `
RSTO   >]   established; the originator aborted it (RST)
  S  originator  SYN
  h  responder   SYN+ACK
  A  originator  first pure ACK
  D  originator  first data
  a  responder   first pure ACK
  d  responder   first data
  t  responder   sent data again (1 to 9 times)
  R  originator  RST
A, D, I and Q stand once per side, however many packets; C, G, T, W stand at 1, 10, 100, ... times.
No bad checksum (c), zero window (w), gap (g) or role change (^) was seen.
`},
		{"SF", "^hWwwCfGF", `
SF     >    established and closed by both sides (UDP: both sides sent)
  ^              the sides changed roles: what came first was not from the originator
  h  responder   SYN+ACK
  W  originator  zero window (1 to 9 times)
  w  responder   zero window
  w  responder   zero window for the 10th time (10 to 99 times in all)
  C  originator  bad checksum, packet not counted (1 to 9 times)
  f  responder   FIN
  G  originator  gap: data acknowledged that was not seen (1 to 9 times)
  F  originator  FIN
A, D, I and Q stand once per side, however many packets; C, G, T, W stand at 1, 10, 100, ... times.
No retransmission (t) was seen.
`},
		{"RSTRH", "Ar", `
RSTRH  <[   the responder sent a RST; nothing of the originator's handshake seen
  A  originator  first pure ACK
  r  responder   RST
A, D, I and Q stand once per side, however many packets; C, G, T, W stand at 1, 10, 100, ... times.
No bad checksum (c), retransmission (t), zero window (w), gap (g) or role change (^) was seen.
`},
		{"OTH", "-", "\nOTH    ?>?  no handshake seen: it began before the capture, or is neither TCP nor UDP\n"},
	}
	for _, tt := range tests {
		var b strings.Builder
		if err := Pair(&b, tt.state, tt.history); err != nil {
			t.Errorf("%s %s: %v", tt.state, tt.history, err)
		}
		if got := "\n" + b.String(); got != tt.want {
			t.Errorf("%s %s: want%s\n got%s", tt.state, tt.history, tt.want, got)
		}
	}
}

func TestPairRefuses(t *testing.T) {
	tests := []struct {
		state, history, want string
		unknown              bool
	}{
		{"SF", "S", `SF cannot come with history "S": SF needs a FIN from both sides`, false},
		{"OTH", "ShADadFf", `OTH cannot come with history "ShADadFf": it comes with SF`, false},
		{"S1", "ShADadFf", `S1 cannot come with history "ShADadFf": S1 needs both sides established, without FIN or RST of either`, false},
		{"SF", "ShDdDFf", `no history is "ShDdDFf": D stands once at most`, false},
		{"SX", "S", `unknown state "SX": known are S0, S1, SF, REJ, S2, S3, RSTO, RSTR, RSTOS0, RSTRH, SH, SHR, OTH`, true},
		{"SF", "ShBx", `unknown letter 'B' in history "ShBx": known are S H A D F R C I Q T W G in both cases, ^ and X`, true},
		{"SF", "x", `unknown letter 'x' in history "x": known are S H A D F R C I Q T W G in both cases, ^ and X`, true},
	}
	for _, tt := range tests {
		var b strings.Builder
		err := Pair(&b, tt.state, tt.history)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s %s: want %s\n got %v", tt.state, tt.history, tt.want, err)
		}
		if errors.Is(err, ErrUnknown) != tt.unknown {
			t.Errorf("%s %s: want unknown %v", tt.state, tt.history, tt.unknown)
		}
		if b.Len() > 0 {
			t.Errorf("%s %s: wrote %q", tt.state, tt.history, b.String())
		}
	}
}

func TestWord(t *testing.T) {
	tests := []struct{ word, want string }{
		{"sf", "SF     >    established and closed by both sides (UDP: both sides sent)\nSF needs a FIN from both sides.\n"},
		{"SF", "SF     >    established and closed by both sides (UDP: both sides sent)\nSF needs a FIN from both sides.\n"},
		{"ShAFf", "  S  originator  SYN\n  h  responder   SYN+ACK\n  A  originator  first pure ACK\n  F  originator  FIN\n" +
			"  f  responder   FIN\nComes with SF.\n"},
	}
	for _, tt := range tests {
		var b strings.Builder
		if err := Word(&b, tt.word); err != nil || b.String() != tt.want {
			t.Errorf("%s: want\n%s\n got\n%s %v", tt.word, tt.want, b.String(), err)
		}
	}
	if err := Word(&strings.Builder{}, "quux"); !errors.Is(err, ErrUnknown) {
		t.Errorf("want an unknown letter, got %v", err)
	}
}

// TestTable: every state with its symbol, and every letter, has its line.
func TestTable(t *testing.T) {
	var b strings.Builder
	if err := Table(&b); err != nil {
		t.Fatal(err)
	}
	for s := range tracker.State(tracker.StateCount) {
		line := fmt.Sprintf("\n  %-6s %-4s %s\n", s, connlog.Symbol(s), stateWords[s].plain)
		if !strings.Contains(b.String(), line) {
			t.Errorf("no line %q", line)
		}
	}
	for _, letter := range "SHADFRCIQTWG^X" {
		if !strings.Contains(b.String(), fmt.Sprintf("\n  %c  ", letter)) {
			t.Errorf("no line for %c", letter)
		}
	}
}

const tsvRow = "1700000000.123456\tCmFvFkEcIfXkogFhd\t10.0.0.1\t40000\t203.0.114.7\t80\ttcp\t-\t0.812345\t412\t" +
	"1256\tSF\tT\tF\t0\tSFf\t6\t740\t5\t1524\t-\t6"

func TestRows(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string // lines that must be there
	}{
		{"tsv without header", tsvRow + "\n", []string{
			"ts                  1700000000.123456         the first packet: 2023-11-14 22:13:20.123456 UTC",
			"service             -                         no application protocol was found",
			"local_resp          F                         the responder is not in a local network",
			"history             SFf",
			"    f  responder   FIN",
			"ip_proto            6                         IP protocol number",
		}},
		{"tsv of Zeek 7.0, without header", strings.TrimSuffix(tsvRow, "\t6") + "\n", []string{
			"tunnel_parents      -                         not in a tunnel",
		}},
		{"tsv without header, VLAN ids in the key", strings.Replace(tsvRow, "\ttcp\t", "\t12\t-\ttcp\t", 1) + "\n", []string{
			"id.ctx.vlan         12                        VLAN id, part of what identifies the connection",
			"id.ctx.inner_vlan   -                         no second VLAN tag",
			"proto               tcp                       transport",
			"ip_proto            6                         IP protocol number",
		}},
		{"tsv without header, with mac", tsvRow + "\t02:00:00:00:00:01\t-\n", []string{
			"orig_l2_addr        02:00:00:00:00:01         MAC address of the originator's side, first packet",
		}},
		{"tsv with header", "#fields\tconn_state\tnew_field\n#types\tstring\tstring\nS0\tabc\n", []string{
			"conn_state          S0                        }  attempt; no answer seen",
			"new_field           abc                       a field that conntap doesn't write",
		}},
		{"json", `{"ts":1700000000.5,"proto":"icmp","id.orig_p":8,"conn_state":"OTH","tunnel_parents":["C1","C2"]}`, []string{
			"ts                  1700000000.5              the first packet: 2023-11-14 22:13:20.500000 UTC",
			"id.orig_p           8                         ICMP type of the first packet",
			"conn_state          OTH                       ?>?  always so for this transport",
			"tunnel_parents      C1,C2                     uids of the tunnels around it",
		}},
		{"red", "931803523.006848 54.3776 http ? 38891 206.132.179.35 128.32.162.134 RSTO X %103 abc\n", []string{
			"orig_bytes          -                         not known",
			"remote address      128.32.162.134            the other side",
			"conn_state          RSTO                      >]  established; the originator aborted it (RST)",
			"additional          %103 abc                  free text",
		}},
		{"contradiction", strings.Replace(tsvRow, "SFf", "ShA", 1), []string{
			`note: SF cannot come with history "ShA": SF needs a FIN from both sides; logs of other versions differ, see conntap explain`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b strings.Builder
			if err := Rows(&b, strings.NewReader(tt.in)); err != nil {
				t.Fatal(err)
			}
			for _, line := range tt.want {
				if !strings.Contains("\n"+b.String(), "\n"+line+"\n") {
					t.Errorf("want the line\n%s\n in\n%s", line, b.String())
				}
			}
			if has := strings.Contains(b.String(), "note:"); has != (tt.name == "contradiction") {
				t.Errorf("a note: %v in\n%s", has, b.String())
			}
		})
	}
}

func TestRowsRefuses(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "no rows to explain: give lines of a conn.log"},
		{"#fields\tts\n", "no rows to explain: give lines of a conn.log"},
		{"hello\n", "line 1: not a row of a conn.log: want Zeek's TSV or JSON, or a red line"},
		{"a b c d e f g h i\n", "line 1: not a row of a conn.log: want Zeek's TSV or JSON, or a red line"},
		{"\n{\"ts\":\n", "line 2: not JSON: the object is cut off"},
		{"{}", "line 1: an object without fields"},
		{"1\t2\n", "line 1: a row of 2 columns, want 21: give the log's #fields line with it"},
		{strings.Repeat("x", 1<<20+1), "line 1: longer than 1048576 bytes"},
	}
	for _, tt := range tests {
		err := Rows(&strings.Builder{}, strings.NewReader(tt.in))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%.20q: want %s\n got %v", tt.in, tt.want, err)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add(tsvRow)
	f.Add(`{"ts":1,"conn_state":"SF","history":"^hX"}`)
	f.Add("931803523.006848 54.3776 http ? 38891 206.132.179.35 128.32.162.134 RSTO X %103")
	f.Fuzz(func(t *testing.T, in string) {
		var b strings.Builder
		if err := Rows(&b, strings.NewReader(in)); err == nil && b.Len() == 0 {
			t.Error("neither words nor an error")
		}
	})
}
