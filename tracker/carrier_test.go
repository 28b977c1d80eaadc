// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"testing"

	"conntap/bpf"
)

// TestEvictedCarrier has a tunnel's connection go while its frame is tracked, as
// the table is full: nothing more is inside of it.
func TestEvictedCarrier(t *testing.T) {
	rows := 0
	packets := uint64(0)
	tr := New(Config{MaxConnections: 1}, func(c *Conn) {
		rows++
		packets += c.Orig.Packets + c.Resp.Packets
	})
	outer := tagged(0, false, 0, 0)
	outer.DstPort = 4789
	inside := func(port uint16) bpf.Packet {
		p := tagged(0, false, 0, 0)
		p.Kind, p.Blocks, p.TunnelType, p.TunnelDepth, p.SrcPort = bpf.KindInner, bpf.BlockTunnel, bpf.TunnelVXLAN, 1, port
		return p
	}
	violation := bpf.Packet{Kind: bpf.KindViolation, Blocks: bpf.BlockTunnel, TunnelType: bpf.TunnelVXLAN, TunnelDepth: 1}
	tr.Track([]bpf.Packet{outer, inside(1), inside(2), violation})
	tr.Close()
	if stats := tr.Stats(); rows != 2 || stats.Inner != 1 {
		t.Errorf("want the carrier, one packet inside of it, and one that is not, got %d rows and %+v", rows, stats)
	}
	checkAccount(t, tr, packets)
}
