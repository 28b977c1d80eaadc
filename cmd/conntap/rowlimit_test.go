// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"conntap/tracker"
)

func TestRowLimit(t *testing.T) {
	const second = int64(1e9)
	rows := func(now int64, n int, orig, resp uint64) (conns []tracker.Conn) {
		for range n {
			conns = append(conns, tracker.Conn{Now: now, Orig: tracker.Endpoint{Packets: orig}, Resp: tracker.Endpoint{Packets: resp}})
		}
		return conns
	}
	tests := []struct {
		name    string
		most    uint64
		conns   [][]tracker.Conn
		written int
		packets uint64 // of what was held back
	}{
		{"none asked for", 0, [][]tracker.Conn{rows(second, 1000, 1, 0)}, 1000, 0},
		{"fewer", 10, [][]tracker.Conn{rows(second, 10, 1, 0)}, 10, 0},
		{"more", 10, [][]tracker.Conn{rows(second, 25, 3, 0)}, 10, 45},
		{"of the responder alone", 10, [][]tracker.Conn{rows(second, 11, 0, 2)}, 10, 2},
		{"of nobody: bad checksums", 10, [][]tracker.Conn{rows(second, 11, 0, 0)}, 10, 0},
		{"answered ones pass", 10, [][]tracker.Conn{rows(second, 20, 1, 0), rows(second, 20, 1, 1), rows(second, 20, 1, 0)}, 30, 30},
		{"answered ones take no room", 10, [][]tracker.Conn{rows(second, 20, 1, 1), rows(second, 10, 1, 0)}, 30, 0},
		{"each second", 10, [][]tracker.Conn{rows(second, 20, 1, 0), rows(2*second-1, 20, 1, 0), rows(2*second, 20, 1, 0)}, 20, 40},
		{"after silence no more", 10, [][]tracker.Conn{rows(second, 1, 1, 0), rows(100*second, 20, 1, 0)}, 11, 10},
		{"time 0 and before", 1, [][]tracker.Conn{rows(0, 2, 1, 0), rows(-2*second, 2, 1, 0)}, 2, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := rowLimit{most: tt.most}
			written, held := 0, 0
			for _, conns := range tt.conns {
				for i := range conns {
					if l.holds(&conns[i]) {
						held++
					} else {
						written++
					}
				}
			}
			if written != tt.written || l.packets.Load() != tt.packets || int(l.rows.Load()) != held {
				t.Errorf("want %d written, %d held back with %d packets, got %d, %d and %d",
					tt.written, held, tt.packets, written, l.rows.Load(), l.packets.Load())
			}
		})
	}
}
