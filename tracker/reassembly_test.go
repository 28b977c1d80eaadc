// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"bytes"
	"testing"

	"conntap/bpf"
)

// TestDatagramBegin: what live capture leaves out of a fragment is no run of zeros,
// and what comes behind it is not the datagram's beginning.
func TestDatagramBegin(t *testing.T) {
	fragment := func(offset uint16, length, atHand int, more bool) *bpf.Packet {
		return &bpf.Packet{
			State: bpf.StateFragment | bpf.StateComplete, HeaderLength: 20, IPLength: uint32(20 + length),
			FragmentOffset: offset, FragmentMore: more, Payload: bytes.Repeat([]byte{byte(offset/8 + 1)}, atHand),
		}
	}
	tests := []struct {
		name      string
		fragments []*bpf.Packet
		want      int
	}{
		{"whole", []*bpf.Packet{fragment(0, 16, 16, true), fragment(16, 8, 8, false)}, 24},
		{"out of order", []*bpf.Packet{fragment(16, 8, 8, false), fragment(0, 16, 16, true)}, 24},
		{"the first is cut", []*bpf.Packet{fragment(0, 16, 4, true), fragment(16, 8, 8, false)}, 4},
		{"the second is cut", []*bpf.Packet{fragment(0, 16, 16, true), fragment(16, 8, 3, false)}, 19},
		{"overlap keeps what came first", []*bpf.Packet{fragment(0, 16, 16, true), fragment(8, 16, 16, false)}, 24},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r reassembly
			var stats Stats
			var d *datagram
			for _, p := range tt.fragments {
				d = r.add(p, 1, &stats)
			}
			if d == nil {
				t.Fatal("want it complete")
			}
			if got := d.begin(); len(got) != tt.want || bytes.IndexByte(got, 0) >= 0 {
				t.Errorf("want %d bytes without a hole, got %v", tt.want, got)
			}
		})
	}
}
