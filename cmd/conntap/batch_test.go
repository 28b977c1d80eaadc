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

// scripted is a source of a few reads, all of which use the same memory for
// their payloads.
type scripted struct {
	reads  []scriptedRead
	memory [2 * keptPayload]byte
	stats  collector.Stats
	closed bool
}

type scriptedRead struct {
	payloads []int // lengths, one a packet
	err      error
}

func (s *scripted) Read(dst []bpf.Packet) (int, error) {
	read := s.reads[0]
	s.reads = s.reads[1:]
	for i := range s.memory {
		s.memory[i]++
	}
	for i, n := range read.payloads {
		s.stats.Seen++
		dst[i] = bpf.Packet{
			Time: int64(s.stats.Seen), Ordinal: s.stats.Seen, Kind: bpf.KindPacket, Payload: s.memory[:n],
			Protocol: bpf.ProtocolUDP, SrcPort: uint16(s.stats.Seen), DstPort: 9, IPLength: 28, HeaderLength: 28, Window: 8,
		}
	}
	return len(read.payloads), read.err
}

func (s *scripted) Now() int64             { return int64(s.stats.Seen) }
func (s *scripted) ClockOffset() int64     { return 7 }
func (s *scripted) Stats() collector.Stats { return s.stats }
func (s *scripted) Close() error           { s.closed = true; return nil }

// TestBatchKeepsPayloads: a batch does not change when the source reads on.
func TestBatchKeepsPayloads(t *testing.T) {
	source := &scripted{reads: []scriptedRead{{payloads: []int{3, 0, 2 * keptPayload}}, {payloads: []int{3}}}}
	first, second := newBatch(), newBatch()
	first.read(source)
	second.read(source)
	for i, want := range [][]byte{{1, 1, 1}, {}, bytes.Repeat([]byte{1}, keptPayload)} {
		if got := first.packets[i].Payload; !bytes.Equal(got, want) {
			t.Errorf("packet %d: want payload %v, got %v", i, want, got)
		}
	}
	if got := second.packets[0].Payload; !bytes.Equal(got, []byte{2, 2, 2}) {
		t.Errorf("want the second read's payload, got %v", got)
	}
	if first.n != 3 || first.now != 3 || first.clockOffset != 7 {
		t.Errorf("want 3 packets up to time 3, clock 7 ns behind, got %d, %d, %d", first.n, first.now, first.clockOffset)
	}
}

func TestBatchReadAllocatesNothing(t *testing.T) {
	b := newBatch()
	source := &scripted{}
	read := []scriptedRead{{payloads: []int{100, 2 * keptPayload}}}
	if n := testing.AllocsPerRun(100, func() { source.reads = read; b.read(source) }); n != 0 {
		t.Errorf("want no allocation, got %v", n)
	}
}

// TestPipelineEnds: whatever ends it, all packets read are in the log once, and
// the source is closed.
func TestPipelineEnds(t *testing.T) {
	damaged, full := errors.New("damaged"), errors.New("disk full")
	one := scriptedRead{payloads: []int{0}}
	tests := []struct {
		name  string
		reads []scriptedRead
		rows  io.Writer
		want  error
	}{
		{"end", []scriptedRead{one, {}, one, {err: io.EOF}}, nil, nil},
		{"damage", []scriptedRead{one, {payloads: []int{0}, err: damaged}}, nil, damaged},
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
			p := newPipeline(source, tracker.Config{}, log, &output{})
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
