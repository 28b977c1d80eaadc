// SPDX-License-Identifier: Apache-2.0

package service

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"
)

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for n := Name(1); int(n) < nameCount; n++ {
		s := n.String()
		if s == "" || seen[s] || s != strings.ToLower(s) {
			t.Errorf("name %d is %q: empty, twice, or not lower case", n, s)
		}
		seen[s] = true
	}
	if got := Name(200).String(); got != "?" {
		t.Errorf("want ? for no name, got %q", got)
	}
}

func TestStateSize(t *testing.T) {
	if n := unsafe.Sizeof(state{}); n > 128 {
		t.Errorf("want a state of 128 bytes at most, got %d", n)
	}
}

func TestAddAndRemove(t *testing.T) {
	m := New()
	var ref Ref
	for _, tt := range []struct {
		add, remove Name
		want        string
	}{
		{DNS, 0, "dns"},
		{DNS, 0, "dns"},
		{VXLAN, 0, "dns,vxlan"},
		{0, DNS, "vxlan"},
		{Teredo, 0, "vxlan,teredo"},
		{SSL, 0, "vxlan,teredo,ssl"},
		{HTTP, 0, "vxlan,teredo,ssl,http"},
		{0, SSL, "vxlan,teredo,http"},
		{0, FTP, "vxlan,teredo,http"},
	} {
		if tt.add != 0 {
			m.Add(&ref, tt.add)
		} else {
			m.Remove(&ref, tt.remove)
		}
		if got := m.Service(ref); got != tt.want {
			t.Errorf("after add %v, remove %v: want %q, got %q", tt.add, tt.remove, tt.want, got)
		}
	}
	m.Close(ref)
	checkEmpty(t, m)
}

// TestDecided checks that a settled connection needs no state, and is told to be.
func TestDecided(t *testing.T) {
	m := New()
	p := newPlayer(m, 22)
	p.play([]message{r("SSH-2.0-a\r\n"), o("SSH-2.0-b\r\n"), o(sshKeys + newKeys)})
	if !p.ref.Decided() || m.states.Used() != 0 || m.chunks.Used() != 0 {
		t.Errorf("want decided without state, got %v, %d states, %d chunks", p.ref.Decided(), m.states.Used(), m.chunks.Used())
	}
	if p.effects != Interactive {
		t.Errorf("want the effect of an interactive protocol, got %v", p.effects)
	}
}

// TestSkip plays random exchanges with and without Skip, which must not show.
func TestSkip(t *testing.T) {
	openings := []string{
		clientHello, serverHello, tlsData, httpRequest, httpReply, "SSH-2.0-a\r\n", "220 a ESMTP\r\n", "EHLO b\r\n", "+OK\r\n", "hello",
		smb2(0, false, strings.Repeat("\x00", 36), ""), sshKeys,
	}
	one, other := New(), New()
	skipped, named := 0, 0
	for seed := range uint64(5000) {
		random := rand.New(rand.NewPCG(seed, 7))
		port := []uint16{80, 443, 445, 22, 25, 9000, 9000, 9000}[random.IntN(8)]
		plain, skipper := newPlayer(one, port), newPlayer(other, port)
		skipper.skips = true
		for i := range 2 + random.IntN(30) {
			side, payload := random.IntN(2), openings[random.IntN(len(openings))]
			if random.IntN(3) > 0 {
				b := make([]byte, 1+random.IntN(40)*random.IntN(40))
				for i := range b {
					b[i] = byte(random.Uint32())
				}
				payload = string(b)
			}
			if i > 2 && random.IntN(4) > 0 { // long runs of one side
				side = int(seed & 1)
			}
			at, have := plain.position[side], len(payload)
			switch random.IntN(20) {
			case 0:
				at += uint64(random.IntN(50))
			case 1:
				at = max(at-uint64(random.IntN(50)), 1)
			case 2:
				have = min(have, 64)
			}
			skipper.segment(side, at, payload, have)
			plain.segment(side, at, payload, have)
			if random.IntN(10) == 0 { // acknowledged, and so given up
				plain.delivered[side], skipper.delivered[side] = plain.position[side], plain.position[side]
			}
			if plain.service() != skipper.service() {
				t.Fatalf("seed %d, piece %d: want %q, got %q", seed, i, plain.service(), skipper.service())
			}
		}
		plain.end()
		skipper.end()
		if plain.service() != "" {
			named++
		}
		if plain.service() != skipper.service() || plain.effects != skipper.effects {
			t.Fatalf("seed %d: want %q and effects %v, got %q and %v",
				seed, plain.service(), plain.effects, skipper.service(), skipper.effects)
		}
		one.Close(plain.ref)
		other.Close(skipper.ref)
		skipped += skipper.skipped
	}
	if skipped < 1000 || named < 100 {
		t.Errorf("only %d pieces were skipped, %d exchanges named", skipped, named)
	}
}

