// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"conntap/bpf"
)

// FuzzCapture reads anything as a capture: it must not panic, hang or allocate
// what only a length claims, the account must balance, and payloads must lie
// within what was read.
func FuzzCapture(f *testing.F) {
	for _, magic := range []uint32{magicMicroseconds, magicNanoseconds, magicModified} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			w := newCapture(magic, order)
			w.add(1, 2, 60, datagram(53, "some payload"))
			w.add(1, 2, 60, arp)
			f.Add(w.Bytes())
		}
	}
	whole := simple(1, 2, 3)
	f.Add(whole[:len(whole)-5])
	f.Add(gzipped(f, whole))
	f.Add(zstded(f, whole))
	ng := little().section().nic(1, 30, 9, []byte{9}).nic(101, 0, 9, []byte{0x8a}, 14, make([]byte, 8))
	f.Add(ng.enhanced(0, 1e9, arp).enhanced(1, 5, datagram(1, "x")[14:]).simple(60, arp).obsolete(1, 9, arp).other(5).bytes)
	f.Fuzz(func(t *testing.T, content []byte) {
		opts := fileOptions
		opts.Stdin = bytes.NewReader(content)
		s, err := OpenFiles([]string{"-"}, opts)
		if err != nil {
			return
		}
		defer s.Close()
		dst := make([]bpf.Packet, 3)
		packets := 0
		for err == nil {
			var n int
			n, err = s.Read(dst)
			packets += n
			for _, p := range dst[:n] {
				if len(p.Payload) > maxBlock {
					t.Fatalf("payload of %d bytes", len(p.Payload))
				}
			}
		}
		checkAccount(t, s, packets)
		if n, again := s.Read(dst); n != 0 || (again == io.EOF) != (err == io.EOF) {
			t.Errorf("after %v: %d packets, %v", err, n, again)
		}
		if read, _ := s.Progress(); read > int64(len(content)) {
			t.Errorf("read %d of %d bytes", read, len(content))
		}
	})
}
