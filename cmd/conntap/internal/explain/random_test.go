// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"math/rand/v2"
	"testing"

	"conntap/bpf"
	"conntap/tracker"
)

// TestRandomConnections: whatever the tracker makes of random packets, flags
// that nobody would send included, is called possible.
func TestRandomConnections(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	rows, refused := 0, 0
	log := tracker.New(tracker.Config{}, func(c *tracker.Conn) {
		rows++
		history := string(c.History)
		proto := map[uint8]string{6: "tcp", 17: "udp"}[c.Protocol]
		if err := checkHistory(history); err != nil {
			t.Errorf("%s: %v", history, err)
		}
		if err := contradiction(proto, c.State, history); err != nil {
			refused++
			if refused < 20 {
				t.Errorf("%s: %v", proto, err)
			}
		}
	})
	now := int64(1_700_000_000e9)
	for range 20_000 {
		for _, p := range randomConnection(random, &now) {
			log.Track([]bpf.Packet{p})
		}
		now += random.Int64N(3e9)
	}
	log.Close()
	t.Logf("%d rows", rows)
	if rows < 20_000 {
		t.Errorf("want at least 20000 rows, got %d", rows)
	}
}

// randomConnection are a few packets between two hosts, with few sequence
// numbers so that they often fit.
func randomConnection(random *rand.Rand, now *int64) []bpf.Packet {
	ports := []uint16{9999, 80, 53, 123, 40000}
	hosts := [2]bpf.Addr{{10: 0xff, 11: 0xff, 12: 10, 15: 1}, {10: 0xff, 11: 0xff, 12: 10, 15: 2}}
	port := [2]uint16{1024 + uint16(random.IntN(60000)), ports[random.IntN(len(ports))]}
	protocol := uint8(6)
	if random.IntN(10) == 0 {
		protocol = 17
	}
	flags := []bpf.Flags{
		bpf.SYN, bpf.SYN | bpf.ACK, bpf.ACK, bpf.ACK, bpf.ACK, bpf.FIN | bpf.ACK, bpf.FIN | bpf.ACK, bpf.RST, bpf.RST | bpf.ACK,
		bpf.FIN, 0, bpf.SYN | bpf.FIN, bpf.SYN | bpf.RST, bpf.FIN | bpf.RST, bpf.SYN | bpf.FIN | bpf.RST, bpf.FIN | bpf.RST | bpf.ACK,
	}
	packets := make([]bpf.Packet, 1+random.IntN(9))
	for i := range packets {
		*now += random.Int64N(2e8)
		from := random.IntN(2)
		length := uint32(random.IntN(3)/2) * uint32(random.IntN(20))
		p := bpf.Packet{
			Kind: bpf.KindPacket, State: bpf.StateComplete, Time: *now, Ordinal: random.Uint64(), Src: hosts[from], Dst: hosts[1-from],
			SrcPort: port[from], DstPort: port[1-from], Protocol: protocol, Flags: flags[random.IntN(len(flags))],
			Seq: 1000 + uint32(random.IntN(3)), Ack: 1000 + uint32(random.IntN(3)), Window: uint16(random.IntN(20)),
			HeaderLength: 40, IPLength: 40 + length,
		}
		if protocol == 17 {
			p.Flags, p.HeaderLength, p.IPLength = 0, 28, 28+length
		}
		if random.IntN(20) == 0 {
			p.SetChecksum(bpf.ChecksumBad)
		}
		packets[i] = p
	}
	return packets
}
