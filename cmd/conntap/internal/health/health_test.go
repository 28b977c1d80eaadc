// SPDX-License-Identifier: Apache-2.0

package health

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStuck(t *testing.T) {
	tests := []struct {
		name           string
		reader, writer time.Duration // when they last came round
		want           string        // after 10 s
	}{
		{"both move", 9900 * time.Millisecond, 9500 * time.Millisecond, ""},
		{"reader stands", 1 * time.Second, 9500 * time.Millisecond, "the reader of packets has stood still for 9s"},
		{"reader waits for the writer", 4100 * time.Millisecond, 4 * time.Second, "the writer of the log has stood still for 6s"},
		{"neither ever moved", 0, 0, "the reader of packets has stood still for 10s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, start := New(), time.Now()
				move := func(s Stage, at time.Duration) {
					if at > 0 {
						time.Sleep(time.Until(start.Add(at)))
						m.Moved(s)
					}
				}
				go move(Reader, tt.reader)
				go move(Writer, tt.writer)
				time.Sleep(10 * time.Second)
				got := ""
				if err := m.Stuck(5 * time.Second); err != nil {
					got = err.Error()
				}
				if got != tt.want {
					t.Errorf("want %q, got %q", tt.want, got)
				}
				if err := m.Stuck(10 * time.Second); err != nil && !strings.Contains(tt.want, "10s") {
					t.Errorf("with patience: want no error, got %v", err)
				}
			})
		})
	}
}
