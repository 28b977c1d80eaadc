// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReadFlood reads a SYN flood, to which a server answers in part, and a scan of all
// ports, beside 1,000 sessions, with far less room than they take. hack/flood.sh is the
// same with 5 million sources.
func TestReadFlood(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a capture of 12 MB")
	}
	const sources, ports, sessions = 50_000, 65_536, 1000
	capture := filepath.Join(t.TempDir(), "flood.pcap")
	generate := exec.Command("go", "run", "../../hack/genpcap", "flood",
		"--sources", strconv.Itoa(sources), "--ports", strconv.Itoa(ports), "--sessions", strconv.Itoa(sessions), capture)
	if out, err := generate.CombinedOutput(); err != nil {
		t.Fatalf("making the capture: %v\n%s", err, out)
	}
	flooded, _ := readFlood(t, capture, "--max-connections", "4000")
	alone, _ := readFlood(t, capture, "--filter", "net 10.0.0.0/8")
	if len(alone) != sessions || len(flooded) != sources+ports+sessions {
		t.Errorf("want %d rows and %d with the flood, got %d and %d", sessions, sources+ports+sessions, len(alone), len(flooded))
	}
	ofSessions := slices.DeleteFunc(slices.Clone(flooded), func(row string) bool { return !strings.Contains(row, "\t10.") })
	if !slices.Equal(ofSessions, alone) {
		t.Errorf("want the sessions' %d rows as without the flood, got %d, others", len(alone), len(ofSessions))
	}
	limited, account := readFlood(t, capture, "--max-connections", "4000", "--max-rows-per-second", "20")
	passed := slices.DeleteFunc(slices.Clone(flooded), isOneSided)
	kept := slices.DeleteFunc(slices.Clone(limited), isOneSided)
	slices.Sort(passed) // who is evicted when depends on the shards, which differ from run to run
	slices.Sort(kept)
	if !slices.Equal(kept, passed) {
		t.Errorf("want all %d rows of answered connections with a limit of rows, got %d", len(passed), len(kept))
	}
	if n := len(limited) - len(kept); n < 20*50 || n > 20*61 {
		t.Errorf("want 20 rows a second of the others, some 1,200, got %d", n)
	}
	held := fmt.Sprintf("by --max-rows-per-second: %d, one-sided", len(flooded)-len(limited))
	if !strings.Contains(strings.ReplaceAll(account, ",", ""), strings.ReplaceAll(held, ",", "")) {
		t.Errorf("want %q in the account, got\n%s", held, account)
	}
}

// readFlood returns the rows and the account of a capture whose packets all are in
// connections.
func readFlood(t *testing.T, capture string, args ...string) (rows []string, account string) {
	t.Helper()
	read := exec.Command("conntap", append([]string{
		"read", "--format", "tsv", "--account", "full",
		"--fields", "ts,uid,id.orig_h,id.orig_p,duration,orig_bytes,resp_bytes,conn_state,missed_bytes,history,orig_pkts,resp_pkts",
	}, append(args, capture)...)...)
	read.Env = append(os.Environ(), "NO_COLOR=1")
	var log, said strings.Builder
	read.Stdout, read.Stderr = &log, &said
	if err := read.Run(); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	packets := 0
	for line := range strings.Lines(log.String()) {
		if line[0] == '#' {
			continue
		}
		rows = append(rows, line)
		a, b := packetsOf(line)
		packets += a + b
	}
	sum := fmt.Sprintf("packets %d = in connections %d", packets, packets)
	if plain := strings.ReplaceAll(said.String(), ",", ""); !strings.Contains(plain, sum+" ") && !strings.Contains(plain, "max-rows-per-second") {
		t.Errorf("%v: want every packet in a row: %s, got\n%s", args, sum, said.String())
	}
	return rows, said.String()
}

// packetsOf are the packets of both sides, which stand last in a row.
func packetsOf(row string) (orig, resp int) {
	fields := strings.Split(strings.TrimSpace(row), "\t")
	orig, _ = strconv.Atoi(fields[len(fields)-2])
	resp, _ = strconv.Atoi(fields[len(fields)-1])
	return orig, resp
}

func isOneSided(row string) bool {
	orig, resp := packetsOf(row)
	return orig == 0 || resp == 0
}
