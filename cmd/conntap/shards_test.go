// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"conntap/bpf"
	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

// TestShardsTraces checks that the log of every trace, with all columns, is the same
// byte for byte with 1, 2 and 4 shards, whatever the account says besides.
func TestShardsTraces(t *testing.T) {
	traces, err := filepath.Glob("../../../shared/conformance/traces/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(traces) == 0 {
		t.Skip("../shared/conformance is not there")
	}
	rows := 0
	for _, trace := range traces {
		for _, keyVLAN := range []bool{false, true} {
			want, wantStats := shardedLog(t, trace, 1, keyVLAN)
			rows += bytes.Count(want, []byte("\n"))
			for _, n := range []int{2, 4} {
				if keyVLAN && n == 2 {
					continue
				}
				got, stats := shardedLog(t, trace, n, keyVLAN)
				if !bytes.Equal(got, want) {
					t.Errorf("%s: %d shards: %s", trace, n, firstRowDifference(want, got))
				}
				if stats != wantStats {
					t.Errorf("%s: %d shards: want %+v, got %+v", trace, n, wantStats, stats)
				}
			}
		}
	}
	if rows < 10_000 {
		t.Errorf("only %d lines were compared", rows)
	}
}

// shardedLog returns the log of a trace, as far as it can be read, and the account.
func shardedLog(t *testing.T, trace string, shards int, keyVLAN bool) ([]byte, tracker.Stats) {
	t.Helper()
	parser := bpf.Parser{Tunnels: true, VerifyChecksums: true}
	source, err := collector.OpenFiles([]string{trace}, collector.FileOptions{Parser: parser})
	if err != nil {
		return []byte(err.Error()), tracker.Stats{}
	}
	with, err := connlog.ParseWith("mac,vlan,community-id,rtt,counters")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	log, err := connlog.NewWriter(&b, connlog.Config{
		Format: connlog.TSV, With: with, KeyVLAN: keyVLAN, Now: func() time.Time { return time.Unix(0, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	config := tracker.Config{LinkLayer: true, RoundTrips: true, KeyVLAN: keyVLAN, Parser: parser}
	p := newPipeline(source, config, shards, log, &output{})
	p.quiet, p.lineText = true, func(*pipeline) string { return "" }
	if err := p.run(); err != nil {
		b.WriteString(err.Error())
	}
	return b.Bytes(), p.tracker.Stats()
}

// firstRowDifference shows the first lines that differ.
func firstRowDifference(want, got []byte) string {
	w, g := bytes.Split(want, []byte("\n")), bytes.Split(got, []byte("\n"))
	for i := range min(len(w), len(g)) {
		if !bytes.Equal(w[i], g[i]) {
			return "want\n" + string(w[i]) + "\ngot\n" + string(g[i])
		}
	}
	return "one log is longer"
}
