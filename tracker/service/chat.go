// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// irc confirms at a client's command and announces what DCC sends (Zeek
// src/analyzer/protocol/irc/IRC.cc; base/protocols/irc/dcc-send.zeek).
func (m *Monitor) irc(s *state, side int, b []byte) int {
	text, n, ok := s.line(side, b)
	if !ok {
		return n
	}
	text = skipBlanks(text)
	if len(text) < 3 || len(text) > 512 {
		return n
	}
	if text[0] == ':' {
		_, text = word(text)
	}
	if len(text) < 3 {
		return n
	}
	if isDigit(text[0]) {
		m.ircReply(s, text)
		return n
	}
	command, rest := word(text)
	if side == orig && isIRCCommand(command) {
		m.confirm(s)
	}
	if hasPrefixFold(command, "PRIVMSG") && len(command) == len("PRIVMSG") {
		m.ircMessage(rest)
	}
	return n
}

func (m *Monitor) ircReply(s *state, text []byte) {
	code := replyCode(text)
	if code == 0 || len(text) < 4 || text[3] != ' ' {
		m.violation(s)
		return
	}
	if code == 670 {
		m.begin(s, SSL)
	}
}

// isIRCCommand tells whether a word may be a command (RFC 2812, 2.3.1).
func isIRCCommand(b []byte) bool {
	for _, c := range b {
		if !isLetter(c) {
			return false
		}
	}
	return len(b) >= 3 && len(b) <= 20
}

// ircMessage announces the connection of DCC SEND file address port size.
func (m *Monitor) ircMessage(rest []byte) {
	_, text := word(rest)
	text = bytes.TrimLeft(text, ": \x01")
	text = bytes.TrimRight(text, " \x01")
	if !bytes.HasPrefix(text, []byte("DCC SEND ")) {
		return
	}
	for range 3 {
		_, text = word(text)
	}
	addr, text := word(text)
	port, _ := word(text)
	a, p := number(addr), number(port)
	if a == 0 || p == 0 || p > 0xffff {
		return
	}
	e := endpoint{anyIPv4, uint16(p)}
	e.addr[12], e.addr[13], e.addr[14], e.addr[15] = byte(a>>24), byte(a>>16), byte(a>>8), byte(a)
	m.expect(e, IRCDCCData)
}

// isIRCReply tells whether a line is a number behind an optional prefix.
func isIRCReply(b []byte) bool {
	for len(b) > 0 {
		text, rest, _ := bytes.Cut(b, []byte{'\n'})
		if len(text) > 0 && text[0] == ':' {
			_, text = word(text)
		}
		if replyCode(text) != 0 {
			return true
		}
		b = rest
	}
	return false
}

// xmpp confirms at the client's stream and looks for STARTTLS (Zeek
// src/analyzer/protocol/xmpp/xmpp-analyzer.pac).
func (m *Monitor) xmpp(s *state, side int, b []byte) int {
	if b[0] < '\t' || b[0] >= 0xf5 || b[0] > '\r' && b[0] < ' ' {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	i := bytes.IndexByte(b, '>')
	if i < 0 {
		if len(b) < chunkSize {
			return 0
		}
		return len(b)
	}
	tag := b[:i]
	if j := bytes.LastIndexByte(tag, '<'); j >= 0 {
		tag = tag[j+1:]
	}
	switch {
	case side == orig && bytes.HasPrefix(tag, []byte("stream:stream")):
		m.confirm(s)
	case side == resp && bytes.HasPrefix(tag, []byte("proceed")):
		m.begin(s, SSL)
	}
	return i + 1
}

// isXMPP is the signature: a stream of a namespace of Jabber.
func isXMPP(b []byte) bool {
	if len(b) == 0 || b[0] != '<' {
		return false
	}
	i := bytes.Index(b, []byte("stream:stream"))
	return i >= 0 && bytes.Contains(b[i:], []byte("jabber:"))
}
