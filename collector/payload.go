// SPDX-License-Identifier: Apache-2.0

package collector

import "conntap/bpf"

// payloadMemory keeps payloads alive after their room in the ring is given back,
// until the Read after the next one. Few live packets carry any.
type payloadMemory struct {
	current, other []byte
}

// turn begins a Read.
func (m *payloadMemory) turn() {
	m.current, m.other = m.other[:0], m.current
}

// keep copies the packet's payload.
func (m *payloadMemory) keep(p *bpf.Packet) {
	if len(p.Payload) == 0 {
		return
	}
	start := len(m.current)
	m.current = append(m.current, p.Payload...)
	p.Payload = m.current[start:len(m.current):len(m.current)]
}
