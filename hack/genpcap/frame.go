// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"io"
)

// start is the time of every capture's first packet: 2023-11-14 22:13:20 UTC, µs
// since 1970.
const start = 1_700_000_000_000_000

// The TCP flags.
const (
	fin = 1 << 0
	syn = 1 << 1
	rst = 1 << 2
	psh = 1 << 3
	ack = 1 << 4
)

const (
	pcapHeader     = 16
	ethernetHeader = 14
	ipHeader       = 20
	tcpHeader      = 20
	udpHeader      = 8
	icmpHeader     = 8
)

// endpoint is an IPv4 address and a port.
type endpoint struct {
	address [4]byte
	port    uint16
}

// writer writes Ethernet frames with valid checksums to a pcap file, each built
// in the same memory. The first error stands in err.
type writer struct {
	out    io.Writer
	record [pcapHeader + ethernetHeader + 1500]byte
	id     uint16 // IPv4 identification
	err    error
}

func newWriter(out io.Writer) *writer {
	w := &writer{out: out}
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4) // times in µs
	header = binary.LittleEndian.AppendUint16(header, 2)
	header = binary.LittleEndian.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...)
	header = binary.LittleEndian.AppendUint32(header, 262144) // snap length
	header = binary.LittleEndian.AppendUint32(header, 1)      // Ethernet
	_, w.err = out.Write(header)
	return w
}

// tcp writes a segment at a time in µs since 1970.
func (w *writer) tcp(at int64, from, to endpoint, flags byte, seq, acked uint32, payload []byte) {
	segment := w.begin(from, to, 6, tcpHeader+len(payload))
	binary.BigEndian.PutUint16(segment[0:], from.port)
	binary.BigEndian.PutUint16(segment[2:], to.port)
	binary.BigEndian.PutUint32(segment[4:], seq)
	binary.BigEndian.PutUint32(segment[8:], acked)
	segment[12], segment[13] = tcpHeader/4<<4, flags
	binary.BigEndian.PutUint16(segment[14:], 64240)
	binary.BigEndian.PutUint32(segment[16:], 0) // checksum, urgent pointer
	copy(segment[tcpHeader:], payload)
	binary.BigEndian.PutUint16(segment[16:], checksum(segment, pseudoHeader(from, to, 6, len(segment))))
	w.end(at, len(segment))
}

// udp writes a datagram.
func (w *writer) udp(at int64, from, to endpoint, payload []byte) {
	datagram := w.begin(from, to, 17, udpHeader+len(payload))
	binary.BigEndian.PutUint16(datagram[0:], from.port)
	binary.BigEndian.PutUint16(datagram[2:], to.port)
	binary.BigEndian.PutUint16(datagram[4:], uint16(len(datagram)))
	binary.BigEndian.PutUint16(datagram[6:], 0)
	copy(datagram[udpHeader:], payload)
	sum := checksum(datagram, pseudoHeader(from, to, 17, len(datagram)))
	if sum == 0 { // 0 means that there is none (RFC 768)
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(datagram[6:], sum)
	w.end(at, len(datagram))
}

// icmp writes a message of code 0.
func (w *writer) icmp(at int64, from, to endpoint, kind byte, id, sequence uint16, payload []byte) {
	message := w.begin(from, to, 1, icmpHeader+len(payload))
	binary.BigEndian.PutUint32(message[0:], uint32(kind)<<24)
	binary.BigEndian.PutUint16(message[4:], id)
	binary.BigEndian.PutUint16(message[6:], sequence)
	copy(message[icmpHeader:], payload)
	binary.BigEndian.PutUint16(message[2:], checksum(message, 0))
	w.end(at, len(message))
}

// begin writes the Ethernet and IP headers and returns the room for what follows.
func (w *writer) begin(from, to endpoint, protocol byte, length int) []byte {
	frame := w.record[pcapHeader : pcapHeader+ethernetHeader+ipHeader+length]
	setMAC(frame[0:6], to)
	setMAC(frame[6:12], from)
	binary.BigEndian.PutUint16(frame[12:], 0x0800)
	ip := frame[ethernetHeader:]
	w.id++
	binary.BigEndian.PutUint16(ip[0:], 0x4500)
	binary.BigEndian.PutUint16(ip[2:], uint16(ipHeader+length))
	binary.BigEndian.PutUint16(ip[4:], w.id)
	binary.BigEndian.PutUint16(ip[6:], 0x4000) // don't fragment
	ip[8], ip[9] = 64, protocol
	binary.BigEndian.PutUint16(ip[10:], 0)
	copy(ip[12:], from.address[:])
	copy(ip[16:], to.address[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(ip[:ipHeader], 0))
	return ip[ipHeader:]
}

func (w *writer) end(at int64, length int) {
	frame := ethernetHeader + ipHeader + length
	record := w.record[:pcapHeader+frame]
	binary.LittleEndian.PutUint32(record[0:], uint32(at/1e6))
	binary.LittleEndian.PutUint32(record[4:], uint32(at%1e6))
	binary.LittleEndian.PutUint32(record[8:], uint32(frame))
	binary.LittleEndian.PutUint32(record[12:], uint32(frame))
	if w.err == nil {
		_, w.err = w.out.Write(record)
	}
}

// setMAC makes a locally administered MAC address of the IP address.
func setMAC(mac []byte, e endpoint) {
	mac[0], mac[1] = 2, 0
	copy(mac[2:], e.address[:])
}

func pseudoHeader(from, to endpoint, protocol byte, length int) uint64 {
	return uint64(binary.BigEndian.Uint32(from.address[:])) + uint64(binary.BigEndian.Uint32(to.address[:])) +
		uint64(protocol) + uint64(length)
}

// checksum is the Internet checksum (RFC 1071), with sum added; it is summed in
// words of 32 bits, whose carries fold in at the end.
func checksum(b []byte, sum uint64) uint16 {
	for ; len(b) >= 4; b = b[4:] {
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	var tail [4]byte
	copy(tail[:], b)
	sum += uint64(binary.BigEndian.Uint32(tail[:]))
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