func TestViolationAfterTenKilobytes(t *testing.T) {
	p := newPlayer(New(), 21)
	p.play([]message{r("220 ready\r\n"), o("USER a\r\n")})
	p.position[orig] += violationLimit
	p.delivered[orig] += violationLimit
	p.play([]message{r("no number\r\n")})
	if got := p.service(); got != "ftp" {
		t.Errorf("want ftp kept after 10,240 bytes, got %q", got)
	}
}

func TestGap(t *testing.T) {
	tests := []struct {
		name     string
		port     uint16
		exchange []message
		missing  int // before the last message, of its side
		want     string
	}{
		{"a line goes on", 21, []message{r("220 ready\r\n"), o("US"), o("ER a\r\n")}, 5, "ftp"},
		{"no violation behind a gap", 21, []message{o("USER a\r\n"), r("no number\r\n")}, 5, "ftp"},
		{"a body may have holes", 80, []message{o(httpRequest), r("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"), r("0123456789")}, 10, "http"},
		{"keys may have holes", 22, []message{r("SSH-2.0-a\r\n"), o("SSH-2.0-b\r\n"), o(sshKeys[:6]), o(sshKeys[16:] + newKeys)}, 10, "ssh"},
		{"a banner may not", 22, []message{r("SSH-2.0-a\r\n"), o("SSH-2.0-b\r\n" + sshKeys + newKeys)}, 3, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := New()
			p := newPlayer(m, tt.port)
			last := len(tt.exchange) - 1
			p.play(tt.exchange[:last])
			side := tt.exchange[last].side
			p.position[side] += uint64(tt.missing)
			p.delivered[side] += uint64(tt.missing)
			p.play(tt.exchange[last:])
			p.end()
			if got := p.service(); got != tt.want {
				t.Errorf("want %q, got %q", tt.want, got)
			}
			m.Close(p.ref)
			checkEmpty(t, m)
		})
	}
}

// TestPartial checks connections picked up in midstream: what Zeek does not parse
// there, and what it does.
func TestPartial(t *testing.T) {
	for _, tt := range []struct {
		port     uint16
		exchange []message
		want     string
	}{
		{80, []message{o(httpRequest), r(httpReply)}, ""},
		{443, []message{o(clientHello), r(serverHello)}, ""},
		{21, []message{o("USER a\r\n"), r("no number\r\n")}, "ftp"},
	} {
		p := newPlayer(New(), tt.port)
		p.partial = true
		p.play(tt.exchange)
		if got := p.service(); got != tt.want {
			t.Errorf("port %d: want %q, got %q", tt.port, tt.want, got)
		}
	}
}

// TestFlip checks that after a flip of roles ports say nothing, and that a stream
// that has begun goes on.
func TestFlip(t *testing.T) {
	m := New()
	p := newPlayer(m, 25)
	m.Flip(&p.ref)
	p.play([]message{o("EHLO a\r\n"), r("250 b\r\n")})
	if got := p.service(); got != "" {
		t.Errorf("want no service by port after a flip, got %q", got)
	}
	p = newPlayer(m, 4711)
	p.play([]message{r("USER a\r\n")})
	m.Flip(&p.ref)
	p.position[orig], p.position[resp] = p.position[resp], p.position[orig]
	p.delivered = p.position
	p.play([]message{r("220 ready\r\n331 password\r\n")})
	if got := p.service(); got != "ftp" {
		t.Errorf("want ftp of a stream that was flipped, got %q", got)
	}
}

