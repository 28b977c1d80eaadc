// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"conntap/bpf"
)

// fuzzInput turns bytes into packets from a small alphabet, so that they meet:
// few hosts and ports, all flags, numbers near each other and near the wrap, times
// that jump and step back.
type fuzzInput struct {
	bytes   []byte
	now     int64
	ordinal uint64
}

// take returns the next byte, 0 at the end.
func (in *fuzzInput) take() byte {
	if len(in.bytes) == 0 {
		return 0
	}
	b := in.bytes[0]
	in.bytes = in.bytes[1:]
	return b
}

// pick returns the element that the next byte chooses.
func pick[T any](in *fuzzInput, from ...T) T { return from[int(in.take())%len(from)] }

func (in *fuzzInput) config() Config {
	b := in.take()
	return Config{
		MaxConnections: []int{0, 1, 2, 3, 5, 0, 0, 100}[b&7],
		LinkLayer:      b&8 != 0,
		RoundTrips:     b&16 != 0,
		Seed:           string(b & 32),
		KeyVLAN:        b&64 != 0,
		TunnelFlows:    b&128 != 0,
	}
}

func (in *fuzzInput) packet() bpf.Packet {
	const second = int64(time.Second)
	in.now += pick(in, 0, 1, 1e3, 1e6, 1e8, 1e9, 4*second, 5*second, 6*second, 11*second, 60*second, 61*second,
		301*second, 3601*second, 1e6*second, -1, -1e9, -10*second, -400*second)
	in.now = max(in.now, 0)
	in.ordinal++
	p := bpf.Packet{Time: in.now, Ordinal: in.ordinal, Kind: bpf.KindPacket, State: bpf.StateComplete, HeaderLength: 20}
	host := pick(in, bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}, bpf.Addr{15: 1})
	p.Src, p.Dst = host, host
	direction := in.take()
	p.Dst[15] += direction >> 1 & 3
	p.SrcPort, p.DstPort = pick(in, uint16(40000), 80, 5353, 123), pick(in, uint16(9999), 22, 53, 5353, 123, 137, 8080, 4789, 3544, 21)
	in.protocol(&p)
	if direction&1 != 0 {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	if direction&8 != 0 {
		p.Dst = bpf.Addr{10: 0xff, 11: 0xff, 12: 224, 15: 251}
	}
	in.findings(&p)
	return p
}

// findings are what the parser may have found.
func (in *fuzzInput) findings(p *bpf.Packet) {
	switch b := in.take(); b % 16 {
	case 0:
		p.SetChecksum(bpf.ChecksumBad)
	case 1:
		p.State &^= bpf.StateComplete
	case 2:
		p.State |= bpf.StateMalformed
		if b&16 != 0 {
			p.State |= bpf.StateShortOffset
		}
	case 3:
		p.State |= bpf.StateFragment
		p.Blocks |= bpf.BlockFragment
		p.FragmentID = uint32(b >> 6)
		p.FragmentOffset, p.FragmentMore = pick(in, uint16(0), 8, 24, 1480, 65528), b&16 != 0
	case 4:
		p.Kind = pick(in, bpf.KindInner, bpf.KindViolation, bpf.KindEmpty)
		p.Blocks |= bpf.BlockTunnel
		p.TunnelType, p.TunnelDepth = bpf.TunnelType(in.take()&15), in.take()&7
	case 5:
		p.Kind = pick(in, bpf.KindNone, bpf.KindDuplicate)
	case 8:
		p.Protocol = pick(in, uint8(bpf.ProtocolIPIP), bpf.ProtocolIPv6, bpf.ProtocolGRE)
	case 6:
		p.Blocks, p.VLAN, p.InnerVLAN, p.SrcMAC = bpf.BlockL2, uint16(b>>4&3), uint16(b>>6), bpf.MAC{1}
	case 7:
		p.IPLength = pick(in, uint32(0), 20, 1, 1<<32-1)
	}
}

func (in *fuzzInput) protocol(p *bpf.Packet) {
	p.Protocol = pick(in, uint8(bpf.ProtocolTCP), bpf.ProtocolTCP, bpf.ProtocolTCP, bpf.ProtocolUDP, bpf.ProtocolICMP, bpf.ProtocolICMPv6, 132)
	switch p.Protocol {
	case bpf.ProtocolTCP:
		p.Flags = bpf.Flags(in.take())
		p.Seq, p.Ack = in.number(), in.number()
		p.Window = uint16(in.take() & 3)
		p.HeaderLength += 20
	case bpf.ProtocolUDP:
		p.HeaderLength += udpHeaderLength
		p.Window = pick(in, uint16(8), 20, 56, 0, 7, 9000, 65535)
		if n := int(in.take()) & 15; n > 0 {
			p.Payload = make([]byte, n)
			for i := range min(n, 6) {
				p.Payload[i] = in.take()
			}
		}
	case bpf.ProtocolICMP, bpf.ProtocolICMPv6:
		p.HeaderLength += 8
		p.Window = uint16(pick(in, 0, 8, 3, 13, 128, 129, 135, 136, 255))<<8 | uint16(in.take()&1)
	}
	if p.Protocol != bpf.ProtocolTCP && p.Protocol != bpf.ProtocolUDP {
		p.SrcPort, p.DstPort = 0, 0
	}
	p.IPLength = uint32(p.HeaderLength) + pick(in, uint32(0), 1, 2, 10, 1460, 17000, 65000, 0, 0, 1<<24)
}

