// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"conntap/bpf"
)

// streamModel is reassembly as Zeek's TCP_Reassembler.cc does it, byte by byte:
// which bytes are there, nothing about blocks.
type streamModel struct {
	have             map[uint64]bool
	delivered, trim  uint64
	end, ack         uint64 // one past the last byte sent, and what was acknowledged
	finAt            uint64 // 0: no FIN
	partial, skip    bool
	gaps             uint32
	missed           uint64
	highestAboveHole uint64
}

func (m *streamModel) advance() {
	for m.have[m.delivered] {
		m.delivered++
	}
}

func (m *streamModel) trimTo(position uint64) {
	m.trim = position
	for p := range m.have {
		if p < position {
			delete(m.have, p)
		}
	}
}

func (m *streamModel) data(from, to uint64) {
	m.end = max(m.end, to)
	if m.skip || to <= m.trim {
		return
	}
	for p := max(from, m.trim); p < to; p++ {
		m.have[p] = true
	}
	before := m.delivered
	m.advance()
	nothingAcked := m.ack <= 1
	if m.delivered > before && nothingAcked && m.end-1 > maxInitialWindow {
		m.trimTo(m.delivered)
	}
	m.highestAboveHole = m.delivered
	for p := range m.have {
		m.highestAboveHole = max(m.highestAboveHole, p+1)
	}
	if nothingAcked && m.highestAboveHole-m.delivered > maxInitialWindow {
		m.skip = true
		clear(m.have)
	}
}

func (m *streamModel) acked(position uint64) {
	m.ack = max(m.ack, position)
	if m.finAt != 0 && position >= m.finAt {
		position = m.finAt - 1
	}
	if position <= m.trim {
		return
	}
	if position > m.delivered && !(position <= 2 && m.partial) {
		inHole := false
		for p := m.delivered; p < position && !m.skip; p++ {
			switch {
			case m.have[p]:
				inHole = false
			case !inHole:
				inHole = true
				m.gaps++
				fallthrough
			default:
				m.missed++
			}
		}
		m.delivered = position
	}
	m.trimTo(position)
	m.advance()
}

// stream is a connection between established endpoints whose originator's stream
// begins at 0.
func newStream(partial bool) (*Tracker, connection) {
	t := New(Config{}, func(*Conn) {})
	i, h := t.connections.Get()
	c := connection{h, t.warm.Reach(i)}
	c.protocol = bpf.ProtocolTCP
	for side := range c.endpoint {
		e := &c.endpoint[side]
		e.openStream(bpf.ProtocolTCP)
		e.begin(0, 1)
		e.state, e.previous = TCPEstablished, TCPSynSent
	}
	if partial {
		c.bits |= bitPartial
	}
	return t, c
}

// TestReassemblyAgainstModel sends data and acknowledgments at random, in and out
// of order, overlapping, repeated and missing.
func TestReassemblyAgainstModel(t *testing.T) {
	scales := []struct {
		name         string
		window, step uint64
		acks         int // of 10 events
	}{
		{"tiny", 6, 3, 4},
		{"dense", 20, 4, 3},
		{"sparse", 200, 10, 2},
		{"long", 2000, 100, 1},
		{"beyond the initial window", 40000, 6000, 1},
		{"without acknowledgments", 40000, 6000, 0},
	}
	for _, scale := range scales {
		t.Run(scale.name, func(t *testing.T) {
			for seed := range uint64(30) {
				testReassembly(t, rand.New(rand.NewPCG(seed, scale.window)), scale.window, scale.step, scale.acks, seed%3 == 0)
			}
		})
	}
}

func testReassembly(t *testing.T, random *rand.Rand, window, step uint64, acks int, partial bool) {
	tr, c := newStream(partial)
	e := &c.endpoint[orig]
	m := streamModel{have: map[uint64]bool{}, delivered: 1, trim: 1, end: 1, partial: partial}
	for i := range 120 {
		event := ""
		switch base := max(m.delivered, window/2) - window/2; {
		case random.IntN(10) < acks:
			position := base + random.Uint64N(window)
			if random.IntN(2) == 0 {
				position = m.end
			}
			event = fmt.Sprintf("ack %d", position)
			m.acked(position)
			e.ack = max(e.ack, uint32(position))
			tr.acked(c, orig, position)
		case m.finAt == 0 && random.IntN(100) == 0:
			m.finAt = m.end + random.Uint64N(3) + 1
			event = fmt.Sprintf("FIN at %d", m.finAt)
			e.bits |= bitFin
			tr.coldOf(c.hot).side[orig].finAt = m.finAt
		default:
			from := max(base+random.Uint64N(window), 1)
			if random.IntN(3) == 0 {
				from = m.delivered
			}
			to := from + 1 + random.Uint64N(step)
			event = fmt.Sprintf("data [%d, %d)", from, to)
			m.data(from, to)
			e.last = max(e.last, uint32(to))
			tr.data(c, orig, from, to)
		}
		missed, gaps := uint64(0), uint32(0)
		if c.cold != 0 {
			missed, gaps = tr.cold.At(c.cold).missed, tr.cold.At(c.cold).side[orig].gaps
		}
		got := fmt.Sprint(tr.delivered(c.hot, orig), tr.trim(c.hot, orig), e.bits&bitSkip != 0, missed, gaps, tr.holds(c, orig))
		want := fmt.Sprint(m.delivered, m.trim, m.skip, m.missed, m.gaps, !m.skip && len(m.have) > 0)
		if got != want {
			t.Fatalf("partial %t, event %d, %s: delivered, trim, skip, missed, gaps, holds: want %s, got %s", partial, i, event, want, got)
		}
		checkBlocks(t, tr, c.hot)
	}
}

// checkBlocks checks that the blocks beyond the hole are in order, apart, beyond
// delivered, and as many bytes as counted.
func checkBlocks(t *testing.T, tr *Tracker, c *hot) {
	t.Helper()
	if c.cold == 0 {
		return
	}
	d := &tr.cold.At(c.cold).side[orig]
	at, bytes, n := tr.delivered(c, orig), uint64(0), 0
	for i := d.blocks; i != 0; i = tr.blocks.At(i).next {
		b := tr.blocks.At(i)
		if b.start <= at || b.end <= b.start {
			t.Fatalf("block [%d, %d) after %d", b.start, b.end, at)
		}
		at, bytes, n = b.end, bytes+b.end-b.start, n+1
	}
	if d.buffered != bytes {
		t.Fatalf("buffered: want %d, got %d", bytes, d.buffered)
	}
	if used := tr.blocks.Used(); used != n {
		t.Fatalf("blocks: want %d in use, got %d", n, used)
	}
}