func TestExpected(t *testing.T) {
	server, other := Addr{10: 0xff, 11: 0xff, 12: 10, 15: 2}, Addr{10: 0xff, 11: 0xff, 12: 192, 14: 2, 15: 7}
	v6 := Addr{0x20, 0x01, 0x0d, 0xb8, 15: 1}
	tests := []struct {
		name     string
		port     uint16
		exchange []message
		addr     Addr
		expected uint16
		want     string
	}{
		{"PORT", 21, []message{o("PORT 192,0,2,7,4,1\r\n")}, other, 1025, "ftp-data"},
		{"PORT without its end", 21, []message{o("PORT 192,0,2,7,4\r\n")}, other, 1025, ""},
		{"PASV", 21, []message{o("PASV\r\n"), r("227 Entering Passive Mode (192,0,2,7,4,1)\r\n")}, other, 1025, "ftp-data"},
		{"PASV of any address", 21, []message{o("PASV\r\n"), r("227 =0,0,0,0,4,1\r\n")}, server, 1025, "ftp-data"},
		{"EPRT", 21, []message{o("EPRT |2|2001:db8::1|1025|\r\n")}, v6, 1025, "ftp-data"},
		{"EPRT of nonsense", 21, []message{o("EPRT |2|x|1025|\r\n")}, v6, 1025, ""},
		{"EPSV", 21, []message{o("EPSV\r\n"), r("229 Extended (|||1025|)\r\n")}, server, 1025, "ftp-data"},
		{"DCC SEND", 6667, []message{o("PRIVMSG a :\x01DCC SEND file 3221225991 1025 9\x01\r\n")}, other, 1025, "irc-dcc-data"},
		{"DCC CHAT", 6667, []message{o("PRIVMSG a :\x01DCC CHAT chat 3221225991 1025\x01\r\n")}, other, 1025, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := New()
			p := newPlayer(m, tt.port)
			p.play(tt.exchange)
			ref := m.Open(&tt.addr, tt.expected, 0)
			if got := m.Service(ref); got != tt.want || m.Expecting() != (tt.want != "") {
				t.Fatalf("want %q, got %q, expecting %v", tt.want, got, m.Expecting())
			}
			if late := m.Open(&tt.addr, tt.expected, int64(6*time.Minute)); late != 0 {
				t.Errorf("want nothing expected after five minutes, got %q", m.Service(late))
			}
			if m.Came(ref, &tt.addr, tt.expected); m.Expecting() {
				t.Errorf("want nothing expected after the connection came")
			}
		})
	}
}

// TestExpectedIsBounded announces more connections than are remembered.
func TestExpectedIsBounded(t *testing.T) {
	m := New()
	for i := range 3 * expectedLimit {
		m.Expect(Addr{13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}, uint16(i), FTPData, 0)
	}
	if n := len(m.expected); n > expectedLimit {
		t.Errorf("want %d expected connections at most, got %d", expectedLimit, n)
	}
	m.Expect(Addr{}, 1, FTPData, 2*expectFor)
	if n := len(m.expected); n != 1 {
		t.Errorf("want the expired ones forgotten, got %d", n)
	}
}

