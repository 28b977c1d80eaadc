// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"conntap/bpf"
	"conntap/bpf/filter"
)

// Selection says which frames are recorded, by their outermost packets; the others
// are counted as filtered. The kernel decides by it for its programs, keep for
// frames that the Go parser reads. Its zero value takes all.
type Selection struct {
	// Filter is what frames must match, nil for anything.
	Filter *filter.Filter
	// Sample records one connection in so many (see [bpf.Packet.InSample]); 0 and
	// 1 record all. Fragments pass: tracker.Config.Sample judges what they make.
	Sample uint32
}

// has tells whether an outermost packet is to be recorded.
func (s *Selection) has(p *bpf.Packet) bool {
	return p.InSample(s.Sample) && (s.Filter == nil || s.Filter.Match(p))
}

// keep moves what is to be recorded of a frame's packets to the front and says how
// many those are. What is inside a packet goes with it.
func (s *Selection) keep(packets []bpf.Packet) int {
	if s.Filter == nil && s.Sample <= 1 {
		return len(packets)
	}
	n, selected := 0, false
	for i := range packets {
		if packets[i].Kind == bpf.KindPacket {
			selected = s.has(&packets[i])
		}
		if selected {
			if n != i {
				packets[n] = packets[i]
			}
			n++
		}
	}
	return n
}
