// SPDX-License-Identifier: Apache-2.0

package service

// modbus confirms at the first whole message (Zeek
// src/analyzer/protocol/modbus/modbus-analyzer.pac).
func (m *Monitor) modbus(s *state, side int, b []byte) int {
	if len(b) < 8 {
		return 0
	}
	length := be16(b[4:])
	if be16(b[2:]) != 0 || length < 2 || length > 254 {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	if len(b) < 6+length {
		return 0
	}
	m.confirm(s)
	return 6 + length
}

// dnp3 confirms at a link header whose checksum is right (Zeek
// src/analyzer/protocol/dnp3/DNP3.cc, ProcessData).
func (m *Monitor) dnp3(s *state, side int, b []byte) int {
	if len(b) < 10 {
		return 0
	}
	if !isDNP3(b) {
		m.stop(s)
		return len(b)
	}
	if !dnp3HeaderValid(b) {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	m.confirm(s)
	m.stop(s)
	return len(b)
}

// isDNP3 is the signature: the start octets of IEEE 1815.
func isDNP3(b []byte) bool { return len(b) >= 2 && b[0] == 0x05 && b[1] == 0x64 }

// dnp3HeaderValid checks the link header's CRC-16/DNP.
func dnp3HeaderValid(b []byte) bool {
	var crc uint16
	for _, c := range b[:8] {
		crc ^= uint16(c)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xa6bc
			} else {
				crc >>= 1
			}
		}
	}
	return le16(b[8:]) == int(^crc)
}
