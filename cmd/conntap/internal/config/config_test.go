// SPDX-License-Identifier: Apache-2.0

package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// command is flags of every kind, and a command line.
func command(t *testing.T, args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.StringArray("interface", nil, "")
	flags.StringSlice("fields", nil, "`list`")
	flags.String("local-nets", "", "`list`")
	flags.String("long", "", "`times`")
	flags.String("log-dir", "", "`dir`")
	flags.Int("shards", 3, "")
	flags.Float64("ratio", 0.5, "")
	flags.Duration("interval", 0, "")
	flags.Bool("quiet", false, "")
	flags.String("hidden", "", "")
	_ = flags.MarkHidden("hidden")
	flags.String(FileFlag, "", "")
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

// write makes a file of lines.
func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "c.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// get is a flag's value as Load left it.
func get(s *Settings, name string) string { return s.values[name].text() }

func TestPrecedence(t *testing.T) {
	path := write(t, "log-dir = '/file'\nshards = 4\ninterface = ['a', 'b']\nquiet = true\n")
	flags := command(t, "--log-dir", "/flag", "--quiet=false")
	s, err := Load(flags, path, []string{
		"CONNTAP_LOG_DIR=/environment", "CONNTAP_SHARDS=5", "CONNTAP_FIELDS=ts,uid", "CONNTAP_INTERVAL=",
		"CONNTAP_SERVICE_HOST=10.0.0.1", "LOG_DIR=/other",
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, want, origin string }{
		{"log-dir", "/flag", ""},
		{"quiet", "false", ""},
		{"shards", "5", "environment CONNTAP_SHARDS"},
		{"fields", "ts,uid", "environment CONNTAP_FIELDS"},
		{"interface", "a,b", path + ":3"},
		{"ratio", "0.5", "default"},
		{"interval", "0s", "default"},
	}
	for _, tt := range tests {
		origin := s.origins[tt.name]
		if !s.Given(tt.name) {
			origin = "default"
		}
		if got := get(s, tt.name); got != tt.want || origin != tt.origin {
			t.Errorf("%s: want %s from %q, got %s from %q", tt.name, tt.want, tt.origin, got, origin)
		}
		if changed := flags.Changed(tt.name); changed != (tt.origin != "default") {
			t.Errorf("%s: changed is %t", tt.name, changed)
		}
	}
}

func TestFile(t *testing.T) {
	tests := []struct{ text, name, want string }{
		{"interface = 'eth0'", "interface", "eth0"},
		{"interface = ['eth*',\n 'wlan0', # a comment\n]", "interface", "eth*,wlan0"},
		{"local-nets = ['10.0.0.0/8', '2001:db8::/32']", "local-nets", "10.0.0.0/8,2001:db8::/32"},
		{"local-nets = '10.0.0.0/8'", "local-nets", "10.0.0.0/8"},
		{"local-nets = []", "local-nets", ""},
		{"long = ['1h', '2h']", "long", "1h,2h"},
		{"fields = ['ts', 'uid']", "fields", "ts,uid"},
		{"shards = 1_6", "shards", "16"},
		{"shards = 0x10", "shards", "16"},
		{"ratio = 0.25", "ratio", "0.25"},
		{"ratio = 1", "ratio", "1"},
		{"interval = '1h'", "interval", "1h0m0s"},
		{"quiet = true", "quiet", "true"},
		{`log-dir = "a\t\u00e9"`, "log-dir", "a\té"},
		{`"log-dir" = "x"`, "log-dir", "x"},
		{"# nothing\n", "log-dir", ""},
		{"\ufefflog-dir = 'x'\r\n", "log-dir", "x"},
	}
	for _, tt := range tests {
		s, err := Load(command(t), write(t, tt.text), nil)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		if got := get(s, tt.name); got != tt.want {
			t.Errorf("%s: want %q, got %q", tt.text, tt.want, got)
		}
	}
}

func TestMistakes(t *testing.T) {
	tests := []struct {
		text string
		want []string // of all lines, what follows the path
	}{
		{"\nlogdir = 'x'", []string{`:2: no setting "logdir", did you mean "log-dir"?`}},
		{"log_dir = 'x'", []string{`:1: no setting "log_dir", did you mean "log-dir"?`}},
		{"colour = 'x'", []string{`:1: no setting "colour": a setting is a flag's long name`}},
		{"hidden = 'x'", []string{`:1: no setting "hidden": a setting is a flag's long name`}},
		{"config = 'x'", []string{`:1: no setting "config": a setting is a flag's long name`}},
		{"log-dir = 1", []string{`:1: log-dir: want a string, not a number`}},
		{"log-dir = ['x']", []string{`:1: log-dir: want a string, not a list`}},
		{"log-dir = true", []string{`:1: log-dir: want a string, not a boolean`}},
		{"quiet = 'true'", []string{`:1: quiet: want true or false, not a string`}},
		{"shards = '4'", []string{`:1: shards: want a number, not a string`}},
		{"shards = 4.5", []string{`:1: shards: "4.5": want a whole number`}},
		{"shards = 99999999999999999999", []string{`:1: shards: "99999999999999999999": value out of range`}},
		{"interface = ['a', 1]", []string{`:1: interface: want a string or a list of them, not a number`}},
		{"interface = {a = 1}", []string{`:1: interface: want a string or a list of them, not a table`}},
		{"shards = 1979-05-27", []string{`:1: shards: want a number, not a date`}},
		{"interval = 'soon'", []string{`:1: interval: "soon": time: invalid duration "soon"`}},
		{"quiet = true\nshards = 1\nquiet = true", []string{`:3: quiet is set twice, first in line 1`}},
		{"[run]\nshards = 1", []string{`:1: [run]: settings stand in no table: write their names alone`}},
		{"run.shards = 1", []string{`:1: no setting "run.shards": a setting is a flag's long name`}},
		{"shards = 1\nlog-dir = 'x", []string{`:2: `}},
		{"shards 1", []string{`:1: `}},
		{"quiet = 1\nshards = 'x'\nlogdir = 1", []string{":1: quiet", ":2: shards", ":3: no setting"}},
	}
	for _, tt := range tests {
		path := write(t, tt.text)
		_, err := Load(command(t), path, nil)
		if err == nil {
			t.Errorf("%q: want an error", tt.text)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(tt.want) {
			t.Errorf("%q: want %q, got %q", tt.text, tt.want, lines)
			continue
		}
		for i, want := range tt.want {
			if !strings.HasPrefix(lines[i], path+want) {
				t.Errorf("%q: want %q, got %q", tt.text, path+want, lines[i])
			}
		}
	}

	_, err := Load(command(t), filepath.Join(t.TempDir(), "missing"), nil)
	if err == nil || !strings.HasPrefix(err.Error(), "--config: open ") {
		t.Errorf("want an error that names the flag, got %v", err)
	}
}

func TestEnvironmentMistakes(t *testing.T) {
	tests := []struct{ variable, want string }{
		{"CONNTAP_LOGDIR=x", "environment CONNTAP_LOGDIR: no setting, did you mean CONNTAP_LOG_DIR?"},
		{"CONNTAP_SHARDS=many", `environment CONNTAP_SHARDS: "many": want a whole number`},
		{"CONNTAP_QUIET=yes", `environment CONNTAP_QUIET: "yes": want true or false`},
		{"CONNTAP_RATIO=half", `environment CONNTAP_RATIO: "half": want a number`},
		{"CONNTAP_PORT=tcp://10.0.0.1:80", ""}, // as Kubernetes sets it
		{"CONNTAP_REQUIRE_BPF=1", ""},
		{"CONNTAP_CONFIG=x", ""},
	}
	for _, tt := range tests {
		got := ""
		if _, err := Load(command(t), "", []string{tt.variable}); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: want %q, got %q", tt.variable, tt.want, got)
		}
	}
}

func TestLocate(t *testing.T) {
	path := write(t, "log-dir = 'x'\nlocal-nets = 'y'\n")
	s, err := Load(command(t, "--shards", "1"), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ in, want string }{
		{"--log-dir: no", path + ":1: --log-dir: no"},
		{"--log-dir and --local-nets, --log-dir", path + ":1, " + path + ":2: --log-dir and --local-nets, --log-dir"},
		{"--shards 0: want 1", "--shards 0: want 1"},
		{"--quiet: no", "--quiet: no"},
		{"nothing", "nothing"},
	}
	for _, tt := range tests {
		if got := s.Locate(mistake(tt.in)); got.Error() != tt.want {
			t.Errorf("want %q, got %q", tt.want, got)
		}
	}
	if s.Locate(nil) != nil {
		t.Errorf("want no error of none")
	}
}

type mistake string

func (m mistake) Error() string { return string(m) }

// TestRoundTrip loads what WriteTo wrote: the settings must be the same.
func TestRoundTrip(t *testing.T) {
	s, err := Load(command(t, "--interface", `a"b\`, "--interface", "é<", "--ratio", "0.1", "--quiet"),
		write(t, "log-dir = '/x # y'\nlocal-nets = ['a', 'b']\n"), []string{"CONNTAP_INTERVAL=90s"})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if _, err := s.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	again, err := Load(command(t), write(t, text.String()), nil)
	if err != nil {
		t.Fatalf("%v of\n%s", err, text.String())
	}
	if changed := s.Changed(again); changed != nil || len(again.origins) != 6 {
		t.Errorf("want 6 settings and none changed, got %d, %q changed in\n%s", len(again.origins), changed, text.String())
	}
	if want := "# shards = 3 "; !strings.Contains(text.String(), want) {
		t.Errorf("want %q, got\n%s", want, text.String())
	}
}

func TestChanged(t *testing.T) {
	load := func(text string) *Settings {
		s, err := Load(command(t), write(t, text), nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := load("shards = 3\ninterface = ['a']\nquiet = true")
	after := load("interface = ['a', 'b']\nquiet = true\nlog-dir = 'x'")
	if got, want := before.Changed(after), []string{"interface", "log-dir"}; !slices.Equal(got, want) {
		t.Errorf("want %q, got %q", want, got)
	}
	before.Adopt(after, []string{"log-dir", "shards"})
	if got, want := before.Changed(after), []string{"interface"}; !slices.Equal(got, want) || before.Given("shards") || !before.Given("log-dir") {
		t.Errorf("want %q changed, log-dir given and shards not, got %q, %t, %t", want, got, before.Given("log-dir"), before.Given("shards"))
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"kitten", "sitting", 3},
		{"log-dir", "logdir", 1},
		{"fomrat", "format", 2},
	}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: want %d, got %d", tt.a, tt.b, tt.want, got)
		}
	}
}