func TestDatagrams(t *testing.T) {
	dhcp := "\x01\x01\x06\x00" + strings.Repeat("\x00", 232) + "\x63\x82\x53\x63\xff"
	snmp := fromHex("30 0f 02 01 01 04 06") + "public" + fromHex("a0 00")
	dtls := fromHex("16 fe fd 00 00 00 00 00 00 00 00 00 30 01 00 00 24 00 00 00 00 00 00 00 24 fe fd") + strings.Repeat("\x00", 34)
	sip := "SIP/2.0 200 OK\r\n\r\n"
	rdp := fromHex("ff ff ff ff 04 00 00 01") + strings.Repeat("\x00", 1224)
	tests := []struct {
		name      string
		port      uint16
		datagrams []message
		want      string
	}{
		{"DHCP", 67, []message{o(dhcp)}, "dhcp"},
		{"DHCP on any port", 6767, []message{o(dhcp)}, "dhcp"},
		{"BOOTP", 67, []message{o(strings.Repeat("\x01", 300))}, ""},
		{"SNMP, answered", 161, []message{o(snmp), r(snmp)}, "snmp"},
		{"SNMP, not answered", 161, []message{o(snmp)}, ""},
		{"Kerberos", 88, []message{o(krbRequest)}, "krb"},
		{"Kerberos on any port", 8888, []message{o(krbRequest)}, "krb"},
		{"DTLS", 4433, []message{o(dtls)}, "dtls"},
		{"QUIC", 443, []message{o(fromHex("c3 00 00 00 01 08 01 02 03 04 05 06 07 08"))}, "quic"},
		{"SIP", 5060, []message{o("OPTIONS sip:a SIP/2.0\r\n\r\n"), r(sip)}, "sip"},
		{"SIP, not answered", 5060, []message{o("OPTIONS sip:a SIP/2.0\r\n\r\n")}, ""},
		{"RADIUS", 1812, []message{o("\x01\x00\x00\x14" + strings.Repeat("\x00", 16))}, "radius"},
		{"RDPEUDP", 3389, []message{o(rdp), r("\x00\x00\x00\x00\x04\x00\x00\x05")}, "rdpeudp"},
		{"RDPEUDP, not answered", 3389, []message{o(rdp), o(rdp)}, ""},
		{"DNP3", 20000, []message{o(fromHex("05 64 05 c0 01 00 0a 00 e0 8c"))}, "dnp3_udp"},
		{"LDAP", 389, []message{o(fromHex("30 0c 02 01 01 63 07 02 01 03 04 00 80 00"))}, "ldap_udp"},
		{"syslog", 514, []message{o("<34>Oct 11 22:14:15 a su: b")}, "syslog"},
		{"nothing that is known", 4711, []message{o(strings.Repeat("x", 600)), r(strings.Repeat("y", 600))}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := New()
			var ref Ref
			var total uint64
			for _, d := range tt.datagrams {
				total += uint64(len(d.payload))
				if !ref.Decided() {
					m.UDP(&ref, &Datagram{Payload: []byte(d.payload), Total: total, Length: len(d.payload), Side: d.side, Port: tt.port})
				}
			}
			if got := m.Service(ref); got != tt.want {
				t.Errorf("want %q, got %q", tt.want, got)
			}
			if total > sniffLimit && tt.port == 4711 && !ref.Decided() {
				t.Error("want an unknown protocol given up after the first kilobyte")
			}
		})
	}
}

func TestIsDNS(t *testing.T) {
	answer := dnsQuery[:7] + "\x01" + dnsQuery[8:] + fromHex("c0 0c 00 01 00 01 00 00 00 3c 00 04 c0 00 02 01")
	tests := []struct {
		name    string
		message string
		length  int
		want    bool
	}{
		{"a query", dnsQuery, 0, true},
		{"an answer", answer, 0, true},
		{"an answer without its end", answer[:len(answer)-2], 0, false},
		{"an answer whose end was not passed on", answer[:12], len(answer), true},
		{"a header that promises a question", dnsQuery[:12], 0, false},
		{"less than a header", dnsQuery[:11], 0, false},
		{"too many questions", dnsQuery[:4] + "\x01\x00" + dnsQuery[6:], 0, false},
		{"a name that leads nowhere", dnsQuery[:12] + "\x3fab", 0, false},
	}
	for _, tt := range tests {
		length := max(tt.length, len(tt.message))
		if got := IsDNS([]byte(tt.message), length); got != tt.want {
			t.Errorf("%s: want %v, got %v", tt.name, tt.want, got)
		}
	}
}

func TestIsNTP(t *testing.T) {
	for _, tt := range []struct {
		message string
		length  int
		want    bool
	}{
		{"\x23" + strings.Repeat("\x00", 47), 48, true},
		{"\x23" + strings.Repeat("\x00", 46), 47, false},
		{"\x16\x02" + strings.Repeat("\x00", 10), 12, true},
		{"\x16\x02" + strings.Repeat("\x00", 9) + "\x01", 12, false},
		{"\x17\x00\x03\x2a\x00\x00\x00\x00", 8, true},
		{"\x20", 1, true},
		{"", 0, false},
	} {
		if got := IsNTP([]byte(tt.message), tt.length); got != tt.want {
			t.Errorf("%x: want %v, got %v", tt.message, tt.want, got)
		}
	}
}

