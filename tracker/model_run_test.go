// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"testing"
	"time"

	"conntap/bpf"
	"conntap/tracker"
)

// TestModelRuns compares runs of segments, as the Tracker takes them, with the model,
// which is given the segments one by one.
func TestModelRuns(t *testing.T) {
	for _, kind := range modelKinds[:4] { // those of TCP
		t.Run(kind.name, func(t *testing.T) {
			runs, seed, begin := 0, *modelFirst, time.Now()
			for ; *modelSeeds > 0 && seed-*modelFirst < *modelSeeds ||
				*modelSeeds == 0 && (seed-*modelFirst < 20 || time.Since(begin) < 500*time.Millisecond); seed++ {
				g := newTraffic(seed)
				together, apart := g.superPackets(kind.trace(g))
				runs += len(apart) - len(together)
				got, want := plain(trackFrames(together)), plain(modelFrames(apart))
				if difference := compareRows(got, want); difference != "" {
					t.Fatalf("seed %d: %s\n%s--\nmodel:\n%stracker:\n%s", seed, difference, notation(apart), rowLines(want), rowLines(got))
				}
			}
			t.Logf("%d seeds, %d segments in runs", seed-*modelFirst, runs)
			if runs == 0 {
				t.Error("no runs were compared")
			}
		})
	}
}

// plain forgets in which frame rows came out, and that a uid belongs to a frame.
func plain(rows []modelRow) []modelRow {
	for i := range rows {
		rows[i].frame, rows[i].uid = 0, tracker.UID{Low: uint64(i) + 1}
	}
	return rows
}

// superPackets makes super-packets of some packets of the frames: a run, or a segment and
// a run, and the same segments apart.
func (g *traffic) superPackets(frames []modelFrame) (together, apart []modelFrame) {
	for _, frame := range frames {
		p := frame[0]
		if len(frame) != 1 || p.Kind != bpf.KindPacket || p.Protocol != bpf.ProtocolTCP || g.chance(30) ||
			p.Flags&(bpf.SYN|bpf.FIN|bpf.RST) != 0 || p.State&(bpf.StateMalformed|bpf.StateFragment) != 0 || p.PayloadLength() < 3 {
			together, apart = append(together, frame), append(apart, frame)
			continue
		}
		payload := p.PayloadLength()
		size := (payload + 1 + uint32(g.IntN(4))) / uint32(2+g.IntN(12))
		size = max(min(size, payload/2, 1<<16-1), payload/40+1)
		if size >= 1<<16 || size*2 >= payload {
			together, apart = append(together, frame), append(apart, frame)
			continue
		}
		whole := g.chance(50)
		if whole {
			p.Payload = nil
		}
		first := p
		first.IPLength -= payload - size
		first.Flags &^= bpf.PSH
		run := p
		run.Payload, run.Blocks, run.GSOSize = nil, run.Blocks|bpf.BlockGSO, uint16(size)
		run.Seq, run.IPLength = p.Seq+size, p.IPLength-size
		apart = append(apart, modelFrame{first})
		for left := payload - size; left > 0; run.GSOSegments++ {
			one := p
			one.Payload = nil
			length := min(size, left)
			one.Seq, one.IPLength = p.Seq+payload-left, uint32(p.HeaderLength)+length
			if left > size {
				one.Flags &^= bpf.PSH
			}
			apart = append(apart, modelFrame{one})
			left -= length
		}
		if whole {
			run.Seq, run.IPLength = p.Seq, p.IPLength
			run.GSOSegments++
			together = append(together, modelFrame{run})
		} else {
			together = append(together, modelFrame{first}, modelFrame{run})
		}
	}
	return together, apart
}
