// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func TestPeriodStart(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	kathmandu := time.FixedZone("+0545", 5*3600+45*60)
	const layout = "2006-01-02 15:04:05 -0700"
	tests := []struct {
		name     string
		t        string
		zone     *time.Location
		interval time.Duration
		want     string
	}{
		{"hour", "2026-03-04 05:59:59 +0000", time.UTC, time.Hour, "2026-03-04 05:00:00 +0000"},
		{"at its start", "2026-03-04 05:00:00 +0000", time.UTC, time.Hour, "2026-03-04 05:00:00 +0000"},
		{"five minutes", "2026-03-04 05:59:59 +0000", time.UTC, 5 * time.Minute, "2026-03-04 05:55:00 +0000"},
		{"a zone with minutes", "2026-03-04 05:59:59 +0545", kathmandu, time.Hour, "2026-03-04 05:00:00 +0545"},
		{"seven hours begin anew at midnight", "2026-03-04 01:00:00 +0000", time.UTC, 7 * time.Hour, "2026-03-04 00:00:00 +0000"},
		{"seven hours", "2026-03-04 23:00:00 +0000", time.UTC, 7 * time.Hour, "2026-03-04 21:00:00 +0000"},
		{"day", "2026-03-04 23:59:59 +0100", berlin, day, "2026-03-04 00:00:00 +0100"},
		{"day on which the clock goes forward", "2026-03-29 22:00:00 +0200", berlin, day, "2026-03-29 00:00:00 +0100"},
		{"day on which the clock goes back", "2026-10-25 23:30:00 +0100", berlin, day, "2026-10-25 00:00:00 +0200"},
		{"first of two hours of one name", "2026-10-25 02:30:00 +0200", berlin, time.Hour, "2026-10-25 02:00:00 +0200"},
		{"second of two hours of one name", "2026-10-25 02:30:00 +0100", berlin, time.Hour, "2026-10-25 02:00:00 +0100"},
		{"first of two days", "2026-03-04 12:00:00 +0000", time.UTC, 2 * day, "2026-03-04 00:00:00 +0000"},
		{"second of two days", "2026-03-05 12:00:00 +0000", time.UTC, 2 * day, "2026-03-04 00:00:00 +0000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, err := time.Parse(layout, tt.t)
			if err != nil {
				t.Fatal(err)
			}
			if got := periodStart(at.In(tt.zone), tt.interval).Format(layout); got != tt.want {
				t.Errorf("want %s, got %s", tt.want, got)
			}
		})
	}
}

func TestIsRotated(t *testing.T) {
	tests := []struct {
		log, file           string
		rotated, compressed bool
	}{
		{"conn.log", "conn.2026-03-04-05-00-00.log", true, false},
		{"conn.log", "conn.2026-03-04-05-00-00_12.log", true, false},
		{"conn.log", "conn.2026-03-04-05-00-00.log.gz", true, true},
		{"conn.log", "conn.2026-03-04-05-00-00_1.log.zst", true, true},
		{"conn.log", "conn.log", false, false},
		{"conn.log", "conn.log.1", false, false},
		{"conn.log", "conn.log.gz", false, false},
		{"conn.log", "conn_long.2026-03-04-05-00-00.log", false, false},
		{"conn.log", "conn.2026-03-04-05-00-00.log.gz.tmp", false, false},
		{"conn.log", "conn.2026-03-04.log", false, false},
		{"red.a+b", "red.a+b.26-03-04_05.00.00", true, false},
		{"red.a+b", "red.a+b.26-03-04_05.00.00.zst", true, true},
		{"red.a+b", "red.aab.26-03-04_05.00.00", false, false},
		{"red.a+b", "red.a+b", false, false},
	}
	for _, tt := range tests {
		n := namingOf(tt.log)
		if rotated, compressed := n.isRotated(tt.file); rotated != tt.rotated || compressed != tt.compressed {
			t.Errorf("%s: want rotated %v and compressed %v, got %v and %v", tt.file, tt.rotated, tt.compressed, rotated, compressed)
		}
	}
}
