// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// reloadable are the settings that a running capture can take over, with how. All others
// are in programs, tables and files that are there already.
var reloadable = map[string]func(p *pipeline, now, next *runFlags){
	"account":             func(_ *pipeline, now, next *runFlags) { now.account = next.account },
	"quiet":               func(p *pipeline, _, next *runFlags) { p.quiet = next.quiet },
	"local-nets":          func(p *pipeline, _, next *runFlags) { p.rows.setNets(next) },
	"neighbor-nets":       func(p *pipeline, _, next *runFlags) { p.rows.setNets(next) },
	"max-rows-per-second": func(p *pipeline, _, next *runFlags) { p.rows.setLimit(uint64(next.maxRowsPerSecond)) },
}

// reload reads the configuration again, by the same command line, and takes over what can
// be without attaching anew. With a mistake in it, everything stays as it is.
func (f *runFlags) reload(p *pipeline) {
	next, err := readAgain(os.Args[1:])
	if err != nil {
		for _, mistake := range each(err) {
			p.tell("reload: " + mistake.Error())
		}
		p.tell("reload: the configuration in force stays as it is")
		return
	}
	changed := f.settings.Changed(next.settings)
	isReloadable := func(name string) bool { return reloadable[name] != nil }
	taken := slices.DeleteFunc(slices.Clone(changed), func(name string) bool { return !isReloadable(name) })
	for _, name := range taken {
		reloadable[name](p, f, next)
	}
	f.settings.Adopt(next.settings, taken)
	if left := slices.DeleteFunc(changed, isReloadable); len(left) > 0 {
		p.tell("reload: changed, but of no effect before a restart: " + strings.Join(left, ", "))
	}
	if len(taken) == 0 {
		taken = []string{"nothing"}
	}
	p.tell("reloaded: " + strings.Join(taken, ", "))
}

// readAgain is the flags of a command line of run with the configuration as it is now.
// A key for --anonymize is not read: it stays, and may be out of reach by now.
func readAgain(args []string) (*runFlags, error) {
	c, f := runCommand()
	root := &cobra.Command{Use: "conntap"}
	root.AddCommand(c)
	_, rest, err := root.Find(withoutAlias(args))
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil {
		err = f.complete(c)
	}
	return f, err
}

// setNets takes over the networks, which were checked.
func (w *rowWriter) setNets(f *runFlags) {
	cfg, err := f.config()
	if err != nil {
		return // f.check would not have let it pass
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, log := range w.logs() {
		log.SetNets(cfg)
	}
}

func (w *rowWriter) setLimit(most uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit.most = most
}
