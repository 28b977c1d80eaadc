// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"conntap/bpf"
)

func TestConnectionSize(t *testing.T) {
	if got := unsafe.Sizeof(hot{}); got != 128 {
		t.Errorf("a connection's hot part: want 128 bytes, two cache lines, got %d", got)
	}
	if got := unsafe.Sizeof(warm{}); got != 64 {
		t.Errorf("a connection's warm part: want 64 bytes, one cache line, got %d", got)
	}
}

// TestSlabsHoldNoPointers keeps the garbage collector out of the slabs.
func TestSlabsHoldNoPointers(t *testing.T) {
	for _, v := range []any{
		hot{}, warm{}, cold{}, extra{}, block{}, historyChunk{}, tunnelState{}, clockOffset{}, wheelChunk{}, readyEntry{}, idleEnds{}, idleLinks{},
	} {
		if path := pointerIn(reflect.TypeOf(v)); path != "" {
			t.Errorf("%T%s holds a pointer", v, path)
		}
	}
}

// pointerIn returns the path to a pointer in values of a type, "" if there is none.
func pointerIn(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return ""
	case reflect.Array:
		if path := pointerIn(t.Elem()); path != "" {
			return "[]" + path
		}
		return ""
	case reflect.Struct:
		for i := range t.NumField() {
			if path := pointerIn(t.Field(i).Type); path != "" {
				return "." + t.Field(i).Name + path
			}
		}
		return ""
	}
	return " (" + t.Kind().String() + ")"
}

// churn is a stream of packets that never ends: n connections are open at a time,
// each lives for several packets and gives way to the next.
type churn struct {
	protocol uint8
	n        int
	i        int
	now      int64
	packet   bpf.Packet
}

func (ch *churn) next() *bpf.Packet {
	p := &ch.packet
	step := ch.i % 6
	number := ch.i / 6
	ch.i++
	ch.now += int64(20 * time.Millisecond)
	*p = bpf.Packet{Kind: bpf.KindPacket, Protocol: ch.protocol, State: bpf.StateComplete, Time: ch.now, Ordinal: uint64(ch.i)}
	client, server := bpf.Addr{10: 0xff, 11: 0xff, 12: 10}, bpf.Addr{10: 0xff, 11: 0xff, 12: 11}
	binary.BigEndian.PutUint16(client[14:], uint16(number%ch.n))
	p.Src, p.Dst, p.SrcPort, p.DstPort = client, server, uint16(20000+number/ch.n%1000), 9999
	p.IPLength, p.Window = 100, 72
	switch ch.protocol {
	case bpf.ProtocolTCP:
		p.HeaderLength, p.IPLength = 40, 40
		p.Flags = [6]bpf.Flags{bpf.SYN, bpf.SYN | bpf.ACK, bpf.ACK, bpf.ACK, bpf.FIN | bpf.ACK, bpf.FIN | bpf.ACK}[step]
		p.Seq = [6]uint32{1000, 5000, 1011, 1001, 1021, 5001}[step]
		p.Ack = [6]uint32{0, 1001, 5001, 5001, 5001, 1022}[step]
		if step == 2 || step == 3 { // out of order, so that blocks come and go
			p.IPLength += 10
		}
	case bpf.ProtocolUDP:
		p.HeaderLength = 28
	default:
		p.HeaderLength, p.SrcPort, p.DstPort = 28, 0, 0
		p.Window = [6]uint16{8 << 8, 0, 8 << 8, 8 << 8, 8 << 8, 0}[step]
	}
	if step == 1 || step == 5 {
		p.Src, p.Dst, p.SrcPort, p.DstPort = p.Dst, p.Src, p.DstPort, p.SrcPort
	}
	return p
}

// TestTrackDoesNotAllocate checks the steady state: packets of live connections,
// and connections that open, time out, close and are evicted.
func TestTrackDoesNotAllocate(t *testing.T) {
	tests := []struct {
		name     string
		protocol uint8
		config   Config
	}{
		{"TCP", bpf.ProtocolTCP, Config{}},
		{"UDP", bpf.ProtocolUDP, Config{}},
		{"ICMP", bpf.ProtocolICMP, Config{}},
		{"other", 132, Config{}},
		{"TCP with a limit", bpf.ProtocolTCP, Config{MaxConnections: 20}},
		{"UDP with a limit", bpf.ProtocolUDP, Config{MaxConnections: 20}},
		{"TCP with link layer and round trips", bpf.ProtocolTCP, Config{LinkLayer: true, RoundTrips: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows := 0
			tr := New(tt.config, func(*Conn) { rows++ })
			ch := churn{protocol: tt.protocol, n: 1000, now: base}
			batch := make([]bpf.Packet, 1)
			run := func() {
				for range 2000 {
					batch[0] = *ch.next()
					tr.Track(batch)
				}
			}
			for range 20 { // slabs, lists and tables grow to what they need
				run()
			}
			before := rows
			if n := testing.AllocsPerRun(10, run); n != 0 {
				t.Errorf("want no allocation in 2000 packets, got %v", n)
			}
			if rows-before < 1000 {
				t.Errorf("only %d connections came and went", rows-before)
			}
		})
	}
}

// TestBeyond32Bits sends more than 2^32 bytes each way, in order and acknowledged,
// and checks that they are counted, and that nothing counts as missed.
func TestBeyond32Bits(t *testing.T) {
	const segment, segments = 1 << 30, 9
	for _, initial := range []uint32{1000, 1<<32 - 10} {
		var row Conn
		tr := New(Config{}, func(c *Conn) { row = *c; row.History = append([]byte(nil), c.History...) })
		seq := [2]uint32{initial, initial + 7}
		send := func(side int, flags bpf.Flags, payload uint32) {
			p := tcpPacket(0, side == resp, flags, seq[side], seq[1-side], 0)
			p.IPLength = uint32(p.HeaderLength) + payload
			seq[side] += payload
			if flags&(bpf.SYN|bpf.FIN) != 0 {
				seq[side]++
			}
			tr.Track([]bpf.Packet{p})
		}
		send(orig, bpf.SYN, 0)
		send(resp, bpf.SYN|bpf.ACK, 0)
		send(orig, bpf.ACK, 0)
		for range segments {
			send(orig, bpf.ACK, segment)
			send(resp, bpf.ACK, segment)
			send(orig, bpf.ACK, 0)
		}
		send(orig, bpf.FIN|bpf.ACK, 0)
		send(resp, bpf.FIN|bpf.ACK, 0)
		tr.Close()
		const bytes = uint64(segments) * segment
		if row.Orig.Bytes != bytes || row.Resp.Bytes != bytes || row.MissedBytes != 0 || string(row.History) != "ShADdFf" {
			t.Errorf("from %d: want %d bytes each, got %d and %d, %d missed, %s",
				initial, bytes, row.Orig.Bytes, row.Resp.Bytes, row.MissedBytes, row.History)
		}
		if want := bytes + 40*(3+2*segments); row.Orig.IPBytes != want || row.Orig.Packets != 3+2*segments {
			t.Errorf("from %d: want %d IP bytes in %d packets, got %d in %d",
				initial, want, 3+2*segments, row.Orig.IPBytes, row.Orig.Packets)
		}
	}
}
