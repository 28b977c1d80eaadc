// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/hex"
	"strings"
	"testing"
)

// message is a payload of one side, as it came in one segment.
type message struct {
	side    int
	payload string
}

// o and r are messages of the originator and the responder.
func o(payload string) message { return message{orig, payload} }
func r(payload string) message { return message{resp, payload} }

// fromHex reads bytes written as hex digits, blanks between them.
func fromHex(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// player plays an exchange to a monitor as one connection.
type player struct {
	monitor   *Monitor
	ref       Ref
	port      uint16
	partial   bool
	skips     bool // asks Skip first, as the tracker does
	skipped   int  // pieces that it took
	addr      [2]Addr
	position  [2]uint64
	delivered [2]uint64
	total     uint64
	effects   Effect
}

func newPlayer(m *Monitor, port uint16) *player {
	p := &player{monitor: m, port: port, position: [2]uint64{1, 1}, delivered: [2]uint64{1, 1}}
	p.addr[orig] = Addr{10: 0xff, 11: 0xff, 12: 10, 15: 1}
	p.addr[resp] = Addr{10: 0xff, 11: 0xff, 12: 10, 15: 2}
	return p
}

// segment shows a piece of a side's stream, of which the first have bytes are at
// hand.
func (p *player) segment(side int, at uint64, payload string, have int) {
	end := at + uint64(len(payload))
	p.total = max(p.position[orig], p.position[resp]) + uint64(len(payload))
	if p.skips && !p.ref.Decided() && have > 0 && p.monitor.Skip(p.ref, side, at, uint32(len(payload)), have) {
		p.skipped++
	} else if !p.ref.Decided() && have > 0 {
		g := Segment{
			Payload: []byte(payload[:have]), Position: at, Delivered: p.delivered, Total: p.total,
			Length: uint32(len(payload)), Side: side, Partial: p.partial, Port: p.port, Addr: &p.addr,
		}
		p.effects |= p.monitor.TCP(&p.ref, &g)
	}
	if at <= p.delivered[side] {
		p.delivered[side] = max(p.delivered[side], end)
	}
	p.position[side] = max(p.position[side], end)
}

func (p *player) play(exchange []message) {
	for _, msg := range exchange {
		p.segment(msg.side, p.position[msg.side], msg.payload, len(msg.payload))
	}
}

// end closes both streams.
func (p *player) end() {
	for side := range 2 {
		g := Segment{Delivered: p.delivered, Total: p.total, Side: side, Partial: p.partial, Port: p.port, Addr: &p.addr}
		p.effects |= p.monitor.End(&p.ref, &g)
	}
}

func (p *player) service() string { return p.monitor.Service(p.ref) }

// Pieces of payload that several exchanges share.
var (
	clientHello = fromHex("16 03 01 00 31 01 00 00 2d 03 03") + strings.Repeat("\x07", 32) + fromHex("00 00 02 13 01 01 00 00 02 00 00")
	serverHello = fromHex("16 03 03 00 2a 02 00 00 26 03 03") + strings.Repeat("\x09", 32) + fromHex("00 13 01 00")
	tlsData     = fromHex("17 03 03 00 05 01 02 03 04 05")

	httpRequest = "GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n"
	httpReply   = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

	sshKeys = fromHex("00 00 00 1c 0a 14") + strings.Repeat("k", 26)
	newKeys = fromHex("00 00 00 0c 0a 15") + strings.Repeat("\x00", 10)

	ntlmNegotiate = "NTLMSSP\x00\x01\x00\x00\x00" + strings.Repeat("\x00", 20)
	spnego        = fromHex("60 28 06 06 2b 06 01 05 05 02 a0 1e") + strings.Repeat("\x30", 30)
)

// smb2 is a message of SMB 2 whose body has a security blob or data at its end.
func smb2(command byte, reply bool, body, blob string) string {
	header := []byte(fromHex("fe 53 4d 42 40 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00") + strings.Repeat("\x00", 44))
	header[12] = command
	if reply {
		header[16] = 1
	}
	text := string(header) + body + blob
	return string([]byte{0, 0, byte(len(text) >> 8), byte(len(text))}) + text
}

func le(n int) string { return string([]byte{byte(n), byte(n >> 8)}) }

var (
	smb2Negotiate      = smb2(0, false, strings.Repeat("\x24", 36), "")
	smb2NegotiateReply = smb2(0, true, strings.Repeat("\x41", 56)+le(128)+le(len(spnego))+"\x00\x00\x00\x00", spnego)
	smb2Setup          = smb2(1, false, strings.Repeat("\x19", 12)+le(88)+le(len(ntlmNegotiate))+strings.Repeat("\x00", 8), ntlmNegotiate)
	smb2SetupReply     = smb2(1, true, "\x09\x00\x00\x00"+le(72)+le(len(ntlmNegotiate)), ntlmNegotiate)
	dceBind            = fromHex("05 00 0b 03 10 00 00 00 20 00 00 00 01 00 00 00") + strings.Repeat("\x00", 16)
	smb2WritePipe      = smb2(9, false, "\x31\x00"+le(112)+le(len(dceBind))+"\x00\x00"+strings.Repeat("\x00", 40), dceBind)

	krbRequest = fromHex("6a 20 30 1e a1 03 02 01 05 a2 03 02 01 0a") + strings.Repeat("\x00", 20)
	dnsQuery   = fromHex("12 34 01 00 00 01 00 00 00 00 00 00 07") + "example" + fromHex("03") + "org" + fromHex("00 00 01 00 01")
)

func withLength16(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

func withLength32(s string) string { return "\x00\x00" + withLength16(s) }

// exchanges are one or more for each protocol: what both sides send, and the
// service that Zeek gives them.
var exchanges = []struct {
	name     string
	port     uint16
	exchange []message
	want     string
	// cut is the service when each segment is cut to 64 bytes; "=" for the same.
	cut string
	// whole: the segments' borders matter.
	whole bool
}{
	{name: "HTTP", port: 80, exchange: []message{o(httpRequest), r(httpReply)}, want: "http", cut: "="},
	{name: "HTTP on any port", port: 4711, exchange: []message{o(httpRequest), r(httpReply)}, want: "http", cut: "="},
	{name: "HTTP with an address that no prefix holds", port: 80, exchange: []message{
		o("GET /" + strings.Repeat("a", 3000) + " HTTP/1.1\r\nHost: example.org\r\n\r\n"), r(httpReply),
	}, want: "http", cut: "="},
	{name: "HTTP that another request follows", port: 80, exchange: []message{
		o("POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), r(httpReply), o(httpRequest), r(httpReply),
	}, want: "http", cut: "="},
	{name: "HTTP that garbage follows", port: 80, exchange: []message{o(httpRequest), r(httpReply), o("\x00\x00\x00\x00\r\n")}, want: "", cut: "="},
	{name: "a reply that is none", port: 80, exchange: []message{o(httpRequest), r("220 ready\r\n")}, want: "", cut: "="},
	{name: "CONNECT, then TLS", port: 3128, exchange: []message{
		o("CONNECT example.org:443 HTTP/1.1\r\n\r\n"), r("HTTP/1.1 200 Connection established\r\n\r\n"), o(clientHello), r(serverHello),
	}, want: "http,ssl", cut: "="},
	{name: "CONNECT, refused", port: 3128, exchange: []message{
		o("CONNECT example.org:443 HTTP/1.1\r\n\r\n"), r("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),
	}, want: "http", cut: "="},
	{name: "WebSocket", port: 80, exchange: []message{
		o("GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
		r("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
		o(fromHex("81 85 01 02 03 04") + "iggnn"), r(fromHex("81 05") + "hello"),
	}, want: "http,websocket", cut: "http"},
	{name: "TLS", port: 443, exchange: []message{o(clientHello), r(serverHello), o(tlsData), r(tlsData)}, want: "ssl", cut: "="},
	{name: "TLS on any port", port: 9999, exchange: []message{o(clientHello), r(serverHello)}, want: "ssl", cut: "="},
	{name: "TLS that the server does not speak", port: 443, exchange: []message{o(clientHello), r("HTTP/1.0 400 Bad request\r\n\r\n")}, want: "", cut: "="},
	{name: "SSL 2", port: 443, exchange: []message{o(fromHex("80 1c 01 03 01 00 03 00 00 00 10 01 00 80") + strings.Repeat("c", 16))}, want: "ssl", cut: "="},
	{name: "SSL 2, the server seen alone", port: 443, exchange: []message{
		r(fromHex("80 26 04 00 01 00 02") + strings.Repeat("\x00", 33)),
		r("\x00\x28\x07" + strings.Repeat("\xe7", 39)), r("\x00\x18\x07"),
	}, want: "", cut: "="},
	{name: "SSH", port: 22, exchange: []message{r("SSH-2.0-OpenSSH_9.6\r\n"), o("SSH-2.0-client\r\n"), o(sshKeys), r(sshKeys), o(newKeys)}, want: "ssh", cut: "="},
	{name: "SSH on any port", port: 2222, exchange: []message{r("SSH-2.0-OpenSSH_9.6\r\n"), o("SSH-2.0-client\r\n"), r(sshKeys + newKeys)}, want: "ssh", cut: "="},
	{name: "SSH, one side seen", port: 22, exchange: []message{o("SSH-2.0-client\r\n"), o(sshKeys), o(newKeys)}, want: "", cut: "="},
	{name: "FTP", port: 21, exchange: []message{r("220 ready\r\n"), o("USER anonymous\r\n"), r("331 password\r\n")}, want: "ftp", cut: "="},
	{name: "FTP on any port", port: 2121, exchange: []message{r("220 ready\r\n"), o("USER anonymous\r\n"), r("331 password\r\n")}, want: "ftp", cut: "="},
	{name: "FTP, answered by no number", port: 21, exchange: []message{o("USER anonymous\r\n"), r("what?\r\n")}, want: "", cut: "="},
	{name: "FTP over TLS", port: 21, exchange: []message{r("220 ready\r\n"), o("AUTH TLS\r\n"), r("234 go\r\n"), o(clientHello), r(serverHello)}, want: "ftp,ssl", cut: "="},
	{name: "GridFTP", port: 2811, exchange: []message{
		r("220 ready\r\n"), o("AUTH GSSAPI\r\n"), r("334 ADAT\r\n"),
		o("ADAT FgMBAGsBAABnAwFQW20Q\r\n"), r("335 ADAT=FgMB\r\n"), r("235 welcome\r\n"),
	}, want: "ftp,ssl,gridftp", cut: "="},
	{name: "SMTP", port: 25, exchange: []message{r("220 mail\r\n"), o("EHLO client\r\n"), r("250-mail\r\n250 HELP\r\n")}, want: "smtp", cut: "="},
	{name: "SMTP on any port", port: 2525, exchange: []message{r("220 mail\r\n"), o("EHLO client\r\n"), r("250 mail\r\n"), o("MAIL FROM:<a@b>\r\n")}, want: "smtp", cut: "="},
	{name: "SMTP over TLS", port: 25, exchange: []message{r("220 mail\r\n"), o("EHLO c\r\n"), r("250 STARTTLS\r\n"), o("STARTTLS\r\n"), r("220 go\r\n"), o(clientHello), r(serverHello)}, want: "smtp,ssl", cut: "="},
	{name: "a mail that looks like commands", port: 25, exchange: []message{
		r("220 mail\r\n"), o("DATA\r\n"), r("354 go\r\n"),
		o("Subject: x\r\n\r\nSTARTTLS\r\n.\r\n"), r("220 odd\r\n"), o(clientHello),
	}, want: "smtp", cut: "="},
	{name: "POP3", port: 110, exchange: []message{r("+OK ready\r\n"), o("USER a\r\n"), r("+OK\r\n")}, want: "pop3", cut: "="},
	{name: "POP3, commands in a row", port: 110, exchange: []message{r("+OK ready\r\n"), o("CAPA\r\nQUIT\r\n"), r("+OK\r\nTOP\r\n.\r\n"), r("+OK bye\r\n")}, want: "pop3", cut: "="},
	{name: "POP3 over TLS", port: 110, exchange: []message{r("+OK ready\r\n"), o("STLS\r\n"), r("+OK\r\n"), o(clientHello), r(serverHello)}, want: "pop3,ssl", cut: "="},
	{name: "IMAP over TLS", port: 143, exchange: []message{r("* OK ready\r\n"), o("a1 STARTTLS\r\n"), r("a1 OK go\r\n"), o(clientHello), r(serverHello)}, want: "imap,ssl", cut: "="},
	{name: "IRC", port: 6667, exchange: []message{o("NICK a\r\nUSER a b c :d\r\n"), r(":server 001 a :Welcome\r\n")}, want: "irc", cut: "="},
	{name: "IRC on any port", port: 7000, exchange: []message{o("NICK a\r\nUSER a b c :d\r\n"), r(":server 001 a :Welcome\r\n")}, want: "irc", cut: "="},
	{name: "IRC over TLS", port: 6667, exchange: []message{o("STARTTLS\r\n"), r(":server 670 * :go\r\n"), o(clientHello), r(serverHello)}, want: "irc,ssl", cut: "="},
	{name: "XMPP over TLS", port: 5222, exchange: []message{
		o("<?xml version='1.0'?><stream:stream xmlns='jabber:client'>"), r("<stream:stream><stream:features/>"),
		o("<starttls xmlns='t'/>"), r("<proceed xmlns='t'/>"), o(clientHello), r(serverHello),
	}, want: "xmpp,ssl", cut: "="},
	{name: "SMB 2 with NTLM", port: 445, exchange: []message{o(smb2Negotiate), r(smb2NegotiateReply), o(smb2Setup), r(smb2SetupReply)}, want: "gssapi,ntlm,smb", whole: true, cut: "-"},
	{name: "SMB 2 with a pipe", port: 445, exchange: []message{o(smb2Negotiate), r(smb2NegotiateReply), o(smb2Setup), r(smb2SetupReply), o(smb2WritePipe)}, want: "gssapi,ntlm,smb,dce_rpc", whole: true, cut: "-"},
	{name: "DCE/RPC", port: 135, exchange: []message{o(dceBind), r(dceBind)}, want: "dce_rpc", cut: "="},
	{name: "DCE/RPC on any port", port: 49152, exchange: []message{o(dceBind), r(dceBind)}, want: "dce_rpc", cut: "="},
	{name: "Kerberos", port: 88, exchange: []message{o(withLength32(krbRequest))}, want: "krb_tcp", cut: "="},
	{name: "DNS", port: 53, exchange: []message{o(withLength16(dnsQuery))}, want: "dns", cut: "="},
	{name: "Modbus", port: 502, exchange: []message{o(fromHex("00 01 00 00 00 06 01 03 00 00 00 01"))}, want: "modbus", cut: "="},
	{name: "not Modbus", port: 502, exchange: []message{o(httpRequest)}, want: "http", cut: "="},
	{name: "DNP3", port: 20000, exchange: []message{o(fromHex("05 64 05 c0 01 00 0a 00 e0 8c"))}, want: "dnp3_tcp", cut: "="},
	{name: "DNP3 with a wrong checksum", port: 20000, exchange: []message{o(fromHex("05 64 05 c0 01 00 0a 00 ff ff"))}, want: "", cut: "="},
	{name: "MySQL", port: 3306, exchange: []message{r(fromHex("0a 00 00 00 0a") + "8.0.0\x00abc"), o(fromHex("08 00 00 01 05 a6 0f 00 00 00 00 01"))}, want: "mysql", cut: "="},
	{name: "MySQL over TLS", port: 3306, exchange: []message{r(fromHex("0a 00 00 00 0a") + "8.0.0\x00abc"), o(fromHex("08 00 00 01 05 ae 0f 00 00 00 00 01")), o(clientHello), r(serverHello)}, want: "mysql,ssl", cut: "="},
	{name: "PostgreSQL over TLS", port: 5432, exchange: []message{o(fromHex("00 00 00 08 04 d2 16 2f")), r("S"), o(clientHello), r(serverHello)}, want: "postgresql,ssl", cut: "="},
	{name: "Redis", port: 6379, exchange: []message{o("*1\r\n$4\r\nPING\r\n"), r("+PONG\r\n")}, want: "redis", cut: "="},
	{name: "SOCKS 5, then HTTP", port: 1080, exchange: []message{o("\x05\x01\x00"), r("\x05\x00"), o("\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"), r("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"), o(httpRequest), r(httpReply)}, want: "socks,http", cut: "="},
	{name: "SOCKS 5 with a password", port: 1080, exchange: []message{o("\x05\x01\x02"), r("\x05\x02"), o("\x01\x01a\x01b"), r("\x01\x00"), o("\x05\x01\x00\x03\x01x\x00\x50"), r("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")}, want: "socks", cut: "="},
	{name: "SOCKS 4, then TLS", port: 1081, exchange: []message{o("\x04\x01\x00\x50\x0a\x00\x00\x01\x00"), r("\x00\x5a\x00\x00\x00\x00\x00\x00"), o(clientHello), r(serverHello)}, want: "socks,ssl", cut: "="},
	{name: "RDP", port: 3389, exchange: []message{o(fromHex("03 00 00 0b 06 e0 00 00 00 00 00")), r(fromHex("03 00 00 0b 06 d0 00 00 00 00 00")), o(fromHex("03 00 00 12 02 f0 80 7f 65 00") + "Duca\x81\x00\x00\x00")}, want: "rdp", cut: "="},
	{name: "RDP over TLS", port: 3389, exchange: []message{o(fromHex("03 00 00 0b 06 e0 00 00 00 00 00")), r(fromHex("03 00 00 13 0e d0 00 00 12 34 00 02 00 08 00 01 00 00 00")), o(clientHello), r(serverHello)}, want: "ssl", cut: "="},
	{name: "RFB", port: 5900, exchange: []message{r("RFB 003.008\n"), o("RFB 003.008\n")}, want: "rfb", cut: "="},
	{name: "MQTT", port: 1883, exchange: []message{o(fromHex("10 0e 00 04") + "MQTT" + fromHex("04 02 00 3c 00 02") + "id")}, want: "mqtt", cut: "="},
	{name: "LDAP", port: 389, exchange: []message{o(fromHex("30 0c 02 01 01 60 07 02 01 03 04 00 80 00"))}, want: "ldap_tcp", cut: "="},
	{name: "Finger", port: 79, exchange: []message{o("root\r\n"), r("Login: root\r\n")}, want: "finger", cut: "="},
	{name: "nothing that is known", port: 4711, exchange: []message{o(strings.Repeat("\x01\x80", 300)), r(strings.Repeat("\xff", 600))}, want: "", cut: "="},
}

func TestExchanges(t *testing.T) {
	for _, tt := range exchanges {
		t.Run(tt.name, func(t *testing.T) {
			m := New()
			p := newPlayer(m, tt.port)
			p.play(tt.exchange)
			p.end()
			if got := p.service(); got != tt.want {
				t.Errorf("want %q, got %q", tt.want, got)
			}
			m.Close(p.ref)
			checkEmpty(t, m)
		})
	}
}

// checkEmpty checks that a monitor without connections holds nothing.
func checkEmpty(t *testing.T, m *Monitor) {
	t.Helper()
	if n := m.Held(); n != 0 {
		t.Errorf("want nothing held, got %d", n)
	}
}

// TestExchangesInPieces plays the exchanges byte by byte, in halves that come in
// the wrong order, and each segment twice: all the same to Zeek.
func TestExchangesInPieces(t *testing.T) {
	for _, tt := range exchanges {
		if tt.whole {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			bytewise, swapped, twice := newPlayer(New(), tt.port), newPlayer(New(), tt.port), newPlayer(New(), tt.port)
			for _, msg := range tt.exchange {
				step := 1 + len(msg.payload)/100 // more pieces than unconfirmedLimit are none's
				for i := 0; i < len(msg.payload); i += step {
					piece := msg.payload[i:min(i+step, len(msg.payload))]
					bytewise.segment(msg.side, bytewise.position[msg.side], piece, len(piece))
				}
				at, half := swapped.position[msg.side], len(msg.payload)-min(len(msg.payload)/2, 1000)
				first, second := msg.payload[:half], msg.payload[half:]
				swapped.segment(msg.side, at+uint64(half), second, len(second))
				swapped.segment(msg.side, at, first, len(first))
				swapped.delivered[msg.side] = swapped.position[msg.side]
				at = twice.position[msg.side]
				for range 2 {
					twice.segment(msg.side, at, msg.payload, len(msg.payload))
				}
			}
			for name, p := range map[string]*player{"byte by byte": bytewise, "halves swapped": swapped, "twice": twice} {
				p.end()
				if got := p.service(); got != tt.want {
					t.Errorf("%s: want %q, got %q", name, tt.want, got)
				}
			}
		})
	}
}

// TestExchangesCut plays what a live capture passes on: of each side's first four
// segments the first 64 bytes.
func TestExchangesCut(t *testing.T) {
	const prefix, segments = 64, 4
	for _, tt := range exchanges {
		if tt.cut == "-" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			p := newPlayer(New(), tt.port)
			var seen [2]int
			for _, msg := range tt.exchange {
				have := 0
				if seen[msg.side]++; seen[msg.side] <= segments {
					have = min(prefix, len(msg.payload))
				}
				p.segment(msg.side, p.position[msg.side], msg.payload, have)
			}
			want := tt.cut
			if want == "=" {
				want = tt.want
			}
			if got := p.service(); got != want {
				t.Errorf("want %q, got %q", want, got)
			}
		})
	}
}
