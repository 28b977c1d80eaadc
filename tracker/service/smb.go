// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// Bits of the SMB analyzer's word.
const (
	smbSynced   = 1 << 16  // a message was recognised
	smbRequest  = 1 << 17  // the client has sent a message
	smbSegments = 1<<8 - 1 // how many pieces of the streams came before
)

// smbConfirmAt is how many pieces of the streams have to come without a violation
// (Zeek src/analyzer/protocol/smb/SMB.cc, DeliverStream).
const smbConfirmAt = 3

// The offsets of SMB headers, from the message's beginning (MS-CIFS 2.2.3.1, MS-SMB2
// 2.2.1), behind the four bytes of the session service.
const (
	smbHeader  = 4
	smb1Words  = smbHeader + 33
	smb2Body   = smbHeader + 64
	smb2Header = 64
)

// smb walks over messages and looks into those that carry other protocols.
func (m *Monitor) smb(s *state, side int, b []byte) int {
	if len(b) < 8 {
		return 0
	}
	if be32(b) == 0 {
		return 4 // an empty message
	}
	if !isSMB(b) && b[0] == 0 {
		if s.word&smbSynced == 0 || s.side[side].flags&sideResync != 0 {
			return len(b) // until a piece begins with a message
		}
		if b[4] == 0xfd { // encrypted
			s.skip[side] = uint64(be32(b)&0xffffff) + 4
			return m.skipNow(s, side, len(b))
		}
		if !m.violation(s) {
			s.side[side].flags |= sideResync
		}
		return len(b)
	}
	length := int(be32(b)&0xffffff) + 4
	if b[0] != 0 { // session request, its answer, keep-alive
		s.skip[side] = uint64(length)
		return m.skipNow(s, side, len(b))
	}
	s.side[side].flags &^= sideResync
	if s.word&smbSynced == 0 {
		s.word = smbSynced | uint32(s.segments-1)
	}
	if len(b) < min(length, chunkSize) {
		return 0
	}
	if side == orig {
		s.word |= smbRequest
	}
	m.smbMessage(s, b[:min(length, len(b))])
	s.skip[side] = uint64(length)
	return m.skipNow(s, side, len(b))
}

// smbConfirm is called behind every piece of a stream.
func (m *Monitor) smbConfirm(s *state) {
	if s.active == SMB && s.word&smbSynced != 0 && uint32(s.segments)-s.word&smbSegments >= smbConfirmAt {
		m.confirm(s)
	}
}

func isSMB(b []byte) bool {
	return len(b) >= 8 && (b[4] == 0xff || b[4] == 0xfe) && b[5] == 'S' && b[6] == 'M' && b[7] == 'B'
}

func (m *Monitor) smbMessage(s *state, b []byte) {
	if len(b) <= smbHeader {
		return
	}
	if b[smbHeader] == 0xff {
		m.smb1(s, b)
		return
	}
	for range 16 { // compounded messages
		if len(b) < smb2Body+16 {
			return
		}
		m.smb2(s, b)
		next := int(le32(b[smbHeader+20:]))
		if next < smb2Header || next > len(b)-smb2Body {
			return
		}
		b = b[next:]
	}
}

// part is a piece of a message at an offset from its header, as far as it is at
// hand.
func part(b []byte, offset, length int) []byte {
	offset += smbHeader
	if offset < smbHeader || offset >= len(b) {
		return nil
	}
	return b[offset:min(len(b), offset+length)]
}

func (m *Monitor) smb1(s *state, b []byte) {
	const negotiate, sessionSetup, transaction, read, write = 0x72, 0x73, 0x25, 0x2e, 0x2f
	if len(b) < smb1Words+4 {
		return
	}
	command, reply, count := b[smbHeader+4], b[smbHeader+9]&0x80 != 0, int(b[smb1Words-1])
	words := b[smb1Words:]
	if len(words) < 2*count+2 {
		return
	}
	rest := words[2*count+2:]
	switch {
	case command == negotiate && reply && count == 17 && len(rest) > 16:
		m.gssapi(s, rest[16:])
	case command == sessionSetup && (reply && count == 4 || !reply && count == 12):
		m.gssapi(s, rest)
	case command == transaction && reply && count >= 10:
		m.pipe(s, part(b, le16(words[14:]), le16(words[12:])))
	case command == transaction && !reply && count >= 14:
		m.pipe(s, part(b, le16(words[24:]), le16(words[22:])))
	case command == write && !reply && count >= 12:
		m.pipe(s, part(b, le16(words[22:]), le16(words[20:])))
	case command == read && reply && count >= 12:
		m.pipe(s, part(b, le16(words[12:]), le16(words[10:])))
	}
}

