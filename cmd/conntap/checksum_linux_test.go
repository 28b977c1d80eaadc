// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"strings"
	"testing"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// TestRunVerifiesChecksums: a wrong checksum gives the letter C, when asked for; one
// that the card has yet to complete is none.
func TestRunVerifiesChecksums(t *testing.T) {
	sound, wrong, partial := synFrame(1, nil), synFrame(2, func(sum uint16) uint16 { return sum + 1 }),
		synFrame(3, func(uint16) uint16 { return pseudoSum(20) })
	tests := []struct {
		name string
		args []string
		want map[string]string // history by originator port
	}{
		{"not asked for", nil, map[string]string{"1": "S", "2": "S", "3": "S"}},
		{"XDP", []string{"--verify-checksums", "--capture", "xdp"}, map[string]string{"1": "S", "2": "C", "3": "S"}},
		{"TCX", []string{"--verify-checksums", "--capture", "tcx"}, map[string]string{"1": "S", "2": "C", "3": "S"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			near, far := twoHosts(t)
			run, stdout, messages := startRun(t, near, append([]string{"--format", "tsv", "--fields", "id.orig_p,history"}, tt.args...)...)
			far.do(t, func() error {
				i, err := newInjector("far")
				if err != nil {
					return err
				}
				defer i.close()
				for _, frame := range [][]byte{sound, wrong, partial} {
					if err := i.send(frame); err != nil {
						return err
					}
				}
				return nil
			})
			rows := endRun(t, run, stdout, messages)
			for port, history := range tt.want {
				if want := "\n" + port + "\t" + history + "\n"; !strings.Contains(rows, want) {
					t.Errorf("want a row %q, got\n%s", want, rows)
				}
			}
		})
	}
}

// synFrame is a SYN to somebody else, with its checksum changed.
func synFrame(port uint16, change func(uint16) uint16) []byte {
	segment := frametest.Seal4(frametest.TCP, 16, frametest.Segment{SrcPort: port, DstPort: 80, Window: 1, Flags: uint8(bpf.SYN)}.Bytes())
	if change != nil {
		binary.BigEndian.PutUint16(segment[16:], change(binary.BigEndian.Uint16(segment[16:])))
	}
	return frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: frametest.TCP}.Packet(segment))
}

// pseudoSum is the sum of the pseudo-header of so many bytes of TCP over IPv4.
func pseudoSum(length byte) uint16 {
	return ^frametest.Checksum(frametest.Join(frametest.Src4[:], frametest.Dst4[:], []byte{0, frametest.TCP, 0, length}))
}
