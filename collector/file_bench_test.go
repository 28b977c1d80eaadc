// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"testing"

	"conntap/bpf"
)

// mixedCapture is a capture of packets datagrams, 168 bytes on average.
func mixedCapture(packets int) []byte {
	w := newCapture(magicMicroseconds, binary.LittleEndian)
	for i := range packets {
		length := 20
		if i%10 == 0 {
			length = 1000
		}
		frame := datagram(uint16(i), string(make([]byte, length+i%56)))
		w.add(1_700_000_000+uint32(i/1_000_000), uint32(i%1_000_000), len(frame), frame)
	}
	return w.Bytes()
}

func mixedPcapng(packets int) []byte {
	file := little().section().nic(1, 0)
	for i := range packets {
		file.enhanced(0, 1_700_000_000_000_000+uint64(i), datagram(uint16(i), string(make([]byte, 20+i%256))))
	}
	return file.bytes
}

// BenchmarkReadFile reads captures that lie in the page cache, with and without
// parsing the frames (a link type that is unknown costs nothing), and as a merge
// of two files.
func BenchmarkReadFile(b *testing.B) {
	const packets = 200_000
	pcap := mixedCapture(packets)
	unknown := append([]byte(nil), pcap...)
	unknown[20] = 147
	tests := []struct {
		name  string
		files [][]byte
	}{
		{"pcap", [][]byte{pcap}},
		{"pcap-unparsed", [][]byte{unknown}},
		{"pcap-merge-2", [][]byte{pcap, pcap}},
		{"pcapng", [][]byte{mixedPcapng(packets)}},
		{"gzip", [][]byte{gzipped(b, pcap)}},
		{"zstd", [][]byte{zstded(b, pcap)}},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			var paths []string
			for _, content := range tt.files {
				path := filepath.Join(b.TempDir(), "x.pcap")
				if err := os.WriteFile(path, content, 0o644); err != nil {
					b.Fatal(err)
				}
				paths = append(paths, path)
			}
			var seen, bytes uint64
			for b.Loop() {
				stats := readThrough(b, paths)
				seen += stats.Seen
				bytes += stats.Bytes
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(seen), "ns/packet")
			b.ReportMetric(float64(bytes)/1e6/b.Elapsed().Seconds(), "MB/s")
		})
	}
}

func readThrough(b *testing.B, paths []string) Stats {
	s := openAll(b, paths...)
	defer s.Close()
	dst := make([]bpf.Packet, 512)
	for {
		if _, err := s.Read(dst); err == io.EOF {
			return s.Stats()
		} else if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPcapgo reads the same captures with gopacket, for comparison: it also
// has to be copied, since its frames are valid for one read.
func BenchmarkPcapgo(b *testing.B) {
	const packets = 200_000
	for name, content := range map[string][]byte{"pcap": mixedCapture(packets), "pcapng": mixedPcapng(packets)} {
		b.Run(name, func(b *testing.B) {
			memory := make([]byte, 0, len(content))
			for b.Loop() {
				r, err := openPcapgo(bytes.NewReader(content))
				if err != nil {
					b.Fatal(err)
				}
				memory = memory[:0]
				for err == nil {
					var frame []byte
					frame, _, err = r.ZeroCopyReadPacketData()
					memory = append(memory, frame...)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/packets, "ns/packet")
		})
	}
}
