// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"conntap/bpf"
	"conntap/bpf/filter/filtertest"
	"conntap/bpf/frametest"
)

// TestFilterTcpdump has tcpdump judge packets by the same expressions, where both
// mean the same: no tags, no fragments, no IPv6 extension headers, no SCTP, whose
// ports pcap knows, no cut frames.
func TestFilterTcpdump(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump is not installed")
	}
	r := rand.New(rand.NewPCG(7, 8))
	frames, packets := plainPackets(append(filterFrames(r), traceSample(t, r)...))
	path := filepath.Join(t.TempDir(), "frames.pcap")
	if err := os.WriteFile(path, pcapOf(frames), 0o600); err != nil {
		t.Fatal(err)
	}
	var passed, filtered int
	for range 150 {
		text := filtertest.Random(r, packets, 6)
		for strings.Contains(text, "vlan") { // it moves what pcap's words after it look at
			text = filtertest.Random(r, packets, 6)
		}
		out, err := exec.Command(tcpdump, "-n", "-r", path, "-w", "-", text).Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) && bytes.Contains(exit.Stderr, []byte("expression rejects all packets")) {
			out, err = nil, nil
		}
		if err != nil {
			t.Fatalf("tcpdump with %q: %v", text, err)
		}
		selected := numbersOf(t, out)
		f := parseFilter(t, text)
		for i := range packets {
			got := f.Match(&packets[i])
			if got != selected[i] {
				t.Fatalf("%q: %v, tcpdump %v: %x", text, got, selected[i], frames[i])
			}
			if got {
				passed++
			} else {
				filtered++
			}
		}
	}
	t.Logf("%d packets, 150 filters: %d times passed, %d times filtered", len(packets), passed, filtered)
	if passed < 1000 || filtered < 1000 {
		t.Errorf("%d passed, %d filtered: too few to say anything", passed, filtered)
	}
}

// plainPackets are the frames that pcap and conntap see alike, and their packets.
func plainPackets(all [][]byte) (frames [][]byte, packets []bpf.Packet) {
	parser := bpf.Parser{Link: bpf.LinkEthernet}
	var parsed [bpf.PacketsMax]bpf.Packet
	for _, frame := range all {
		n, _ := parser.Parse(frame, len(frame), parsed[:])
		if n != 1 {
			continue
		}
		p := parsed[0]
		var protocol byte
		switch binary.BigEndian.Uint16(frame[12:]) {
		case frametest.TypeIPv4:
			protocol = frame[14+9]
		case frametest.TypeIPv6:
			protocol = frame[14+6]
		}
		version := map[bool]byte{false: 4, true: 6}[p.State&bpf.StateIPv6 != 0]
		byType := map[uint16]byte{frametest.TypeIPv4: 4, frametest.TypeIPv6: 6}[binary.BigEndian.Uint16(frame[12:])]
		if version != byType || p.Protocol != protocol || protocol == frametest.SCTP || p.State&bpf.StateFragment != 0 {
			continue
		}
		frames, packets = append(frames, frame), append(packets, p)
	}
	return frames, packets
}

// pcapOf is a capture of frames whose times say their places.
func pcapOf(frames [][]byte) []byte {
	var b bytes.Buffer
	put := func(words ...uint32) {
		for _, w := range words {
			_ = binary.Write(&b, binary.LittleEndian, w)
		}
	}
	put(0xa1b2c3d4, 2|4<<16, 0, 0, 1<<18, uint32(bpf.LinkEthernet))
	for i, frame := range frames {
		put(uint32(i), 0, uint32(len(frame)), uint32(len(frame)))
		b.Write(frame)
	}
	return b.Bytes()
}

// numbersOf are the places of the frames in a capture.
func numbersOf(t *testing.T, pcap []byte) map[int]bool {
	t.Helper()
	numbers := map[int]bool{}
	for at := 24; at < len(pcap); {
		if at+16 > len(pcap) {
			t.Fatalf("capture of %d bytes is cut", len(pcap))
		}
		numbers[int(binary.LittleEndian.Uint32(pcap[at:]))] = true
		at += 16 + int(binary.LittleEndian.Uint32(pcap[at+8:]))
	}
	return numbers
}
