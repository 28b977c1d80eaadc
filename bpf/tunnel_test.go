// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"fmt"
	"strings"
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// outline tells packets apart by what matters of tunnels: "17" is an outermost UDP
// packet, "vxlan/1=5:6" TCP in VXLAN with the identifier 5.
func outline(packets []bpf.Packet) string {
	names := [...]string{"none", "ip", "gre", "greudp", "vxlan", "geneve", "gtp", "teredo", "ayiya"}
	var parts []string
	for i := range packets {
		p := &packets[i]
		what := fmt.Sprint(p.Protocol)
		switch {
		case p.Kind == bpf.KindViolation:
			what = "violation"
		case p.Kind == bpf.KindEmpty:
			what = "empty"
		case p.State&bpf.StateFragment != 0:
			what += "f"
		}
		if p.Kind != bpf.KindPacket {
			what = fmt.Sprintf("%s/%d=%d:%s", names[p.TunnelType], p.TunnelDepth, p.TunnelID, what)
		}
		parts = append(parts, what)
	}
	return strings.Join(parts, " ")
}

func v4(protocol uint8, content ...[]byte) []byte {
	return frametest.IPv4{Protocol: protocol}.Packet(content...)
}

func v6(next uint8, content ...[]byte) []byte {
	return frametest.IPv6{Next: next}.Packet(content...)
}

// to is UDP over IPv4 to a port.
func to(port uint16, payload ...[]byte) []byte {
	return v4(17, udp(40000, port, join(payload...)...))
}

// set changes one byte.
func set(b []byte, at int, value byte) []byte {
	b = join(b)
	b[at] = value
	return b
}

