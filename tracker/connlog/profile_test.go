// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"conntap/tracker"
)

// fieldsOf are some fields of the only row of a TSV log, by name; nil without a
// row.
func fieldsOf(t *testing.T, log string, names ...string) []string {
	t.Helper()
	var header, values []string
	for line := range strings.Lines(log) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case fields[0] == "#fields":
			header = fields[1:]
		case line[0] != '#':
			if values != nil {
				t.Fatalf("want one row, got\n%s", log)
			}
			values = fields
		}
	}
	if values == nil {
		return nil
	}
	var chosen []string
	for _, name := range names {
		if i := slices.Index(header, name); i >= 0 {
			chosen = append(chosen, values[i])
		} else {
			chosen = append(chosen, "no "+name)
		}
	}
	return chosen
}

func TestBro26States(t *testing.T) {
	tests := []struct {
		history    string
		state      tracker.State
		orig, resp tracker.TCPState
		zeek, bro  string
	}{
		{"SR", tracker.RSTOS0, tracker.TCPReset, tracker.TCPInactive, "SR RSTOS0", "SR RSTOS0"},
		{"R", tracker.OTH, tracker.TCPReset, tracker.TCPInactive, "R OTH", "R RSTOS0"},
		{"SAR", tracker.OTH, tracker.TCPReset, tracker.TCPInactive, "SAR OTH", "SAR RSTOS0"},
		{"^dAR", tracker.OTH, tracker.TCPReset, tracker.TCPPartial, "^dAR OTH", "^dAR RSTOS0"},
		{"ShAR", tracker.RSTO, tracker.TCPReset, tracker.TCPEstablished, "ShAR RSTO", "ShAR RSTO"},
		{"Da", tracker.OTH, tracker.TCPPartial, tracker.TCPPartial, "Da OTH", "Da OTH"},
		{"HA", tracker.OTH, tracker.TCPReset, tracker.TCPSynSent, "HA OTH", "HA OTH"},
		{"ShADaGdgXFf", tracker.SF, tracker.TCPClosed, tracker.TCPClosed, "ShADaGdgXFf SF", "ShADadFf SF"},
		{"X", tracker.OTH, tracker.TCPInactive, tracker.TCPInactive, "X OTH", "- OTH"},
	}
	for _, tt := range tests {
		for profile, want := range map[Profile]string{Zeek8: tt.zeek, Bro26: tt.bro} {
			c := sample()
			c.History, c.State, c.Orig.TCP, c.Resp.TCP = []byte(tt.history), tt.state, tt.orig, tt.resp
			log := write(t, Config{Format: TSV, Profile: profile}, c)
			if got := strings.Join(fieldsOf(t, log, "history", "conn_state"), " "); got != want {
				t.Errorf("%s in %s: want %s, got %s", tt.history, profile, want, got)
			}
			if string(c.History) != tt.history || c.State != tt.state {
				t.Errorf("%s: the writer has changed the connection to %s %s", tt.history, c.History, c.State)
			}
		}
	}
}

func TestBro26Columns(t *testing.T) {
	nets := []netip.Prefix{netip.MustParsePrefix("203.0.114.0/24")}
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"Zeek 8", Config{}, "T F 6"},
		{"Zeek 8, nets", Config{LocalNets: nets}, "T T 6"},
		{"no nets", Config{Profile: Bro26}, "- - no ip_proto"},
		{"nets", Config{Profile: Bro26, LocalNets: nets}, "F T no ip_proto"},
		{"nets undefined", Config{Profile: Bro26, LocalNets: nets, NoLocalNets: true}, "- - no ip_proto"},
	}
	for _, tt := range tests {
		tt.cfg.Format = TSV
		got := strings.Join(fieldsOf(t, write(t, tt.cfg, sample()), "local_orig", "local_resp", "ip_proto"), " ")
		if got != tt.want {
			t.Errorf("%s: want %s, got %s", tt.name, tt.want, got)
		}
	}
	log := write(t, Config{Format: JSON, Profile: Bro26}, sample())
	if strings.Contains(log, "ip_proto") || strings.Contains(log, "local_") || !strings.Contains(log, `"history":"ShADadFf"`) {
		t.Errorf("json: want neither ip_proto nor local columns, got %s", log)
	}
}

// TestBro26Transports has rows of the transports that Bro 2.6 knows, and counts
// the others.
func TestBro26Transports(t *testing.T) {
	tests := []struct {
		protocol uint8
		want     string
	}{
		{protocolTCP, "tcp"},
		{protocolUDP, "udp"},
		{protocolICMP, "icmp"},
		{protocolICMPv6, "icmp"},
		{protocolSCTP, ""},
		{2, ""},
	}
	for _, tt := range tests {
		var out strings.Builder
		w, err := NewWriter(&out, Config{Format: TSV, Profile: Bro26})
		if err != nil {
			t.Fatal(err)
		}
		c := sample()
		c.Protocol = tt.protocol
		if err := w.Write(c); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, omitted := strings.Join(fieldsOf(t, out.String(), "proto"), ""), w.Omitted()
		if got != tt.want || (omitted == 1) != (tt.want == "") || (out.Len() == 0) != (tt.want == "") {
			t.Errorf("protocol %d: want %q, got %q, %d omitted, %d bytes", tt.protocol, tt.want, got, omitted, out.Len())
		}
	}
}

// TestKeyColumns has the VLAN ids in Zeek's place: right after id.resp_p.
func TestKeyColumns(t *testing.T) {
	c := sample()
	c.VLAN, c.InnerVLAN = 12, 34
	tests := []struct {
		name string
		cfg  Config
		want string // is in the log
	}{
		{"fields", Config{Format: TSV, KeyVLAN: true}, "\tid.resp_p\tid.ctx.vlan\tid.ctx.inner_vlan\tproto\t"},
		{"types", Config{Format: TSV, KeyVLAN: true}, "\tport\tint\tint\tenum\t"},
		{"row", Config{Format: TSV, KeyVLAN: true}, "\t80\t12\t34\ttcp\t"},
		{"with vlan", Config{Format: TSV, KeyVLAN: true, With: VLAN}, "\t6\t12\t34\n"},
		{"chosen", Config{Format: TSV, KeyVLAN: true, Fields: []string{"id.ctx.inner_vlan"}}, "\n34\n"},
		{"not in the key", Config{Format: TSV}, "\tid.resp_p\tproto\t"},
		{"json", Config{Format: JSON, KeyVLAN: true}, `"id.resp_p":80,"id.ctx.vlan":12,"id.ctx.inner_vlan":34,"proto":"tcp"`},
		{"red", Config{Format: Red, KeyVLAN: true}, " http 412 1256 "},
	}
	for _, tt := range tests {
		if got := write(t, tt.cfg, c); !strings.Contains(got, tt.want) {
			t.Errorf("%s: want %q in\n%s", tt.name, tt.want, got)
		}
	}
	c.VLAN, c.InnerVLAN = 0, 0
	if got := write(t, Config{Format: TSV, KeyVLAN: true}, c); !strings.Contains(got, "\t80\t-\t-\ttcp\t") {
		t.Errorf("untagged: want both unset, got\n%s", got)
	}
	if got := write(t, Config{Format: JSON, KeyVLAN: true}, c); strings.Contains(got, "ctx") {
		t.Errorf("untagged: want neither, got %s", got)
	}
}
