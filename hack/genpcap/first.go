// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

var (
	client     = [4]byte{10, 0, 0, 1}
	server     = [4]byte{10, 0, 0, 2}
	nameServer = [4]byte{10, 0, 0, 3}
	nobody     = [4]byte{10, 0, 0, 9}
)

// timeline collects packets in any order and writes them in order of time.
type timeline []event

type event struct {
	at    int64 // µs since 1970
	write func(w *writer, at int64)
}

func (t *timeline) add(seconds float64, write func(w *writer, at int64)) {
	*t = append(*t, event{start + int64(math.Round(seconds*1e6)), write})
}

func (t timeline) write(w *writer) {
	slices.SortStableFunc(t, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	for _, e := range t {
		e.write(w, e.at)
	}
}

// dialogue is one TCP connection. Times are seconds after start.
type dialogue struct {
	timeline       *timeline
	client, server endpoint
	sent, answered uint32 // the next sequence numbers of client and server
}

func (d *dialogue) fromClient(at float64, flags byte, payload string) {
	d.segment(at, d.client, d.server, flags, d.sent, d.answered, payload)
	d.sent += advance(flags, payload)
}

func (d *dialogue) fromServer(at float64, flags byte, payload string) {
	d.segment(at, d.server, d.client, flags, d.answered, d.sent, payload)
	d.answered += advance(flags, payload)
}

func (d *dialogue) segment(at float64, from, to endpoint, flags byte, seq, acked uint32, payload string) {
	if flags&ack == 0 {
		acked = 0
	}
	d.timeline.add(at, func(w *writer, at int64) {
		w.tcp(at, from, to, flags, seq, acked, []byte(payload))
	})
}

// advance is how much of the sequence space a segment takes.
func advance(flags byte, payload string) uint32 {
	length := uint32(len(payload))
	if flags&(syn|fin) != 0 {
		length++
	}
	return length
}

func (d *dialogue) handshake(at float64) {
	d.fromClient(at, syn, "")
	d.fromServer(at+0.010, syn|ack, "")
	d.fromClient(at+0.020, ack, "")
}

// writeFirst writes five connections: complete, refused, unanswered, aborted after
// a retransmission, and a DNS lookup.
func writeFirst(w *writer) {
	var t timeline
	complete(&t)
	refused(&t)
	unanswered(&t)
	aborted(&t)
	lookup(&t)
	t.write(w)
}

func complete(t *timeline) {
	d := &dialogue{t, endpoint{client, 40000}, endpoint{server, 80}, 1000, 5000}
	d.handshake(0)
	d.fromClient(0.021, psh|ack, request("/", 412))
	d.fromServer(0.031, ack, "")
	d.fromServer(0.350, psh|ack, response(1256))
	d.fromClient(0.360, ack, "")
	d.fromClient(0.780, fin|ack, "")
	d.fromServer(0.790, fin|ack, "")
	d.fromClient(0.800, ack, "")
}

func refused(t *timeline) {
	d := &dialogue{t, endpoint{client, 40001}, endpoint{server, 81}, 2000, 0}
	d.fromClient(2, syn, "")
	d.fromServer(2.010, rst|ack, "")
}

func unanswered(t *timeline) {
	d := &dialogue{t, endpoint{client, 40002}, endpoint{nobody, 443}, 3000, 0}
	for _, at := range []float64{3, 4, 6} { // each try is the same segment
		d.sent = 3000
		d.fromClient(at, syn, "")
	}
}

// aborted is a download that the client breaks off; one segment comes twice.
func aborted(t *timeline) {
	const segments, length = 24, 1460
	d := &dialogue{t, endpoint{client, 40003}, endpoint{server, 80}, 4000, 9000}
	d.handshake(4)
	d.fromClient(4.021, psh|ack, request("/big", 96))
	d.fromServer(4.031, ack, "")
	body := response(segments * length)
	at := 4.2
	for i := range segments {
		d.fromServer(at, ack, body[i*length:][:length])
		if i == 15 { // sent again, as if its acknowledgment had been lost
			d.answered -= length
			d.fromServer(at+0.080, ack, body[i*length:][:length])
		}
		if i%2 == 1 {
			d.fromClient(at+0.010, ack, "")
		}
		at += 0.160
	}
	d.fromClient(8.2, rst|ack, "")
}

func lookup(t *timeline) {
	const header, flags, name = "\x12\x34", "\x01\x00", "\x05files\x00"
	const counts, question = "\x00\x01\x00\x00\x00\x00\x00\x00", name + "\x00\x01\x00\x01"
	const answerFlags, answerCounts = "\x81\x80", "\x00\x01\x00\x01\x00\x00\x00\x00"
	const answer = "\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04\x0a\x00\x00\x02" // 10.0.0.2 for an hour
	from, to := endpoint{client, 33711}, endpoint{nameServer, 53}
	t.add(5, func(w *writer, at int64) { w.udp(at, from, to, []byte(header+flags+counts+question)) })
	t.add(5.020, func(w *writer, at int64) {
		w.udp(at, to, from, []byte(header+answerFlags+answerCounts+question+answer))
	})
}

// request is an HTTP request of a length, filled up by its last header.
func request(path string, length int) string {
	text := "GET " + path + " HTTP/1.1\r\nHost: files\r\nUser-Agent: genpcap\r\nCookie: "
	return text + strings.Repeat("c", length-len(text)-4) + "\r\n\r\n"
}

// response is the first length bytes of an HTTP response that goes on to the end
// of the connection.
func response(length int) string {
	text := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
	return text + strings.Repeat("0123456789abcde\n", length/16+1)[:length-len(text)]
}
