// SPDX-License-Identifier: Apache-2.0

package main

import "encoding/binary"

// writeFlows writes TCP connections that all stay open: a handshake and one
// packet of data each, a microsecond from packet to packet.
func writeFlows(w *writer, connections int) {
	to := endpoint{server, 80}
	data := []byte("hello")
	at := int64(start)
	for i := range connections {
		from := endpoint{port: uint16(1024 + i%60000)}
		binary.BigEndian.PutUint32(from.address[:], 0x0b000001+uint32(i/60000)) // 11.0.0.1 and up
		w.tcp(at, from, to, syn, 1000, 0, nil)
		w.tcp(at+1, to, from, syn|ack, 5000, 1001, nil)
		w.tcp(at+2, from, to, ack, 1001, 5001, nil)
		w.tcp(at+3, from, to, psh|ack, 1001, 5001, data)
		at += 4
	}
}