// number is a sequence number: around one of a few places.
func (in *fuzzInput) number() uint32 {
	place := pick(in, uint32(1000), 0, 1<<32-20, 1<<31, 1<<20, 3<<30)
	return place + pick(in, uint32(0), 1, 2, 11, 1461, 20000, 1<<20, 1<<30, 1<<32-1, 1<<32-10)
}

// fuzzRow is a row and all that it must not keep.
type fuzzRow struct {
	conn    Conn
	history string
}

// fuzzRun tracks the packets in batches of a size, checks what must hold, and
// returns the rows.
func fuzzRun(t *testing.T, config Config, packets []bpf.Packet, batch int) (rows []fuzzRow) {
	logged := uint64(0)
	tr := New(config, func(c *Conn) {
		logged += c.Orig.Packets + c.Resp.Packets
		row := fuzzRow{*c, string(c.History)}
		row.conn.History = nil
		rows = append(rows, row)
	})
	for chunk := range slices.Chunk(packets, batch) {
		tr.Track(chunk)
		if open := tr.Stats().Open; config.MaxConnections > 0 && open > uint64(config.MaxConnections) || open != uint64(tr.table.used) {
			t.Fatalf("limit %d: got %d open, %d in the table", config.MaxConnections, open, tr.table.used)
		}
	}
	tr.Close()
	checkAccount(t, tr, logged)
	if opened := tr.Stats().Opened; uint64(len(rows)) != opened {
		t.Fatalf("want a row for each of %d connections, got %d", opened, len(rows))
	}
	return rows
}

// checkRow checks what must hold of any row.
func checkRow(t *testing.T, row *fuzzRow) {
	t.Helper()
	c := &row.conn
	alphabet := ""
	switch c.Protocol {
	case bpf.ProtocolTCP:
		alphabet = "SsHhAaDdFfRrCcTtWwGgIiQq^"
	case bpf.ProtocolUDP:
		alphabet = "DdCc^X"
	}
	if rest := strings.Trim(row.history, alphabet); rest != "" {
		t.Errorf("protocol %d: history %q has the letters %q", c.Protocol, row.history, rest)
	}
	for _, once := range "DdAaQqIiX" {
		if strings.Count(row.history, string(once)) > 1 {
			t.Errorf("history %q has %c more than once", row.history, once)
		}
	}
	if c.State >= StateCount || c.Protocol != bpf.ProtocolTCP && c.Protocol != bpf.ProtocolUDP && c.State != OTH {
		t.Errorf("protocol %d: state %d", c.Protocol, c.State)
	}
	if c.Protocol == bpf.ProtocolUDP && c.State != S0 && c.State != SF && c.State != SHR && c.State != OTH {
		t.Errorf("UDP: state %s", c.State)
	}
	if gaps := c.Orig.Gaps + c.Resp.Gaps; (c.MissedBytes > 0) != (gaps > 0) || (gaps > 0) != strings.ContainsAny(row.history, "Gg") {
		t.Errorf("history %q: %d gaps of %d bytes", row.history, gaps, c.MissedBytes)
	}
	if c.Duration() < 0 || c.Additional != "" {
		t.Errorf("duration %d, additional %q", c.Duration(), c.Additional)
	}
}

// FuzzTracker checks that no sequence of packets makes the tracker panic, lose or
// double a connection or a packet, or keep memory; and that batches do not matter.
func FuzzTracker(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		b := make([]byte, 1500)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := fuzzInput{bytes: b, now: base}
		config := in.config()
		if in.take()&1 != 0 {
			in.now = 0
		}
		var packets []bpf.Packet
		for len(in.bytes) > 0 && len(packets) < 2000 {
			packets = append(packets, in.packet())
		}
		one, all := fuzzRun(t, config, packets, 1), fuzzRun(t, config, packets, max(len(packets), 1))
		uids := map[UID]bool{}
		for i := range one {
			checkRow(t, &one[i])
			if uids[one[i].conn.UID] {
				t.Errorf("uid %s came out twice", one[i].conn.UID)
			}
			uids[one[i].conn.UID] = true
		}
		if !reflect.DeepEqual(all, one) {
			t.Errorf("rows of all packets at once: want %+v, got %+v", one, all)
		}
	})
}
