// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// mysqlClientTLS is the client's capability CLIENT_SSL: TLS follows.
const mysqlClientTLS = 0x800

// mysql confirms at the client's answer to a greeting of version 9 or 10 (Zeek
// src/analyzer/protocol/mysql/mysql-analyzer.pac).
func (m *Monitor) mysql(s *state, side int, b []byte) int {
	if m.at.Partial {
		m.stop(s)
		return len(b)
	}
	if s.side[side].phase != 0 {
		return len(b)
	}
	if len(b) < 4 {
		return 0
	}
	length := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	if len(b) < 4+min(length, 6) {
		return 0
	}
	if side == resp {
		s.side[resp].phase = 1
		if s.word = uint32(b[4]); length == 0 || s.word != 9 && s.word != 10 {
			s.word = 0
			if s.word != 0xff && !m.violation(s) {
				m.stop(s)
			}
		}
		s.skip[resp] = 1 << 62 // the client alone decides
		return len(b)
	}
	return m.mysqlAnswer(s, b, length)
}

func (m *Monitor) mysqlAnswer(s *state, b []byte, length int) int {
	if s.word == 0 {
		return 0 // the greeting has not come yet
	}
	s.side[orig].phase = 1
	m.confirm(s)
	if s.word == 10 && length >= 4 && le16(b[4:])&mysqlClientTLS != 0 {
		n := min(4+length, len(b))
		m.begin(s, SSL)
		s.skip[orig] = uint64(4 + length - n)
		return n
	}
	m.stop(s)
	return len(b)
}

// postgresql confirms at the startup message or the server's answer to a request
// for TLS (Zeek src/analyzer/protocol/postgresql).
func (m *Monitor) postgresql(s *state, side int, b []byte) int {
	const tlsRequest = 80877103
	if side == resp {
		if s.word == 0 {
			return 0
		}
		s.word = 0
		m.confirm(s)
		if b[0] == 'S' {
			m.begin(s, SSL)
		}
		return 1
	}
	if s.word != 0 {
		return 0
	}
	if len(b) < 8 {
		return 0
	}
	switch code := be32(b[4:]); {
	case code == tlsRequest && be32(b) == 8:
		s.word = 1
		return 8
	case code>>16 == 3:
		m.confirm(s)
		m.stop(s)
	default:
		if !m.violation(s) {
			m.stop(s)
		}
	}
	return len(b)
}

// isPostgreSQL is the signature: a request for TLS and its answer, or a startup
// message with a user.
func isPostgreSQL(o, r []byte) bool {
	if len(o) < 8 || len(r) == 0 {
		return false
	}
	if be32(o) == 8 && be32(o[4:]) == 80877103 {
		return r[0] == 'S' || r[0] == 'N'
	}
	return be32(o[4:])>>16 == 3 && int(be32(o)) >= 8 && bytes.Contains(o, []byte("user\x00")) && isLetter(r[0])
}

// redis confirms at a whole value of the server.
func (m *Monitor) redis(s *state, side int, b []byte) int {
	text, n, ok := s.line(side, b)
	if !ok {
		return n
	}
	if side == orig || len(text) == 0 {
		return n
	}
	switch text[0] {
	case '+', '-', ':', '$', '*', '_', '#', ',', '%', '~', '>':
		m.confirm(s)
		m.stop(s)
	default:
		if !m.violation(s) {
			m.stop(s)
		}
	}
	return len(b)
}
