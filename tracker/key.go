// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"math/bits"

	"conntap/bpf"
)

// A connection's key are its addresses, ports and protocol (Zeek
// conn_key/IPBasedConnKey.cc, InitTuple), with Config.KeyVLAN its VLAN ids too. A
// packet the other way has the same with the sides exchanged, and the same hash. No
// key is ever built: packets are compared with connections in place.

// hashKey is what keeps an attacker from choosing packets that collide.
type hashKey [3]uint64

func (h *hashKey) side(a *bpf.Addr, port uint16) uint64 {
	upper, lower := binary.NativeEndian.Uint64(a[:8]), binary.NativeEndian.Uint64(a[8:])
	return mix(upper^h[0]^uint64(port)<<48, lower^h[1])
}

// hashVLAN adds both VLAN ids to a hash.
func (h *hashKey) hashVLAN(hash uint64, vlan uint32) uint64 {
	return mix(hash^h[0], h[1]^uint64(vlan))
}

// vlanOf is the packet's VLAN ids in one number, 0 without: as Zeek, which cannot
// tell a priority tag from none (conn_key/vlan_fivetuple/Factory.cc, DoInit).
func vlanOf(p *bpf.Packet) uint32 {
	if p.Blocks&bpf.BlockL2 == 0 {
		return 0
	}
	return uint32(p.VLAN)<<16 | uint32(p.InnerVLAN)
}

// vlanOf is the number of the connection's VLAN ids; with Config.KeyVLAN alone.
func (t *Tracker) vlanOf(i uint32) uint32 {
	x := t.extra.At(t.warm.At(i).extra)
	return uint32(x.vlan)<<16 | uint32(x.innerVLAN)
}

// hash is that of a packet's key.
func (h *hashKey) hash(p *bpf.Packet, keyVLAN bool) uint64 {
	src, dst := p.SrcPort, p.DstPort
	if isICMP(p.Protocol) {
		src, dst, _ = icmpPorts(p)
	}
	hash := mix(h.side(&p.Src, src)+h.side(&p.Dst, dst), h[2]^uint64(p.Protocol))
	if keyVLAN {
		hash = h.hashVLAN(hash, vlanOf(p))
	}
	return hash
}

// hashOf is the hash of the connection's key.
func (t *Tracker) hashOf(h *hashKey, c connection) uint64 {
	hash := mix(h.side(&c.addr[orig], c.port[orig])+h.side(&c.addr[resp], c.port[resp]), h[2]^uint64(c.protocol))
	if t.config.KeyVLAN {
		x := t.extra.At(c.extra)
		hash = h.hashVLAN(hash, uint32(x.vlan)<<16|uint32(x.innerVLAN))
	}
	return hash
}

// mix folds the 128-bit product, as wyhash does: every bit of the operands
// reaches the result in one multiplication.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// side tells which side of the connection sent the packet, or -1 if it is of
// another connection. Between identical endpoints everything is the originator's.
// It has no branch on what is as likely as not.
func (h *hot) side(p *bpf.Packet) int {
	src, dst := p.SrcPort, p.DstPort
	oneWay := false
	if isICMP(p.Protocol) {
		src, dst, oneWay = icmpPorts(p)
	}
	protocol := uint64(h.protocol ^ p.Protocol)
	forth := difference(&h.addr[orig], &p.Src) | difference(&h.addr[resp], &p.Dst) |
		uint64(h.port[orig]^src) | uint64(h.port[resp]^dst) | protocol
	back := difference(&h.addr[orig], &p.Dst) | difference(&h.addr[resp], &p.Src) |
		uint64(h.port[orig]^dst) | uint64(h.port[resp]^src) | protocol
	if oneWay { // no counterpart's type is one-way, so the other direction never comes
		back = 1
	}
	if isNotZero(forth)&isNotZero(back) != 0 {
		return -1
	}
	return int(isNotZero(forth))
}

// difference is zero if two addresses are the same.
func difference(a, b *bpf.Addr) uint64 {
	return binary.NativeEndian.Uint64(a[:8]) ^ binary.NativeEndian.Uint64(b[:8]) |
		binary.NativeEndian.Uint64(a[8:]) ^ binary.NativeEndian.Uint64(b[8:])
}

// isNotZero is 1 if any bit of v is set.
func isNotZero(v uint64) uint64 { return (v | -v) >> 63 }