// TestParseTunnels has each tunnel: what is just good enough, and what isn't.
func TestParseTunnels(t *testing.T) {
	gre, gtp, vxlan, geneve := frametest.GREHeader, frametest.GTP, frametest.VXLAN, frametest.Geneve
	syn := tcp()
	in4, in6 := v4(6, syn), v6(6, syn)
	inner := ethernet(0x0800, in4)
	teredo := set(set(set(set(in6, 8, 0x20), 9, 1), 10, 0), 11, 0) // from 2001::/32
	bubble := frametest.IPv6{Next: 59}.Packet()
	origin, authentication := frametest.TeredoOrigin(), frametest.TeredoAuthentication(3, 5)
	nested := in4
	for range 7 {
		nested = v4(4, nested)
	}
	tests := []struct {
		name   string
		packet []byte
		want   string
	}{
		{"ip in ip", v4(4, in4), "4 ip/1=0:6"},
		{"6in4", v4(41, in6), "41 ip/1=0:6"},
		{"4in6", v6(4, in4), "4 ip/1=0:6"},
		{"behind an extension header", v6(60, frametest.Extension(41), in6), "41 ip/1=0:6"},
		{"ip in ip of the wrong version", v4(4, in6), "4"},
		{"ip in ip, a byte too many", v4(4, in4, []byte{0}), "4"},
		{"ip in ip, a byte too few", v4(4, in4[:len(in4)-1]), "4"},
		{"ip in ip of nothing", v4(4), "4"},
		{"a fragment", frametest.IPv4{Protocol: 4, Fragment: 1 << 13}.Packet(in4), "4f"},
		{"a fragment inside", v4(4, frametest.IPv4{Protocol: 17, Fragment: 1}.Packet(syn)), "4 ip/1=0:17f"},
		{"eight deep", v4(4, nested), "4 ip/1=0:4 ip/2=0:4 ip/3=0:4 ip/4=0:4 ip/5=0:4"},

		{"gre", v4(47, gre(0, 0x0800, in4)), "47 gre/1=0:6"},
		{"gre over ipv6", v6(47, gre(0, 0x86dd, in6)), "47 gre/1=0:6"},
		{"gre with all words", v4(47, gre(0xb080, 0x0800, in4)), "47 gre/1=7:6"},
		{"gre with any type", v4(47, gre(0, 0x1234, in4)), "47 gre/1=0:6"},
		{"gre, more than the packet", v4(47, gre(0, 0x0800, in4, []byte{0})), "47 gre/1=0:6"},
		{"gre, less than the packet", v4(47, gre(0, 0x0800, in4[:39])), "47"},
		{"gre with routing", v4(47, gre(0x4000, 0x0800, in4)), "47"},
		{"gre with reserved flags", v4(47, gre(0x0008, 0x0800, in4)), "47"},
		{"gre version 2", v4(47, gre(0x0002, 0x0800, in4)), "47"},
		{"gre cut", v4(47, gre(0x2000, 0x0800)[:7]), "47"},
		{"gre of ethernet", v4(47, gre(0x2000, 0x6558, inner)), "47 gre/1=7:6"},
		{"erspan i", v4(47, gre(0, 0x88be, inner)), "47 gre/1=0:6"},
		{"erspan ii", v4(47, gre(0x1000, 0x88be, make([]byte, 8), inner)), "47 gre/1=0:6"},
		{"erspan iii", v4(47, gre(0x1000, 0x22eb, make([]byte, 12), inner)), "47 gre/1=0:6"},
		{"erspan iii with a platform's header", v4(47, gre(0x1000, 0x22eb, set(make([]byte, 20), 11, 1), inner)), "47 gre/1=0:6"},
		{"aruba", v4(47, gre(0, 0x8200, wlan(8, 1, snap(0x0800), in4))), "47 gre/1=0:6"},
		{"pptp", v4(47, gre(0x3081, 0x880b, []byte{0xff, 3, 0, 0x21}, in4)), "47 gre/1=7:6"},
		{"pptp, a byte too many", v4(47, gre(0x3081, 0x880b, []byte{0xff, 3, 0, 0x21}, in4, []byte{0})), "47"},
		{"pptp of lcp", v4(47, gre(0x3081, 0x880b, []byte{0xff, 3, 0xc0, 0x21}, in4)), "47"},
		{"gre in gre", v4(47, gre(0, 0x0800, v4(47, gre(0x2000, 0x0800, in4)))), "47 gre/1=0:47 gre/2=7:6"},
		{"gre over udp", to(4754, gre(0, 0x0800, in4)), "17 greudp/1=0:6"},

		{"vxlan", to(4789, vxlan(5, inner)), "17 vxlan/1=5:6"},
		{"vxlan from the port", v4(17, udp(4789, 40000, vxlan(5, inner)...)), "17 vxlan/1=5:6"},
		{"the destination's port first", v4(17, udp(4789, 6081, geneve(9, 0x0800, nil, in4)...)), "17 geneve/1=9:6"},
		{"vxlan of arp", to(4789, vxlan(5, ethernet(0x0806, make([]byte, 28)))), "17 vxlan/1=0:empty"},
		{"vxlan of nothing", to(4789, vxlan(5)), "17 vxlan/1=0:empty"},
		{"vxlan cut", to(4789, vxlan(5)[:7]), "17 vxlan/1=0:violation"},
		{"vxlan without its flag", to(4789, set(vxlan(5, inner), 0, 0xf7)), "17 vxlan/1=0:violation"},
		{"vxlan in vxlan", to(4789, vxlan(5, ethernet(0x0800, to(4789, vxlan(6, inner))))), "17 vxlan/1=5:17 vxlan/2=6:6"},

		{"geneve", to(6081, geneve(5, 0x6558, nil, inner)), "17 geneve/1=5:6"},
		{"geneve with options", to(6081, geneve(5, 0x86dd, make([]byte, 252), in6)), "17 geneve/1=5:6"},
		{"geneve of arp", to(6081, geneve(5, 0x0806, nil, make([]byte, 28))), "17 geneve/1=0:empty"},
		{"geneve version 1", to(6081, set(geneve(5, 0x6558, nil, inner), 0, 0x40)), "17"},
		{"geneve cut", to(6081, geneve(5, 0x0800, nil)[:7]), "17 geneve/1=0:violation"},
		{"geneve, options cut", to(6081, geneve(5, 0x0800, make([]byte, 8))[:15]), "17 geneve/1=0:violation"},

		{"gtp", to(2152, gtp(5, 0, in4)), "17 gtp/1=5:6"},
		{"gtp on the other port", to(2123, gtp(5, 0, in6)), "17 gtp/1=5:6"},
		{"gtp with extension headers", to(2152, gtp(5, 3, in4)), "17 gtp/1=5:6"},
		{"gtp with 33 extension headers", to(2152, gtp(5, 33, in4)), "17"},
		{"gtp with a sequence number", to(2152, set(gtp(5, 0, make([]byte, 4), in4), 0, 0x32)), "17 gtp/1=5:6"},
		{"gtp, an extension header of length 0", to(2152, set(gtp(5, 1, in4), 12, 0)), "17 gtp/1=0:violation"},
		{"gtp cut", to(2152, gtp(5, 0)[:7]), "17 gtp/1=0:violation"},
		{"gtp, options cut", to(2152, gtp(5, 1)[:11]), "17 gtp/1=0:violation"},
		{"gtp version 2", to(2152, set(gtp(5, 0, in4), 0, 0x50)), "17 gtp/1=0:violation"},
		{"gtp prime", to(2152, set(gtp(5, 0, in4), 0, 0x20)), "17"},
		{"gtp, echo", to(2152, set(gtp(5, 0, in4), 1, 1)), "17"},
		{"gtp, a byte too many", to(2152, gtp(5, 0, in4, []byte{0})), "17 gtp/1=0:violation"},
		{"gtp of no ip", to(2152, gtp(5, 0, make([]byte, 40))), "17 gtp/1=0:violation"},
		{"gtp in gtp", to(2152, gtp(5, 0, to(2152, gtp(6, 0, in4)))), "17 gtp/1=5:17 gtp/2=0:violation"},

		{"teredo", to(3544, in6), "17 teredo/1=0:6"},
		{"teredo with origin", to(3544, origin, in6), "17 teredo/1=0:6"},
		{"teredo with both headers", to(3544, authentication, origin, in6), "17 teredo/1=0:6"},
		{"teredo, headers in the wrong order", to(3544, origin, authentication, in6), "17 teredo/1=0:violation"},
		{"teredo, two origins", to(3544, origin, origin, in6), "17 teredo/1=0:violation"},
		{"teredo, authentication cut", to(3544, authentication[:16]), "17 teredo/1=0:violation"},
		{"teredo of ipv4", to(3544, in4), "17 teredo/1=0:violation"},
		{"teredo, a byte too many", to(3544, in6, []byte{0}), "17 teredo/1=0:violation"},
		{"teredo, a byte too few", to(3544, in6[:59]), "17 teredo/1=0:violation"},
		{"teredo of nothing", to(3544), "17 teredo/1=0:violation"},
		{"teredo bubble", to(3544, bubble), "17 teredo/1=0:empty"},
		{"teredo bubble with more", to(3544, bubble, []byte{1, 2, 3}), "17 teredo/1=0:empty"},
		{"teredo by its prefix", to(9, teredo), "17 teredo/1=0:6"},
		{"teredo by its prefix, a byte too many", to(9, teredo, []byte{0}), "17 teredo/1=0:violation"},
		{"ipv6 in udp", to(9, set(in6, 1, 2)), "17"},
		{"teredo by its origin", to(9, origin, in6), "17 teredo/1=0:6"},
		{"teredo by both headers", to(9, authentication, origin, in6), "17 teredo/1=0:6"},
		{"authentication alone is not enough", to(9, authentication, in6), "17"},
		{"39 bytes", to(9, teredo[:39]), "17"},

		{"ayiya", to(5072, frametest.AYIYA(4, 5, 41, in6)), "17 ayiya/1=0:6"},
		{"ayiya of ipv4, large identity", to(5072, frametest.AYIYA(9, 0, 4, in4)), "17 ayiya/1=0:6"},
		{"ayiya by content", to(9, set(frametest.AYIYA(4, 5, 41, in6), 1, 0x52)), "17 ayiya/1=0:6"},
		{"ayiya of another protocol", to(5072, frametest.AYIYA(4, 5, 58, in6)), "17 ayiya/1=0:empty"},
		{"ayiya not to be forwarded", to(5072, set(frametest.AYIYA(4, 5, 41, in6), 2, 0x10)), "17"},
		{"ayiya cut", to(5072, frametest.AYIYA(4, 5, 41)[:43]), "17 ayiya/1=0:violation"},

		{"tcp on a tunnel's port", v4(6, frametest.Segment{DstPort: 4789}.Bytes(vxlan(5, inner)...)), "6"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parser := bpf.Parser{Link: bpf.LinkRawIP, Tunnels: true, VerifyChecksums: false}
			n, reason := parser.Parse(tt.packet, len(tt.packet), parsed[:])
			if reason != bpf.ReasonNone {
				t.Fatalf("no packet: %v", reason)
			}
			if got := outline(parsed[:n]); got != tt.want {
				t.Errorf("want %s\ngot  %s", tt.want, got)
			}
			for i, p := range parsed[:n] {
				if tunnelled := p.Blocks&bpf.BlockTunnel != 0; tunnelled != (i > 0) || tunnelled != (p.TunnelDepth > 0) {
					t.Errorf("packet %d: blocks %#x, depth %d", i, p.Blocks, p.TunnelDepth)
				}
			}
			parser.Tunnels = false
			if n, _ := parser.Parse(tt.packet, len(tt.packet), parsed[:]); n != 1 {
				t.Errorf("without tunnels: %d packets", n)
			}
			parser.Tunnels = true
			assertNoAllocation(t, func() { parser.Parse(tt.packet, len(tt.packet), parsed[:]) })
		})
	}
}

