// SPDX-License-Identifier: Apache-2.0

package tracker

import (
	"encoding/binary"
	"math/bits"

	"conntap/bpf"
)

// key identifies a connection from one packet's point of view: source first. A
// packet the other way has the same key with its sides exchanged, and the same
// hash.
type key struct {
	addr     [2]bpf.Addr
	port     [2]uint16 // ICMP: type, and counterpart type or code
	protocol uint8
	oneWay   bool   // ICMP without a counterpart: the exchanged key is another connection
	vlan     uint32 // both ids, as vlanOf gives them; 0 unless Config.KeyVLAN
}

// keyOf is the packet's key (Zeek conn_key/IPBasedConnKey.cc, InitTuple).
func keyOf(k *key, p *bpf.Packet) {
	k.addr[0], k.addr[1] = p.Src, p.Dst
	k.port[0], k.port[1] = p.SrcPort, p.DstPort
	k.protocol = p.Protocol
	k.oneWay = false
	if isICMP(p.Protocol) {
		k.port[0], k.port[1], k.oneWay = icmpPorts(p)
	}
}

// hashKey is what keeps an attacker from choosing packets that collide.
type hashKey [3]uint64

// hash is symmetric in the sides of the key.
func (h *hashKey) hash(k *key) uint64 {
	a := h.side(&k.addr[0], k.port[0])
	b := h.side(&k.addr[1], k.port[1])
	return mix(a+b, h[2]^uint64(k.protocol))
}

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

// addVLAN makes the packet's VLAN ids part of its key.
func (t *Tracker) addVLAN(at *lookedUp, p *bpf.Packet) {
	at.key.vlan = vlanOf(p)
	at.hash = t.hashKey.hashVLAN(at.hash, at.key.vlan)
}

// vlanOf is the number of the connection's VLAN ids; with Config.KeyVLAN alone.
func (t *Tracker) vlanOf(c *connection) uint32 {
	x := t.extra.at(c.extra)
	return uint32(x.vlan)<<16 | uint32(x.innerVLAN)
}

// hashOf is the hash of the connection's key.
func (t *Tracker) hashOf(h *hashKey, c *connection) uint64 {
	k := key{addr: c.addr, port: c.port, protocol: c.protocol}
	hash := h.hash(&k)
	if t.config.KeyVLAN {
		hash = h.hashVLAN(hash, t.vlanOf(c))
	}
	return hash
}

// mix folds the 128-bit product, as wyhash does: every bit of the operands
// reaches the result in one multiplication.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// side tells whether the key is the connection's: from its originator, from its
// responder, or -1 if it isn't. Between identical endpoints everything is the
// originator's. No counterpart's type is one-way, so the exchanged key of a
// one-way connection never comes.
func (c *connection) side(k *key) int {
	if c.protocol != k.protocol {
		return -1
	}
	if c.port == k.port && c.addr == k.addr {
		return orig
	}
	if k.oneWay || c.port[orig] != k.port[1] || c.port[resp] != k.port[0] {
		return -1
	}
	if c.addr[orig] == k.addr[1] && c.addr[resp] == k.addr[0] {
		return resp
	}
	return -1
}
