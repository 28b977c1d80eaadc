// SPDX-License-Identifier: Apache-2.0

package service

const (
	dnsHeaderLength = 12
	dnsMaxQuestions = 25 // Zeek's dns_max_queries
	dnsNetBIOS      = 137
)

// dnsTCP takes messages behind their lengths (Zeek src/analyzer/protocol/dns/DNS.cc,
// Contents_DNS).
func (m *Monitor) dnsTCP(s *state, side int, b []byte) int {
	if len(b) < 2 {
		return 0
	}
	length := be16(b)
	if len(b) < 2+min(length, chunkSize-2) {
		return 0
	}
	message := b[2:min(2+length, len(b))]
	if len(message) >= dnsHeaderLength {
		m.dnsMessage(s, message, length)
	}
	s.skip[side] = uint64(length) + 2
	return m.skipNow(s, side, len(b))
}

func (m *Monitor) dnsMessage(s *state, message []byte, length int) {
	if message[2]>>3&15 != 0 && m.at.Port != dnsNetBIOS {
		m.effect |= UnknownPacket
		return
	}
	if be16(message[4:]) > dnsMaxQuestions {
		m.violation(s)
		return
	}
	if IsDNS(message, length) {
		m.confirm(s)
	}
}

// IsDNS tells whether the questions and answers of a message of this length can be
// read (Zeek src/analyzer/protocol/dns/DNS.cc, ParseMessage). Of a message whose
// rest was cut off, what is at hand must be readable.
func IsDNS(b []byte, length int) bool {
	if len(b) < dnsHeaderLength {
		return false
	}
	isCut := len(b) < length
	questions, answers := be16(b[4:]), be16(b[6:])
	if questions > dnsMaxQuestions {
		return false
	}
	at := dnsHeaderLength
	for range questions {
		at = dnsName(b, at)
		if len(b)-at < 4 {
			return isCut
		}
		at += 4
	}
	for range answers {
		at = dnsName(b, at)
		if len(b)-at < 10 {
			return isCut || len(b)-at >= 4
		}
		rest := at + 10 + be16(b[at+8:])
		if rest > len(b) {
			return isCut
		}
		at = rest
	}
	return true
}

// dnsName is the position behind a name. A label that makes no sense ends it.
func dnsName(b []byte, at int) int {
	for at < len(b) {
		n := int(b[at])
		at++
		switch {
		case n == 0 || at >= len(b):
			return at
		case n&0xc0 == 0xc0:
			return at + 1
		case n > len(b)-at:
			return len(b)
		case n > 63:
			return at
		}
		at += n
	}
	return at
}
