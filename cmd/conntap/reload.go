// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// reloadable are the settings that a running capture can take over, with how, or false if
// it can't after all. All others are in programs, tables and files that are there already.
var reloadable = map[string]func(p *pipeline, now, next *runFlags) bool{
	"account":             func(_ *pipeline, now, next *runFlags) bool { now.account = next.account; return true },
	"quiet":               func(p *pipeline, _, next *runFlags) bool { p.quiet = next.quiet; return true },
	"local-nets":          takeNets,
	"neighbor-nets":       takeNets,
	"max-rows-per-second": takeRowLimit,
	"rotate":              takeFiles,
	"rotate-size":         takeFiles,
	"compress":            takeFiles,
	"keep":                takeFiles,
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
	var taken, left []string
	for _, name := range f.settings.Changed(next.settings) {
		if take := reloadable[name]; take != nil && take(p, f, next) {
			taken = append(taken, name)
		} else {
			left = append(left, name)
		}
	}
	f.settings.Adopt(next.settings, taken)
	if len(left) > 0 {
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

// takeNets takes over the networks, which were checked.
func takeNets(p *pipeline, _, next *runFlags) bool {
	cfg, err := next.config()
	if err != nil {
		return false // check would not have let it pass
	}
	p.rows.mu.Lock()
	defer p.rows.mu.Unlock()
	for _, log := range p.rows.logs() {
		log.SetNets(cfg)
	}
	return true
}

func takeRowLimit(p *pipeline, _, next *runFlags) bool {
	p.rows.mu.Lock()
	defer p.rows.mu.Unlock()
	p.rows.limit.most = uint64(next.maxRowsPerSecond)
	return true
}

// takeFiles takes over what becomes of the log's files, if there are any.
func takeFiles(p *pipeline, _, next *runFlags) bool {
	cfg, err := next.files.config()
	if err != nil || p.out.dir == nil {
		return false
	}
	p.out.dir.Reconfigure(cfg)
	return true
}
