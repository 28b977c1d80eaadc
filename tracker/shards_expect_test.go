// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"conntap/bpf"
)

// announcing is random traffic of a few FTP and IRC sessions and the connections
// that they announce, and of others to the same places.
type announcing struct {
	*rand.Rand
	now      int64
	packets  []bpf.Packet
	sessions map[uint16]*[2]uint32 // next sequence numbers by client port
}

func (a *announcing) add(from, to bpf.Addr, src, dst uint16, flags bpf.Flags, seq, ack uint32, payload string) {
	p := bpf.Packet{
		Kind: bpf.KindPacket, Protocol: bpf.ProtocolTCP, State: bpf.StateComplete, HeaderLength: 40, Window: 1000,
		Time: a.now, Ordinal: uint64(len(a.packets) + 1), Src: from, Dst: to, SrcPort: src, DstPort: dst,
		Flags: flags, Seq: seq, Ack: ack, Payload: []byte(payload), IPLength: uint32(40 + len(payload)),
	}
	a.packets = append(a.packets, p)
}

func host(n int) bpf.Addr { return bpf.Addr{10: 0xff, 11: 0xff, 12: 10, 15: byte(n)} }

// say sends a line of a session, which it opens if it is new.
func (a *announcing) say(client uint16, server uint16, side int, line string) {
	next := a.sessions[client]
	if next == nil {
		next = &[2]uint32{100, 500}
		a.sessions[client] = next
		a.add(host(1), host(2), client, server, bpf.SYN, next[0], 0, "")
		next[0]++
		a.add(host(2), host(1), server, client, bpf.SYN|bpf.ACK, next[1], next[0], "")
		next[1]++
		a.add(host(1), host(2), client, server, bpf.ACK, next[0], next[1], "")
	}
	if side == orig {
		a.add(host(1), host(2), client, server, bpf.ACK|bpf.PSH, next[0], next[1], line)
	} else {
		a.add(host(2), host(1), server, client, bpf.ACK|bpf.PSH, next[1], next[0], line)
	}
	next[side] += uint32(len(line))
}

// step adds a packet or a few.
func (a *announcing) step() {
	a.now += []int64{0, 1e3, 1e6, 1e9, 5e9, 11e9, 61e9, 301e9}[a.IntN(64)&a.IntN(8)]
	port := 40000 + a.IntN(3)
	client := uint16(1000 + a.IntN(3))
	switch a.IntN(8) {
	case 0:
		a.say(client, 21, orig, fmt.Sprintf("PORT 10,0,0,%d,%d,%d\r\n", 1+a.IntN(2), port>>8, port&0xff))
	case 1:
		a.say(client, 21, resp, fmt.Sprintf("227 Entering Passive Mode (10,0,0,%d,%d,%d)\r\n", 1+a.IntN(2), port>>8, port&0xff))
	case 2:
		a.say(client+100, 6667, orig, fmt.Sprintf("PRIVMSG x :\x01DCC SEND f %d %d 7\x01\r\n", 10<<24+1+a.IntN(2), port))
	case 3:
		a.say(client+200, 2121, resp, "220 ready\r\n")
		a.say(client+200, 2121, orig, fmt.Sprintf("EPRT |1|10.0.0.%d|%d|\r\n", 1+a.IntN(2), port))
	default:
		from, to, src := host(3+a.IntN(3)), host(1+a.IntN(2)), uint16(50000+a.IntN(20))
		a.add(from, to, src, uint16(port), bpf.SYN, 1, 0, "")
		if a.IntN(2) == 0 {
			a.add(to, from, uint16(port), src, bpf.RST|bpf.ACK, 0, 2, "")
		}
	}
}

// TestShardsExpect checks that all shards know which connections are announced, and
// which have come and gone.
func TestShardsExpect(t *testing.T) {
	announced := 0
	for seed := range uint64(60) {
		a := &announcing{Rand: rand.New(rand.NewPCG(seed, 0)), now: int64(time.Hour), sessions: map[uint16]*[2]uint32{}}
		for range 400 {
			a.step()
		}
		want, wantStats := shardedRows(Config{}, a.packets, 1, 50)
		for _, row := range want {
			if row.conn.Service == "ftp-data" || row.conn.Service == "irc-dcc-data" {
				announced++
			}
		}
		for _, n := range []int{2, 3, 8} {
			got, gotStats := shardedRows(Config{}, a.packets, n, 50)
			for i := range min(len(got), len(want)) {
				if !reflect.DeepEqual(got[i], want[i]) {
					t.Fatalf("seed %d, %d shards, row %d: want\n%+v\ngot\n%+v", seed, n, i, want[i], got[i])
				}
			}
			if gotStats != wantStats {
				t.Fatalf("seed %d, %d shards: want %+v, got %+v", seed, n, wantStats, gotStats)
			}
		}
	}
	if announced < 1000 {
		t.Errorf("only %d announced connections came", announced)
	}
}
