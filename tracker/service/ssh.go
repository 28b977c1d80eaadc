// SPDX-License-Identifier: Apache-2.0

package service

import "bytes"

// Phases of one side of SSH.
const (
	sshBanner = iota
	sshPackets
	sshEncrypted
)

// Bits of a side's flags: what its banner says.
const (
	sshOne = 1 << iota // version 1
	sshTwo             // version 2; 1.99 speaks both
)

const (
	sshNewKeys       = 21 // RFC 4253, 12
	sshSessionKey    = 3  // SSH_CMSG_SESSION_KEY of version 1
	sshLongestPacket = 1 << 20
)

// ssh confirms when a side takes new keys into use (Zeek
// src/analyzer/protocol/ssh/ssh-analyzer.pac, proc_newkeys).
func (m *Monitor) ssh(s *state, side int, b []byte) int {
	if m.at.Partial {
		m.stop(s)
		return len(b)
	}
	d := &s.side[side]
	switch d.phase {
	case sshBanner:
		text, n, ok := s.line(side, b)
		if ok {
			s.sshBanner(side, text)
		}
		return n
	case sshEncrypted:
		return len(b)
	}
	if len(b) < 6 {
		return 0
	}
	switch common := s.side[orig].flags & s.side[resp].flags; {
	case common&sshTwo != 0:
		return m.ssh2(s, side, b)
	case common&sshOne != 0:
		return m.ssh1(s, side, b)
	}
	return len(b) // unreadable without both banners
}

func (s *state) sshBanner(side int, text []byte) {
	if !isSSHBanner(text) {
		return // lines before the banner are the server's privilege (RFC 4253, 4.2)
	}
	d := &s.side[side]
	d.phase = sshPackets
	switch {
	case bytes.HasPrefix(text[4:], []byte("1.99")):
		d.flags |= sshOne | sshTwo
	case text[4] == '2':
		d.flags |= sshTwo
	default:
		d.flags |= sshOne
	}
}

func (m *Monitor) ssh2(s *state, side int, b []byte) int {
	length := be32(b)
	if length < 2 || length > sshLongestPacket {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	if b[5] == sshNewKeys {
		m.sshConfirm(s)
		return len(b)
	}
	s.skip[side] = uint64(length) + 4
	return m.skipNow(s, side, len(b))
}

func (m *Monitor) ssh1(s *state, side int, b []byte) int {
	length := be32(b)
	if length < 5 || length > sshLongestPacket {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	padding := 8 - length%8
	if len(b) < int(4+padding+1) {
		return 0
	}
	if b[4+padding] == sshSessionKey {
		m.sshConfirm(s)
		return len(b)
	}
	s.skip[side] = uint64(length) + 4 + uint64(padding)
	return m.skipNow(s, side, len(b))
}

func (m *Monitor) sshConfirm(s *state) {
	m.confirm(s)
	m.effect |= Interactive
	m.stop(s)
}

// skipNow takes what is at hand of the bytes to skip: an analyzer that returns 0
// would wait for more of them.
func (m *Monitor) skipNow(s *state, side, at int) int {
	n := min(s.skip[side], uint64(at))
	s.skip[side] -= n
	return int(n)
}

func isSSHBanner(b []byte) bool {
	return len(b) >= 6 && hasPrefixFold(b, "SSH-") && (b[4] == '1' || b[4] == '2') && b[5] == '.'
}

// guessSSH confirms when both banners were seen and the rest is cut off.
func (m *Monitor) guessSSH(s *state) {
	if s.side[orig].flags != 0 && s.side[resp].flags != 0 && !m.at.Partial {
		m.sshConfirm(s)
	}
}
