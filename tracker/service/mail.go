// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// Bits of the SMTP analyzer's word.
const (
	smtpStartTLS = 1 << iota // STARTTLS waits for its reply
	smtpDataSent             // DATA waits for its reply
	smtpInData               // the client sends a mail
	smtpInHeader             // its header
)

// mimeLongestHeader is how many bytes a mail's header field may take with its
// folded lines before Zeek gives it up (MIME::max_header_bytes).
const mimeLongestHeader = 128 << 10

// smtp takes commands, replies and mails (Zeek src/analyzer/protocol/smtp/SMTP.cc,
// ProcessLine).
func (m *Monitor) smtp(s *state, side int, b []byte) int {
	text, n, ok := s.line(side, b)
	if !ok {
		return n
	}
	if side == orig {
		m.smtpCommand(s, text)
	} else {
		m.smtpReply(s, text)
	}
	return n
}

func (m *Monitor) smtpCommand(s *state, text []byte) {
	if s.word&smtpInData != 0 {
		m.smtpMail(s, text)
		return
	}
	command, rest := word(text)
	if !isSMTPCommand(command) {
		return
	}
	m.confirm(s)
	s.word &^= smtpStartTLS | smtpDataSent
	switch {
	case hasPrefixFold(command, "STARTTLS"), hasPrefixFold(command, "X-ANONYMOUSTLS"):
		s.word |= smtpStartTLS
	case hasPrefixFold(command, "DATA"):
		s.word |= smtpDataSent | smtpInData | smtpInHeader
		s.side[orig].value = 0
	case hasPrefixFold(command, "BDAT"):
		s.skip[orig] = uint64(number(rest))
	}
}

// smtpMail looks for the end of a mail, and for header fields that take too much
// (Zeek src/analyzer/protocol/mime/MIME.cc, ContHeader).
func (m *Monitor) smtpMail(s *state, text []byte) {
	switch {
	case len(text) == 1 && text[0] == '.':
		s.word &^= smtpInData | smtpInHeader
	case len(text) == 0:
		s.word &^= smtpInHeader
	case s.word&smtpInHeader == 0:
	case text[0] != ' ' && text[0] != '\t':
		s.side[orig].value = uint32(len(text))
	case s.side[orig].value >= mimeLongestHeader:
		m.effect |= UnknownPacket
	default:
		s.side[orig].value += uint32(len(text))
	}
}

func (m *Monitor) smtpReply(s *state, text []byte) {
	code := replyCode(text)
	if code < 100 || code > 599 {
		if s.flags&(flagGapOrig|flagGapResp) == 0 {
			m.violation(s)
		}
		return
	}
	if len(text) > 3 && text[3] == '-' {
		return
	}
	if s.word&smtpDataSent != 0 {
		s.word &^= smtpDataSent
		if code != 354 {
			s.word &^= smtpInData | smtpInHeader
		}
	}
	if s.word&smtpStartTLS != 0 {
		s.word &^= smtpStartTLS
		if code == 220 {
			m.begin(s, SSL)
		}
	}
}

var smtpCommands = [...]string{
	"EHLO", "HELO", "MAIL", "RCPT", "DATA", "QUIT", "RSET", "VRFY", "EXPN", "HELP", "NOOP", "STARTTLS", "BDAT", "ETRN",
	"ERROR", "TURN", "SEND", "SOML", "SAML", "AUTH", "X-ANONYMOUSTLS",
}

func isSMTPCommand(b []byte) bool {
	for _, c := range smtpCommands {
		if len(b) == len(c) && hasPrefixFold(b, c) {
			return true
		}
	}
	return false
}

func isSMTPGreeting(b []byte) bool {
	return len(b) >= 4 && replyCode(b) == 220 && (b[3] == ' ' || b[3] == '-')
}

// The commands of POP3 whose answers matter.
const (
	pop3Other = 1 + iota
	pop3User
	pop3Capa
	pop3Stls
	pop3Auth
	pop3Many // the answer has many lines

	pop3Kind    = 7       // bits of a command; the word is a queue of them, the oldest lowest
	pop3Bits    = 3       // how many those are
	pop3Waiting = 9       // how many commands may wait
	pop3Listing = 1 << 31 // an answer of many lines comes

	// pop3Unknown is how many commands may be unknown (Zeek
	// POP3::max_unknown_client_commands).
	pop3Unknown = 10
)

// pop3 confirms when the server agrees to USER, CAPA or STLS, or to a login (Zeek
// src/analyzer/protocol/pop3/POP3.cc, ProcessReply).
func (m *Monitor) pop3(s *state, side int, b []byte) int {
	if m.at.Partial {
		m.stop(s)
		return len(b)
	}
	text, n, ok := s.line(side, b)
	if !ok {
		return n
	}
	if side == orig {
		m.pop3Command(s, text)
	} else {
		m.pop3Reply(s, text)
	}
	return n
}

