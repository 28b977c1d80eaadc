// SPDX-License-Identifier: Apache-2.0

package bpf_test

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// directFrame is a random frame, often of the kind that the short way takes, or a
// byte or a few off it.
func directFrame(r *rand.Rand) []byte {
	payload := make([]byte, r.IntN(90))
	for i := range payload {
		payload[i] = byte(r.Uint32())
	}
	var transport []byte
	protocol := byte(6)
	if r.IntN(2) == 0 {
		transport = tcp(payload...)
	} else {
		protocol = 17
		ports := []uint16{53, 4789, 3544, 5072, 40000, 40000, 40000}
		transport = udp(ports[r.IntN(len(ports))], ports[r.IntN(len(ports))], payload...)
	}
	frame := packet4(frametest.IPv4{Protocol: protocol}, transport)
	switch r.IntN(8) {
	case 0, 1:
		frame = packet6(frametest.IPv6{Next: protocol}, transport)
	case 2:
		frame = frametest.Random(r)
	}
	if r.IntN(4) == 0 {
		frame = frametest.Pad(frame)
	}
	for range r.IntN(3) {
		if at := r.IntN(len(frame)); r.IntN(3) > 0 {
			frame[min(at%64, len(frame)-1)] = byte(r.Uint32())
		}
	}
	if r.IntN(8) == 0 {
		frame = frame[:r.IntN(len(frame)+1)]
	}
	return frame
}

// TestParseDirect checks that the short way gives what the walk over the layers
// gives, or leaves the frame to it.
func TestParseDirect(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	direct := 0
	for range 200_000 {
		frame := directFrame(r)
		wire := len(frame)
		if r.IntN(8) == 0 {
			wire = max(wire+r.IntN(61)-30, 0)
		}
		options := r.Uint32()
		parser := bpf.Parser{
			Link: bpf.LinkEthernet, VerifyChecksums: options&1 == 0, Tunnels: options&2 == 0,
			AssumePayload: options&12 == 0, IgnoreChecksums: options&48 == 0, PartialChecksums: options&448 == 0,
		}
		var p bpf.Packet
		if parser.ParseDirect(frame, wire, &p) {
			direct++
		}
		checkDirect(t, &parser, frame, wire)
	}
	if direct < 50_000 {
		t.Errorf("only %d of 200,000 frames went the short way", direct)
	}
}

// checkDirect compares Parse with the walk over the layers.
func checkDirect(t *testing.T, parser *bpf.Parser, frame []byte, wire int) {
	t.Helper()
	var want [bpf.PacketsMax]bpf.Packet
	n, reason := parser.Parse(frame, wire, parsed[:])
	wantN, wantReason := parser.ParseLayers(frame, wire, want[:])
	if n != wantN || reason != wantReason || !reflect.DeepEqual(parsed[:n], want[:n]) {
		t.Fatalf("%x, %d on the wire, %+v\nwant %d %v %+v\ngot  %d %v %+v",
			frame, wire, *parser, wantN, wantReason, want[:wantN], n, reason, parsed[:n])
	}
}
