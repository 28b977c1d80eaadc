// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"conntap/cmd/conntap/internal/screen"
	"conntap/tracker/connlog"
)

// complaintInterval is between two complaints about a log that can't be written.
const complaintInterval = time.Minute

// logNews says what there is to be said about log files.
type logNews struct {
	complained time.Time // the last time
	bad        bool      // nothing better was said since
	dropped    uint64    // rows at the last look
}

// of returns sentences, each once: notes, and at most once a minute that rows can't be
// written, and after that, that they can.
func (n *logNews) of(state connlog.DirectoryState, notes []string, now time.Time) []string {
	worse := state.Err != nil || state.Dropped > n.dropped
	n.dropped = state.Dropped
	switch {
	case worse && now.Sub(n.complained) >= complaintInterval:
		n.complained, n.bad = now, true
		notes = append(notes, complaint(state))
	case !worse && n.bad && state.Waiting < state.Limit/2:
		n.bad = false
		notes = append(notes, "log: written again; rows dropped since the start: "+screen.Count(state.Dropped))
	}
	return notes
}

func complaint(s connlog.DirectoryState) string {
	text := fmt.Sprintf("%s of rows wait, of %s that may", screen.Memory(uint64(s.Waiting)), screen.Memory(uint64(s.Limit)))
	if s.Dropped > 0 {
		text += "; dropped so far: " + screen.Plural(s.Dropped, "row")
	}
	if s.Err == nil {
		return "log: the disk did not keep up: " + text + ". A larger --log-backlog bridges more"
	}
	return fmt.Sprintf("log: %v (since %s): %s. As soon as it can be written to, it goes on by itself", s.Err, s.Since.Format(time.TimeOnly), text)
}

// sayLogNews says what there is to be said about log files.
func (p *pipeline) sayLogNews() {
	if p.out.dir == nil {
		return
	}
	for _, sentence := range p.logNews.of(p.out.state(), p.out.dir.Notes(), time.Now()) {
		p.rows.mu.Lock()
		p.out.line.Erase()
		tell(sentence)
		p.rows.mu.Unlock()
	}
}

// state is how writing to the log's files goes.
func (o *output) state() connlog.DirectoryState {
	if o.dir == nil {
		return connlog.DirectoryState{}
	}
	state := o.dir.State()
	if o.confined && errors.Is(state.Err, fs.ErrPermission) {
		state.Err = fmt.Errorf("%w (the sandbox allows for the directory that was there at the start alone: restart conntap)", state.Err)
	}
	return state
}
