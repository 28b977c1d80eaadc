// SPDX-License-Identifier: Apache-2.0

package service

// ldapTCP confirms at a whole message (Zeek src/analyzer/protocol/ldap).
func (m *Monitor) ldapTCP(s *state, side int, b []byte) int {
	if len(b) < 8 {
		return 0
	}
	n := derLength(b)
	if n == 0 || !isLDAP(b) {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	m.confirm(s)
	s.skip[side] = uint64(n)
	return m.skipNow(s, side, len(b))
}

// isLDAP tells whether a message begins as one of LDAP: a sequence of a message's
// number and an operation (RFC 4511, 4.1.1).
func isLDAP(b []byte) bool {
	body, ok := derContent(b)
	if !ok || b[0] != 0x30 || len(body) < 4 || body[0] != 2 || body[1] == 0 || body[1] > 4 {
		return false
	}
	if len(body) < 3+int(body[1]) {
		return false
	}
	operation := body[2+body[1]]
	return operation>>5 == 3 || operation>>6 == 1
}

// isLDAPBind is the signature's client side: a bind request.
func isLDAPBind(b []byte) bool {
	if len(b) < 8 || !isLDAP(b) {
		return false
	}
	body, _ := derContent(b)
	return body[2+body[1]] == 0x60
}

// finger confirms at a request and what answers it.
func (m *Monitor) finger(s *state, side int, b []byte) int {
	if side == resp {
		if s.word == 0 {
			return 0
		}
		m.confirm(s)
		m.stop(s)
		return len(b)
	}
	_, n, ok := s.line(side, b)
	if ok {
		s.word = 1
	}
	return n
}