// TestParseTunnelInner asks what is said of inner packets: link layer, lengths,
// checksums.
func TestParseTunnelInner(t *testing.T) {
	segment := frametest.Seal4(6, 16, tcp([]byte("payload")...))
	carry := func(inner []byte) []byte {
		return ethernet(0x8100, tag(7, 0x0800), to(4789, frametest.VXLAN(5, inner)))
	}
	whole := carry(ethernet(0x8100, tag(8, 0x0800), v4(6, segment)))
	parse := func(t *testing.T, parser bpf.Parser, frame []byte, wire int) []bpf.Packet {
		t.Helper()
		parser.Link, parser.Tunnels = bpf.LinkEthernet, true
		n, reason := parser.Parse(frame, wire, parsed[:])
		if reason != bpf.ReasonNone || n != 2 {
			t.Fatalf("%d packets, %v", n, reason)
		}
		return parsed[:2]
	}
	t.Run("tags start anew", func(t *testing.T) {
		p := parse(t, bpf.Parser{}, whole, len(whole))
		if p[0].VLAN != 7 || p[1].VLAN != 8 || p[1].InnerVLAN != 0 || p[1].Blocks&bpf.BlockL2 == 0 || p[1].SrcMAC != srcMAC {
			t.Errorf("%+v", p)
		}
	})
	t.Run("no link layer inside", func(t *testing.T) {
		frame := ethernet(0x8100, tag(7, 0x0800), to(6081, frametest.Geneve(5, 0x0800, nil, v4(6, segment))))
		p := parse(t, bpf.Parser{}, frame, len(frame))
		if p[1].VLAN != 0 || p[1].Blocks&bpf.BlockL2 != 0 || p[1].SrcMAC != (bpf.MAC{}) {
			t.Errorf("%+v", p[1])
		}
	})
	t.Run("whole", func(t *testing.T) {
		p := parse(t, bpf.Parser{VerifyChecksums: true}, whole, len(whole))
		if p[1].State != bpf.StateComplete|bpf.State(bpf.ChecksumGood)<<2 || string(p[1].Payload) != "payload" {
			t.Errorf("state %#x, payload %q", p[1].State, p[1].Payload)
		}
	})
	t.Run("bad inside", func(t *testing.T) {
		segment := set(segment, 20, 'P')
		frame := carry(ethernet(0x0800, v4(6, segment)))
		if p := parse(t, bpf.Parser{VerifyChecksums: true}, frame, len(frame)); p[1].Checksum() != bpf.ChecksumBad {
			t.Errorf("checksum %d", p[1].Checksum())
		}
	})
	t.Run("bad outside", func(t *testing.T) {
		frame := set(whole, 14+4+20+6, 1) // UDP's checksum, which was 0
		parser := bpf.Parser{Link: bpf.LinkEthernet, Tunnels: true, VerifyChecksums: true}
		if n, _ := parser.Parse(frame, len(frame), parsed[:]); n != 1 || parsed[0].Checksum() != bpf.ChecksumBad {
			t.Errorf("%d packets, checksum %d", n, parsed[0].Checksum())
		}
	})
	t.Run("cut", func(t *testing.T) { // in UDP the inner packet is cut like the outer one
		p := parse(t, bpf.Parser{VerifyChecksums: true}, whole[:len(whole)-5], len(whole))
		if p[1].State != 0 || string(p[1].Payload) != "pa" || p[1].PayloadLength() != 7 {
			t.Errorf("state %#x, %q of %d", p[1].State, p[1].Payload, p[1].PayloadLength())
		}
	})
	t.Run("cut, payload assumed", func(t *testing.T) {
		p := parse(t, bpf.Parser{VerifyChecksums: true, AssumePayload: true}, whole[:len(whole)-5], len(whole))
		if p[0].State != bpf.StateComplete || p[1].State != bpf.StateComplete || string(p[1].Payload) != "pa" {
			t.Errorf("state %#x and %#x, %q", p[0].State, p[1].State, p[1].Payload)
		}
	})
	t.Run("cut, in gre", func(t *testing.T) { // whose inner packet ends where the capture does
		frame := ethernet(0x0800, v4(47, frametest.GREHeader(0, 0x0800, v4(6, segment))))
		parser := bpf.Parser{Link: bpf.LinkEthernet, Tunnels: true}
		if n, _ := parser.Parse(frame[:len(frame)-1], len(frame), parsed[:]); n != 1 {
			t.Errorf("%d packets, want 1", n)
		}
		parser.AssumePayload = true
		if n, _ := parser.Parse(frame[:len(frame)-1], len(frame), parsed[:]); n != 2 {
			t.Errorf("%d packets, want 2", n)
		}
	})
}
