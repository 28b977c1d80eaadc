// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"encoding/base64"
)

// ftpLongestCommand is Zeek's FTP::max_command_length: a longer one is unknown.
const ftpLongestCommand = 100

// Bits of the analyzer's word.
const (
	ftpAuthTLS    = 1 << 16 // AUTH TLS came last of the AUTHs
	ftpAuthGSSAPI = 1 << 17 // AUTH GSSAPI did, and was accepted with 334
	ftpReplyCode  = 1<<16 - 1
	ftpPassive227 = 227
	ftpPassive229 = 229
)

// ftp takes commands and replies, and announces data connections (Zeek
// src/analyzer/protocol/ftp/FTP.cc; base/protocols/ftp/main.zeek).
func (m *Monitor) ftp(s *state, side int, b []byte) int {
	text, n, ok := s.line(side, b)
	if !ok || len(text) == 0 {
		return n
	}
	if side == orig {
		m.ftpCommand(s, text)
	} else {
		m.ftpReply(s, text)
	}
	return n
}

func (m *Monitor) ftpCommand(s *state, text []byte) {
	command, rest := word(skipBlanks(text))
	if !isFTPCommand(command) || len(command) > ftpLongestCommand {
		return
	}
	m.confirm(s)
	m.effect |= Interactive
	switch {
	case hasPrefixFold(command, "AUTH"):
		s.word &^= ftpAuthTLS | ftpAuthGSSAPI
		switch string(rest) {
		case "TLS":
			s.word |= ftpAuthTLS
		case "GSSAPI":
			s.word |= ftpAuthGSSAPI
		}
	case hasPrefixFold(command, "ADAT") && s.word&ftpAuthGSSAPI != 0:
		var first [12]byte
		if n, err := base64.StdEncoding.Decode(first[:], rest[:min(len(rest), 16)]); err == nil && isTLSClientHello(first[:n]) {
			s.names.add(SSL)
		}
	case hasPrefixFold(command, "PORT"):
		if e, ok := commaEndpoint(rest); ok {
			m.expect(e, FTPData)
		}
	case hasPrefixFold(command, "EPRT"):
		if e, ok := barEndpoint(rest); ok {
			m.expect(e, FTPData)
		}
	}
}

// isFTPCommand tells whether a word may be a command: three printable characters
// or more.
func isFTPCommand(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(b) >= 3
}

// ftpReply takes a line of a reply; the word keeps the code of one that goes on.
func (m *Monitor) ftpReply(s *state, text []byte) {
	code := replyCode(text)
	if pending := int(s.word & ftpReplyCode); pending != 0 {
		if code != pending || len(text) > 3 && text[3] != ' ' {
			return
		}
		s.word &^= ftpReplyCode
	} else {
		switch {
		case code < 100, len(text) > 3 && text[3] != ' ' && text[3] != '-':
			m.violation(s)
			return
		case len(text) > 3 && text[3] == '-':
			s.word |= uint32(code)
			return
		}
	}
	switch {
	case code == 234 && s.word&ftpAuthTLS != 0:
		m.begin(s, SSL)
	case code == 235 && s.word&ftpAuthGSSAPI != 0 && s.names.has(SSL):
		s.names.add(GridFTP) // base/protocols/ftp/gridftp.zeek
	case code == ftpPassive227:
		if e, ok := commaEndpoint(afterParenthesis(text)); ok {
			if e.addr == anyIPv4 {
				e.addr = m.at.Addr[resp]
			}
			m.expect(e, FTPData)
		}
	case code == ftpPassive229:
		if port, ok := barPort(afterParenthesis(text)); ok {
			m.expect(endpoint{m.at.Addr[resp], port}, FTPData)
		}
	}
}

var anyIPv4 = Addr{10: 0xff, 11: 0xff}

// afterParenthesis is what an opening parenthesis is followed by or, without one,
// the first digit behind the reply's code.
func afterParenthesis(text []byte) []byte {
	if i := bytes.IndexByte(text, '('); i >= 0 {
		return text[i+1:]
	}
	text = text[3:]
	for len(text) > 0 && !isDigit(text[0]) {
		text = text[1:]
	}
	return text
}

// commaEndpoint reads h1,h2,h3,h4,p1,p2 (RFC 959, 4.1.2).
func commaEndpoint(b []byte) (e endpoint, ok bool) {
	var v [6]byte
	for i := range v {
		n, rest, found := leadingNumber(b)
		if !found || n > 255 {
			return e, false
		}
		v[i], b = byte(n), rest
		if i < 5 {
			if len(b) == 0 || b[0] != ',' {
				return e, false
			}
			b = b[1:]
		}
	}
	e.addr = anyIPv4
	copy(e.addr[12:], v[:4])
	e.port = uint16(v[4])<<8 | uint16(v[5])
	return e, true
}

func leadingNumber(b []byte) (n uint32, rest []byte, ok bool) {
	i := 0
	for i < len(b) && isDigit(b[i]) && i < 10 {
		i++
	}
	return number(b[:i]), b[i:], i > 0
}

// barEndpoint reads |1|192.0.2.1|6446| and |2|2001:db8::1|6446| (RFC 2428, 2).
func barEndpoint(b []byte) (e endpoint, ok bool) {
	if len(b) < 4 {
		return e, false
	}
	parts := bytes.SplitN(b, b[:1], 5)
	if len(parts) < 4 {
		return e, false
	}
	port, _, ok := leadingNumber(parts[3])
	if !ok || port > 0xffff {
		return e, false
	}
	e.port = uint16(port)
	e.addr, ok = parseAddr(parts[2])
	return e, ok
}

// barPort reads |||6446| (RFC 2428, 3).
func barPort(b []byte) (port uint16, ok bool) {
	if len(b) < 4 || b[0] != b[1] || b[1] != b[2] {
		return 0, false
	}
	n, _, ok := leadingNumber(b[3:])
	return uint16(n), ok && n <= 0xffff
}

func isFTPGreeting(b []byte) bool {
	code := replyCode(b)
	return (code == 120 || code == 220) && (hasLine(b, "230") || hasLine(b, "331"))
}

// guessCommand takes the beginning of a client's line for a command.
func (m *Monitor) guessCommand(s *state, side int, prefix []byte) {
	if side != orig {
		return
	}
	command, rest := word(prefix)
	if len(rest) == 0 {
		return
	}
	if s.active == FTP && isFTPCommand(command) || s.active == SMTP && isSMTPCommand(command) {
		m.confirm(s)
	}
}
