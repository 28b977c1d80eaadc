// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"conntap/bpf"
	"conntap/tracker"
)

func addr(text string) bpf.Addr { return netip.MustParseAddr(text).As16() }

// sample is an ordinary web connection.
func sample() *tracker.Conn {
	const start = 1_700_000_000_123456 * 1000
	return &tracker.Conn{
		UID: tracker.UID{High: 0x12345678, Low: 0x9abcdef012345678}, Start: start, Last: start + 812_345_000,
		Orig: tracker.Endpoint{
			Addr: addr("10.0.0.1"), Port: 40000, Bytes: 412, Packets: 6, IPBytes: 740,
			MAC: bpf.MAC{2, 0, 0, 0, 0, 1}, TCP: tracker.TCPClosed, RTT: 31_000,
		},
		Resp: tracker.Endpoint{
			Addr: addr("203.0.114.7"), Port: 80, Bytes: 1256, Packets: 5, IPBytes: 1524,
			MAC: bpf.MAC{2, 0, 0, 0, 0, 2}, TCP: tracker.TCPClosed, RTT: 1_234_567, Retransmits: 3, Gaps: 1,
		},
		Protocol: protocolTCP, State: tracker.SF, History: []byte("ShADadFf"), VLAN: 12,
	}
}

// manual is the example of Bro's old manual.
func manual() *tracker.Conn {
	const start = 931_803_523_006848 * 1000
	return &tracker.Conn{
		Start: start, Last: start + 54_377_600_000, Protocol: protocolTCP, State: tracker.RSTO,
		Orig:       tracker.Endpoint{Addr: addr("128.32.162.134"), Port: 1234, Bytes: 7320, TCP: tracker.TCPReset},
		Resp:       tracker.Endpoint{Addr: addr("206.132.179.35"), Port: 80, Bytes: 38891, TCP: tracker.TCPEstablished},
		Additional: "%103",
	}
}

func fixedNow() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.Local) }

