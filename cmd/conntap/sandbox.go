// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"conntap/cmd/conntap/internal/sandbox"
	"conntap/collector"
)

// sandboxFlags say whether run gives up what it does not need once it captures.
type sandboxFlags struct {
	mode choice
}

func (f *sandboxFlags) register(fs *pflag.FlagSet) {
	f.mode = choice{"on", []string{"on", "strict", "off"}}
	fs.Var(&f.mode, "sandbox", "what conntap gives up as soon as it captures: on: capabilities that it does not need\n"+
		"to capture on interfaces that come, and all writing but in --log-dir (Landlock);\n"+
		"strict: also those; an interface that comes again then is not captured; off: nothing")
}

// confine enters the sandbox, and says so. The source must be open, and all files but
// those of the log and what a reload reads. It tells whether only the log's directory
// may be written to from now on.
func (f *runFlags) confine(source collector.LiveSource) (confined bool, err error) {
	if f.sandbox.mode.value == "off" {
		return false, nil
	}
	c := sandbox.Config{
		Keep: source.Capabilities(f.sandbox.mode.value != "strict"),
		Read: f.reloadPaths(),
	}
	if f.dir != "" {
		dir, err := filepath.Abs(f.dir)
		if err != nil {
			return false, err
		}
		c.Write = []string{dir}
		c.GiveAway = os.Geteuid() == 0 && os.Getenv("SUDO_UID") != "" // as connlog does with its files
	}
	result, err := sandbox.Enter(c)
	if err != nil {
		return false, err
	}
	if !f.quiet {
		tell("sandbox: " + result.String())
	}
	return result.Landlock > 0, nil
}

// reloadPaths are what a reload reads.
func (f *runFlags) reloadPaths() []string {
	path := f.settings.Path()
	if path == "" {
		return nil
	}
	return []string{path, filepath.Dir(path)} // an editor may put another file in its place
}
