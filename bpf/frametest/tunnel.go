// SPDX-License-Identifier: Apache-2.0

package frametest

import "encoding/binary"

// More EtherTypes.
const (
	TypeARP        = 0x0806
	TypeBridge     = 0x6558
	TypePPTP       = 0x880b
	TypeMPLS       = 0x8847
	TypePPPoE      = 0x8864
	TypeERSPAN     = 0x88be
	TypePBB        = 0x88e7
	TypeFabricPath = 0x8903
	TypeVNTag      = 0x8926
	TypeERSPANIII  = 0x22eb
)

// UDP ports of tunnels.
const (
	PortGTPControl = 2123
	PortGTP        = 2152
	PortTeredo     = 3544
	PortGRE        = 4754
	PortVXLAN      = 4789
	PortAYIYA      = 5072
	PortGeneve     = 6081
)

// Label is an entry of an MPLS stack.
func Label(label uint32, bottom bool) []byte {
	entry := label<<12 | 64
	if bottom {
		entry |= 1 << 8
	}
	return binary.BigEndian.AppendUint32(nil, entry)
}

// PPPoE is a session header, the PPP protocol number and the content.
func PPPoE(protocol uint16, content ...[]byte) []byte {
	payload := Join(content...)
	b := binary.BigEndian.AppendUint16([]byte{0x11, 0, 0, 7}, uint16(len(payload)+2))
	return append(binary.BigEndian.AppendUint16(b, protocol), payload...)
}

// VNTag is the content of its EtherType: the tag and the next type.
func VNTag(etherType uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, 1, 0, 2}, etherType)
}

// FabricPath is the header before the frame that it carries.
func FabricPath() []byte {
	return Join(DstMAC[:], SrcMAC[:], []byte{0x89, 0x03, 0, 1})
}

// VXLAN is a header with an identifier, and the frame.
func VXLAN(id uint32, frame ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0}, id<<8)
	return append(b, Join(frame...)...)
}

// Geneve is a header with options of a multiple of 4 bytes, and the content.
func Geneve(id uint32, etherType uint16, options []byte, content ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{byte(len(options) / 4), 0}, etherType)
	b = binary.BigEndian.AppendUint32(b, id<<8)
	return Join(b, options, Join(content...))
}

// GTP is a header of the user plane with so many extension headers, and the packet.
func GTP(id uint32, extensions int, packet ...[]byte) []byte {
	b := []byte{0x30, 0xff, 0, 0}
	b = binary.BigEndian.AppendUint32(b, id)
	if extensions > 0 {
		b[0] |= 4
		b = append(b, 0, 0, 0, 0x85)
	}
	for i := range extensions {
		next := byte(0x85)
		if i == extensions-1 {
			next = 0
		}
		b = append(b, 1, 0, 0, next)
	}
	content := Join(packet...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-8+len(content)))
	return append(b, content...)
}

// GREHeader is a header with the optional words that the flags announce, each of them 7,
// and the content.
func GREHeader(flags, protocol uint16, content ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, flags), protocol)
	for _, bit := range []uint16{0x8000, 0x2000, 0x1000, 0x0080} {
		if flags&bit != 0 {
			b = append(b, 0, 0, 0, 7)
		}
	}
	return append(b, Join(content...)...)
}

// TeredoOrigin is the indication that may stand before IPv6.
func TeredoOrigin() []byte { return []byte{0, 0, 0x12, 0x34, 1, 2, 3, 4} }

// TeredoAuthentication is the header that may stand before that, with an identifier
// and a value of the given lengths.
func TeredoAuthentication(id, value int) []byte {
	return append([]byte{0, 1, byte(id), byte(value)}, make([]byte, id+value+9)...)
}

// AYIYA is a header with an identity of 1<<identity bytes and a signature of 4
// bytes a unit, and the packet.
func AYIYA(identity, signature, next uint8, packet ...[]byte) []byte {
	b := []byte{identity<<4 | 1, signature<<4 | 2, 0x11, next, 0, 0, 0, 0}
	b = append(b, make([]byte, 1<<identity+int(signature)*4)...)
	return append(b, Join(packet...)...)
}
