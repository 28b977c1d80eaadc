// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"slices"
	"testing"

	"conntap/bpf"
)

// TestLiveTunnels records what is inside of a tunnel, unless told not to.
func TestLiveTunnels(t *testing.T) {
	tests := []struct {
		name   string
		config LiveConfig
		want   []bpf.Kind
	}{
		{"TCX", LiveConfig{Direction: DirectionIn}, []bpf.Kind{bpf.KindPacket, bpf.KindInner}},
		{"TCX, outer packets alone", LiveConfig{Direction: DirectionIn, NoTunnels: true}, []bpf.Kind{bpf.KindPacket}},
		{"XDP", LiveConfig{Capture: CaptureXDP}, []bpf.Kind{bpf.KindPacket, bpf.KindInner}},
		{"XDP, outer packets alone", LiveConfig{Capture: CaptureXDP, NoTunnels: true}, []bpf.Kind{bpf.KindPacket}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t)
			addVeth(t, "tap", "far")
			tt.config.Interfaces = []string{"tap"}
			l := openLive(t, tt.config)
			newSender(t, "far").send(t, inIPv4(udpFrame(1, 30)))
			var kinds []bpf.Kind
			for _, p := range readAll(t, l) {
				kinds = append(kinds, p.Kind)
			}
			if !slices.Equal(kinds, tt.want) {
				t.Errorf("want packets of the kinds %v, got %v", tt.want, kinds)
			}
			if stats := l.Stats(); stats.Seen != 1 || stats.Recorded != 1 {
				t.Errorf("want 1 frame, recorded, got %+v", stats)
			}
		})
	}
}

// inIPv4 puts another IPv4 header before that of an Ethernet frame.
func inIPv4(frame []byte) []byte {
	const ethernet, ipv4 = 14, 20
	outer := slices.Clone(frame[:ethernet+ipv4])
	outer = append(outer, frame[ethernet:]...)
	header := outer[ethernet:]
	binary.BigEndian.PutUint16(header[2:], uint16(len(header)))
	header[9] = bpf.ProtocolIPIP
	return outer
}
