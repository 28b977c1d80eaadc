// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"conntap": main, "conntap-stepped": steppedMain})
}

// TestScripts runs the binary as a user would, script by script. Each finds the
// project's small capture as first.pcap, and those of [tenants] and [taps].
func TestScripts(t *testing.T) {
	capture, err := os.ReadFile("../../hack/first.pcap")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "cut": cut},
		Setup: func(env *testscript.Env) error {
			env.Setenv("NO_COLOR", "1")
			return errors.Join(
				os.WriteFile(filepath.Join(env.WorkDir, "first.pcap"), capture, 0o600),
				os.WriteFile(filepath.Join(env.WorkDir, "tenants.pcap"), tenants(), 0o600),
				os.WriteFile(filepath.Join(env.WorkDir, "taps.pcapng"), taps(), 0o600))
		},
	})
}

// exits CODE COMMAND ARGS... runs a command and compares its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command [arg...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("want exit code %d, got %d", want, got)
	}
}

// cut N FROM TO copies a file without its last N bytes.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cut n from to")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	content, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), content[:len(content)-n], 0o600))
}