// pop3Command puts a command into the queue of those that wait for an answer.
func (m *Monitor) pop3Command(s *state, text []byte) {
	if len(text) == 0 || s.word&pop3Kind == pop3Auth { // the lines of a login
		return
	}
	kind := pop3CommandKind(text)
	if kind == 0 {
		d := &s.side[orig]
		if d.count++; d.count > pop3Unknown && !m.violation(s) {
			m.stop(s)
		}
		return
	}
	for i := range pop3Waiting {
		if s.word>>(pop3Bits*i)&pop3Kind == 0 {
			s.word |= kind << (pop3Bits * i)
			return
		}
	}
}

var pop3Others = [...]string{
	"PASS", "APOP", "STAT", "LIST", "DELE", "RSET", "NOOP", "LAST", "QUIT", "UIDL", "XSENDER",
}

func pop3CommandKind(text []byte) uint32 {
	command, rest := word(skipBlanks(text))
	switch {
	case hasPrefixFold(command, "USER"):
		return pop3User
	case hasPrefixFold(command, "CAPA"):
		return pop3Capa
	case hasPrefixFold(command, "STLS"):
		return pop3Stls
	case hasPrefixFold(command, "AUTH"):
		if len(rest) == 0 {
			return pop3Many
		}
		return pop3Auth
	case hasPrefixFold(command, "RETR"), hasPrefixFold(command, "TOP"),
		hasPrefixFold(command, "LIST") && len(rest) == 0, hasPrefixFold(command, "UIDL") && len(rest) == 0:
		return pop3Many
	}
	for _, c := range pop3Others {
		if hasPrefixFold(command, c) {
			return pop3Other
		}
	}
	return 0
}

func (m *Monitor) pop3Reply(s *state, text []byte) {
	if s.word&pop3Listing != 0 {
		if len(text) == 1 && text[0] == '.' {
			s.word &^= pop3Listing
		}
		return
	}
	switch {
	case bytes.HasPrefix(text, []byte("+OK")):
		m.pop3OK(s)
	case bytes.HasPrefix(text, []byte("-ERR")):
		s.word >>= pop3Bits
	case s.word&pop3Kind != pop3Auth:
		m.violation(s)
	}
}

// pop3OK is the answer to the oldest command; the server's greeting answers none.
func (m *Monitor) pop3OK(s *state) {
	d := &s.side[resp]
	if d.count == 0 {
		d.count = 1
		return
	}
	kind := s.word & pop3Kind
	s.word >>= pop3Bits
	switch kind {
	case pop3User, pop3Auth:
		m.confirm(s)
	case pop3Capa:
		m.confirm(s)
		s.word |= pop3Listing
	case pop3Many:
		s.word |= pop3Listing
	case pop3Stls:
		m.confirm(s)
		m.begin(s, SSL)
	}
}

func isPOP3Command(b []byte) bool {
	for _, c := range [...]string{"USER", "APOP", "CAPA", "AUTH", "STLS"} {
		if hasLine(b, c) {
			return true
		}
	}
	return false
}

// imapStartTLS in the IMAP analyzer's word: STARTTLS waits for its answer.
const imapStartTLS = 1

// imap looks for STARTTLS (Zeek src/analyzer/protocol/imap/imap-analyzer.pac).
func (m *Monitor) imap(s *state, side int, b []byte) int {
	text, n, ok := s.line(side, b)
	if !ok {
		return n
	}
	tag, rest := word(text)
	command, _ := word(rest)
	if side == orig {
		m.imapCommand(s, command)
		return n
	}
	isOK := hasPrefixFold(command, "OK")
	switch {
	case len(tag) == 1 && tag[0] == '*':
		if isOK {
			m.confirm(s)
		}
	case s.word&imapStartTLS != 0 && isOK:
		m.confirm(s)
		m.begin(s, SSL)
	default:
		s.word = 0
	}
	return n
}

func (m *Monitor) imapCommand(s *state, command []byte) {
	switch {
	case hasPrefixFold(command, "STARTTLS"):
		s.word = imapStartTLS
	case hasPrefixFold(command, "CAPABILITY"), hasPrefixFold(command, "NOOP"), hasPrefixFold(command, "ID"):
		m.confirm(s)
	case hasPrefixFold(command, "LOGIN"), hasPrefixFold(command, "AUTHENTICATE"):
		m.confirm(s)
		m.stop(s)
	}
}
