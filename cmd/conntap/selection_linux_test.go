// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"conntap/bpf"
	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

// TestSampleIsExact has each row of a sample be a row of the whole log: uid, history,
// counts and all.
func TestSampleIsExact(t *testing.T) {
	notExact := map[string]string{
		"ftp/ipv4.trace":                          "service: the control connections of data connections are not in the sample",
		"tunnels/Teredo.pcap":                     "a ping and its answer go by different relays",
		"tunnels/teredo_bubble_with_payload.pcap": "the same",
	}
	root := filepath.Join(conformance, "traces")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no traces: %v", err)
	}
	var whole, sampled int
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, _ := filepath.Rel(root, path)
		all := rowsOf(t, path, 0)
		rows := rowsOf(t, path, 2)
		whole, sampled = whole+len(all), sampled+len(rows)
		if notExact[name] != "" {
			return nil
		}
		for _, row := range rows {
			i := slices.Index(all, row)
			if i < 0 {
				t.Errorf("%s: not in the whole log: %s", name, row)
				continue
			}
			all = slices.Delete(all, i, i+1)
		}
		return nil
	})
	must(t, err)
	t.Logf("%d of %d rows", sampled, whole)
	if sampled < whole/3 || sampled > whole*2/3 {
		t.Errorf("%d of %d rows, want about half", sampled, whole)
	}
}

// rowsOf are the rows of a capture's log.
func rowsOf(t *testing.T, path string, sample uint32) []string {
	t.Helper()
	parser := bpf.Parser{Tunnels: true, VerifyChecksums: true}
	source, err := collector.OpenFiles([]string{path}, collector.FileOptions{
		Parser: parser, Selection: collector.Selection{Sample: sample},
	})
	if err != nil {
		return nil
	}
	defer source.Close()
	var log strings.Builder
	w, err := connlog.NewWriter(&log, connlog.Config{Format: connlog.TSV, Sample: sample})
	must(t, err)
	connections := tracker.New(tracker.Config{Parser: parser, Sample: sample}, func(c *tracker.Conn) {
		if err == nil {
			err = w.Write(c)
		}
	})
	batch := make([]bpf.Packet, 4096)
	for {
		n, readErr := source.Read(batch)
		connections.Track(batch[:n])
		if readErr != nil {
			break
		}
	}
	connections.Close()
	must(t, errors.Join(err, w.Close()))
	return slices.DeleteFunc(strings.Split(log.String(), "\n"), func(line string) bool {
		return line == "" || line[0] == '#'
	})
}

// TestRunSelection captures what a filter and a sample leave of 200 connections.
func TestRunSelection(t *testing.T) {
	near, far := twoHosts(t)
	run := exec.Command("conntap", "run", "-i", "near", "--format", "tsv", "--sample", "1/4", "--filter", "udp and dst host 192.0.2.1")
	stdout, err := run.StdoutPipe()
	must(t, err)
	stderr, err := run.StderrPipe()
	must(t, err)
	near.do(t, run.Start)
	watchdog := time.AfterFunc(30*time.Second, func() { _ = run.Process.Kill() })
	defer watchdog.Stop()
	messages := bufio.NewReader(stderr)
	var said strings.Builder
	for !strings.Contains(said.String(), "tcp rows appear") {
		line, err := messages.ReadString('\n')
		must(t, err)
		said.WriteString(line)
	}
	const want = "conntap: filter: udp and dst host 192.0.2.1\nconntap: sample: 1/4 of the connections, each complete\n"
	if !strings.Contains(said.String(), want) {
		t.Errorf("want %q in %s", want, said.String())
	}
	ports := map[string]bool{}
	for port := range uint16(200) {
		p := bpf.Packet{
			Protocol: bpf.ProtocolUDP, SrcPort: 20000 + port, DstPort: 40009,
			Src: bpf.Addr{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 2}, Dst: bpf.Addr{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1},
		}
		if p.InSample(4) {
			ports[fmt.Sprint(p.SrcPort)] = true
		}
		far.do(t, func() error {
			conn, err := net.DialUDP("udp", &net.UDPAddr{Port: int(p.SrcPort)}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40009})
			if err != nil {
				return err
			}
			_, err = conn.Write([]byte("hello"))
			return errors.Join(err, conn.Close())
		})
	}
	time.Sleep(settled)
	log, account := interrupted(t, run, stdout, messages)
	checkSampleLog(t, log, ports)
	pattern := regexp.MustCompile(fmt.Sprintf(`(?m)^  seen \d+ = recorded %d \+ filtered \d+ \+ skipped`, len(ports)))
	if !pattern.MatchString(account) || !strings.Contains(account, "\n  sample 1/4: ") {
		t.Errorf("want an account like %s, with the sample, got\n%s", pattern, account)
	}
}

// checkSampleLog wants rows of those originator ports, and the header of a sample.
func checkSampleLog(t *testing.T, log string, ports map[string]bool) {
	t.Helper()
	rows := 0
	for line := range strings.Lines(log) {
		if line[0] == '#' {
			continue
		}
		rows++
		if port := strings.Split(line, "\t")[3]; !ports[port] {
			t.Errorf("port %s is not of the sample: %s", port, line)
		}
	}
	if rows != len(ports) || rows == 0 {
		t.Errorf("want %d rows, got %d", len(ports), rows)
	}
	if !strings.Contains(log, "\n#path\tconn\n#sample\t1/4\n#open\t") {
		t.Errorf("want the sample in the header, got\n%.300s", log)
	}
}
