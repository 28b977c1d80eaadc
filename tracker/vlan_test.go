// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"conntap/bpf"
)

// tagged is a UDP packet of A or B to the other in a VLAN, ms after base.
func tagged(ms int, back bool, vlan, inner uint16) bpf.Packet {
	p := bpf.Packet{
		Kind: bpf.KindPacket, State: bpf.StateComplete, Blocks: bpf.BlockL2, Protocol: bpf.ProtocolUDP,
		Time: base + int64(ms)*int64(time.Millisecond), Ordinal: uint64(ms) + 1,
		Src: bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}, Dst: bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 2},
		SrcPort: 40000, DstPort: 9999, HeaderLength: 28, IPLength: 38, Window: 18, VLAN: vlan, InnerVLAN: inner,
	}
	if back {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	return p
}

// TestKeyVLAN tells which packets of one five-tuple are one connection, with the
// VLAN ids in the key and without.
func TestKeyVLAN(t *testing.T) {
	untagged := tagged(6, false, 10, 0)
	untagged.Blocks = 0 // what stands in the ids then means nothing
	packets := []bpf.Packet{
		tagged(0, false, 10, 0), tagged(1, false, 20, 0), tagged(2, true, 20, 0), tagged(3, true, 10, 0),
		tagged(4, false, 10, 20), tagged(5, false, 20, 10), untagged, tagged(7, true, 0, 0), tagged(8, false, 0, 10),
	}
	tests := []struct {
		keyVLAN bool
		want    []string
	}{
		{false, []string{"10/0 SF 6/3"}},
		{true, []string{"10/0 SF 1/1", "20/0 SF 1/1", "10/20 S0 1/0", "20/10 S0 1/0", "0/0 SF 1/1", "0/10 S0 1/0"}},
	}
	for _, tt := range tests {
		var got []string
		uids := map[UID]bool{}
		tr := New(Config{KeyVLAN: tt.keyVLAN, LinkLayer: true}, func(c *Conn) {
			uids[c.UID] = true
			got = append(got, fmt.Sprintf("%d/%d %s %d/%d", c.VLAN, c.InnerVLAN, c.State, c.Orig.Packets, c.Resp.Packets))
		})
		tr.Track(packets)
		tr.Close()
		checkAccount(t, tr, uint64(len(packets)))
		if !slices.Equal(got, tt.want) || len(uids) != len(tt.want) {
			t.Errorf("KeyVLAN %t: want %v, got %v, %d uids", tt.keyVLAN, tt.want, got, len(uids))
		}
	}
}

// TestKeyVLANSurvivesFlips has roles exchanged, connections removed and their
// memory used again: none must be lost in the table.
func TestKeyVLANSurvivesFlips(t *testing.T) {
	rows := map[uint16]int{}
	tr := New(Config{KeyVLAN: true, MaxConnections: 50}, func(c *Conn) {
		rows[c.VLAN]++
		if string(c.History) != "^d" || c.Resp.Port != 53 {
			t.Errorf("VLAN %d: want ^d to port 53, got %s to %d", c.VLAN, c.History, c.Resp.Port)
		}
	})
	for i := range 1000 {
		p := tagged(i, true, uint16(i%100+1), 7)
		p.SrcPort = 53
		tr.Track([]bpf.Packet{p})
	}
	tr.Close()
	if stats := tr.Stats(); stats.Open != 0 || stats.Opened != 1000 || len(rows) != 100 || rows[1] != 10 {
		t.Errorf("want 1000 connections of 100 VLANs, none open, got %d of %d, %d open", stats.Opened, len(rows), stats.Open)
	}
}

