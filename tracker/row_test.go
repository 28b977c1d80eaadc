// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"testing"
	"time"

	"conntap/bpf"
)

// tcpPacket is a packet from A (reply: to A) some ms after base.
func tcpPacket(ms int64, reply bool, flags bpf.Flags, seq, ack, payload uint32) bpf.Packet {
	p := bpf.Packet{Kind: bpf.KindPacket, Protocol: bpf.ProtocolTCP, State: bpf.StateComplete, HeaderLength: 40, Window: 1000}
	p.Time, p.Ordinal = base+ms*int64(time.Millisecond), uint64(ms+1)
	p.Src, p.Dst = bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}, bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 2}
	p.SrcPort, p.DstPort = 40000, 9999
	p.Blocks, p.SrcMAC, p.DstMAC, p.VLAN, p.InnerVLAN = bpf.BlockL2, bpf.MAC{0xa}, bpf.MAC{0xb}, 12, 34
	if reply {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		p.SrcMAC, p.DstMAC = p.DstMAC, p.SrcMAC
	}
	p.Flags, p.Seq, p.Ack, p.IPLength = flags, seq, ack, 40+payload
	return p
}

// rowOf returns the one connection that packets make.
func rowOf(t *testing.T, config Config, packets ...bpf.Packet) Conn {
	t.Helper()
	var rows []Conn
	tr := New(config, func(c *Conn) { rows = append(rows, *c) })
	tr.Track(packets)
	tr.Close()
	if len(rows) != 1 {
		t.Fatalf("want one connection, got %d", len(rows))
	}
	return rows[0]
}

// TestLinkLayer checks that MACs and VLAN ids are the first packet's, and that
// flips exchange the MACs.
func TestLinkLayer(t *testing.T) {
	later := tcpPacket(10, true, bpf.ACK, 5001, 1001, 0)
	later.SrcMAC, later.VLAN = bpf.MAC{0xc}, 99
	fromServer := tcpPacket(0, true, bpf.ACK, 5001, 1001, 0)
	fromServer.SrcPort = 80
	without := tcpPacket(0, false, bpf.SYN, 1000, 0, 0)
	without.Blocks = 0
	tests := []struct {
		name            string
		config          Config
		packets         []bpf.Packet
		orig, resp      bpf.MAC
		vlan, innerVLAN uint16
	}{
		{"first packet", Config{LinkLayer: true}, []bpf.Packet{tcpPacket(0, false, bpf.SYN, 1000, 0, 0), later}, bpf.MAC{0xa}, bpf.MAC{0xb}, 12, 34},
		{"flip at creation", Config{LinkLayer: true}, []bpf.Packet{fromServer}, bpf.MAC{0xa}, bpf.MAC{0xb}, 12, 34},
		{"flip of a lone SYN-ACK", Config{LinkLayer: true}, []bpf.Packet{
			tcpPacket(0, true, bpf.SYN|bpf.ACK, 5000, 1001, 0), tcpPacket(1, false, bpf.ACK, 1001, 5001, 0),
		}, bpf.MAC{0xa}, bpf.MAC{0xb}, 12, 34},
		{"no link layer", Config{LinkLayer: true}, []bpf.Packet{without, later}, bpf.MAC{}, bpf.MAC{}, 0, 0},
		{"not asked for", Config{}, []bpf.Packet{tcpPacket(0, false, bpf.SYN, 1000, 0, 0)}, bpf.MAC{}, bpf.MAC{}, 0, 0},
	}
	for _, tt := range tests {
		c := rowOf(t, tt.config, tt.packets...)
		if c.Orig.MAC != tt.orig || c.Resp.MAC != tt.resp || c.VLAN != tt.vlan || c.InnerVLAN != tt.innerVLAN {
			t.Errorf("%s: want MACs %x %x, VLANs %d %d, got %x %x, %d %d", tt.name,
				tt.orig, tt.resp, tt.vlan, tt.innerVLAN, c.Orig.MAC, c.Resp.MAC, c.VLAN, c.InnerVLAN)
		}
	}
}

