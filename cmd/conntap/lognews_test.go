// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"conntap/tracker/connlog"
)

// TestLogNews: a log that can't be written is complained of once a minute, and the end of
// that is said.
func TestLogNews(t *testing.T) {
	start := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	const full = "log: no space left on device (since 05:06:07): 5 MiB of rows wait, of 64 MiB that may"
	const remedy = ". As soon as it can be written to, it goes on by itself"
	failing := connlog.DirectoryState{Err: syscall.ENOSPC, Since: start, Waiting: 5 << 20, Limit: 64 << 20}
	dropping := failing
	dropping.Dropped = 1234
	slow := connlog.DirectoryState{Waiting: 64 << 20, Limit: 64 << 20, Dropped: 2000}
	steps := []struct {
		after time.Duration
		state connlog.DirectoryState
		want  []string
	}{
		{0, connlog.DirectoryState{Limit: 64 << 20}, nil},
		{time.Second, failing, []string{full + remedy}},
		{2 * time.Second, dropping, nil},
		{61 * time.Second, dropping, []string{full + "; dropped so far: 1,234 rows" + remedy}},
		{62 * time.Second, connlog.DirectoryState{Limit: 64 << 20, Waiting: 60 << 20, Dropped: 1234}, nil},
		{
			63 * time.Second,
			connlog.DirectoryState{Limit: 64 << 20, Waiting: 6 << 20, Dropped: 1234},
			[]string{"log: written again; rows dropped since the start: 1,234"},
		},
		{64 * time.Second, failing, nil}, // within the minute
		{65 * time.Second, connlog.DirectoryState{Limit: 64 << 20, Dropped: 1234}, nil},
		{122 * time.Second, slow, []string{"log: the disk did not keep up: 64 MiB of rows wait, of 64 MiB that may; dropped so far: 2,000 rows. " +
			"A larger --log-backlog bridges more"}},
	}
	var news logNews
	for _, step := range steps {
		if got := news.of(step.state, nil, start.Add(step.after)); !slices.Equal(got, step.want) {
			t.Errorf("after %v: want %q, got %q", step.after, step.want, got)
		}
	}
	if got := news.of(slow, []string{"a note"}, start.Add(123*time.Second)); !slices.Equal(got, []string{"a note"}) {
		t.Errorf("want the note, got %q", got)
	}
}