// TestKeyVLANOfFragments puts the fragments of two VLANs with the same addresses
// and id together, each with its own.
func TestKeyVLANOfFragments(t *testing.T) {
	tests := []struct {
		keyVLAN   bool
		rows      []string
		datagrams uint64
	}{
		{false, []string{"20 12"}, 1}, // one's first half, the other's second
		{true, []string{"20 22", "10 12"}, 2},
	}
	for _, tt := range tests {
		var rows []string
		tr := New(Config{KeyVLAN: tt.keyVLAN, LinkLayer: true}, func(c *Conn) {
			rows = append(rows, fmt.Sprint(c.VLAN, " ", c.Orig.Port))
		})
		for i, vlan := range []uint16{10, 20, 20, 10} {
			tr.Track([]bpf.Packet{fragmentIn(i, vlan, i >= 2)})
		}
		tr.Close()
		if !slices.Equal(rows, tt.rows) || tr.Stats().Datagrams != tt.datagrams {
			t.Errorf("KeyVLAN %t: want %v, got %v, %d datagrams", tt.keyVLAN, tt.rows, rows, tr.Stats().Datagrams)
		}
	}
}

// fragmentIn is half of a UDP datagram in a VLAN, from port VLAN + 2.
func fragmentIn(ms int, vlan uint16, last bool) bpf.Packet {
	p := tagged(ms, false, vlan, 0)
	p.State |= bpf.StateFragment
	p.Blocks |= bpf.BlockFragment
	p.SrcPort, p.DstPort, p.Window, p.HeaderLength, p.IPLength = 0, 0, 0, 20, 36
	p.FragmentID, p.FragmentMore = 1, !last
	p.Payload = []byte{0, byte(vlan) + 2, 39, 15, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if last {
		p.FragmentOffset = 16
		p.Payload = make([]byte, 16)
	}
	return p
}

// TestTunnelFlows makes connections of the packets of IP and GRE tunnels.
func TestTunnelFlows(t *testing.T) {
	for _, flows := range []bool{false, true} {
		rows := 0
		tr := New(Config{TunnelFlows: flows}, func(c *Conn) {
			rows++
			if c.State != OTH || len(c.History) != 0 || c.Orig.Packets != 1 || c.Resp.Packets != 1 {
				t.Errorf("want OTH with one packet each way, got %s %s %d/%d", c.State, c.History, c.Orig.Packets, c.Resp.Packets)
			}
		})
		packets := uint64(0)
		for _, protocol := range []uint8{bpf.ProtocolIPIP, bpf.ProtocolIPv6, bpf.ProtocolGRE} {
			for i, back := range []bool{false, true} {
				p := tagged(i, back, 0, 0)
				p.Protocol, p.SrcPort, p.DstPort, p.Window, p.HeaderLength = protocol, 0, 0, 0, 20
				tr.Track([]bpf.Packet{p})
				packets++
			}
		}
		tr.Close()
		stats := tr.Stats()
		if flows && (rows != 3 || stats.Counted != packets) || !flows && (rows != 0 || stats.Carriers != packets) {
			t.Errorf("TunnelFlows %t: got %d rows, %+v", flows, rows, stats)
		}
	}
}

func TestKeyVLANAllocatesNothing(t *testing.T) {
	tr := New(Config{KeyVLAN: true}, func(*Conn) {})
	packets := []bpf.Packet{tagged(0, false, 10, 20), tagged(0, true, 10, 20)}
	tr.Track(packets)
	if n := testing.AllocsPerRun(100, func() { tr.Track(packets) }); n != 0 {
		t.Errorf("want no allocation, got %v", n)
	}
}

// TestInterface: a connection is of the interface of its first packet, also after a
// flip.
func TestInterface(t *testing.T) {
	first, second := tagged(0, false, 0, 0), tagged(1, true, 0, 0)
	first.Interface, second.Interface = 7, 8
	first.SrcPort, first.DstPort = 53, 40000 // sent by the responder
	second.SrcPort, second.DstPort = 40000, 53
	var got []string
	tr := New(Config{}, func(c *Conn) { got = append(got, fmt.Sprintf("%d %d", c.Resp.Port, c.Interface)) })
	tr.Track([]bpf.Packet{first, second})
	tr.Close()
	if want := []string{"53 7"}; !slices.Equal(got, want) {
		t.Errorf("want responder's port and interface %q, got %q", want, got)
	}
}