// TestRoundTrips checks the round trips of handshakes, and that retransmissions
// make them unknown.
func TestRoundTrips(t *testing.T) {
	const ms = int64(time.Millisecond)
	syn := func(at int64) bpf.Packet { return tcpPacket(at, false, bpf.SYN, 1000, 0, 0) }
	synAck := func(at int64) bpf.Packet { return tcpPacket(at, true, bpf.SYN|bpf.ACK, 5000, 1001, 0) }
	ack := func(at int64) bpf.Packet { return tcpPacket(at, false, bpf.ACK, 1001, 5001, 0) }
	data := func(at int64) bpf.Packet { return tcpPacket(at, false, bpf.ACK|bpf.PSH, 1001, 5001, 5) }
	tests := []struct {
		name       string
		packets    []bpf.Packet
		orig, resp int64
	}{
		{"handshake", []bpf.Packet{syn(0), synAck(20), ack(23), data(90)}, 3 * ms, 20 * ms},
		{"data completes it", []bpf.Packet{syn(0), synAck(20), data(25), ack(90)}, 5 * ms, 20 * ms},
		{"SYN twice", []bpf.Packet{syn(0), syn(1000), synAck(1020), ack(1023)}, 3 * ms, 0},
		{"SYN-ACK twice", []bpf.Packet{syn(0), synAck(20), synAck(1020), ack(1023)}, 0, 20 * ms},
		{"SYN alone", []bpf.Packet{syn(0)}, 0, 0},
		{"SYN-ACK missing", []bpf.Packet{syn(0), ack(30)}, 0, 0},
		{"midstream", []bpf.Packet{data(0), data(10)}, 0, 0},
	}
	for _, tt := range tests {
		c := rowOf(t, Config{RoundTrips: true}, tt.packets...)
		if c.Orig.RTT != tt.orig || c.Resp.RTT != tt.resp {
			t.Errorf("%s: want %d and %d ns, got %d and %d", tt.name, tt.orig, tt.resp, c.Orig.RTT, c.Resp.RTT)
		}
		if c := rowOf(t, Config{}, tt.packets...); c.Orig.RTT != 0 || c.Resp.RTT != 0 {
			t.Errorf("%s: round trips, although not asked for", tt.name)
		}
	}
}

// TestCounters checks the numbers behind the letters.
func TestCounters(t *testing.T) {
	packets := []bpf.Packet{
		tcpPacket(0, false, bpf.SYN, 1000, 0, 0),
		tcpPacket(1, true, bpf.SYN|bpf.ACK, 5000, 1001, 0),
		tcpPacket(2, false, bpf.ACK, 1001, 5001, 0),
	}
	for i := range int64(12) {
		retransmission := tcpPacket(100+i, false, bpf.ACK, 1001, 5001, 10)
		zeroWindow := tcpPacket(200+i, true, bpf.ACK, 5001, 1011, 0)
		zeroWindow.Window = 0
		bad := tcpPacket(300+i, true, bpf.ACK, 5001, 1011, 0)
		bad.SetChecksum(bpf.ChecksumBad)
		packets = append(packets, retransmission, zeroWindow, bad)
	}
	packets = append(packets, tcpPacket(400, false, bpf.ACK, 1011, 5101, 0), tcpPacket(401, false, bpf.ACK, 1011, 5201, 0))
	c := rowOf(t, Config{}, packets...)
	type counters struct{ retransmits, gaps, zeroWindows, badChecksums uint64 }
	got := [2]counters{
		{c.Orig.Retransmits, c.Orig.Gaps, c.Orig.ZeroWindows, c.Orig.BadChecksums},
		{c.Resp.Retransmits, c.Resp.Gaps, c.Resp.ZeroWindows, c.Resp.BadChecksums},
	}
	if want := [2]counters{{retransmits: 11}, {gaps: 2, zeroWindows: 12, badChecksums: 12}}; got != want {
		t.Errorf("want %+v, got %+v", want, got)
	}
	if c.MissedBytes != 200 || c.Orig.TCP != TCPEstablished || c.Resp.TCP != TCPEstablished {
		t.Errorf("want 200 bytes missed and both established, got %d, %d, %d", c.MissedBytes, c.Orig.TCP, c.Resp.TCP)
	}
}

