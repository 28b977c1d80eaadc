// SPDX-License-Identifier: Apache-2.0

package service

// The application tags of Kerberos messages (RFC 4120, 5.4 to 5.9).
const (
	krbASReq  = 0x6a
	krbASRep  = 0x6b
	krbTGSReq = 0x6c
	krbTGSRep = 0x6d
	krbAPReq  = 0x6e
	krbAPRep  = 0x6f
	krbError  = 0x7e
	krbSafe   = 0x74
	krbPriv   = 0x75
	krbCred   = 0x76
)

// krbTCP confirms at a whole message (Zeek src/analyzer/protocol/krb/krb_TCP.pac).
func (m *Monitor) krbTCP(s *state, side int, b []byte) int {
	if m.at.Partial {
		m.stop(s)
		return len(b)
	}
	if len(b) < 4 {
		return 0
	}
	length := be32(b)
	if wanted := min(int64(length), 16) + 4; int64(len(b)) < wanted {
		return 0
	}
	if !isKRBMessage(b[4:]) {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	m.confirm(s)
	s.skip[side] = uint64(length) + 4
	return m.skipNow(s, side, len(b))
}

// isKRBMessage tells whether a message begins as one of Kerberos.
func isKRBMessage(b []byte) bool {
	if len(b) < 10 {
		return false
	}
	switch b[0] {
	case krbASReq, krbASRep, krbTGSReq, krbTGSRep, krbAPReq, krbAPRep, krbError, krbSafe, krbPriv, krbCred:
	default:
		return false
	}
	body, ok := derContent(b)
	return ok && len(body) > 0 && body[0] == 0x30
}

// isKRB is the signature: requests of a client, replies of a server, version 5.
func isKRB(b []byte, reply bool) bool {
	if !isKRBMessage(b) {
		return false
	}
	switch b[0] {
	case krbASReq, krbTGSReq:
		if reply {
			return false
		}
	case krbASRep, krbTGSRep, krbError:
		if !reply {
			return false
		}
	default:
		return false
	}
	body, _ := derContent(b)
	fields, ok := derContent(body)
	return ok && len(fields) >= 5 && fields[0]&0xfe == 0xa0 && fields[1] == 3 && fields[2] == 2 && fields[4] == 5
}

// derContent is what is at hand of the content of a DER element.
func derContent(b []byte) ([]byte, bool) {
	if len(b) < 2 {
		return nil, false
	}
	n := 2
	if b[1]&0x80 != 0 {
		n += int(b[1] & 0x7f)
		if n > 6 || len(b) < n {
			return nil, false
		}
	}
	return b[n:], true
}

// derLength is the length of a DER element, its header included; 0 if that isn't
// complete.
func derLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	if b[1]&0x80 == 0 {
		return 2 + int(b[1])
	}
	n := int(b[1] & 0x7f)
	if n == 0 || n > 3 || len(b) < 2+n {
		return 0
	}
	length := 0
	for _, c := range b[2 : 2+n] {
		length = length<<8 | int(c)
	}
	return 2 + n + length
}
