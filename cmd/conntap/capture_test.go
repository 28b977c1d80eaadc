// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// tenants is a capture of two VLANs with the same addresses, a packet in GRE and
// one of SCTP, as a pcap file.
func tenants() []byte {
	plain := ipv4Packet(protocolUDP, udpHeader())
	gre := ipv4Packet(protocolGRE, append([]byte{0, 0, 8, 0}, plain...))
	frames := [][]byte{
		ethernetFrame(plain, 10), ethernetFrame(plain, 20), ethernetFrame(plain, 20, 30), ethernetFrame(plain, 10),
		ethernetFrame(gre), ethernetFrame(ipv4Packet(protocolSCTP, make([]byte, 12))),
	}
	file := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0}
	for i, frame := range frames {
		for _, v := range []uint32{1_700_000_000, uint32(i) * 1000, uint32(len(frame)), uint32(len(frame))} {
			file = binary.LittleEndian.AppendUint32(file, v)
		}
		file = append(file, frame...)
	}
	return file
}

// taps is a pcapng file of two interfaces that have names and one that has none, each
// with a packet of its own VLAN.
func taps() []byte {
	var file bytes.Buffer
	nic := pcapgo.NgInterface{Name: "tap in", LinkType: layers.LinkTypeEthernet, SnapLength: 65535}
	w, err := pcapgo.NewNgWriterInterface(&file, nic, pcapgo.DefaultNgWriterOptions)
	for _, nic.Name = range []string{"tap out", ""} {
		if err == nil {
			_, err = w.AddInterface(nic)
		}
	}
	for i := range 3 {
		frame := ethernetFrame(ipv4Packet(protocolUDP, udpHeader()), uint16(10+i))
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1_700_000_000+int64(i), 0), CaptureLength: len(frame), Length: len(frame), InterfaceIndex: i}
		if err == nil {
			err = w.WritePacket(info, frame)
		}
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		panic(err) // into memory
	}
	return file.Bytes()
}

const (
	protocolUDP  = 17
	protocolGRE  = 47
	protocolSCTP = 132
)

// udpHeader is of an empty packet from port 40000 to 9999, without a checksum.
func udpHeader() []byte { return []byte{0x9c, 0x40, 0x27, 0x0f, 0, 8, 0, 0} }

// ipv4Packet is from 10.0.0.1 to 10.0.0.2.
func ipv4Packet(protocol byte, payload []byte) []byte {
	header := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	binary.BigEndian.PutUint16(header[2:], uint16(len(header)+len(payload)))
	sum := uint32(0)
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	binary.BigEndian.PutUint16(header[10:], ^uint16(sum+sum>>16))
	return append(header, payload...)
}

// ethernetFrame puts an IPv4 packet behind VLAN tags.
func ethernetFrame(packet []byte, vlans ...uint16) []byte {
	frame := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1}
	for _, id := range vlans {
		frame = binary.BigEndian.AppendUint16(frame, 0x8100)
		frame = binary.BigEndian.AppendUint16(frame, id)
	}
	frame = binary.BigEndian.AppendUint16(frame, 0x0800)
	return append(frame, packet...)
}