// write is what one log of the connections is.
func write(t *testing.T, cfg Config, conns ...*tracker.Conn) string {
	t.Helper()
	var out strings.Builder
	cfg.Now = fixedNow
	w, err := NewWriter(&out, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		if err := w.Write(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestWriteAllocatesNothing(t *testing.T) {
	v6 := sample()
	v6.Orig.Addr, v6.Resp.Addr = addr("2001:db8::1"), addr("fe80::2")
	v6.TunnelParents = []tracker.UID{{High: 1, Low: 2}}
	all := MAC | VLAN | CommunityID | RTT | Counters | Loss | NetworkInterface
	tests := []Config{
		{Format: TSV, With: all},
		{Format: JSON, With: all},
		{Format: JSON, Time: ISO8601},
		{Format: TSV, Profile: Bro26, KeyVLAN: true},
		{Format: Red, With: History | UID},
		{Format: Text},
		{Format: Text, Terminal: true, Color: true},
		{Format: TSV, With: all, Sensor: "tap-1", Anonymize: CryptoPAn(sampleKey)},
	}
	for _, cfg := range tests {
		w, err := NewWriter(io.Discard, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*tracker.Conn{sample(), v6} {
			n := testing.AllocsPerRun(1000, func() {
				if err := w.Write(c); err != nil {
					t.Fatal(err)
				}
			})
			if n != 0 {
				t.Errorf("%s: want no allocation a row, got %v", cfg.Format, n)
			}
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	v6 := sample()
	v6.Orig.Addr, v6.Resp.Addr = addr("2001:db8::1234:5678"), addr("2001:4860:4860::8888")
	benchmarks := []struct {
		name string
		cfg  Config
		conn *tracker.Conn
	}{
		{"tsv", Config{Format: TSV}, sample()},
		{"tsv/ipv6", Config{Format: TSV}, v6},
		{"tsv/mac,vlan", Config{Format: TSV, With: MAC | VLAN}, sample()},
		{"tsv/community-id", Config{Format: TSV, With: CommunityID}, sample()},
		{"json", Config{Format: JSON}, sample()},
		{"red", Config{Format: Red}, sample()},
		{"text", Config{Format: Text}, sample()},
		{"tsv/cryptopan", Config{Format: TSV, Anonymize: CryptoPAn(sampleKey)}, sample()},
		{"text/terminal", Config{Format: Text, Terminal: true, Color: true}, sample()},
	}
	for _, bb := range benchmarks {
		b.Run(bb.name, func(b *testing.B) {
			w, err := NewWriter(io.Discard, bb.cfg)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(bb.conn); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestZeekLog(t *testing.T) {
	all := MAC | VLAN | CommunityID | RTT | Counters | Loss | NetworkInterface
	parents := sample()
	parents.TunnelParents = []tracker.UID{{High: 1, Low: 2}, {High: 61, Low: 62}}
	parents.Service, parents.History = "http,ssl", nil
	parents.Last = parents.Start
	parents.LostRecords, parents.LostKnown = 3, true
	parents.InterfaceName = "eth0"
	empty := sample()
	empty.TunnelParents, empty.Service = []tracker.UID{}, "-"
	const header = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n" +
		"#open\t2026-03-04-05-06-07\n"
	tests := []struct {
		name  string
		cfg   Config
		conns []*tracker.Conn
		want  string
	}{
		{"no rows", Config{}, nil, ""},
		{
			"defaults",
			Config{},
			[]*tracker.Conn{sample()},
			header + "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\t" +
				"orig_bytes\tresp_bytes\tconn_state\tlocal_orig\tlocal_resp\tmissed_bytes\thistory\torig_pkts\t" +
				"orig_ip_bytes\tresp_pkts\tresp_ip_bytes\ttunnel_parents\tip_proto\n" +
				"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\tstring\tbool\t" +
				"bool\tcount\tstring\tcount\tcount\tcount\tcount\tset[string]\tcount\n" +
				"1700000000.123456\tCmFvFkEcIfXkogFhd\t10.0.0.1\t40000\t203.0.114.7\t80\ttcp\t-\t0.812345\t412\t" +
				"1256\tSF\tT\tF\t0\tShADadFf\t6\t740\t5\t1524\t-\t6\n" +
				"#close\t2026-03-04-05-06-07\n",
		},
		{
			"sample",
			Config{Sample: 10, Fields: []string{"proto"}},
			[]*tracker.Conn{sample()},
			strings.Replace(header, "#open", "#sample\t1/10\n#open", 1) +
				"#fields\tproto\n#types\tenum\ntcp\n#close\t2026-03-04-05-06-07\n",
		},
		{
			"columns asked for keep their places",
			Config{With: all, Fields: []string{
				"resp_gaps", "orig_rtt", "resp_rtt", "community_id", "vlan", "inner_vlan", "resp_l2_addr", "uid",
				"resp_retransmits", "orig_retransmits",
			}},
			[]*tracker.Conn{sample()},
			header + "#fields\tuid\tresp_l2_addr\tvlan\tinner_vlan\tcommunity_id\torig_rtt\tresp_rtt\torig_retransmits\t" +
				"resp_retransmits\tresp_gaps\n" +
				"#types\tstring\tstring\tint\tint\tstring\tinterval\tinterval\tcount\tcount\tcount\n" +
				"CmFvFkEcIfXkogFhd\t02:00:00:00:00:02\t12\t-\t1:npmqJCJ7Ho/3aJdk/AuTiABFCI0=\t0.000031\t0.001235\t0\t3\t1\n" +
				"#close\t2026-03-04-05-06-07\n",
		},
		{
			"unset, sets, escapes",
			Config{NoLocalNets: true, Fields: []string{
				"service", "duration", "orig_bytes", "local_orig", "history", "tunnel_parents", "lost_records", "interface",
			}},
			[]*tracker.Conn{parents, empty},
			header + "#fields\tservice\tduration\torig_bytes\tlocal_orig\thistory\ttunnel_parents\tlost_records\tinterface\n" +
				"#types\tstring\tinterval\tcount\tbool\tstring\tset[string]\tcount\tstring\n" +
				"http,ssl\t-\t-\t-\t-\tC12,CZ01\t3\teth0\n" +
				"\\x2d\t0.812345\t412\t-\tShADadFf\t(empty)\t-\t-\n" +
				"#close\t2026-03-04-05-06-07\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Format = TSV
			if got := write(t, tt.cfg, tt.conns...); got != tt.want {
				t.Errorf("want\n%s\n got\n%s", tt.want, got)
			}
		})
	}
}

func TestJSONLog(t *testing.T) {
	unset := sample()
	unset.Last, unset.History = unset.Start-5_000_000, nil
	unset.Service = "a\"b\\c\x01\xff\u00e9"
	unset.TunnelParents = []tracker.UID{{High: 1, Low: 2}, {High: 61, Low: 62}}
	fields := []string{"ts", "service", "duration", "resp_bytes", "local_resp", "history", "tunnel_parents"}
	tests := []struct {
		name string
		cfg  Config
		conn *tracker.Conn
		want string
	}{
		{
			"all",
			Config{},
			sample(),
			`{"ts":1700000000.123456,"uid":"CmFvFkEcIfXkogFhd","id.orig_h":"10.0.0.1","id.orig_p":40000,` +
				`"id.resp_h":"203.0.114.7","id.resp_p":80,"proto":"tcp","duration":0.812345027923584,"orig_bytes":412,` +
				`"resp_bytes":1256,"conn_state":"SF","local_orig":true,"local_resp":false,"missed_bytes":0,` +
				`"history":"ShADadFf","orig_pkts":6,"orig_ip_bytes":740,"resp_pkts":5,"resp_ip_bytes":1524,"ip_proto":6}` + "\n",
		},
		{
			"unset",
			Config{Fields: fields},
			unset,
			`{"ts":1700000000.123456,"service":"a\"b\\c\u0001\\xffé","local_resp":false,"tunnel_parents":["C12","CZ01"]}` + "\n",
		},
		{"millis", Config{Fields: []string{"ts"}, Time: Millis}, sample(), `{"ts":1700000000123}` + "\n"},
		{"iso8601", Config{Fields: []string{"ts"}, Time: ISO8601}, sample(), `{"ts":"2023-11-14T22:13:20.123456Z"}` + "\n"},
		{"nothing set", Config{Fields: []string{"inner_vlan"}}, sample(), "{}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Format = JSON
			if got := write(t, tt.cfg, tt.conn); got != tt.want {
				t.Errorf("want\n%s\n got\n%s", tt.want, got)
			}
		})
	}
}

func TestSummaries(t *testing.T) {
	nets := func(list string) []netip.Prefix {
		prefixes, err := ParseNets(list)
		if err != nil {
			t.Fatal(err)
		}
		return prefixes
	}
	attempt := sample()
	attempt.State, attempt.Last = tracker.S0, attempt.Start
	attempt.Orig.TCP, attempt.Resp.TCP = tracker.TCPSynSent, tracker.TCPInactive
	attempt.Orig.Bytes, attempt.Resp.Bytes, attempt.Resp.Port = 0, 0, 81
	attempt.History = []byte("S")
	ping := sample()
	ping.Protocol, ping.State, ping.History = protocolICMP, tracker.OTH, nil
	ping.Orig.Port, ping.Resp.Port, ping.Resp.Bytes, ping.Orig.TCP, ping.Resp.TCP = 8, 0, 0, 0, 0
	query := sample()
	query.Protocol, query.History, query.Resp.Port = protocolUDP, []byte("Dd"), 5353
	tests := []struct {
		name string
		cfg  Config
		conn *tracker.Conn
		want string
	}{
		{
			"the manual's red",
			Config{Format: Red},
			manual(),
			"931803523.006848 54.3776 http 7320 38891 206.132.179.35 128.32.162.134 RSTO X %103",
		},
		{
			"the manual's text",
			Config{Format: Text},
			manual(),
			"Jul 12 18:18:43 128.32.162.134 7320b >] 206.132.179.35/http 38891b 54.4s %103",
		},
		{
			"local originator",
			Config{Format: Red, LocalNets: nets("128.32.0.0/16")},
			manual(),
			"931803523.006848 54.3776 http 7320 38891 128.32.162.134 206.132.179.35 RSTO L %103",
		},
		{
			"local originator, remote neighbor",
			Config{Format: Red, LocalNets: nets("128.32.0.0/16"), NeighborNets: nets("206.132.179.35")},
			manual(),
			"931803523.006848 54.3776 http 7320 38891 128.32.162.134 206.132.179.35 RSTO LU %103",
		},
		{
			"neighbor",
			Config{Format: Red, NeighborNets: nets("128.0.0.0/8")},
			manual(),
			"931803523.006848 54.3776 http 7320 38891 206.132.179.35 128.32.162.134 RSTO U %103",
		},
		{
			"private space is not the user's",
			Config{Format: Red, With: History | UID},
			sample(),
			"1700000000.123456 0.812345 http 412 1256 203.0.114.7 10.0.0.1 SF X ShADadFf CmFvFkEcIfXkogFhd",
		},
		{"attempt", Config{Format: Red}, attempt, "1700000000.123456 ? priv-81 ? ? 203.0.114.7 10.0.0.1 S0 X"},
		{"attempt in text", Config{Format: Text}, attempt, "Nov 14 22:13:20 10.0.0.1 } 203.0.114.7/priv-81"},
		{"ping", Config{Format: Red, With: History}, ping, "1700000000.123456 0.812345 icmp-echo 412 ? 203.0.114.7 10.0.0.1 OTH X -"},
		{"ping in text", Config{Format: Text}, ping, "Nov 14 22:13:20 10.0.0.1 412b ?>? 203.0.114.7/icmp-echo ?b 0.8s"},
		{"udp", Config{Format: Red}, query, "1700000000.123456 0.812345 uother-5353 412 1256 203.0.114.7 10.0.0.1 SF X"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := write(t, tt.cfg, tt.conn); got != tt.want+"\n" {
				t.Errorf("want %s\n got %s", tt.want, got)
			}
		})
	}
}

func TestScreen(t *testing.T) {
	refused := sample()
	refused.State, refused.Resp.Port, refused.History = tracker.REJ, 81, []byte("Sr")
	aborted := sample()
	aborted.State, aborted.Resp.Bytes, aborted.History = tracker.RSTO, 2103004, []byte("ShADadgR")
	aborted.MissedBytes, aborted.Service = 10, "ssl"
	wide := sample()
	wide.Orig.Addr, wide.Resp.Addr = addr("2001:db8:1111:2222:3333:4444:5555:6666"), addr("2001:db8::1")
	conns := []*tracker.Conn{sample(), refused, aborted, wide, sample()}
	want := `
22:13:20  10.0.0.1:40000     412b  >   203.0.114.7:80/http    1256b  0.8s  SF    ShADadFf
22:13:20  10.0.0.1:40000           [   203.0.114.7:81                      REJ   Sr
22:13:20  10.0.0.1:40000     412b  >]  203.0.114.7:80/ssl  2103004b  0.8s  RSTO  ShADadgR
22:13:20  [2001:db8:1111:2222:3333:4444:5555:6666]:40000   412b  >   [2001:db8::1]:80/http    1256b  0.8s  SF    ShADadFf
22:13:20  10.0.0.1:40000     412b  >   203.0.114.7:80/http      1256b  0.8s  SF    ShADadFf
`
	if got := "\n" + write(t, Config{Format: Text, Terminal: true}, conns...); got != want {
		t.Errorf("want%s\n got%s", want, got)
	}
	got := write(t, Config{Format: Text, Terminal: true, Color: true}, refused, aborted)
	want = "22:13:20  10.0.0.1:40000           \x1b[31m[\x1b[0m   203.0.114.7:81                    \x1b[31mREJ\x1b[0m   Sr\n" +
		"22:13:20  10.0.0.1:40000     412b  \x1b[31m>]\x1b[0m  203.0.114.7:80/ssl 2103004b  0.8s  \x1b[31mRSTO\x1b[0m  \x1b[1mShADadgR\x1b[0m\n"
	if got != want {
		t.Errorf("color: want\n%q\n got\n%q", want, got)
	}
}
