// SPDX-License-Identifier: Apache-2.0

package service

// MQTT packet types (OASIS MQTT 3.1.1, 2.2.1).
const (
	mqttConnect = 1
	mqttPublish = 3
)

// mqtt confirms at CONNECT or PUBLISH (Zeek
// src/analyzer/protocol/mqtt/commands/connect.pac, publish.pac).
func (m *Monitor) mqtt(s *state, side int, b []byte) int {
	if len(b) < 2 {
		return 0
	}
	length, n := mqttLength(b[1:])
	if n == 0 {
		if len(b) >= 5 && !m.violation(s) {
			m.stop(s)
		}
		return 0
	}
	kind := b[0] >> 4
	if kind == 0 || kind == 15 {
		if !m.violation(s) {
			m.stop(s)
		}
		return len(b)
	}
	if kind == mqttConnect && side == orig || kind == mqttPublish {
		m.confirm(s)
	}
	s.skip[side] = uint64(length)
	return 1 + n
}

// mqttLength reads the remaining length, and how many bytes it takes; 0 if it
// isn't complete.
func mqttLength(b []byte) (length uint32, n int) {
	for i := range min(len(b), 4) {
		length |= uint32(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return length, i + 1
		}
	}
	return 0, 0
}

// isMQTT is the signature: the name of the protocol in a CONNECT.
func isMQTT(b []byte) bool {
	if len(b) < 9 || b[0]>>4 != mqttConnect {
		return false
	}
	for i := 4; i <= 7; i++ {
		if b[i] == 'M' && b[i+1] == 'Q' {
			return true
		}
	}
	return false
}
