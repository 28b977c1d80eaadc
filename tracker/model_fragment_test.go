// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"encoding/binary"

	"conntap/bpf"
)

type modelDatagramKey struct {
	src, dst bpf.Addr
	id       uint32
}

// modelDatagram is a datagram of which fragments are missing: a map of its bytes.
type modelDatagram struct {
	first    bpf.Packet
	deadline int64
	content  map[int]byte
	length   int // once its last fragment came
}

// join takes a fragment, and returns the datagram once it is complete.
func (m *model) join(p *bpf.Packet) *bpf.Packet {
	key := modelDatagramKey{p.Src, p.Dst, p.FragmentID}
	d := m.datagrams[key]
	if d == nil {
		d = &modelDatagram{first: *p, deadline: m.now + 300*modelSecond, content: map[int]byte{}, length: -1}
		m.datagrams[key] = d
	}
	for i, b := range p.Payload {
		at := int(p.FragmentOffset) + i
		if _, there := d.content[at]; !there {
			d.content[at] = b
		}
	}
	if p.State&bpf.StateIPv6 != 0 && p.FragmentOffset == 0 {
		d.first.Protocol = p.Protocol
	}
	if end := int(p.FragmentOffset) + len(p.Payload); !p.FragmentMore || d.length >= 0 {
		d.length = max(d.length, end) // the reference takes more than the last one said
	}
	if d.length < 0 || len(d.content) < d.length {
		return nil
	}
	delete(m.datagrams, key)
	whole := make([]byte, d.length)
	for i := range whole {
		whole[i] = d.content[i]
	}
	return modelReadTransport(&d.first, p, whole)
}

// modelReadTransport makes a packet of the first fragment's IP header, the last
// one's time and link layer, and a whole payload.
func modelReadTransport(first, last *bpf.Packet, b []byte) *bpf.Packet {
	p := *first
	p.Time, p.State, p.Blocks = last.Time, first.State&bpf.StateIPv6|bpf.StateComplete, last.Blocks&bpf.BlockL2
	p.SrcMAC, p.DstMAC, p.VLAN, p.InnerVLAN = last.SrcMAC, last.DstMAC, last.VLAN, last.InnerVLAN
	if p.State&bpf.StateIPv6 != 0 {
		p.HeaderLength -= 8
	}
	p.IPLength = (uint32(p.HeaderLength) + uint32(len(b))) & 0xffff
	switch p.Protocol {
	case bpf.ProtocolTCP:
		if len(b) < 20 {
			return nil
		}
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		p.Seq, p.Ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		p.Flags, p.Window = bpf.Flags(b[13]), binary.BigEndian.Uint16(b[14:])
		p.HeaderLength += uint16(b[12]>>4) * 4
		b = b[b[12]>>4*4:]
	case bpf.ProtocolUDP, bpf.ProtocolICMP, bpf.ProtocolICMPv6:
		if len(b) < 8 {
			return nil
		}
		if p.Window = binary.BigEndian.Uint16(b); p.Protocol == bpf.ProtocolUDP {
			p.SrcPort, p.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
			p.Window = binary.BigEndian.Uint16(b[4:])
		}
		p.HeaderLength += 8
		b = b[8:]
	}
	p.Payload = b
	return &p
}
