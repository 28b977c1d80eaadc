// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// TestSampleFragments has a connection whose packets are fragments in the sample if it
// would be with whole ones. What is inside a tunnel goes with the tunnel.
func TestSampleFragments(t *testing.T) {
	const flows, rate = 200, 4
	parser := bpf.Parser{Link: bpf.LinkRawIP, Tunnels: true}
	tests := []struct {
		name string
		wrap func([]byte) []byte
		want func(whole *bpf.Packet) bool
	}{
		{"outermost", func(b []byte) []byte { return b }, func(whole *bpf.Packet) bool { return whole.InSample(rate) }},
		{
			"in a tunnel",
			func(b []byte) []byte { return frametest.IPv4{Protocol: frametest.IPIP}.Packet(b) },
			func(*bpf.Packet) bool { return true },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			logged := map[uint16]bool{}
			tr := New(Config{Parser: parser, Sample: rate}, func(c *Conn) { logged[c.Orig.Port] = true })
			want, rest := map[uint16]bool{}, uint64(0)
			var parsed [bpf.PacketsMax]bpf.Packet
			for i := range uint16(flows) {
				datagram := frametest.Datagram(40000+i, 9, make([]byte, 100)...)
				head := frametest.IPv4{Protocol: frametest.UDP, ID: i}
				parser.Parse(head.Packet(datagram), 1<<16, parsed[:])
				if tt.want(&parsed[0]) {
					want[40000+i] = true
				} else {
					rest++
				}
				first, second := head, head
				first.Fragment, second.Fragment = 0x2000, 64/8
				for _, fragment := range [][]byte{first.Packet(datagram[:64]), second.Packet(datagram[64:])} {
					frame := tt.wrap(fragment)
					n, reason := parser.Parse(frame, len(frame), parsed[:])
					if n == 0 {
						t.Fatal(reason)
					}
					tr.Track(parsed[:n])
				}
			}
			tr.Close()
			if len(logged) != len(want) {
				t.Errorf("want %d connections, got %d", len(want), len(logged))
			}
			for port := range want {
				if !logged[port] {
					t.Errorf("want the connection from port %d", port)
				}
			}
			if got := tr.Stats(); got.Unsampled != rest || got.Datagrams != flows || got.Joined != flows-rest {
				t.Errorf("want %d of %d datagrams left out, got %+v", rest, flows, got)
			}
		})
	}
}