// TestUnknownPacket checks what gives the history its X.
func TestUnknownPacket(t *testing.T) {
	folded := strings.Repeat(" "+strings.Repeat("x", 999)+"\r\n", 140)
	for _, tt := range []struct {
		name     string
		port     uint16
		exchange []message
		want     bool
	}{
		{"an opcode of DNS", 53, []message{o(withLength16(dnsQuery[:2] + "\x08" + dnsQuery[3:]))}, true},
		{"a query of DNS", 53, []message{o(withLength16(dnsQuery))}, false},
		{"a header of a mail that is too long", 25, []message{o("HELO a\r\nDATA\r\nSubject: x\r\n" + folded)}, true},
		{"a body of a mail", 25, []message{o("HELO a\r\nDATA\r\nSubject: x\r\n\r\n" + folded)}, false},
	} {
		p := newPlayer(New(), tt.port)
		p.play(tt.exchange)
		if got := p.effects&UnknownPacket != 0; got != tt.want {
			t.Errorf("%s: want X %v, got %v", tt.name, tt.want, got)
		}
	}
}

// TestDoesNotAllocate checks the steady state: connections that come, are named
// and go.
func TestDoesNotAllocate(t *testing.T) {
	m := New()
	payloads := map[string][]byte{}
	for _, tt := range exchanges {
		for _, msg := range tt.exchange {
			payloads[msg.payload] = []byte(msg.payload)
		}
	}
	addr := new([2]Addr)
	run := func() {
		for i := range exchanges {
			tt := &exchanges[i]
			var ref Ref
			position := [2]uint64{1, 1}
			for _, msg := range tt.exchange {
				b := payloads[msg.payload]
				if !ref.Decided() {
					g := Segment{
						Payload: b, Position: position[msg.side], Delivered: position, Length: uint32(len(b)),
						Total: 100, Side: msg.side, Port: tt.port, Addr: addr,
					}
					m.TCP(&ref, &g)
				}
				position[msg.side] += uint64(len(b))
			}
			m.Service(ref)
			m.Close(ref)
		}
	}
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("want no allocation in %d connections, got %v", len(exchanges), n)
	}
}

// FuzzService plays arbitrary segments. Nothing may panic, what is held must be
// bounded, and free when the connection has closed.
func FuzzService(f *testing.F) {
	for _, tt := range exchanges {
		var script []byte
		for _, msg := range tt.exchange {
			b := []byte(msg.payload)
			for len(b) > 0 {
				n := min(len(b), 255)
				script = append(script, byte(msg.side), 0, byte(n))
				script = append(script, b[:n]...)
				b = b[n:]
			}
		}
		f.Add(tt.port, script)
	}
	f.Fuzz(func(t *testing.T, port uint16, script []byte) {
		m := New()
		p := newPlayer(m, port)
		for len(script) > 3 {
			flags, jump, n := script[0], int64(int8(script[1])), min(int(script[2]), len(script)-3)
			payload := string(script[3 : 3+n])
			script = script[3+n:]
			side := int(flags & 1)
			if flags&2 != 0 {
				payload += strings.Repeat(payload, int(flags>>4))
			}
			at := uint64(max(int64(p.position[side])+jump, 1))
			have := len(payload)
			if flags&4 != 0 {
				have = min(have, 64)
			}
			p.segment(side, at, payload, have)
			if flags&8 != 0 {
				p.delivered[side] = p.position[side]
			}
			if m.states.Used() > 1 || m.chunks.Used() > 4 {
				t.Fatalf("%d states and %d chunks for one connection", m.states.Used(), m.chunks.Used())
			}
			if script != nil && jump == 100 {
				m.Flip(&p.ref)
			}
		}
		p.end()
		for _, name := range strings.Split(p.service(), ",") {
			if name == "?" {
				t.Fatalf("service %q", p.service())
			}
		}
		m.Close(p.ref)
		checkEmpty(t, m)
	})
}