// TestClockOffset checks that a connection keeps the offset that held at its first
// packet.
func TestClockOffset(t *testing.T) {
	offsets := map[uint16]int64{}
	tr := New(Config{}, func(c *Conn) { offsets[c.Orig.Port] = c.ClockOffset })
	for i, offset := range []int64{0, 5, 5, -7} {
		tr.SetClockOffset(offset)
		p := tcpPacket(int64(i), false, bpf.SYN, 1000, 0, 0)
		p.SrcPort = uint16(40000 + i)
		tr.Track([]bpf.Packet{p})
	}
	tr.SetClockOffset(100)
	tr.Track([]bpf.Packet{tcpPacket(10, true, bpf.SYN|bpf.ACK, 5000, 1001, 0)})
	tr.Close()
	for port, want := range map[uint16]int64{40000: 0, 40001: 5, 40002: 5, 40003: -7} {
		if offsets[port] != want {
			t.Errorf("port %d: want offset %d, got %d", port, want, offsets[port])
		}
	}
}

// TestNoParents has a connection that only looked like a tunnel: it is in none.
func TestNoParents(t *testing.T) {
	var rows []Conn
	tr := New(Config{}, func(c *Conn) { rows = append(rows, *c) })
	p := bpf.Packet{Kind: bpf.KindPacket, Protocol: bpf.ProtocolUDP, State: bpf.StateComplete, Time: base, Ordinal: 1}
	p.Src, p.Dst = bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}, bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 2}
	p.SrcPort, p.DstPort, p.HeaderLength, p.IPLength, p.Window = 40000, 3544, 28, 40, 20
	violation := bpf.Packet{Kind: bpf.KindViolation, Time: base, Ordinal: 1, TunnelType: bpf.TunnelTeredo, TunnelDepth: 1}
	tr.Track([]bpf.Packet{p, violation})
	if tr.tunnels.Used() != 1 {
		t.Error("want the violation noted")
	}
	tr.Close()
	if len(rows) != 1 || rows[0].TunnelParents != nil {
		t.Errorf("want one row without parents, not even an empty list of them, got %+v", rows)
	}
}

// TestClockOffsetsAreBounded checks that offsets go with the last connection that
// noted them.
func TestClockOffsetsAreBounded(t *testing.T) {
	tr := New(Config{}, func(*Conn) {})
	for i := range int64(5000) {
		tr.SetClockOffset(i)
		p := tcpPacket(i, false, bpf.SYN, 1000, 0, 0)
		p.SrcPort = uint16(40000 + i%4) // at most four are open
		p.Seq += uint32(i)
		tr.Track([]bpf.Packet{p})
	}
	if got := tr.offsets.End(); got > 10 {
		t.Errorf("want room for a few offsets, got %d", got)
	}
	tr.Close()
	if n := tr.offsets.Used(); n != 1 {
		t.Errorf("want all offsets given back but the one in force, got %d kept", n)
	}
}

// TestNames checks that every state and cause has a name of its own, and that
// other values have one too.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for s := range State(StateCount) {
		seen[s.String()] = true
	}
	for c := range Cause(CauseCount) {
		seen[c.String()] = true
	}
	for transport := range Transport(TransportCount) {
		seen[transport.String()] = true
	}
	if len(seen) != StateCount+CauseCount+TransportCount || seen[""] {
		t.Errorf("want %d names, got %v", StateCount+CauseCount+TransportCount, seen)
	}
	if State(200).String() == "" || Cause(200).String() == "" || Transport(200).String() == "" {
		t.Error("values beyond the last have no name")
	}
}
