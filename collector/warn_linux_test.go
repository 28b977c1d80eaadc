// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"net/netip"
	"os"
	"strings"
	"testing"
)

func TestSSHServer(t *testing.T) {
	tests := []struct{ connection, want string }{
		{"192.0.2.7 51514 10.0.0.5 22", "10.0.0.5"},
		{"2001:db8::7 51514 fe80::5%eth0 22", "fe80::5"},
		{"192.0.2.7 51514 ::ffff:10.0.0.5 22", "10.0.0.5"},
		{"", ""},
		{"192.0.2.7 51514 nonsense 22", ""},
	}
	for _, tt := range tests {
		server, ok := sshServer(tt.connection)
		if ok != (tt.want != "") || ok && server.String() != tt.want {
			t.Errorf("%q: want %q, got %v, %v", tt.connection, tt.want, server, ok)
		}
	}
}

func TestParentProcess(t *testing.T) {
	if got, want := parentProcess(os.Getpid()), os.Getppid(); got != want {
		t.Errorf("want %d, got %d", want, got)
	}
	if got := parentProcess(-1); got != 0 {
		t.Errorf("want 0 for no process, got %d", got)
	}
}

func TestWarnings(t *testing.T) {
	t.Setenv("SSH_CONNECTION", "192.0.2.7 51514 10.0.0.5 22")
	eth0 := &Interface{Name: "eth0", Up: true, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.5")}}
	eth1 := &Interface{Name: "eth1", Up: true, Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.5")}}
	down := &Interface{Name: "eth2"}
	tests := []struct {
		name       string
		interfaces []*Interface
		plans      []plan
		want       []string // how each warning starts
	}{
		{"nothing to say", []*Interface{eth1}, []plan{{ingress: ingressXDP, egress: true}}, nil},
		{"SSH by native XDP", []*Interface{eth0}, []plan{{ingress: ingressXDP}}, []string{"eth0 carries this SSH session"}},
		{"SSH by TCX", []*Interface{eth0}, []plan{{ingress: ingressTCX}}, nil},
		{"generic", []*Interface{eth1}, []plan{{ingress: ingressXDPGeneric}}, []string{"eth1: generic XDP"}},
		{"down", []*Interface{down}, []plan{{ingress: ingressTCX}}, []string{"eth2 is down"}},
		{
			"forwarding",
			[]*Interface{eth0, eth1},
			[]plan{{ingress: ingressTCX, egress: true}, {ingress: ingressTCX, egress: true}},
			[]string{"eth0, eth1 are"},
		},
		{"forwarding, one direction", []*Interface{eth0, eth1}, []plan{{ingress: ingressTCX}, {ingress: ingressTCX}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			warnings(func(s string) { got = append(got, s) }, tt.interfaces, tt.plans, false)
			if len(got) != len(tt.want) {
				t.Fatalf("want %d warnings, got %q", len(tt.want), got)
			}
			for i, start := range tt.want {
				if !strings.HasPrefix(got[i], start) {
					t.Errorf("want %q..., got %q", start, got[i])
				}
			}
		})
	}
}
