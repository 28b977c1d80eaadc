// SPDX-License-Identifier: Apache-2.0

package bench

import "encoding/binary"

// The five-tuples of the load: flow n is from firstSource + n mod 65,536, port
// firstPort + n / 65,536. Both networks are those set aside for benchmarks (RFC
// 2544, appendix C.2.2).
const (
	firstSource = 198<<24 | 18<<16
	destination = 198<<24 | 19<<16 | 1
	firstPort   = 1024
	destPort    = 9000 // that of no protocol in particular

	ethernetLength = 14
	ipLength       = 20
	udpLength      = 8
	protocolUDP    = 17
)

// template is the frame that all frames of a load are made from: IPv4 and UDP,
// without the source address, the source port and the checksum of the IP header.
// The UDP checksum is 0, none.
func template(size int) []byte {
	frame := make([]byte, size)
	// The destination is no MAC of the captured end: the stack throws the frame
	// away as early as it can, unless a program does.
	copy(frame, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
	ip := frame[ethernetLength:]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[8], ip[9] = 64, protocolUDP
	binary.BigEndian.PutUint32(ip[16:], destination)
	udp := ip[ipLength:]
	binary.BigEndian.PutUint16(udp[2:], destPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	return frame
}

// headerSum adds up the words of the template's IPv4 header (RFC 1071), without
// the final complement.
func headerSum(frame []byte) uint32 {
	var sum uint32
	for i := range ipLength / 2 {
		sum += uint32(binary.BigEndian.Uint16(frame[ethernetLength+2*i:]))
	}
	return sum&0xffff + sum>>16
}
