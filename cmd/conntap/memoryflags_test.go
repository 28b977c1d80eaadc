// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime/debug"
	"strings"
	"testing"

	"conntap/collector"
)

// ringsOf16 is what collector.RingBytes says of 16 CPUs.
func ringsOf16(wish int) int {
	if wish == 0 {
		wish = 256 << 20
	}
	size := 64 << 10
	for 16*size < wish {
		size *= 2
	}
	return 16 * size
}

func TestMemoryPlan(t *testing.T) {
	const (
		megabyte  = 1 << 20
		eachBytes = 300
		million   = ownBytes + 256*megabyte + 1_000_000*eachBytes // the default on 16 CPUs
	)
	tests := []struct {
		name               string
		wish               memoryWish
		granted            uint64
		total              uint64
		rings, connections int
		complaint          string
	}{
		{"default", memoryWish{}, 64 << 30, million, 256 * megabyte, 1_000_000, ""},
		{"default, memory not known", memoryWish{}, 0, million, 256 * megabyte, 1_000_000, ""},
		{"default, smaller rings do", memoryWish{}, 1 << 30, ownBytes + 128*megabyte + 300_000_000, 128 * megabyte, 1_000_000, ""},
		{"default, a small container", memoryWish{}, 256 * megabyte, 128 * megabyte, 32 * megabyte, 111_848, ""},
		{"default, less than conntap takes", memoryWish{}, 64 * megabyte, ownBytes + 8*megabyte + 300_000, 8 * megabyte, 1000, ""},
		{"memory", memoryWish{memory: 4 << 30}, 64 << 30, 4 << 30, 256 * megabyte, 13_198_076, ""},
		{"memory and rings", memoryWish{memory: 1 << 30, rings: 512 * megabyte}, 64 << 30, 1 << 30, 512 * megabyte, 1_565_873, ""},
		{
			"memory and connections",
			memoryWish{memory: 1 << 30, connections: 1000, anyConnections: true},
			64 << 30,
			ownBytes + 256*megabyte + 300_000, 256 * megabyte, 1000, "",
		},
		{
			"all three",
			memoryWish{memory: 512 * megabyte, rings: 64 * megabyte, connections: 1_000_000, anyConnections: true},
			64 << 30,
			ownBytes + 64*megabyte + 300_000_000, 64 * megabyte, 1_000_000, "",
		},
		{
			"rings and connections",
			memoryWish{rings: megabyte, connections: 2_000_000, anyConnections: true},
			1 << 30,
			ownBytes + megabyte + 600_000_000, megabyte, 2_000_000, "",
		},
		{"default, with a log directory", memoryWish{backlog: defaultBacklog}, 64 << 30, million + defaultBacklog, 256 * megabyte, 1_000_000, ""},
		{"a small container with a log directory", memoryWish{backlog: defaultBacklog}, 256 * megabyte, 128 * megabyte, 32 * megabyte, 55_924, ""},
		{
			"memory and backlog",
			memoryWish{memory: 128 * megabyte, backlog: defaultBacklog, anyBacklog: true},
			256 * megabyte,
			ownBytes + 32*megabyte + defaultBacklog + 300_000, 32 * megabyte, 1000, "64 MiB for rows that wait",
		},
		{"without a limit of connections", memoryWish{anyConnections: true}, 64 << 30, 0, 256 * megabyte, 0, ""},
		{"memory, without a limit of connections", memoryWish{memory: 1 << 30, anyConnections: true}, 64 << 30, 0, 256 * megabyte, 0, "contradicts --memory"},
		{
			"too little memory",
			memoryWish{memory: 64 * megabyte},
			64 << 30, ownBytes + 16*megabyte + 300_000, 16 * megabyte, 1000,
			"--memory 64M is too little: 81 MiB are needed",
		},
		{
			"too many connections",
			memoryWish{memory: 1 << 30, connections: 10_000_000, anyConnections: true},
			64 << 30,
			ownBytes + 256*megabyte + 3_000_000_000, 256 * megabyte, 10_000_000, "2.8 GiB for 10,000,000 connections",
		},
		{
			"too large rings",
			memoryWish{memory: 256 * megabyte, rings: 1 << 30},
			64 << 30, ownBytes + 1<<30 + 300_000, 1 << 30, 1000,
			"1.0 GiB for the rings",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.wish.ringBytes, tt.wish.each = ringsOf16, eachBytes
			tt.wish.granted = func() (uint64, bool) { return tt.granted, false }
			p, err := tt.wish.plan()
			// What is left is less than a connection.
			if p.total > tt.total || tt.total-p.total >= eachBytes || p.rings != tt.rings || p.connections != tt.connections {
				t.Errorf("want %d bytes, rings of %d, %d connections; got %d, %d, %d",
					tt.total, tt.rings, tt.connections, p.total, p.rings, p.connections)
			}
			if tt.complaint == "" && err != nil || tt.complaint != "" && (err == nil || !strings.Contains(err.Error(), tt.complaint)) {
				t.Errorf("want %q, got %v", tt.complaint, err)
			}
		})
	}
}

func TestMemoryPlanObtained(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	p := memoryPlan{granted: 1 << 30, total: ownBytes + 32<<20 + 300_000, rings: 32 << 20, connections: 1000, each: 300}
	p.obtained([]collector.RingFill{{Size: 32 << 20}, {Size: 32 << 20}}, 4)
	want := "up to 128 MiB of the machine's 1.0 GiB: 64 MiB rings, 292 KiB for 1,000 connections, 64 MiB for the rest"
	if got := p.String(); got != want {
		t.Errorf("want %q, got %q", want, got)
	}
	if p.warning() != "" {
		t.Errorf("want no warning, got %q", p.warning())
	}
	if p.byGroup, p.granted = true, 100<<20; p.warning() == "" || !strings.Contains(p.String(), "of the control group's 100 MiB:") {
		t.Errorf("want a warning about the control group's, got %q of %q", p.warning(), p.String())
	}
	const eachBytes = 300
	tests := []struct {
		connections, shards int
		want                int64
	}{
		{1000, 4, ownBytes + 300_000},
		{10_000_000, 2, ownBytes + 2*heapConnections*eachBytes},
	}
	for _, tt := range tests {
		p.connections = tt.connections
		if got := p.heapLimit(tt.shards); got != tt.want {
			t.Errorf("%d connections in %d shards: want %d bytes of heap, got %d", tt.connections, tt.shards, tt.want, got)
		}
	}
}
