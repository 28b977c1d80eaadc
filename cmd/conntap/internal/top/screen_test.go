// SPDX-License-Identifier: Apache-2.0

package top

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"conntap/bpf"
	"conntap/tracker"
)

var update = flag.Bool("update", false, "write the screens that are drawn to testdata")

// testScreen is a screen with something of everything on it.
func testScreen(width, height int) (*Screen, *Query) {
	asked := new(Query)
	s := NewScreen("eth0  in XDP native, out TCX", func(q Query) { *asked = q })
	s.Update(tea.WindowSizeMsg{Width: width, Height: height})
	rows := []Row{
		{Conn: connection("10.0.0.5:51514", "93.184.216.34:443", tracker.S1, "ShADad", 1_234_567, 88_123_456, second), RateKnown: true, BitRate: 41e6, Age: 131 * second},
		{Conn: connection("[2001:db8:1:2:3:4:5:6]:40000", "[2001:db8::1]:22", tracker.S1, "ShADadtG", 50_000, 60_000, 2*second), RateKnown: true, BitRate: 512, Age: 3*3600*second + 300*second},
		{Conn: connection("10.0.0.5:51515", "10.0.0.7:81", tracker.S0, "S", 60, 0, 3*second), RateKnown: true, Age: 2 * second},
		{Conn: connection("10.0.0.5:8", "10.0.0.7:0", tracker.OTH, "", 840, 840, 4*second), Age: 40 * second},
	}
	rows[0].Service = "ssl"
	rows[1].MissedBytes = 1200
	rows[3].Protocol = bpf.ProtocolICMP
	ended := Row{Conn: connection("10.0.0.5:51500", "10.0.0.7:80", tracker.RSTO, "ShADadR", 3000, 4000, second), Ended: true, Place: 1, Age: 4 * second}
	open, closed := newTalkers(), newTalkers()
	p := &Picture{Open: rows, Matching: uint64(len(rows))}
	for i := range rows {
		p.States[rows[i].State]++
		open.add(&rows[i].Conn, Sum{Open: 1, BitRate: rows[i].BitRate})
	}
	closed.add(&ended.Conn, Sum{Logged: 1})
	p.Hosts = merged(open.hosts, closed.hosts, true, ByRate, 100)
	p.Pairs = merged(open.pairs, closed.pairs, false, ByRate, 100)
	f := Figures{
		Sample: Sample{
			Time: time.Date(2026, 1, 2, 22, 13, 31, 0, time.UTC), Seen: 4_812_332, Lost: 12, RingUsed: 0.02, RingHighest: 0.3,
			Connections: tracker.Stats{Opened: 1004, Open: 4},
		},
		PacketRate: 25_100, BitRate: 182e6, OpenRate: 143, LogRate: 2, LostNow: 3,
		Packets: []float64{0, 1, 5, 10}, Bits: []float64{10, 10, 3},
	}
	f.Connections.Logged[tracker.TransportTCP] = [tracker.StateCount]uint64{tracker.SF: 700, tracker.RSTO: 200, tracker.REJ: 100}
	s.Update(CountersMsg{f, []Row{ended}})
	s.Update(PictureMsg{p})
	return s, asked
}

// press has keys pressed, by their names.
func press(s *Screen, keys ...string) (last tea.Cmd) {
	codes := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "down": tea.KeyDown, "up": tea.KeyUp, "tab": tea.KeyTab,
		"backspace": tea.KeyBackspace, "end": tea.KeyEnd, "space": tea.KeySpace,
	}
	for _, key := range keys {
		msg := tea.KeyPressMsg{Text: key, Code: []rune(key)[0]}
		if code, special := codes[key]; special {
			msg = tea.KeyPressMsg{Code: code}
		} else if letter, found := strings.CutPrefix(key, "ctrl+"); found {
			msg = tea.KeyPressMsg{Code: rune(letter[0]), Mod: tea.ModCtrl}
		}
		_, last = s.Update(msg)
	}
	return last
}

// text is what stands on the screen, without styles and blanks at the ends.
func text(s *Screen) string {
	lines := strings.Split(ansi.Strip(s.View().Content), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// TestScreens compares screens with those in testdata.
func TestScreens(t *testing.T) {
	tests := []struct {
		name          string
		width, height int
		keys          string
	}{
		{"open", 120, 14, ""},
		{"open80", 80, 14, "down"},
		{"open50", 50, 10, ""},
		{"longest80", 80, 10, "s s s"},
		{"logged", 100, 12, "2"},
		{"hosts", 100, 14, "3 s"},
		{"pairs", 100, 14, "4"},
		{"detail", 100, 26, "down enter"},
		{"detail-low", 60, 14, "enter down down"},
		{"paused", 80, 12, "p"},
		{"typing", 100, 12, "/ 4 4 3"},
		{"filtered", 100, 12, "/ u d p enter"},
		{"mistake", 100, 12, "/ p o r t : enter"},
		{"small", 30, 5, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := testScreen(tt.width, tt.height)
			press(s, strings.Fields(tt.keys)...)
			file := "testdata/" + tt.name + ".txt"
			got := text(s)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("want\n%s\ngot\n%s", want, got)
			}
		})
	}
}