func (m *Monitor) smb2(s *state, b []byte) {
	const negotiate, sessionSetup, read, write, ioctl = 0, 1, 8, 9, 11
	const pipeTransceive = 0x11c017
	command, reply := le16(b[smbHeader+12:]), b[smbHeader+16]&1 != 0
	body := b[smb2Body:]
	switch {
	case command == negotiate && reply && len(body) >= 64:
		m.gssapi(s, part(b, le16(body[56:]), le16(body[58:])))
	case command == sessionSetup && reply:
		m.gssapi(s, part(b, le16(body[4:]), le16(body[6:])))
	case command == sessionSetup:
		m.gssapi(s, part(b, le16(body[12:]), le16(body[14:])))
	case command == read && reply && s.word&smbRequest != 0: // which file it is the request said
		m.pipe(s, part(b, int(body[2]), int(le32(body[4:]))))
	case command == write && !reply:
		m.pipe(s, part(b, le16(body[2:]), int(le32(body[4:]))))
	case command == ioctl && le32(body[4:]) != pipeTransceive:
	case command == ioctl && !reply && len(body) >= 32:
		m.pipe(s, part(b, int(le32(body[24:])), int(le32(body[28:]))))
	case command == ioctl && reply && len(body) >= 40:
		m.pipe(s, part(b, int(le32(body[32:])), int(le32(body[36:]))))
	}
}

// pipe looks at what a named pipe carries.
func (m *Monitor) pipe(s *state, b []byte) {
	if !isDCERPC(b) {
		return
	}
	m.dceRPCAuth(s, b)
	s.names.add(DCERPC)
}

// gssapi looks at a security token: NTLM, bare or wrapped, and Kerberos in it. The
// inner protocol confirms first (Zeek src/analyzer/protocol/gssapi,
// smb/smb-gssapi.pac).
func (m *Monitor) gssapi(s *state, b []byte) {
	if len(b) == 0 {
		return
	}
	if isNTLM(b) {
		s.names.add(NTLM)
		return
	}
	if b[0] != 0x60 && b[0] != 0xa0 && b[0] != 0xa1 {
		return
	}
	switch {
	case bytes.Contains(b, []byte("NTLMSSP\x00")):
		s.names.add(NTLM)
	case hasKerberosToken(b):
		s.names.add(KRB)
	}
	s.names.add(GSSAPI)
}

func isNTLM(b []byte) bool { return bytes.HasPrefix(b, []byte("NTLMSSP")) }

// kerberosMechanism is the object identifier 1.2.840.113554.1.2.2.
const kerberosMechanism = "\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"

// hasKerberosToken looks for the mechanism followed by the token of an AP_REQ, an
// AP_REP or an error (RFC 4121, 4.1).
func hasKerberosToken(b []byte) bool {
	for {
		i := bytes.Index(b, []byte(kerberosMechanism))
		if i < 0 {
			return false
		}
		b = b[i+len(kerberosMechanism):]
		if len(b) >= 3 && b[1] == 0 && (b[0] == 1 && b[2] == krbAPReq || b[0] == 2 && b[2] == krbAPRep || b[0] == 3 && b[2] == krbError) {
			return true
		}
	}
}

// dceRPC confirms at a whole unit; what authenticates it confirms before (Zeek
// src/analyzer/protocol/dce-rpc/dce_rpc-protocol.pac, dce_rpc-auth.pac).
func (m *Monitor) dceRPC(s *state, side int, b []byte) int {
	if len(b) < 16 {
		return 0
	}
	if !isDCERPC(b) {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	length := dceRPCLength(b)
	if s.side[side].phase != 0 { // a long unit has been skipped
		s.side[side].phase = 0
	}
	if len(b) < min(length, chunkSize) {
		return 0
	}
	m.dceRPCAuth(s, b[:min(length, len(b))])
	m.confirm(s)
	s.skip[side] = uint64(length)
	return m.skipNow(s, side, len(b))
}

// isDCERPC is the signature: version 5, a type of unit that exists.
func isDCERPC(b []byte) bool {
	return len(b) >= 16 && b[0] == 5 && b[1] <= 1 && b[2] <= 0x13 && dceRPCLength(b) >= 16
}

func dceRPCIsLittleEndian(b []byte) bool { return b[4]>>4 != 0 }

func dceRPCLength(b []byte) int {
	if dceRPCIsLittleEndian(b) {
		return le16(b[8:])
	}
	return be16(b[8:])
}

// dceRPCAuth looks at the authentication behind a unit.
func (m *Monitor) dceRPCAuth(s *state, b []byte) {
	auth := be16(b[10:])
	if dceRPCIsLittleEndian(b) {
		auth = le16(b[10:])
	}
	at := dceRPCLength(b) - auth - 8
	if auth == 0 || at < 16 || at+8 >= len(b) {
		return
	}
	const spnego, ntlm = 9, 10
	switch b[at] {
	case ntlm:
		s.names.add(NTLM) // also its signatures, behind the messages of the login
	case spnego:
		m.gssapi(s, b[at+8:])
	}
}
