// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// rdp walks over TPKT units. The settings of the client or the server confirm; TLS
// may begin before them (Zeek src/analyzer/protocol/rdp/rdp-analyzer.pac, RDP.cc).
func (m *Monitor) rdp(s *state, side int, b []byte) int {
	if len(b) < 4 {
		return 0
	}
	if b[0] != 3 {
		return m.rdpOther(s, b)
	}
	length := be16(b[2:])
	if length < 7 {
		m.violation(s)
		m.stop(s)
		return len(b)
	}
	if len(b) < min(length, chunkSize) {
		return 0
	}
	unit := b[:min(length, len(b))]
	const connectionConfirm = 0xd0
	if side == resp && unit[5] == connectionConfirm {
		// RDP_NEG_RSP: type 2; the protocol selected, 0 for RDP's own security
		if length >= 19 && unit[11] == 2 && unit[15] != 0 {
			m.begin(s, SSL)
		}
		return len(unit)
	}
	if side == orig && bytes.Contains(unit, []byte("Duca\x81")) || side == orig && bytes.Contains(unit, []byte("Duca\x80")) ||
		side == resp && bytes.Contains(unit, []byte("McDn")) {
		m.confirm(s)
		m.stop(s)
		return len(b)
	}
	s.skip[side] = uint64(length)
	return m.skipNow(s, side, len(b))
}

// rdpOther is what does not begin as TPKT: TLS, without a request for it.
func (m *Monitor) rdpOther(s *state, b []byte) int {
	if b[0] == tlsHandshakeType && b[1] == 3 {
		m.begin(s, SSL)
		return 0
	}
	if !m.violation(s) {
		m.stop(s)
	}
	return len(b)
}

// isMCSConnect tells whether a unit asks for the conference that carries the
// client's settings (T.125, Connect-Initial).
func isMCSConnect(b []byte) bool {
	return len(b) >= 9 && b[0] == 3 && bytes.HasPrefix(b[4:], []byte("\x02\xf0\x80\x7f\x65"))
}

// isRDP is the signature: a connection request with a cookie and its
// confirmation, or both sides' settings.
func isRDP(o, r []byte) bool {
	if len(o) < 7 || len(r) < 6 || o[0] != 3 || r[0] != 3 {
		return false
	}
	return (bytes.Contains(o, []byte("Cookie: mstshash=")) || bytes.Contains(o, []byte("Duca"))) &&
		(r[5] == 0xd0 || bytes.Contains(r, []byte("McDn")))
}

// rfb confirms at the client's version (Zeek
// src/analyzer/protocol/rfb/rfb-analyzer.pac).
func (m *Monitor) rfb(s *state, side int, b []byte) int {
	if len(b) < 12 {
		return 0
	}
	if !isRFB(b) {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	if side == orig {
		m.confirm(s)
		m.stop(s)
		return len(b)
	}
	s.skip[resp] = 1 << 62 // the client alone decides
	return 12
}

func isRFB(b []byte) bool { return len(b) >= 3 && b[0] == 'R' && b[1] == 'F' && b[2] == 'B' }
