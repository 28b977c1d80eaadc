// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"math/bits"
)

// The twin of sample.h, which says what the hash is over and why.

func foldAddress(a *Addr) uint64 {
	return binary.LittleEndian.Uint64(a[:8])*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(a[8:])
}

func hashEnds(a, b uint64) uint64 {
	return (a^b)*0xbf58476d1ce4e5b9 ^ (a+b)*0x94d049bb133111eb
}

func hashConnection(p *Packet) uint32 {
	a, b := foldAddress(&p.Src), foldAddress(&p.Dst)
	if p.State&StateIPv6 == 0 {
		a = uint64(binary.LittleEndian.Uint32(p.Src[12:]))
		b = uint64(binary.LittleEndian.Uint32(p.Dst[12:]))
	}
	src, dst := uint32(bits.ReverseBytes16(p.SrcPort)), uint32(bits.ReverseBytes16(p.DstPort))
	if p.Protocol == ProtocolUDP && (tunnelOnPort(p.SrcPort) != TunnelNone || tunnelOnPort(p.DstPort) != TunnelNone) {
		src, dst = 0, 0
	}
	const odd = 0xd6e8feb86659fd93
	hash := hashEnds(a, b) + (uint64(src^dst)<<32|uint64(src+dst)<<8|uint64(p.Protocol))*odd
	hash = (hash ^ hash>>32) * odd
	return uint32(hash >> 32)
}

// InSample tells whether an outermost packet belongs to a sample of one connection
// in n; of 0 and 1 all do. All packets of a connection get the same answer, in both
// directions and in every run, but for fragments, whose ports are not known: they
// belong to every sample, and what is put together from them is to be asked again.
// UDP tunnels are told apart by their addresses alone, so that the connections
// inside are complete too.
func (p *Packet) InSample(n uint32) bool {
	if n <= 1 || p.State&StateFragment != 0 {
		return true
	}
	return uint64(hashConnection(p))*uint64(n)>>32 == 0
}
