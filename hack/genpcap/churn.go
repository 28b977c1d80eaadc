// SPDX-License-Identifier: Apache-2.0

package main

import "encoding/binary"

const (
	churnTick   = 250 // µs from one connection's beginning to the next one's
	churnStride = 400 // ticks from one of its packets to the next
)

// churnKind is what becomes of a connection, a packet a step; a step may have none.
type churnKind []func(w *writer, at int64, client, server endpoint)

// send is a step of TCP: a segment of the client, or of the server.
func send(fromServer bool, flags byte, seq, acked uint32, payload string) func(*writer, int64, endpoint, endpoint) {
	return func(w *writer, at int64, client, server endpoint) {
		if fromServer {
			client, server = server, client
		}
		w.tcp(at, client, server, flags, seq, acked, []byte(payload))
	}
}

func ask(w *writer, at int64, client, server endpoint) { w.udp(at, client, server, []byte("ask")) }

func reply(w *writer, at int64, client, server endpoint) { w.udp(at, server, client, []byte("reply")) }

var (
	handshake = churnKind{
		send(false, syn, 1000, 0, ""), send(true, syn|ack, 5000, 1001, ""), send(false, ack, 1001, 5001, ""),
	}
	exchange = append(handshake[:3:3],
		send(false, psh|ack, 1006, 5001, "world"), // before what it follows
		send(false, psh|ack, 1001, 5001, "hello"), send(true, psh|ack, 5001, 1011, "answer"),
		send(false, ack, 1011, 5007, ""))
	closed = append(exchange[:7:7],
		send(false, fin|ack, 1011, 5007, ""), send(true, fin|ack, 5007, 1012, ""), send(false, ack, 1012, 5008, ""))
)

// churnKinds take turns.
var churnKinds = []churnKind{
	closed,
	{ask, reply, ask, reply},
	closed,
	{send(false, syn, 1000, 0, ""), send(true, rst|ack, 0, 1001, "")},
	{ask, reply, ask, reply},
	{send(false, syn, 1000, 0, ""), send(false, syn, 1000, 0, "")},
	append(exchange[:7:7], send(true, rst|ack, 5007, 1011, "")),
	{ask},
}

// writeChurn writes connections that open and end all the time, as many of each kind
// in any second: from about a minute of packet time on, which are some 1.3 million
// packets, as many are open as ever after. Fewer packets are the beginning of the
// same capture.
func writeChurn(w *writer, packets int) {
	longest := 0
	for _, kind := range churnKinds {
		longest = max(longest, len(kind))
	}
	to := endpoint{server, 80}
	for tick := 0; ; tick++ {
		at := int64(start) + int64(tick)*churnTick
		for step := range longest {
			k := tick - step*churnStride
			if k < 0 {
				break
			}
			kind := churnKinds[k%len(churnKinds)]
			if step >= len(kind) {
				continue
			}
			if packets == 0 {
				return
			}
			packets--
			from := endpoint{port: uint16(1024 + k%60000)}
			binary.BigEndian.PutUint32(from.address[:], 0x0b000001+uint32(k/60000)) // 11.0.0.1 and up
			kind[step](w, at+int64(step), from, to)
		}
	}
}
