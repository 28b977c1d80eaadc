// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strconv"

	"conntap/bpf"
	"conntap/cmd/conntap/internal/bench"
	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

// consume does with a live source what run does by default on CPUs of its own, in so many
// shards. Of the log it keeps the number of packets in its rows alone.
func consume(source collector.Source, shards int) (bench.Consumed, error) {
	rows := &packetSum{}
	log, err := connlog.NewWriter(rows, connlog.Config{Format: connlog.TSV})
	if err != nil {
		return bench.Consumed{}, err
	}
	config := tracker.Config{
		MaxConnections: defaultMaxConnections, Parser: bpf.Parser{Tunnels: true, PartialChecksums: true},
	}
	p := newPipeline(source, config, shards, log, &output{rows: rows})
	p.live, p.quiet = true, true
	p.lineText = func(*pipeline) string { return "" }
	err = p.run()
	return bench.Consumed{Logged: rows.packets, Tracked: p.tracker.Stats()}, err
}

// packetSum adds up the packets that the rows of a log in TSV say they have. It
// wants whole lines in a Write.
type packetSum struct {
	packets uint64
	columns []int // that count packets
}

// Write takes lines of the log.
func (s *packetSum) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		switch {
		case bytes.HasPrefix(line, []byte("#fields\t")):
			s.columns = packetColumns(line)
		case line[0] != '#':
			s.add(bytes.TrimSuffix(line, []byte("\n")))
		}
	}
	return len(lines), nil
}

// packetColumns are the places of orig_pkts and resp_pkts in a row, which has no
// "#fields" before them.
func packetColumns(line []byte) []int {
	var columns []int
	for i, name := range bytes.Split(bytes.TrimSpace(line), []byte("\t")) {
		if bytes.HasSuffix(name, []byte("_pkts")) {
			columns = append(columns, i-1)
		}
	}
	return columns
}

func (s *packetSum) add(row []byte) {
	next := 0
	for column := 0; next < len(s.columns) && len(row) > 0; column++ {
		field, rest, _ := bytes.Cut(row, []byte("\t"))
		row = rest
		if column == s.columns[next] {
			n, _ := strconv.ParseUint(string(field), 10, 64)
			s.packets += n
			next++
		}
	}
}
