// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"conntap/bpf"
	"conntap/collector"
	"conntap/tracker"
	"conntap/tracker/connlog"
)

// scripted is a source of a few reads.
type scripted struct {
	reads  []scriptedRead
	stats  collector.Stats
	closed bool
}

type scriptedRead struct {
	packets int
	err     error
}

func (s *scripted) Read(dst []bpf.Packet) (int, error) {
	read := s.reads[0]
	s.reads = s.reads[1:]
	for i := range read.packets {
		s.stats.Seen++
		dst[i] = bpf.Packet{
			Time: int64(s.stats.Seen), Ordinal: s.stats.Seen, Kind: bpf.KindPacket,
			Protocol: bpf.ProtocolUDP, SrcPort: uint16(s.stats.Seen), DstPort: 9, IPLength: 28, HeaderLength: 28, Window: 8,
		}
	}
	return read.packets, read.err
}

func (s *scripted) Now() int64             { return int64(s.stats.Seen) }
func (s *scripted) ClockOffset() int64     { return 7 }
func (s *scripted) Stats() collector.Stats { return s.stats }
func (s *scripted) Close() error           { s.closed = true; return nil }

// TestPipelineEnds: whatever ends it, all packets read are in the log once, and
// the source is closed.
func TestPipelineEnds(t *testing.T) {
	damaged, full := errors.New("damaged"), errors.New("disk full")
	one := scriptedRead{packets: 1}
	tests := []struct {
		name  string
		reads []scriptedRead
		rows  io.Writer
		want  error
	}{
		{"end", []scriptedRead{one, {}, one, {err: io.EOF}}, nil, nil},
		{"damage", []scriptedRead{one, {packets: 1, err: damaged}}, nil, damaged},
		{"damage alone", []scriptedRead{one, one, {err: damaged}}, nil, damaged},
		{"full disk", []scriptedRead{one, one, {err: io.EOF}}, failingWriter{full}, full},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rows bytes.Buffer
			if tt.rows == nil {
				tt.rows = &rows
			}
			log, err := connlog.NewWriter(tt.rows, connlog.Config{Format: connlog.JSON})
			if err != nil {
				t.Fatal(err)
			}
			source := &scripted{reads: tt.reads}
			p := newPipeline(source, tracker.Config{}, 2, log, &output{})
			if err := p.run(); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("want error %v, got %v", tt.want, err)
			}
			if got := bytes.Count(rows.Bytes(), []byte("\n")); tt.want != full && got != 2 {
				t.Errorf("want 2 rows, got %d:\n%s", got, rows.Bytes())
			}
			if p.logged() != 2 || !source.closed {
				t.Errorf("want 2 connections and the source closed, got %d, %t", p.logged(), source.closed)
			}
		})
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
