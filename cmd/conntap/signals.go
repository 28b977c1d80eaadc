// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// catchEnd has the signals wait that end a pipeline well.
func catchEnd() chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return signals
}

// catchHangups has SIGHUP wait until the pipeline hears it, from the start to the end of
// the process: it must not end it while it begins or drains. nil, if it is to end it, as
// there is nothing to be opened or read again.
func (f *runFlags) catchHangups() <-chan os.Signal {
	if f.dir == "" && f.settings.Path() == "" {
		return nil
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	return hangups
}

// hangUp reads the configuration again and reopens the logs. It tells whether conntap is
// to end instead: if its terminal is gone.
func (p *pipeline) hangUp() (ends bool) {
	if p.onTerminal && !isTerminal(os.Stderr) {
		return true
	}
	_ = p.service.Reloading() // a manager that does not listen is no reason to end
	if p.reload != nil {
		p.reload()
	}
	p.keep(p.rows.flush()) // what was logged before belongs into the old files
	if p.out.dir != nil {
		p.out.dir.Reopen()
	}
	_ = p.service.Ready("capturing")
	return false
}
