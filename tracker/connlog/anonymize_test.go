// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"conntap/bpf"
	"conntap/tracker"
)

func truncate(t *testing.T, ipv4, ipv6 int, seed string) *Anonymization {
	t.Helper()
	how, err := Truncate(ipv4, ipv6, seed)
	if err != nil {
		t.Fatal(err)
	}
	return how
}

// TestAnonymizedRows: what is local, and who a neighbor, is judged by the true
// addresses; the rest of a row is made of what is written.
func TestAnonymizedRows(t *testing.T) {
	c := sample()
	c.Orig.MAC, c.Resp.MAC = bpf.MAC{0x00, 0x1b, 0x21, 3, 4, 5}, bpf.MAC{0x02, 0x42, 0xac, 0x11, 0, 2}
	fields := []string{"id.orig_h", "id.resp_h", "local_orig", "local_resp", "orig_l2_addr", "resp_l2_addr", "community_id"}
	shown := *c
	id := func(c *tracker.Conn) string { return string(appendCommunityID(nil, c)) }
	tests := []struct {
		name string
		how  *Anonymization
	}{
		{"cryptopan", CryptoPAn(sampleKey)},
		{"truncate", truncate(t, 24, 48, "")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAnonymizer(tt.how)
			shown.Orig.Addr, shown.Resp.Addr = a.addr(&c.Orig.Addr), a.addr(&c.Resp.Addr)
			want := []string{
				netip.AddrFrom16(shown.Orig.Addr).Unmap().String(), netip.AddrFrom16(shown.Resp.Addr).Unmap().String(),
				"T", "F", "00:1b:21:00:00:00", "02:00:00:00:00:00", id(&shown),
			}
			log := write(t, Config{Format: TSV, With: MAC | CommunityID, Anonymize: tt.how}, c)
			if got := fieldsOf(t, log, fields...); !slices.Equal(got, want) {
				t.Errorf("want %q\n got %q", want, got)
			}
			nets, err := ParseNets("10.0.0.0/8")
			if err != nil {
				t.Fatal(err)
			}
			near, err := ParseNets("203.0.114.0/24")
			if err != nil {
				t.Fatal(err)
			}
			red := write(t, Config{Format: Red, LocalNets: nets, NeighborNets: near, Anonymize: tt.how}, c)
			if want := want[0] + " " + want[1] + " SF LU"; !strings.Contains(red, want) {
				t.Errorf("red: want %q in %q", want, red)
			}
		})
	}
}

// TestNothingShows: no format has an address or uid of a connection in it.
func TestNothingShows(t *testing.T) {
	c := sample()
	c.TunnelParents = []tracker.UID{c.UID}
	c.Orig.Addr, c.Resp.Addr = addr("10.11.12.13"), addr("2001:db8:1:2::77")
	configs := []Config{
		{Format: TSV, With: MAC | CommunityID},
		{Format: TSV, Profile: Bro26},
		{Format: JSON, With: MAC | CommunityID},
		{Format: Red, With: History | UID},
		{Format: Text, With: UID},
		{Format: Text, Terminal: true, With: UID},
	}
	for _, how := range []*Anonymization{CryptoPAn(sampleKey), truncate(t, 24, 48, "a")} {
		for _, cfg := range configs {
			before, secrets := *c, []string{"10.11.12.13", "2::77", c.UID.String(), "00:00:01", "00:00:02"}
			clear := write(t, cfg, c)
			cfg.Anonymize = how
			log := write(t, cfg, c)
			for _, secret := range secrets {
				if strings.Contains(log, secret) {
					t.Errorf("%s: %q shows in %q", cfg.Format, secret, log)
				}
			}
			if clear == log || !slices.Equal(before.TunnelParents, c.TunnelParents) || before.UID != c.UID {
				t.Errorf("%s: want another log of the same connection, got %q", cfg.Format, log)
			}
		}
	}
}

func TestTruncate(t *testing.T) {
	tests := []struct {
		ipv4, ipv6 int
		addr, want string
	}{
		{24, 48, "192.0.2.77", "192.0.2.0"},
		{24, 48, "2001:db8:1:2:3:4:5:6", "2001:db8:1::"},
		{17, 45, "10.1.255.255", "10.1.128.0"},
		{17, 45, "2001:db8:ffff::1", "2001:db8:fff8::"},
		{0, 0, "192.0.2.77", "0.0.0.0"},
		{0, 0, "2001:db8::1", "::"},
		{32, 128, "192.0.2.77", "192.0.2.77"},
		{32, 128, "2001:db8::1", "2001:db8::1"},
	}
	for _, tt := range tests {
		a := addr(tt.addr)
		if got := newAnonymizer(truncate(t, tt.ipv4, tt.ipv6, "")).addr(&a); got != addr(tt.want) {
			t.Errorf("%s to %d,%d: want %s, got %v", tt.addr, tt.ipv4, tt.ipv6, tt.want, netip.AddrFrom16(got))
		}
	}
	for _, bits := range [][2]int{{33, 48}, {-1, 48}, {24, 129}, {24, -1}} {
		if _, err := Truncate(bits[0], bits[1], ""); err == nil {
			t.Errorf("truncate to %v: want an error", bits)
		}
	}
}

