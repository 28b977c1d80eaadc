// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"conntap/bpf"
	"conntap/bpf/filter"
	"conntap/bpf/filter/filtertest"
	"conntap/bpf/frametest"
)

// packet is one of IPv4 or IPv6, as src and dst say.
func packet(protocol uint8, src string, srcPort uint16, dst string, dstPort uint16, change ...func(*bpf.Packet)) bpf.Packet {
	from, to := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	p := bpf.Packet{Kind: bpf.KindPacket, Protocol: protocol, SrcPort: srcPort, DstPort: dstPort, Src: from.As16(), Dst: to.As16()}
	if from.Is6() {
		p.State |= bpf.StateIPv6
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

func fragment(p *bpf.Packet) { p.State, p.SrcPort, p.DstPort = p.State|bpf.StateFragment, 0, 0 }

func tags(outer, inner uint16) func(*bpf.Packet) {
	return func(p *bpf.Packet) { p.VLAN, p.InnerVLAN = outer, inner }
}

// The packets that TestMatch asks about, each by its letter.
var packets = map[rune]bpf.Packet{
	't': packet(6, "10.0.0.1", 40000, "192.168.1.2", 80),
	'b': packet(6, "192.168.1.2", 80, "10.0.0.1", 40000), // the answer
	'T': packet(6, "2001:db8::1", 40000, "2001:db8:1::2", 80),
	'u': packet(17, "10.0.0.1", 53, "192.168.1.9", 5353, tags(7, 0)),
	'U': packet(17, "2001:db8::1", 53, "fe80::2", 443, tags(8, 7)),
	'i': packet(1, "10.0.0.1", 0, "192.168.1.2", 0),
	'I': packet(58, "2001:db8::1", 0, "fe80::2", 0),
	'g': packet(47, "10.0.0.1", 0, "172.16.0.1", 0),
	'f': packet(17, "10.0.0.1", 0, "192.168.1.2", 0, fragment),
	'F': packet(17, "2001:db8::1", 0, "fe80::2", 0, fragment),
	'X': packet(60, "2001:db8::1", 0, "fe80::2", 0, fragment), // a fragment of an unknown protocol
}

const letters = "tbTuUiIgfFX"

func TestMatch(t *testing.T) {
	tests := []struct{ filter, want string }{
		{"host 10.0.0.1", "tbuigf"},
		{"10.0.0.1", "tbuigf"},
		{"src host 10.0.0.1", "tuigf"},
		{"src 10.0.0.1", "tuigf"},
		{"dst host 10.0.0.1", "b"},
		{"src or dst host 10.0.0.1", "tbuigf"},
		{"dst or src 192.168.1.9", "u"},
		{"src and dst net 10.0.0.0/8", ""},
		{"src and dst net 0.0.0.0/0", "tbuigf"},
		{"host 2001:db8::1", "TUIFX"},
		{"ip6 host 2001:db8::1 and tcp", "TX"},
		{"host ::ffff:10.0.0.1", ""},
		{"net 192.168", "tbuif"},
		{"net 192.168.0.0/16", "tbuif"},
		{"src net 192.168.1", "b"},
		{"net 192.168.1.0 mask 255.255.255.0", "tbuif"},
		{"net 10", "tbuigf"},
		{"net 192.168.1.8/29", "u"},
		{"net 0.0.0.0 mask 0.0.0.255", ""},
		{"net 0.0.0.1 mask 0.0.0.255", "tbuigf"},
		{"net 2001:db8::/32", "TUIFX"},
		{"net 2001:db8::/47", "TUIFX"},
		{"dst net 2001:db8::/47", "T"},
		{"net ::/0", "TUIFXI"},
		{"dst 192.168.0.0/16", "tuif"},
		{"port 80", "tbTfFX"},
		{"not port 80", "uUiIgfFX"},
		{"src port 80", "bfFX"},
		{"dst port 80", "tTfFX"},
		{"tcp port 80", "tbTX"},
		{"udp port 80", "fFX"},
		{"udp dst port 5353", "ufFX"},
		{"port 0", "fFX"},
		{"not port 0", letters},
		{"portrange 50-100", "tbTuUfFX"},
		{"portrange 100-50", "tbTuUfFX"},
		{"portrange 0-65535", "tbTuUfFX"},
		{"portrange 443", "UfFX"},
		{"dst portrange 40000-65535", "bfFX"},
		{"tcp", "tbTX"},
		{"not tcp", "uUiIgfFX"},
		{"udp", "uUfFX"},
		{"icmp", "i"},
		{"icmp6", "IX"},
		{"ip", "tbuigf"},
		{"ip6", "TUIFX"},
		{"proto 47", "gX"},
		{"proto tcp", "tbTX"},
		{`ip proto \udp`, "uf"},
		{"ip6 proto 6 or 17", "TUFX"},
		{"proto 60", "X"},
		{"vlan", "uU"},
		{"vlan 7", "uU"},
		{"vlan 8", "U"},
		{"vlan 8 and vlan 7", "U"},
		{"not vlan", "tbTiIgfFX"},
		{"vlan 7 and udp port 53", "uU"},
		{"host 10.0.0.1 and port 80", "tbf"},
		{"host 10.0.0.1 && !port 80", "uigf"},
		{"not (host 10.0.0.1 and port 80)", "TuUiIgfFX"},
		{"not (host 10.0.0.1 or port 80)", "UIFX"},
		// and and or are alike in rank.
		{"ip6 or tcp and port 80", "tbTFX"},
		{"ip6 or (tcp and port 80)", "tbTUIFX"},
		{"icmp or udp and host 10.0.0.1", "iuf"},
		{"not tcp and port 53", "uUfFX"},
		// A value takes what stood before the last one.
		{"port 80 or 443", "tbTUfFX"},
		{"tcp dst port 80 or 443", "tTX"},
		{"host 10.0.0.1 and 192.168.1.9", "u"},
		{"src host 10.0.0.1 and not 10.0.0.9", "tuigf"},
		{"(port 80) or 443", "tbTUfFX"},
		{"port (80 or 443)", "tbTUfFX"},
		{"dst port (80 or (443))", "tTUfFX"},
		{"host (10.0.0.1 or not 2001:db8::1)", "tbuigf"},
		{"  tcp\tand(port 80)or!ip6  ", "tbTuigfX"},
		{"! ! tcp", "tbTX"},
		{"tcp || udp", "tbTuUfFX"},
	}
	for _, tt := range tests {
		t.Run(tt.filter, func(t *testing.T) {
			f, err := filter.Parse(tt.filter)
			if err != nil {
				t.Fatal(err)
			}
			for _, letter := range letters {
				p := packets[letter]
				if got, want := f.Match(&p), strings.ContainsRune(tt.want, letter); got != want {
					t.Errorf("packet %c: %v, want %v", letter, got, want)
				}
			}
			if f.String() != tt.filter {
				t.Errorf("want %q, got %q", tt.filter, f)
			}
		})
	}
}

// TestFragments has a fragment pass if what is not known of it, ports and perhaps a
// protocol, may have any values that make the expression true, each condition by
// itself.
func TestFragments(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	all := make([]bpf.Packet, 0, len(packets))
	for _, letter := range letters {
		all = append(all, packets[letter])
	}
	for range 2000 {
		text := filtertest.Random(r, all, 6)
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for _, letter := range "fFX" {
			p := packets[letter]
			want := kleene(f.Packet(), &p) != no
			if got := f.Match(&p); got != want {
				t.Errorf("%q, packet %c: %v, want %v", text, letter, got, want)
			}
		}
	}
}

// truth is a value of Kleene's logic, in order.
type truth int

const (
	no truth = iota
	unknown
	yes
)

// kleene evaluates an expression on a fragment by the book.
func kleene(n *filter.Node, p *bpf.Packet) truth {
	switch n.Op {
	case filter.Not:
		return yes - kleene(n.Left, p)
	case filter.And:
		return min(kleene(n.Left, p), kleene(n.Right, p))
	case filter.Or:
		return max(kleene(n.Left, p), kleene(n.Right, p))
	}
	switch {
	case n.Field == filter.SrcPort || n.Field == filter.DstPort,
		n.Field == filter.Protocol && p.State&bpf.StateIPv6 != 0 && p.Protocol == frametest.Destinations:
		return unknown
	case holds(n, p):
		return yes
	}
	return no
}

// holds is a test of an address or a number, done the plain way.
func holds(n *filter.Node, p *bpf.Packet) bool {
	a := p.Src
	switch n.Field {
	case filter.Version:
		return (p.State&bpf.StateIPv6 != 0) == (n.Low == 6)
	case filter.Protocol:
		return uint16(p.Protocol) == n.Low
	case filter.VLAN:
		return n.Low <= p.VLAN && p.VLAN <= n.High
	case filter.InnerVLAN:
		return n.Low <= p.InnerVLAN && p.InnerVLAN <= n.High
	case filter.Dst:
		a = p.Dst
	}
	if n.IPv6 != (p.State&bpf.StateIPv6 != 0) {
		return false
	}
	for i := range a {
		if (n.IPv6 || i >= 12) && (a[i]^n.Network[i])&n.Mask[i] != 0 {
			return false
		}
	}
	return true
}

func TestSyntaxError(t *testing.T) {
	many := strings.Repeat("port 1 or ", filter.PrimitivesMax)
	tests := []struct {
		filter string
		at     string // the word that is marked
		want   string // in the message
	}{
		{"tcp[13] & 2 != 0", "tcp[13]", "not among the words"},
		{"ether host 02:00:00:00:00:01", "ether", "not among the words"},
		{"tcp and greater 100", "greater", "not among the words"},
		{"less 100", "less", "not among the words"},
		{"tcp & udp", "&", "where and, or, or the end"},
		{"", "", "condition is missing at the end"},
		{"tcp and", "", "condition is missing at the end"},
		{"and tcp", "and", "where a condition is to be"},
		{"(tcp", "", "closing parenthesis"},
		{"tcp)", ")", "where and, or, or the end"},
		{"()", ")", "where a condition is to be"},
		{"host", "", `after "host" is missing`},
		{"host example.org", "example.org", "an address (names are not looked up)"},
		{"host 10.0.0.0/8", "10.0.0.0/8", "no IP address"},
		{"host 10.0.0", "10.0.0", "no IP address"},
		{"host 10.0.0.256", "10.0.0.256", "no IP address"},
		{"host fe80::1%eth0", "fe80::1%eth0", "no IP address"},
		{"net 10.0.0.1/8", "10.0.0.1/8", "bits beyond its mask"},
		{"net 10.0.0.0/33", "10.0.0.0/33", "no network"},
		{"net 10.0.0.0/-1", "10.0.0.0/-1", "no network"},
		{"net 1.2.3.4.5", "1.2.3.4.5", "no network"},
		{"net 2001:db8::1/32", "2001:db8::1/32", "bits beyond its mask"},
		{"net 10.0.0.0 mask", "10.0.0.0", "no mask of IPv4"},
		{"net 10.0.0.0/8 mask 255.0.0.0", "10.0.0.0/8", "no network"},
		{"net 2001:: mask 255.0.0.0", "2001::", "no mask of IPv4"},
		{"port http", "http", "a port's number"},
		{"port 65536", "65536", "a port's number"},
		{"port 80-90", "80-90", "a port's number"},
		{"portrange 80-", "80-", "a range of ports"},
		{"portrange a-b", "a-b", "a range of ports"},
		{"proto 256", "256", "no number from 0 to 255"},
		{"proto gre", "gre", "a protocol's number"},
		{"src proto 6", "src", "no direction"},
		{"vlan 4096", "4096", "from 0 to 4095"},
		{"vlan 0", "0", "from 1 to 4095"},
		{"vlan 5 or 6", "6", "no IP address"},
		{"tcp host 10.0.0.1", "host", "does not go with"},
		{"ip port 80", "port", "does not go with"},
		{"tcp src 10.0.0.1", "src", "does not go with"},
		{"ip host ::1", "::1", "no address of ip"},
		{"ip6 net 10", "10", "no address of ip6"},
		{"80", "80", "no IP address"},
		{"tcp 80", "80", "where and, or, or the end"},
		{"src", "", `after "src" is missing`},
		{"tcp udp", "udp", "where and, or, or the end"},
		{"host 10.0.0.1 port 80", "port", "where and, or, or the end"},
		{strings.Repeat("(", 1000) + "tcp", "(", "in each other"},
		{strings.Repeat("not ", 1000) + "tcp", "not", "in each other"},
		{many + "port 1", "port", "more than 1000 conditions"},
	}
	for _, tt := range tests {
		t.Run(tt.filter[:min(len(tt.filter), 40)], func(t *testing.T) {
			_, err := filter.Parse(tt.filter)
			syntax, ok := err.(*filter.SyntaxError)
			if !ok {
				t.Fatalf("error %v, want a SyntaxError", err)
			}
			if got := syntax.Text[syntax.Start:][:syntax.Length]; got != tt.at {
				t.Errorf("marked %q, want %q", got, tt.at)
			}
			if !strings.Contains(syntax.Message, tt.want) {
				t.Errorf("message %q, want %q in it", syntax.Message, tt.want)
			}
			lines := strings.Split(err.Error(), "\n")
			if column := strings.Index(lines[2], "^"); !strings.HasPrefix(lines[1][column:], tt.at) {
				t.Errorf("the mark is not below %q:\n%s\n%s", tt.at, lines[1], lines[2])
			}
			if !strings.HasSuffix(err.Error(), filter.Subset) {
				t.Errorf("the words are not listed in %q", err)
			}
		})
	}
}

// FuzzExpression wants an error or a filter that says of a packet what its negation
// denies, of a fragment that it or its negation passes.
func FuzzExpression(f *testing.F) {
	for _, text := range []string{
		"host 10.0.0.1 and not tcp dst port (80 or 443)", "ip6 net 2001:db8::/32||vlan 7 && ! icmp6",
		"src or dst net 10.1 mask 255.255.0.0", `proto \udp or portrange 1-5`, "tcp[13] & 2", "((", "!",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := filter.Parse(text)
		if err != nil {
			_ = err.Error()
			return
		}
		negated, err := filter.Parse("not (" + text + ")")
		if err != nil {
			return // one parenthesis or condition too many
		}
		for letter, p := range packets {
			yes, no := parsed.Match(&p), negated.Match(&p)
			if p.State&bpf.StateFragment == 0 && yes == no || !yes && !no {
				t.Errorf("%q, packet %c: %v, its negation %v", text, letter, yes, no)
			}
		}
	})
}

// TestMatchAllocs has judging packets leave no garbage.
func TestMatchAllocs(t *testing.T) {
	f, err := filter.Parse("host 10.0.0.1 and port 80")
	if err != nil {
		t.Fatal(err)
	}
	p := packets['t']
	if n := testing.AllocsPerRun(100, func() { f.Match(&p) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkMatch(b *testing.B) {
	f, err := filter.Parse("host 10.0.0.1 and port 80")
	if err != nil {
		b.Fatal(err)
	}
	p := packets['t']
	for b.Loop() {
		f.Match(&p)
	}
}