// TestStyles: losses, refusals and the selected row stand out.
func TestStyles(t *testing.T) {
	s, _ := testScreen(100, 14)
	got := s.View().Content
	for _, want := range []string{"\x1b[1;31mlost 12 of 4,812,332 (0.00025 %), 3 now", "\x1b[33mS0    ", "\x1b[31mRSTO 20 %", "\x1b[7m10.0.0.5:51514"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%q", want, got)
		}
	}
}

// TestSizes: whatever the terminal's size, nothing stands outside of it.
func TestSizes(t *testing.T) {
	for _, keys := range []string{"", "2", "3", "4", "enter", "/ x", "/ 1 0 . 0 enter", "p"} {
		for width := 1; width < 150; width += 13 {
			for _, height := range []int{1, 4, 7, 8, 24} {
				s, _ := testScreen(width, height)
				press(s, strings.Fields(keys)...)
				lines := strings.Split(s.View().Content, "\n")
				if len(lines) > height {
					t.Errorf("%q, %d x %d: want %d lines at most, got %d", keys, width, height, height, len(lines))
				}
				for _, line := range lines {
					if n := ansi.StringWidth(line); n > width {
						t.Errorf("%q, %d x %d: a line of %d: %q", keys, width, height, n, line)
					}
				}
			}
		}
	}
}

// TestKeys: what keys ask for and where they lead.
func TestKeys(t *testing.T) {
	s, asked := testScreen(100, 20)
	press(s, "s", "s")
	if asked.Rows != ByPackets {
		t.Errorf("want the order packets to be asked for, got %s", asked.Rows)
	}
	press(s, "S", "S")
	if asked.Rows != ByRate {
		t.Errorf("want the order rate to be asked for, got %s", asked.Rows)
	}
	press(s, "down", "down", "enter")
	if s.detail == nil || s.detail.State != tracker.OTH || asked.Keep != s.detail.UID {
		t.Fatalf("want the third connection explained and kept, got %+v, %+v", s.detail, asked)
	}
	ended := *s.detail
	ended.Ended, ended.Place = true, 2
	s.Update(CountersMsg{s.figures, []Row{ended}})
	if !s.detail.Ended {
		t.Error("the connection that is explained has ended, and the screen does not say so")
	}
	press(s, "esc", "/", "u", "x", "backspace", "d", "p", "enter")
	if asked.Filter.String() != "udp" || asked.Keep != (tracker.UID{}) {
		t.Errorf("want the filter udp, got %+v", asked)
	}
	press(s, "esc", "3", "enter")
	if s.tab != tabOpen || !strings.HasPrefix(asked.Filter.String(), "host:") {
		t.Errorf("want the connections of a host, got table %d, filter %q", s.tab, asked.Filter.String())
	}
	for _, key := range []string{"q", "ctrl+c"} {
		if press(s, key) == nil {
			t.Errorf("%s does not quit", key)
		}
	}
	press(s, "/")
	if press(s, "q") != nil || press(s, "ctrl+c") == nil {
		t.Error("while a filter is typed, want q to be a letter, and ctrl+c to quit")
	}
}

// TestPause: the picture stands still, and is up to date afterwards.
func TestPause(t *testing.T) {
	s, _ := testScreen(100, 20)
	press(s, "p")
	before := text(s)
	s.Update(CountersMsg{Figures{Sample: Sample{Seen: 5_000_000}}, nil})
	s.Update(PictureMsg{&Picture{}})
	if after := text(s); after != before {
		t.Errorf("want\n%s\ngot\n%s", before, after)
	}
	press(s, "space")
	if got := text(s); !strings.Contains(got, "lost 0 of 5,000,000") || strings.Contains(got, "93.184") {
		t.Errorf("want what came meanwhile, got\n%s", got)
	}
}

// TestSelectionStays: a selected connection stays selected when another comes before
// it.
func TestSelectionStays(t *testing.T) {
	s, _ := testScreen(100, 20)
	press(s, "down")
	selected := s.rows()[1].UID
	p := *s.picture
	p.Open = append([]Row{{Conn: connection("10.0.0.1:1", "10.0.0.2:2", tracker.S1, "", 1, 1, 9*second), BitRate: 1e9, RateKnown: true}}, p.Open...)
	s.Update(PictureMsg{&p})
	if s.selected[tabOpen] != 2 || s.rows()[2].UID != selected {
		t.Errorf("want the row selected that was, got %d", s.selected[tabOpen])
	}
}

func TestFormats(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		want string
	}{{0, "0"}, {999, "999"}, {999.6, "1.0k"}, {1234, "1.2k"}, {9960, "10k"}, {123_456, "123k"}, {88e6, "88M"}, {999.7e6, "1.0G"}, {1e19, "10E"}} {
		if got := short(tt.v); got != tt.want {
			t.Errorf("%v: want %s, got %s", tt.v, tt.want, got)
		}
	}
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{{-1, "0.0s"}, {1250 * time.Millisecond, "1.2s"}, {71 * time.Second, "01:11"}, {3*time.Hour + 5*time.Minute, "3h05"}, {101 * time.Hour, "4d"}} {
		if got := span(int64(tt.d)); got != tt.want {
			t.Errorf("%v: want %s, got %s", tt.d, tt.want, got)
		}
	}
	if got := sparkline([]float64{9, 0, 5, 10}, 3); got != "▁▄█" {
		t.Errorf("want ▁▄█, got %s", got)
	}
}
