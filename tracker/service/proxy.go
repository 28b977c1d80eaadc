// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// Phases of one side of SOCKS 5: the greeting, the login, the request.
const (
	socksGreeting = iota
	socksLogin
	socksRequest
)

// socks confirms at the reply to a request; what follows is judged anew (Zeek
// src/analyzer/protocol/socks/socks-analyzer.pac, SOCKS.cc).
func (m *Monitor) socks(s *state, side int, b []byte) int {
	if b[0] == 4 || side == resp && b[0] == 0 && s.side[resp].phase == socksGreeting {
		return m.socks4(s, side, b)
	}
	d := &s.side[side]
	switch {
	case d.phase == socksLogin && b[0] == 1:
		return s.socksLoginMessage(side, b)
	case d.phase == socksLogin && side == orig: // no login was asked for
		d.phase = socksRequest
	case b[0] != 5:
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	if d.phase == socksGreeting {
		return s.socksGreeting(side, b)
	}
	return m.socks5(s, side, b)
}

func (m *Monitor) socks4(s *state, side int, b []byte) int {
	if len(b) < 8 {
		return 0
	}
	if side == resp {
		m.confirm(s)
		m.begin(s, 0)
		return 8
	}
	i := bytes.IndexByte(b[8:], 0)
	if i < 0 {
		return 0
	}
	n := 8 + i + 1
	if b[4] == 0 && b[5] == 0 && b[6] == 0 && b[7] != 0 { // 4a: a name follows
		j := bytes.IndexByte(b[n:], 0)
		if j < 0 {
			return 0
		}
		n += j + 1
	}
	return n
}

// socksGreeting takes the methods offered and the method chosen (RFC 1928, 3).
func (s *state) socksGreeting(side int, b []byte) int {
	if len(b) < 2 {
		return 0
	}
	if side == orig {
		n := 2 + int(b[1])
		if len(b) < n {
			return 0
		}
		s.side[orig].phase = socksLogin
		return n
	}
	s.side[resp].phase = socksRequest
	if b[1] == 2 {
		s.side[resp].phase = socksLogin
	}
	return 2
}

// socksLoginMessage takes name and password, and their answer (RFC 1929, 2).
func (s *state) socksLoginMessage(side int, b []byte) int {
	if len(b) < 2 {
		return 0
	}
	if side == resp {
		s.side[resp].phase = socksRequest
		return 2
	}
	n := 2 + int(b[1]) + 1
	if len(b) < n || len(b) < n+int(b[n-1]) {
		return 0
	}
	s.side[orig].phase = socksRequest
	return n + int(b[n-1])
}

// socks5 takes the request or its reply (RFC 1928, 4 and 6).
func (m *Monitor) socks5(s *state, side int, b []byte) int {
	if len(b) < 5 {
		return 0
	}
	if b[0] != 5 || side == orig && (b[2] != 0 || b[1] == 0 || b[1] > 3) {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	n := 4
	switch b[3] {
	case 1:
		n += 4
	case 3:
		n += 1 + int(b[4])
	case 4:
		n += 16
	default:
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	if n += 2; len(b) < n {
		return 0
	}
	if side == resp {
		m.confirm(s)
		m.begin(s, 0)
	}
	return n
}

// isSOCKS is the signature: a request and its reply, of either version.
func isSOCKS(o, r []byte) bool {
	if len(o) < 3 || len(r) < 2 {
		return false
	}
	switch o[0] {
	case 4:
		return (o[1] == 1 || o[1] == 2) && r[0] == 0 && r[1] >= 0x5a && r[1] <= 0x5d
	case 5:
		return o[2] <= 2 && r[0] == 5 && r[1] <= 2
	}
	return false
}
