// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"

	"conntap/tracker"
)

// appendCommunityID writes the Community ID v1 with seed 0 as Zeek computes it
// (src/communityid.bif; spec 13.3): "1:" and base64 of SHA-1 over seed, lower
// and higher address, protocol, a zero, their ports.
func appendCommunityID(b []byte, c *tracker.Conn) []byte {
	low, high := &c.Orig, &c.Resp
	if !communityOrdered(c) {
		low, high = high, low
	}
	var buf [40]byte
	in := buf[:2] // the seed
	in = appendAddrBytes(in, low)
	in = appendAddrBytes(in, high)
	in = append(in, communityProtocol(c), 0)
	if communityHasPorts(c.Protocol) {
		in = binary.BigEndian.AppendUint16(in, low.Port)
		in = binary.BigEndian.AppendUint16(in, high.Port)
	}
	sum := sha1.Sum(in)
	return base64.StdEncoding.AppendEncode(append(b, "1:"...), sum[:])
}

func appendAddrBytes(b []byte, e *tracker.Endpoint) []byte {
	if isIPv4(&e.Addr) {
		return append(b, e.Addr[12:]...)
	}
	return append(b, e.Addr[:]...)
}

// communityOrdered says that the originator's half comes first: it is the lower
// by address, then by port; one-way ICMP types keep their direction.
func communityOrdered(c *tracker.Conn) bool {
	if isICMP(c.Protocol) && icmpOneWay(c.Orig.Port, isIPv4(&c.Orig.Addr)) {
		return true
	}
	order := bytes.Compare(c.Orig.Addr[:], c.Resp.Addr[:])
	if order != 0 {
		return order < 0
	}
	// Zeek compares ports in network order read as host integers.
	return swap(c.Orig.Port) < swap(c.Resp.Port)
}

func swap(v uint16) uint16 { return v<<8 | v>>8 }

func isICMP(protocol uint8) bool { return protocol == protocolICMP || protocol == protocolICMPv6 }

// communityProtocol is 1 or 58 for ICMP by the address family.
func communityProtocol(c *tracker.Conn) byte {
	switch {
	case !isICMP(c.Protocol):
		return c.Protocol
	case isIPv4(&c.Orig.Addr):
		return protocolICMP
	}
	return protocolICMPv6
}

func communityHasPorts(protocol uint8) bool {
	switch protocol {
	case protocolTCP, protocolUDP, protocolICMP, protocolICMPv6, protocolSCTP:
		return true
	}
	return false
}

// icmpOneWay says that a type has no counterpart (spec 7).
func icmpOneWay(icmpType uint16, ipv4 bool) bool {
	if ipv4 {
		switch icmpType {
		case 0, 8, 9, 10, 13, 14, 15, 16, 17, 18:
			return false
		}
		return true
	}
	switch {
	case icmpType >= 128 && icmpType <= 131, icmpType >= 133 && icmpType <= 136,
		icmpType == 139, icmpType == 140, icmpType == 144, icmpType == 145:
		return false
	}
	return true
}
