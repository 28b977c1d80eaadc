// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"testing"

	"conntap/bpf"
	"conntap/bpf/filter"
)

func parseFilter(t testing.TB, text string) *filter.Filter {
	t.Helper()
	f, err := filter.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestSelectionKeep has what is inside an outermost packet go with it, where a frame
// has several.
func TestSelectionKeep(t *testing.T) {
	packet := func(kind bpf.Kind, port uint16) bpf.Packet {
		return bpf.Packet{Kind: kind, Protocol: bpf.ProtocolUDP, DstPort: port}
	}
	frame := []bpf.Packet{
		packet(bpf.KindPacket, 1), packet(bpf.KindInner, 2),
		packet(bpf.KindPacket, 2), packet(bpf.KindInner, 1), packet(bpf.KindInner, 3), packet(bpf.KindViolation, 0),
		packet(bpf.KindPacket, 1),
	}
	tests := []struct {
		filter string
		want   []int // places in frame
	}{
		{"udp", []int{0, 1, 2, 3, 4, 5, 6}},
		{"port 1", []int{0, 1, 6}},
		{"port 2", []int{2, 3, 4, 5}},
		{"port 3", nil},
	}
	for _, tt := range tests {
		t.Run(tt.filter, func(t *testing.T) {
			s := Selection{Filter: parseFilter(t, tt.filter)}
			packets := append([]bpf.Packet(nil), frame...)
			n := s.keep(packets)
			if n != len(tt.want) {
				t.Fatalf("want %d packets, got %d", len(tt.want), n)
			}
			for i, place := range tt.want {
				if got, want := packets[i], frame[place]; got.Kind != want.Kind || got.DstPort != want.DstPort {
					t.Errorf("place %d: want %+v, got %+v", i, want, got)
				}
			}
		})
	}
}

func TestPlanDrop(t *testing.T) {
	mirror := &Interface{Name: "eth1", Kind: "device", Link: "ether"}
	bare := &Interface{Name: "tun0", Kind: "tun", Link: "none"}
	users := []string{"has the address 10.0.0.5", "is a port of br0"}
	tests := []struct {
		name  string
		i     *Interface
		hook  ingressHook
		users []string
		force bool
		want  string // error
	}{
		{"mirror port", mirror, ingressXDP, nil, false, ""},
		{"generic XDP", mirror, ingressXDPGeneric, nil, false, ""},
		{"needed", mirror, ingressXDP, users, false, "eth1 has the address 10.0.0.5 and is a port of br0: --xdp-action drop would " +
			"cut that off; it is for a port that gets copies of packets (--force does it all the same)"},
		{"needed, and forced", mirror, ingressXDP, users, true, ""},
		{"TCX", mirror, ingressTCX, nil, true, "eth1: --xdp-action drop takes XDP, and this would be captured by TCX: say " +
			"--capture xdp or xdp-generic, or do without"},
		{"no Ethernet", bare, ingressTCX, nil, true, "tun0: --xdp-action drop takes XDP, by which this is not captured: do without"},
		{"out alone", mirror, ingressNone, nil, true, "eth1: --xdp-action drop is for incoming packets, which are not captured"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := plan{ingress: tt.hook, fallback: true}
			err := p.planDrop(tt.i, tt.users, tt.force)
			if message(err) != tt.want {
				t.Errorf("\nwant %q\ngot  %q", tt.want, message(err))
			}
			if err == nil && p.fallback {
				t.Error("want no fallback to TCX, which lets packets pass")
			}
		})
	}
}
