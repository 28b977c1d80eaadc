// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"encoding/binary"
)

// sniff matches the beginnings of both streams, v being the side's at hand,
// against the signatures of what needs no port (Zeek
// scripts/base/protocols/*/dpd.sig). It goes on until one matches, none can, or
// both sides have sent the first kilobyte.
func (m *Monitor) sniff(s *state, side int, v []byte) {
	var views [2][]byte
	if s.flags&(flagHopelessOrig<<side) == 0 {
		views[side] = v
	}
	if i := s.held[1-side]; i != 0 {
		views[1-side] = m.chunks.At(i).bytes()
	}
	o, r := views[orig], views[resp]
	n := signature(o, r)
	if n != 0 && n != s.active && n != s.failed && s.flags&(flagConfirmed|flagSniffed) == 0 {
		m.attach(s, side, n)
	}
	if n != 0 || len(v)+len(views[1-side]) > sniffLimit || s.segments > sniffSegments ||
		s.isHopeless(orig, o) && s.isHopeless(resp, r) {
		s.flags |= flagSniffed
	}
}

// isHopeless tells, and remembers, that no signature will match a side's stream,
// which begins so or is remembered to be hopeless.
func (s *state) isHopeless(side int, b []byte) bool {
	flag := flagHopelessOrig << side
	if s.flags&flag == 0 && isHopeless(b) {
		s.flags |= flag
	}
	return s.flags&flag != 0
}

// isHopeless tells that no signature will match a stream that none has matched
// yet: those that look beyond the first bytes, or wait for the other side, are of
// lines of text or begin with these bytes.
func isHopeless(b []byte) bool {
	if len(b) < 16 {
		return false
	}
	switch b[0] {
	case 0x00, 0x03, 0x04, 0x05, 0x30: // PostgreSQL, RDP, SOCKS, LDAP
		return false
	}
	for _, c := range b[:4] {
		if c >= 0x7f || c < ' ' && c != '\r' && c != '\n' && c != '\t' {
			return true
		}
	}
	return false
}

// signature is the protocol that the streams' beginnings match, 0 for none.
func signature(o, r []byte) Name {
	switch {
	case isHTTPRequest(o) || isHTTPReply(r):
		return HTTP
	case isTLSHello(o) || isTLSHello(r):
		return SSL
	case isSSHBanner(o) && isSSHBanner(r):
		return SSH
	case isSOCKS(o, r) || isSOCKS(r, o):
		return SOCKS
	case isSMB(o) || isSMB(r):
		return SMB
	case isDCERPC(o) || isDCERPC(r):
		return DCERPC
	case len(o) > 4 && isKRB(o[4:], false) || len(r) > 4 && isKRB(r[4:], true):
		return KRBTCP
	case isDNP3(r):
		return DNP3TCP
	case isMQTT(o):
		return MQTT
	case isRFB(o) && isRFB(r):
		return RFB
	case isRDP(o, r):
		return RDP
	case isXMPP(o):
		return XMPP
	case isPostgreSQL(o, r):
		return PostgreSQL
	case isLDAPBind(o) && len(r) > 0 && r[0] == 0x30:
		return LDAPTCP
	case len(r) > 0:
		return textSignature(o, r)
	}
	return 0
}

// textSignature are the signatures that both sides' lines must match.
func textSignature(o, r []byte) Name {
	switch {
	case isSMTPGreeting(r) && (hasLine(o, "HELO") || hasLine(o, "EHLO")):
		return SMTP
	case isFTPGreeting(r) && hasLine(o, "USER "):
		return FTP
	case bytes.HasPrefix(r, []byte("+OK")) && isPOP3Command(o):
		return POP3
	case hasLine(o, "USER ") && hasLine(o, "NICK ") && isIRCReply(r):
		return IRC
	}
	return 0
}

// hasLine tells whether a line of the text begins with the prefix, upper or lower
// case, after blanks.
func hasLine(b []byte, prefix string) bool {
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		for len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			line = line[1:]
		}
		if hasPrefixFold(line, prefix) {
			return true
		}
	}
	return false
}

// hasPrefixFold compares with a prefix in upper case, whatever the case of b.
func hasPrefixFold(b []byte, prefix string) bool {
	if len(b) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if upper(b[i]) != prefix[i] {
			return false
		}
	}
	return true
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isLetter(c byte) bool { c = upper(c); return 'A' <= c && c <= 'Z' }

func isBlank(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func skipBlanks(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

// word splits off the first word, up to a blank.
func word(b []byte) (first, rest []byte) {
	for i, c := range b {
		if isBlank(c) {
			return b[:i], skipBlanks(b[i:])
		}
	}
	return b, nil
}

// line splits off the first line of a side's stream, without its end, and returns
// how many bytes it takes. It is not ok if there is no line: if it isn't complete
// (n is 0), if its beginning is missing, or if no chunk can hold it. Of HTTP the
// beginning of a line as long as that is good enough.
func (s *state) line(side int, b []byte) (text []byte, n int, ok bool) {
	d := &s.side[side]
	n = bytes.IndexByte(b, '\n') + 1
	switch {
	case n == 0 && d.flags&sideResync != 0:
		return nil, len(b), false
	case n == 0 && len(b) < chunkSize:
		return nil, 0, false
	case n == 0:
		d.flags |= sideResync
		return b[:chunkSize], len(b), s.active == HTTP
	case d.flags&sideResync != 0:
		d.flags &^= sideResync
		return nil, n, false
	}
	text = b[:n-1]
	for len(text) > 0 && text[len(text)-1] == '\r' {
		text = text[:len(text)-1]
	}
	return text, n, true
}

// replyCode is the number of three digits that a line begins with, 0 if it
// doesn't.
func replyCode(b []byte) int {
	if len(b) < 3 || !isDigit(b[0]) || !isDigit(b[1]) || !isDigit(b[2]) {
		return 0
	}
	return int(b[0]-'0')*100 + int(b[1]-'0')*10 + int(b[2]-'0')
}

func be16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }

func be24(b []byte) int { return int(b[0])<<16 | be16(b[1:]) }

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

func le16(b []byte) int { return int(binary.LittleEndian.Uint16(b)) }

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
