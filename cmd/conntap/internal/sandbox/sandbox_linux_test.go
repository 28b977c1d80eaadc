// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"conntap/collector"
)

// inmate has a copy of the test enter the sandbox, of which there is no way out.
const inmate = "CONNTAP_TEST_INMATE"

func TestMain(m *testing.M) {
	if config := os.Getenv(inmate); config != "" {
		if err := json.NewEncoder(os.Stdout).Encode(live(config)); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// found is what an inmate finds.
type found struct {
	Result      *Result
	Problem     string
	WriteInside string // errors
	WriteBeside string
	ReadBeside  string
	ReadProc    string
	Connect     string
	Threads     []string // capabilities and no_new_privs of each thread
	Bounding    []string
}

// live enters the sandbox and tries what it can.
func live(config string) (f found) {
	var c Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		f.Problem = err.Error()
		return f
	}
	for range 4 { // threads of their own, that are asleep
		go func() { _, _ = os.Stdin.Read(make([]byte, 1)) }()
	}
	time.Sleep(10 * time.Millisecond)
	var err error
	if f.Result, err = Enter(c); err != nil {
		f.Problem = err.Error()
		return f
	}
	beside := filepath.Dir(c.Write[0])
	f.WriteInside = message(os.WriteFile(c.Write[0]+"/conn.log", nil, 0o600))
	if f.WriteInside == "" {
		f.WriteInside = message(os.Rename(c.Write[0]+"/conn.log", c.Write[0]+"/conn.1.log"))
	}
	f.WriteBeside = message(os.WriteFile(beside+"/evil", nil, 0o600))
	_, err = os.ReadFile(beside + "/secret")
	f.ReadBeside = message(err)
	_, err = os.ReadFile("/proc/self/limits")
	f.ReadProc = message(err)
	_, err = net.DialTimeout("tcp", "127.0.0.1:9", time.Second)
	f.Connect = message(err)
	f.Threads, f.Bounding = threads()
	return f
}

func message(err error) string {
	if err == nil {
		return ""
	}
	if errors.Is(err, fs.ErrPermission) {
		return "refused"
	}
	return err.Error()
}

// threads are the capabilities of all threads, each set once.
func threads() (sets, bounding []string) {
	wanted := regexp.MustCompile(`(?m)^(?:CapPrm|CapEff|CapInh|CapAmb|NoNewPrivs):\s*(\S+)`)
	tasks, _ := filepath.Glob("/proc/self/task/*/status")
	for _, path := range tasks {
		status, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var set []string
		for _, match := range wanted.FindAllStringSubmatch(string(status), -1) {
			set = append(set, match[1])
		}
		sets = append(sets, strings.Join(set, " "))
		bounding = append(bounding, regexp.MustCompile(`CapBnd:\s*(\S+)`).FindStringSubmatch(string(status))[1])
	}
	slices.Sort(sets)
	slices.Sort(bounding)
	return slices.Compact(sets), slices.Compact(bounding)
}

// TestEnter goes to prison as root, who owns every file that is tried: what is refused
// is refused by Landlock.
func TestEnter(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root has something to lose")
	}
	tests := []struct {
		name  string
		keep  []collector.Capability
		owner int // of the directory to write in
		give  bool
		want  uint64 // effective capabilities
	}{
		{"none", nil, 0, false, 0},
		{"for clsact", []collector.Capability{collector.CapNetAdmin}, 0, false, 1 << 12},
		{"another user's directory", nil, 1234, false, 1 << 1},
		{"a caller's of sudo", nil, 1234, true, 1<<0 | 1<<1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			dir := root + "/log"
			must(t, errors.Join(os.Mkdir(dir, 0o750), os.Chown(dir, tt.owner, -1), os.WriteFile(root+"/secret", nil, 0o600)))
			f := imprison(t, Config{Keep: tt.keep, Write: []string{dir}, GiveAway: tt.give})
			set := fmt.Sprintf("%016x", tt.want)
			if want := "0000000000000000 " + set + " " + set + " 0000000000000000 1"; !slices.Equal(f.Threads, []string{want}) {
				t.Errorf("want all threads to have inheritable, permitted, effective, ambient and no_new_privs %s, got %q", want, f.Threads)
			}
			if !slices.Equal(f.Bounding, []string{set}) {
				t.Errorf("want the bounding set %s, got %q", set, f.Bounding)
			}
			if f.WriteInside != "" || f.ReadProc != "" {
				t.Errorf("want what is kept to work, got %+v", f)
			}
			if f.Result.Landlock == 0 {
				t.Skip("this kernel has no Landlock")
			}
			if f.WriteBeside != "refused" || f.ReadBeside != "refused" {
				t.Errorf("want files beside the log refused, got %+v", f)
			}
			if f.Result.Landlock >= 4 && f.Connect != "refused" {
				t.Errorf("want connections refused, got %q", f.Connect)
			}
		})
	}
}

// imprison runs a copy of the test in the sandbox.
func imprison(t *testing.T, c Config) (f found) {
	t.Helper()
	config, err := json.Marshal(c)
	must(t, err)
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), inmate+"="+string(config))
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe() // never written to
	must(t, err)
	defer stdin.Close()
	out, err := command.Output()
	must(t, err)
	must(t, json.Unmarshal(out, &f))
	if f.Problem != "" {
		t.Fatal(f.Problem)
	}
	return f
}

func TestResult(t *testing.T) {
	tests := []struct {
		result Result
		want   string
	}{
		{Result{Landlock: 7}, "no capabilities, file system read-only"},
		{Result{[]string{"CAP_NET_ADMIN"}, 1, []string{"/var/log/conntap"}}, "CAP_NET_ADMIN and no other capability, file system read-only but for /var/log/conntap"},
		{Result{}, "no capabilities; this kernel has no Landlock: the file system stays as open as it is to the user"},
	}
	for _, tt := range tests {
		if got := tt.result.String(); got != tt.want {
			t.Errorf("want %s, got %s", tt.want, got)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
