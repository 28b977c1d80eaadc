// SPDX-License-Identifier: Apache-2.0

package collector

import "conntap/bpf"

// payloadMemory keeps payloads and owners alive after their room in the ring is given
// back, until the Read after the next one. Few live packets carry any.
type payloadMemory struct {
	current, other []byte
	owners, before []bpf.Owner // current ones, and other ones
	groups         groupNotes
}

// turn begins a Read.
func (m *payloadMemory) turn() {
	m.current, m.other = m.other[:0], m.current
	m.owners, m.before = m.before[:0], m.owners
}

// keep copies what the packet points to.
func (m *payloadMemory) keep(p *bpf.Packet) {
	if p.Owner != nil {
		m.groups.note(p.Owner)
		m.owners = append(m.owners, *p.Owner)
		p.Owner = &m.owners[len(m.owners)-1] // which stays, even if the slice grows elsewhere
	}
	if len(p.Payload) == 0 {
		return
	}
	start := len(m.current)
	m.current = append(m.current, p.Payload...)
	p.Payload = m.current[start:len(m.current):len(m.current)]
}

// groupNotes tells somebody of control groups that no packet has brought lately.
type groupNotes struct {
	fresh  chan<- bpf.Owner // nil: nobody wants to know
	recent [64]uint64
}

// note passes a packet's owner on, if the group may be new.
func (n *groupNotes) note(owner *bpf.Owner) {
	recent := &n.recent[owner.Cgroup%uint64(len(n.recent))]
	if *recent == owner.Cgroup {
		return
	}
	select {
	case n.fresh <- *owner:
		*recent = owner.Cgroup
	default: // another packet of the group will do
	}
}
