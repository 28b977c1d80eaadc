// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"slices"
	"testing"

	"conntap/bpf"
)

// TestOwner: a connection is the process's that a packet of it was first known to be
// from, whichever side sent that, and no other's after.
func TestOwner(t *testing.T) {
	curl, nginx := bpf.Owner{PID: 7, Comm: [16]byte{'c'}}, bpf.Owner{PID: 8, Comm: [16]byte{'n'}}
	packet := func(owner *bpf.Owner, ms int64, reply bool, flags bpf.Flags, seq, ack uint32) bpf.Packet {
		p := tcpPacket(ms, reply, flags, seq, ack, 0)
		p.Owner = owner
		return p
	}
	syn := func(owner *bpf.Owner) bpf.Packet { return packet(owner, 0, false, bpf.SYN, 1000, 0) }
	synAck := func(owner *bpf.Owner) bpf.Packet { return packet(owner, 1, true, bpf.SYN|bpf.ACK, 5000, 1001) }
	ack := func(owner *bpf.Owner) bpf.Packet { return packet(owner, 2, false, bpf.ACK, 1001, 5001) }
	fin := func(owner *bpf.Owner) bpf.Packet { return packet(owner, 3, true, bpf.FIN|bpf.ACK, 5001, 1001) }
	asked := Config{Owners: true}
	tests := []struct {
		name    string
		config  Config
		packets []bpf.Packet
		want    bpf.Owner
	}{
		{"client", asked, []bpf.Packet{syn(&curl), synAck(nil), ack(&curl)}, curl},
		{"server, from its first segment on", asked, []bpf.Packet{syn(nil), synAck(nil), ack(nil), fin(&nginx)}, nginx},
		{"both", asked, []bpf.Packet{syn(&curl), synAck(nil), ack(&curl), fin(&nginx)}, curl},
		{"seen first from the server", asked, []bpf.Packet{synAck(&nginx), ack(&curl)}, nginx},
		{"none", asked, []bpf.Packet{syn(nil), synAck(nil), ack(nil)}, bpf.Owner{}},
		{"not asked for", Config{}, []bpf.Packet{syn(&curl), synAck(nil), ack(&curl)}, bpf.Owner{}},
	}
	for _, tt := range tests {
		if got := rowOf(t, tt.config, tt.packets...).Owner; got != tt.want {
			t.Errorf("%s: want %+v, got %+v", tt.name, tt.want, got)
		}
	}
}

// TestOwnerOfReusedPorts: a new connection between the same ports has an owner of its
// own, with shards as without, and what owners were kept in is given back.
func TestOwnerOfReusedPorts(t *testing.T) {
	first, second := bpf.Owner{PID: 7}, bpf.Owner{PID: 8}
	packets := []bpf.Packet{
		tcpPacket(0, false, bpf.SYN, 1000, 0, 0), tcpPacket(1, true, bpf.RST|bpf.ACK, 0, 1001, 0),
		tcpPacket(60_000, false, bpf.SYN, 90_000_000, 0, 0), tcpPacket(60_001, true, bpf.RST|bpf.ACK, 0, 90_000_001, 0),
	}
	packets[0].Owner, packets[2].Owner = &first, &second
	want := []uint32{7, 8}
	var got []uint32
	tr := New(Config{Owners: true}, func(c *Conn) { got = append(got, c.Owner.PID) })
	tr.Track(packets)
	tr.Close()
	if !slices.Equal(got, want) {
		t.Errorf("want processes %d, got %d", want, got)
	}
	checkFree(t, "owners", &tr.owners)

	got = nil
	shards := NewShards(Config{Owners: true}, 3, func(c *Conn) { got = append(got, c.Owner.PID) })
	shards.Track(&Batch{Packets: packets})
	shards.Close()
	if !slices.Equal(got, want) {
		t.Errorf("three shards: want processes %d, got %d", want, got)
	}
}