// TestAnonymizedUIDs: logs that share an anonymization agree in their uids, so that
// a parent's is that of its row; others differ.
func TestAnonymizedUIDs(t *testing.T) {
	c := sample()
	c.TunnelParents = []tracker.UID{c.UID}
	uids := func(how *Anonymization) string {
		got := fieldsOf(t, write(t, Config{Format: TSV, Anonymize: how}, c), "uid", "tunnel_parents")
		if got[0] != got[1] {
			t.Errorf("want the uid %s as its own parent, got %s", got[0], got[1])
		}
		return got[0]
	}
	other := sampleKey
	other[0]++
	same := truncate(t, 24, 48, "")
	if first, again := uids(same), uids(same); first != again {
		t.Errorf("two logs of one anonymization have %s and %s", first, again)
	}
	if first, again := uids(CryptoPAn(sampleKey)), uids(CryptoPAn(sampleKey)); first != again {
		t.Errorf("two logs with one key have %s and %s", first, again)
	}
	if first, again := uids(truncate(t, 24, 48, "x")), uids(truncate(t, 16, 48, "x")); first != again {
		t.Errorf("two logs with one seed have %s and %s", first, again)
	}
	all := []string{
		c.UID.String(), uids(CryptoPAn(sampleKey)), uids(CryptoPAn(other)), uids(same), uids(truncate(t, 24, 48, "")),
		uids(truncate(t, 24, 48, "x")),
	}
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 6 {
		t.Errorf("want 6 different uids, got %d", n)
	}
}

func TestParseCryptoPAnKey(t *testing.T) {
	const digits = "1522178d33a4cf80130a5b1649907d10d8988f837979652762574c2d2a842202"
	tests := []struct {
		name, text, want string // want is of the error
	}{
		{"raw", string(sampleKey[:]), ""},
		{"digits", digits, ""},
		{"digits and a line's end", strings.ToUpper(digits) + "\r\n", ""},
		{"empty", "", "a key of 0 bytes: want 32 bytes, or 64 hexadecimal digits"},
		{"short", digits[:63], "a key of 63 bytes"},
		{"raw and a line's end", string(sampleKey[:]) + "\n", "a key of 33 bytes"},
		{"no digits", strings.Repeat("z", 64), "not all hexadecimal digits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := ParseCryptoPAnKey([]byte(tt.text))
			switch {
			case tt.want == "" && (err != nil || !bytes.Equal(key[:], sampleKey[:])):
				t.Errorf("want the key, got %x and %v", key, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("want an error with %q, got %v", tt.want, err)
			}
		})
	}
}

func TestSensor(t *testing.T) {
	got := write(t, Config{Format: TSV, With: Loss, Fields: []string{"proto", "sensor"}, Sensor: "tap\t1"}, sample())
	for _, want := range []string{"#fields\tproto\tsensor\n#types\tenum\tstring\n", "tcp\ttap\\x091\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in %q", want, got)
		}
	}
	if got := write(t, Config{Format: JSON, With: Loss, Sensor: `tap "1"`}, sample()); !strings.Contains(got, `,"sensor":"tap \"1\""}`) {
		t.Errorf("want the sensor at the end, got %s", got)
	}
	for _, cfg := range []Config{{Format: TSV, Fields: []string{"sensor"}}, {Format: Red, Sensor: "a"}, {Format: Text, Sensor: "a"}} {
		if _, err := NewWriter(nil, cfg); err == nil {
			t.Errorf("%+v: want an error", cfg)
		}
	}
}

// TestWritten: messages beside the log have the addresses of the log.
func TestWritten(t *testing.T) {
	for _, how := range []*Anonymization{nil, truncate(t, 24, 48, "")} {
		w, err := NewWriter(nil, Config{Format: TSV, Anonymize: how})
		if err != nil {
			t.Fatal(err)
		}
		want := addr("192.0.2.7")
		if how != nil {
			want = addr("192.0.2.0")
		}
		if got := w.Written(addr("192.0.2.7")); got != want {
			t.Errorf("want %v, got %v", want, got)
		}
	}
}
