// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"fmt"
	"net/netip"
	"time"

	"conntap/bpf"
	"conntap/tracker"
)

// A program that embeds conntap gets each connection by a callback, the
// counterpart of Zeek's log_conn event. Here it keeps those that were refused, and
// gives them a remark for the formats that print one. The connection belongs to
// the tracker, so what the callback keeps it copies.
func Example() {
	type refusal struct {
		server netip.AddrPort
		after  time.Duration
	}
	var refused []refusal
	onConn := func(c *tracker.Conn) {
		if c.State == tracker.REJ {
			c.Additional = ", refused"
			refused = append(refused, refusal{
				server: netip.AddrPortFrom(netip.AddrFrom16(c.Resp.Addr).Unmap(), c.Resp.Port),
				after:  time.Duration(c.Duration()),
			})
		}
		fmt.Printf("%s %s, %d packets%s\n", c.State, c.History, c.Orig.Packets+c.Resp.Packets, c.Additional)
	}

	t := tracker.New(tracker.Config{Seed: "example"}, onConn)
	t.Track(packets())
	t.Close() // what is still open comes out now

	for _, r := range refused {
		fmt.Println(r.server, "refused after", r.after)
	}
	fmt.Println("opened:", t.Stats().Opened)
	// Output:
	// REJ Sr, 2 packets, refused
	// S1 ShA, 3 packets
	// 192.0.2.7:23 refused after 12ms
	// opened: 2
}

// packets stand for a source: live capture and capture files give them in order
// of time, and number them.
func packets() []bpf.Packet {
	client, server := netip.MustParseAddr("192.0.2.1").As16(), netip.MustParseAddr("192.0.2.7").As16()
	tcp := func(ms int64, port uint16, reply bool, flags bpf.Flags, seq, ack uint32) bpf.Packet {
		p := bpf.Packet{
			Kind:         bpf.KindPacket,
			Time:         1_700_000_000_000_000_000 + ms*int64(time.Millisecond),
			State:        bpf.StateComplete, // the frame held the whole packet
			Protocol:     bpf.ProtocolTCP,
			IPLength:     40,
			HeaderLength: 40,
			Window:       65535,
			Src:          client, Dst: server, SrcPort: 50000 + port, DstPort: port,
			Flags: flags, Seq: seq, Ack: ack,
		}
		if reply {
			p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
		}
		return p
	}
	list := []bpf.Packet{
		tcp(0, 23, false, bpf.SYN, 100, 0),
		tcp(12, 23, true, bpf.RST|bpf.ACK, 0, 101),
		tcp(20, 22, false, bpf.SYN, 300, 0),
		tcp(21, 22, true, bpf.SYN|bpf.ACK, 900, 301),
		tcp(22, 22, false, bpf.ACK, 301, 901),
	}
	for i := range list {
		list[i].Ordinal = uint64(i + 1)
	}
	return list
}
