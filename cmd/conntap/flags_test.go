// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWithoutAlias(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"read x.pcap", "read x.pcap"},
		{"-r x.pcap", "read -r x.pcap"},
		{"-C -r x.pcap", "read -C -r x.pcap"},
		{"-Cr x.pcap", "read -Cr x.pcap"},
		{"-rx.pcap", "read -rx.pcap"},
		{"--format json -r x.pcap", "read --format json -r x.pcap"},
		{"-i eth0", "run -i eth0"},
		{"-qi eth0", "run -qi eth0"},
		{"-ieth0", "run -ieth0"},
		{"--help", "--help"},
		{"-h", "-h"},
		{"explain -", "explain -"},
	}
	for _, tt := range tests {
		got := withoutAlias(strings.Fields(tt.in))
		if !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%q: want %q, got %q", tt.in, tt.want, got)
		}
	}
}

func TestByteSize(t *testing.T) {
	tests := []struct {
		in   string
		want int
		text string
	}{
		{"4096", 4096, "4K"},
		{"5000", 5000, "5000"},
		{"512K", 512 << 10, "512K"},
		{"64M", 64 << 20, "64M"},
		{"64MiB", 64 << 20, "64M"},
		{"1g", 1 << 30, "1G"},
		{"24G", 24 << 30, "24G"},
		{"9999999999G", -1, ""},
		{"-1", -1, ""},
		{"", -1, ""},
		{"M", -1, ""},
		{"64Mx", -1, ""},
		{"99999999999999999999", -1, ""},
	}
	for _, tt := range tests {
		var b byteSize
		err := b.Set(tt.in)
		if tt.want < 0 {
			if err == nil {
				t.Errorf("%q: want an error, got %d", tt.in, b)
			}
			continue
		}
		if err != nil || int(b) != tt.want || b.String() != tt.text {
			t.Errorf("%q: want %d (%s), got %d (%s), %v", tt.in, tt.want, tt.text, b, b.String(), err)
		}
	}
}

func TestInterval(t *testing.T) {
	tests := []struct {
		in   string
		want time.Duration
		text string
	}{
		{"1h", time.Hour, "1h"},
		{"15m", 15 * time.Minute, "15m"},
		{"600s", 10 * time.Minute, "10m"},
		{"10h", 10 * time.Hour, "10h"},
		{"90s", 90 * time.Second, "1m30s"},
		{"1d", 24 * time.Hour, "1d"},
		{"168h", 7 * 24 * time.Hour, "7d"},
		{"1h30m", 90 * time.Minute, "1h30m"},
		{"0", -1, ""},
		{"500ms", -1, ""},
		{"-1h", -1, ""},
		{"1", -1, ""},
		{"d", -1, ""},
		{"99999999d", -1, ""},
		{"daily", -1, ""},
	}
	for _, tt := range tests {
		var i interval
		err := i.Set(tt.in)
		if tt.want < 0 {
			if err == nil {
				t.Errorf("%q: want an error, got %s", tt.in, i.String())
			}
			continue
		}
		if err != nil || time.Duration(i) != tt.want || i.String() != tt.text {
			t.Errorf("%q: want %v (%s), got %v (%s), %v", tt.in, tt.want, tt.text, time.Duration(i), i.String(), err)
		}
	}
}

func TestLooksLikeFilter(t *testing.T) {
	tests := []struct {
		in   string
		want bool
	}{
		{"port 443", true},
		{"tcp", true},
		{"not arp", true},
		{"host 10.0.0.1 and udp", true},
		{"missing.pcap", false},
		{"host", false},
		{"flags_test.go", false},
	}
	for _, tt := range tests {
		if got := looksLikeFilter(tt.in); got != tt.want {
			t.Errorf("%q: want %t, got %t", tt.in, tt.want, got)
		}
	}
}
