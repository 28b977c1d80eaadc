// SPDX-License-Identifier: Apache-2.0

package service

// Phases of one side of TLS.
const (
	tlsHandshake = iota // the first record comes
	tlsRecords          // further records
)

// TLS record types (RFC 8446, 5.1; RFC 6520).
const (
	tlsChangeCipherSpec = 20
	tlsHandshakeType    = 22
	tlsApplicationData  = 23
	tlsHeartbeat        = 24
)

// ssl walks over records. A ClientHello or ServerHello of a known version
// confirms (Zeek src/analyzer/protocol/ssl/ssl.pac, tls-handshake.pac). Behind the
// handshake nothing counts (base/protocols/ssl/main.zeek,
// disable_analyzer_after_detection).
func (m *Monitor) ssl(s *state, side int, b []byte) int {
	if m.at.Partial {
		m.stop(s)
		return len(b)
	}
	if len(b) < 5 {
		return 0
	}
	if b[0]&0x80 != 0 && s.side[side].phase == tlsHandshake {
		return m.ssl2(s, side, b)
	}
	if b[0] < tlsChangeCipherSpec || b[0] > tlsHeartbeat || b[1] != 3 {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	length := be16(b[3:])
	if b[0] == tlsHandshakeType && s.flags&flagConfirmed == 0 {
		if len(b) < 11 && length >= 6 {
			return 0
		}
		if length >= 6 && b[5] == 1 && isTLSVersion(b[9:]) {
			m.confirm(s)
		}
	}
	if b[0] == tlsApplicationData {
		m.stop(s)
		return len(b)
	}
	s.side[side].phase = tlsRecords
	s.skip[side] = uint64(length)
	return 5
}

// ssl2 takes the hello of version 2, which may offer later ones.
func (m *Monitor) ssl2(s *state, side int, b []byte) int {
	if b[2] != 1 && b[2] != 4 {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	if b[2] == 1 && (isTLSVersion(b[3:]) || b[3] == 0 && b[4] == 2) {
		m.confirm(s)
	}
	s.side[side].phase = tlsRecords
	s.skip[side] = uint64(be16(b)&0x7fff + 2 - 5)
	return 5
}

// isTLSVersion tells whether Zeek knows the version: SSL 3.0 to TLS 1.3, and its
// drafts.
func isTLSVersion(b []byte) bool {
	return b[0] == 3 && b[1] <= 4 || b[0] == 0x7f || b[0] == 0xfb
}

// isTLSClientHello and isTLSServerHello are the signatures (Zeek
// base/protocols/ssl/dpd.sig).
func isTLSClientHello(b []byte) bool {
	return len(b) >= 11 && b[0] == tlsHandshakeType && b[1] == 3 && b[2] <= 3 && b[5] == 1 && b[9] == 3 && b[10] <= 3
}

// isTLSHello is either, of whichever side.
func isTLSHello(b []byte) bool { return isTLSClientHello(b) || isTLSServerHello(b) }

func isTLSServerHello(b []byte) bool {
	if len(b) >= 7 && b[0] == 21 && b[1] == 3 && b[3] == 0 && b[4] == 2 {
		b = b[7:] // an alert may come first
	}
	return len(b) >= 11 && b[0] == tlsHandshakeType && b[1] == 3 && b[2] <= 3 && b[5] == 2 &&
		(b[9] == 3 && b[10] <= 4 || b[9] == 0x7f && b[10] <= 0x50)
}

// isDTLSClientHello tells whether a datagram is one of DTLS 1.0 or 1.2, or a
// fragment of one.
func isDTLSClientHello(b []byte) bool {
	return len(b) >= 25 && b[0] == tlsHandshakeType && b[1] == 0xfe && (b[2] == 0xff || b[2] == 0xfd) && b[13] == 1
}

// dtlsRecordsMax is how far a ClientHello's fragments may be numbered: a jump in the
// numbers makes Zeek give the message up.
const dtlsRecordsMax = 64

// dtlsFragment tells whether a fragment of a ClientHello begins and ends it.
func dtlsFragment(b []byte) (first, last bool) {
	length, offset, n := be24(b[14:]), be24(b[19:]), be24(b[22:])
	return offset == 0, offset+n == length && be32(b[5:]) == 0 && be16(b[9:]) <= dtlsRecordsMax
}

// isQUICInitial tells whether a datagram begins with an Initial packet of a known
// version (RFC 9000, 17.2.2; RFC 9369, 3.2).
func isQUICInitial(b []byte) bool {
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return false
	}
	kind := b[0] >> 4 & 3
	switch version := be32(b[1:]); {
	case version == 0x00000001, version>>8 == 0xff0000:
		return kind == 0
	case version == 0x6b3343cf:
		return kind == 1
	}
	return false
}
