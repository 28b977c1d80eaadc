// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"conntap/bpf"
	"conntap/bpf/frametest"
)

// captureWriter builds a pcap file by hand, in any of its variants.
type captureWriter struct {
	bytes.Buffer
	order    binary.AppendByteOrder
	modified bool
}

// newCapture starts a pcap file of Ethernet frames with a snap length of 64,
// which later frames may exceed.
func newCapture(magic uint32, order binary.AppendByteOrder) *captureWriter {
	w := &captureWriter{order: order, modified: magic == magicModified}
	header := order.AppendUint32(nil, magic)
	header = order.AppendUint16(header, 2)
	header = order.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...)
	header = order.AppendUint32(header, 64)
	header = order.AppendUint32(header, 1)
	w.Write(header)
	return w
}

func (w *captureWriter) add(seconds, fraction uint32, wire int, frame []byte) {
	header := w.order.AppendUint32(nil, seconds)
	header = w.order.AppendUint32(header, fraction)
	header = w.order.AppendUint32(header, uint32(len(frame)))
	header = w.order.AppendUint32(header, uint32(wire))
	if w.modified {
		header = append(header, make([]byte, 8)...)
	}
	w.Write(header)
	w.Write(frame)
}

// datagram is an Ethernet frame with a UDP datagram from a port.
func datagram(port uint16, payload string) []byte {
	frame := append(make([]byte, 12), 0x08, 0x00)
	frame = append(frame, 0x45, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(28+len(payload)))
	frame = append(frame, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2)
	frame = binary.BigEndian.AppendUint16(frame, port)
	frame = append(frame, 0, 53)
	frame = binary.BigEndian.AppendUint16(frame, uint16(8+len(payload)))
	return append(append(frame, 0, 0), payload...)
}

var arp = append(append(make([]byte, 12), 0x08, 0x06), make([]byte, 46)...)

// simple is a capture of datagrams whose ports and seconds are given in turn.
func simple(seconds ...uint32) []byte {
	w := newCapture(magicMicroseconds, binary.LittleEndian)
	for _, s := range seconds {
		frame := datagram(uint16(s), fmt.Sprintf("payload %d", s))
		w.add(s, 7, len(frame), frame)
	}
	return w.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	return encoder.EncodeAll(b, nil)
}

// save writes files below a new directory and returns it.
func save(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var fileOptions = FileOptions{Parser: bpf.Parser{IgnoreChecksums: true}}

// readToEnd reads a source to its end, batch packets at a time, and checks that the
// account balances. Payloads are copied after the next batch was read, when they
// must still be valid.
func readToEnd(t testing.TB, s *FileSource, batch int) ([]bpf.Packet, error) {
	t.Helper()
	dst := make([]bpf.Packet, batch)
	var packets []bpf.Packet
	copied := 0
	for {
		n, err := s.Read(dst)
		for ; copied < len(packets); copied++ {
			packets[copied].Payload = bytes.Clone(packets[copied].Payload)
		}
		packets = append(packets, dst[:n]...)
		if err != nil {
			checkAccount(t, s, len(packets))
			if err == io.EOF {
				err = nil
			}
			return packets, err
		}
	}
}

func checkAccount(t testing.TB, s *FileSource, packets int) {
	t.Helper()
	stats := s.Stats()
	var skipped uint64
	for _, n := range stats.Skipped {
		skipped += n
	}
	more := stats.Packets - stats.Recorded // in aggregates of frames
	if stats.Seen != stats.Recorded+skipped || stats.Packets < stats.Recorded || stats.Seen+more != uint64(packets) {
		t.Errorf("account %+v doesn't balance with %d packets and skipped frames", stats, packets)
	}
}

func openAll(t testing.TB, paths ...string) *FileSource {
	t.Helper()
	s, err := OpenFiles(paths, fileOptions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// ports lists the packets' source ports, by which the tests tell them apart.
func ports(packets []bpf.Packet) []uint16 {
	list := []uint16{}
	for i := range packets {
		list = append(list, packets[i].SrcPort)
	}
	return list
}

func TestOpenFilesPcapVariants(t *testing.T) {
	tests := []struct {
		name     string
		magic    uint32
		order    binary.AppendByteOrder
		fraction uint32
		time     int64
	}{
		{"µs little-endian", magicMicroseconds, binary.LittleEndian, 123456, 9_123_456_000},
		{"µs big-endian", magicMicroseconds, binary.BigEndian, 123456, 9_123_456_000},
		{"ns little-endian, truncated", magicNanoseconds, binary.LittleEndian, 123456999, 9_123_456_000},
		{"ns big-endian", magicNanoseconds, binary.BigEndian, 123456999, 9_123_456_000},
		{"modified little-endian", magicModified, binary.LittleEndian, 5, 9_000_005_000},
		{"modified big-endian", magicModified, binary.BigEndian, 5, 9_000_005_000},
		{"fraction above a second", magicMicroseconds, binary.LittleEndian, 1_500_000, 10_500_000_000},
		{"fraction at its limit", magicMicroseconds, binary.LittleEndian, 1<<32 - 1, 9e9 + (1<<32-1)*1e3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newCapture(tt.magic, tt.order)
			long := datagram(7, strings.Repeat("x", 200)) // above the snap length
			w.add(9, tt.fraction, len(long), long)
			w.add(9, tt.fraction, 300, datagram(8, ""))
			s := openAll(t, filepath.Join(save(t, map[string][]byte{"f": w.Bytes()}), "f"))
			packets, err := readToEnd(t, s, 10)
			if err != nil || len(packets) != 2 {
				t.Fatalf("got %d packets, error %v, want 2", len(packets), err)
			}
			if packets[0].Time != tt.time || packets[1].Time != tt.time {
				t.Errorf("want time %d, got %d and %d", tt.time, packets[0].Time, packets[1].Time)
			}
			if want := strings.Repeat("x", 200); string(packets[0].Payload) != want {
				t.Errorf("want payload %q, got %q", want, packets[0].Payload)
			}
			if got := s.Stats().Bytes; got != uint64(len(long))+300 {
				t.Errorf("want %d bytes on the wire, got %d", len(long)+300, got)
			}
			if got := s.Summary().Cut; got != 1 {
				t.Errorf("want 1 cut frame, got %d", got)
			}
		})
	}
}

func TestOpenFilesMerge(t *testing.T) {
	tests := []struct {
		name  string
		files [][]byte
		want  []uint16
	}{
		{"one after another", [][]byte{simple(3, 4), simple(1, 2)}, []uint16{1, 2, 3, 4}},
		{"interleaved", [][]byte{simple(1, 4, 5), simple(2, 3, 6)}, []uint16{1, 2, 3, 4, 5, 6}},
		{"time steps back within a file", [][]byte{simple(5, 2, 6), simple(1, 4, 7)}, []uint16{1, 4, 5, 2, 6, 7}},
		{"one file keeps its order", [][]byte{simple(5, 2, 6, 1)}, []uint16{5, 2, 6, 1}},
		{"without packets", [][]byte{simple(), simple(1), simple()}, []uint16{1}},
		{"three", [][]byte{simple(3, 9), simple(1, 8), simple(2, 7)}, []uint16{1, 2, 3, 7, 8, 9}},
	}
	for _, tt := range tests {
		for _, batch := range []int{1, 2, 100} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, batch), func(t *testing.T) {
				var paths []string
				for _, content := range tt.files {
					paths = append(paths, filepath.Join(save(t, map[string][]byte{"f": content}), "f"))
				}
				packets, err := readToEnd(t, openAll(t, paths...), batch)
				if err != nil {
					t.Fatal(err)
				}
				if got := ports(packets); !slices.Equal(got, tt.want) {
					t.Errorf("want %v, got %v", tt.want, got)
				}
				for i, p := range packets {
					if p.Ordinal != uint64(i+1) {
						t.Errorf("packet %d has ordinal %d", i+1, p.Ordinal)
					}
					if want := fmt.Sprintf("payload %d", p.SrcPort); string(p.Payload) != want {
						t.Errorf("want payload %q, got %q", want, p.Payload)
					}
				}
			})
		}
	}
}

// Of equal times the file that was named first comes first.
func TestOpenFilesMergeTies(t *testing.T) {
	file := func(port uint16) []byte {
		w := newCapture(magicMicroseconds, binary.LittleEndian)
		for i := range uint16(3) {
			frame := datagram(port+i, "")
			w.add(1, 0, len(frame), frame)
		}
		return w.Bytes()
	}
	dir := save(t, map[string][]byte{"a": file(10), "b": file(20), "c": file(30)})
	packets, err := readToEnd(t, openAll(t, filepath.Join(dir, "b"), filepath.Join(dir, "a"), filepath.Join(dir, "c")), 10)
	if want := []uint16{20, 21, 22, 10, 11, 12, 30, 31, 32}; err != nil || !slices.Equal(ports(packets), want) {
		t.Errorf("want %v, got %v, error %v", want, ports(packets), err)
	}
}

// More files than stay open are opened when their time comes.
func TestOpenFilesMany(t *testing.T) {
	files := map[string][]byte{}
	var want []uint16
	for i := range uint32(maxOpenFiles + 40) {
		content := simple(2*i+1, 2*i+2)
		if i%2 == 1 {
			content = gzipped(t, content)
		}
		files[fmt.Sprintf("%04d", 5000-i)] = content
		want = append(want, uint16(2*i+1), uint16(2*i+2))
	}
	dir := save(t, files)
	s := openAll(t, dir)
	parked := 0
	for _, c := range s.captures {
		if c.parked() {
			parked++
		}
	}
	if parked != 40 {
		t.Errorf("want 40 parked files, got %d", parked)
	}
	packets, err := readToEnd(t, s, 7)
	if err != nil || !slices.Equal(ports(packets), want) {
		t.Errorf("want %v, got %v, error %v", want, ports(packets), err)
	}
	if read, total := s.Progress(); read != total {
		t.Errorf("read %d of %d bytes at the end", read, total)
	}
}

// A parked file may be gone when its time comes.
func TestOpenFilesVanished(t *testing.T) {
	files := map[string][]byte{}
	for i := range uint32(maxOpenFiles + 1) {
		files[fmt.Sprintf("%04d", i)] = simple(i + 1)
	}
	dir := save(t, files)
	s := openAll(t, dir)
	last := filepath.Join(dir, fmt.Sprintf("%04d", maxOpenFiles))
	if err := os.Remove(last); err != nil {
		t.Fatal(err)
	}
	packets, err := readToEnd(t, s, 100)
	if len(packets) != maxOpenFiles || err == nil || !strings.Contains(err.Error(), last) {
		t.Errorf("want %d packets and an error about %s, got %d, %v", maxOpenFiles, last, len(packets), err)
	}
}

func TestOpenFilesCompressed(t *testing.T) {
	plain := simple(1, 2, 3)
	dir := save(t, map[string][]byte{
		"plain.gz": plain, "gzip.pcap": gzipped(t, plain), "zstd.pcap": zstded(t, plain),
		"zstd-skippable": append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0}, zstded(t, plain)...),
		"gzip-parts":     append(gzipped(t, plain[:50]), gzipped(t, plain[50:])...),
	})
	for _, name := range []string{"plain.gz", "gzip.pcap", "zstd.pcap", "zstd-skippable", "gzip-parts"} {
		s := openAll(t, filepath.Join(dir, name))
		packets, err := readToEnd(t, s, 2)
		if want := []uint16{1, 2, 3}; err != nil || !slices.Equal(ports(packets), want) {
			t.Errorf("%s: want %v, got %v, error %v", name, want, ports(packets), err)
		}
		if read, total := s.Progress(); read != total || total == 0 {
			t.Errorf("%s: read %d of %d bytes at the end", name, read, total)
		}
	}
}

func TestOpenFilesStdin(t *testing.T) {
	for _, content := range [][]byte{simple(1, 2, 3), gzipped(t, simple(1, 2, 3))} {
		for _, stream := range []io.Reader{
			bytes.NewReader(content), iotest.OneByteReader(bytes.NewReader(content)),
			iotest.DataErrReader(bytes.NewReader(content)),
		} {
			opts := fileOptions
			opts.Stdin = stream
			s, err := OpenFiles([]string{"-"}, opts)
			if err != nil {
				t.Fatal(err)
			}
			packets, err := readToEnd(t, s, 2)
			if want := []uint16{1, 2, 3}; err != nil || !slices.Equal(ports(packets), want) {
				t.Errorf("want %v, got %v, error %v", want, ports(packets), err)
			}
			if read, total := s.Progress(); read != int64(len(content)) || total != -1 {
				t.Errorf("want progress %d of -1, got %d of %d", len(content), read, total)
			}
		}
	}
}

// What a pipe's writer has written comes out before it writes more.
func TestReadDoesNotWaitForMore(t *testing.T) {
	reader, writer := io.Pipe()
	content := simple(1, 2)
	go func() { _, _ = writer.Write(content) }()
	opts := fileOptions
	opts.Stdin = reader
	s, err := OpenFiles([]string{"-"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]bpf.Packet, 10)
	if n, err := s.Read(dst); n != 2 || err != nil {
		t.Fatalf("want 2 packets, got %d, error %v", n, err)
	}
	go func() { _ = writer.Close() }()
	if n, err := s.Read(dst); n != 0 || err != io.EOF {
		t.Fatalf("want io.EOF, got %d packets, error %v", n, err)
	}
}

func TestOpenFilesDirectory(t *testing.T) {
	dir := save(t, map[string][]byte{
		"b.pcap": simple(2), "a/z.pcap": simple(1), "c.txt": []byte("hello, this is text"), "d/e/empty": {},
		"e.pcap": simple(5),
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	packets, err := readToEnd(t, openAll(t, dir), 10)
	if want := []uint16{1, 2, 5}; !slices.Equal(ports(packets), want) {
		t.Errorf("want %v, got %v", want, ports(packets))
	}
	if err == nil {
		t.Fatal("want an error about the other files")
	}
	want := strings.Join([]string{
		filepath.Join(dir, "c.txt") + ": not a capture file (first bytes 68 65 6c 6c: text?)",
		filepath.Join(dir, "d/e/empty") + ": not a capture file (empty)",
		filepath.Join(dir, "pipe") + ": not a regular file",
	}, "\n")
	if err.Error() != want {
		t.Errorf("want %s\ngot %s", want, err)
	}
}

func TestOpenFilesRefuses(t *testing.T) {
	version := simple()
	version[4] = 3
	dir := save(t, map[string][]byte{
		"json": []byte(`{"ts":1}`), "log": []byte("#separator \\x09\n"), "bin": {1, 2, 3, 4, 5}, "empty": {},
		"short": simple()[:10], "two": {0xd4, 0xc3}, "version": version, "nested": gzipped(t, gzipped(t, simple())),
		"gz-json": gzipped(t, []byte(`{"ts":1}`)), "gz-cut": gzipped(t, simple())[:12], "good": simple(1),
	})
	if err := os.Mkdir(filepath.Join(dir, "none"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		paths []string
		want  string // %s is the directory
	}{
		{[]string{"json"}, "%s/json: not a capture file (first bytes 7b 22 74 73: JSON?)"},
		{[]string{"log"}, "%s/log: not a capture file (first bytes 23 73 65 70: a log of Zeek?)"},
		{[]string{"bin"}, "%s/bin: not a capture file (first bytes 01 02 03 04)"},
		{[]string{"two"}, "%s/two: not a capture file (first bytes d4 c3)"},
		{[]string{"empty"}, "%s/empty: not a capture file (empty)"},
		{[]string{"short"}, "%s/short: cut in the file header; 0 packets read"},
		{[]string{"version"}, "%s/version: pcap version 3.4 is not known, only 2.4 is"},
		{[]string{"nested"}, "%s/nested: not a capture file (first bytes 1f 8b 08 00: gzip inside gzip or zstd?)"},
		{[]string{"gz-json"}, "%s/gz-json: not a capture file (first bytes 7b 22 74 73: JSON?)"},
		{[]string{"gz-cut"}, "%s/gz-cut: compressed data cut short; 0 packets read"},
		{[]string{"missing"}, "%s/missing: no such file or directory"},
		{[]string{"none"}, "no capture files to read"},
		{[]string{"good", "empty", "two"}, "%[1]s/empty: not a capture file (empty)\n%[1]s/two: not a capture file (first bytes d4 c3)"},
	}
	for _, tt := range tests {
		var paths []string
		for _, path := range tt.paths {
			paths = append(paths, filepath.Join(dir, path))
		}
		want := tt.want
		if strings.Contains(want, "%") {
			want = fmt.Sprintf(want, dir)
		}
		if _, err := OpenFiles(paths, fileOptions); err == nil || err.Error() != want {
			t.Errorf("%v: want error %q, got %v", tt.paths, want, err)
		}
	}
}

func TestReadDamage(t *testing.T) {
	whole := simple(1, 2, 3)
	frame := len(datagram(1, "payload 1"))
	third := 24 + 2*(16+frame)
	absurd := slices.Clone(whole)
	binary.LittleEndian.PutUint32(absurd[third+8:], 0xdeadbeef)
	long := slices.Clone(whole)
	binary.LittleEndian.PutUint32(long[third+8:], maxFrame)
	badSum := gzipped(t, whole)
	badSum[len(badSum)-8] ^= 1
	big := simple(slices.Repeat([]uint32{1, 2, 3}, 2000)...)
	zstdCut := zstded(t, big)
	zstdCut = zstdCut[:len(zstdCut)*3/4]
	tests := []struct {
		name    string
		content []byte
		packets int
		want    string
	}{
		{"in the frame", whole[:len(whole)-1], 2, "cut in the middle of packet 3; 2 packets read"},
		{"in the packet header", whole[:third+7], 2, "cut in the middle of packet 3; 2 packets read"},
		{"in the first packet", whole[:24+5], 0, "cut in the middle of packet 1; 0 packets read"},
		{"far", big[:len(big)-1], 5999, "cut in the middle of packet 6,000; 5,999 packets read"},
		{"absurd length", absurd, 2, "damaged at packet 3 (captured length 3,735,928,559); 2 packets read"},
		{"length beyond the end", long, 2, "cut in the middle of packet 3; 2 packets read"},
		{"zstd cut", zstdCut, -1, "compressed data cut short at packet "},
		{"gzip cut", gzipped(t, big)[:300], -1, "compressed data cut short at packet "},
		{"gzip sum", badSum, 3, "gzip: invalid checksum at packet 4; 3 packets read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := save(t, map[string][]byte{"x.pcap": tt.content, "y.pcap": simple(9)})
			packets, err := readToEnd(t, openAll(t, filepath.Join(dir, "x.pcap"), filepath.Join(dir, "y.pcap")), 2)
			if tt.packets >= 0 && len(packets) != tt.packets+1 {
				t.Errorf("want %d packets and one of the other file, got %d", tt.packets, len(packets))
			}
			if len(packets) == 0 || packets[len(packets)-1].SrcPort != 9 {
				t.Errorf("the other file was not read to its end")
			}
			want := filepath.Join(dir, "x.pcap") + ": " + tt.want
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("want error %q, got %v", want, err)
			}
		})
	}
}

func TestReadCountsEveryFrame(t *testing.T) {
	w := newCapture(magicMicroseconds, binary.LittleEndian)
	w.add(1, 0, len(arp), arp)
	frame := datagram(5, "")
	w.add(2, 0, len(frame), frame)
	w.add(4, 0, len(arp), arp)
	w.add(3, 0, 0, nil)
	s := openAll(t, filepath.Join(save(t, map[string][]byte{"f": w.Bytes()}), "f"))
	packets, err := readToEnd(t, s, 10)
	kinds := []bpf.Kind{bpf.KindNone, bpf.KindPacket, bpf.KindNone, bpf.KindNone}
	if err != nil || len(packets) != len(kinds) {
		t.Fatalf("want %d packets and skipped frames, got %v, error %v", len(kinds), packets, err)
	}
	for i, p := range packets {
		if p.Kind != kinds[i] || p.Ordinal != uint64(i+1) {
			t.Errorf("frame %d: want kind %d, got %d, ordinal %d", i+1, kinds[i], p.Kind, p.Ordinal)
		}
	}
	stats := s.Stats()
	if stats.Seen != 4 || stats.Skipped[bpf.ReasonARP] != 2 || stats.Skipped[bpf.ReasonShortFrame] != 1 {
		t.Errorf("want 4 seen, 2 ARP, 1 short, got %+v", stats)
	}
	if got := s.Summary(); got.First != 1e9 || got.Last != 4e9 || got.Files != 1 || got.Size != int64(w.Len()) {
		t.Errorf("summary %+v", got)
	}
	if s.Now() != 4e9 {
		t.Errorf("want now %d, got %d", int64(4e9), s.Now())
	}
}

// All payloads of a batch stay valid while files are refilled for the next one.
func TestReadPayloadsStayValid(t *testing.T) {
	const packets = 6000
	files := map[string][]byte{}
	for file := range 3 {
		w := newCapture(magicMicroseconds, binary.LittleEndian)
		for i := file; i < packets; i += 3 {
			frame := datagram(uint16(i), strings.Repeat(fmt.Sprintf("%05d", i), 80+i%40))
			w.add(1, uint32(i), len(frame), frame)
		}
		files[fmt.Sprint(file)] = w.Bytes()
	}
	if size := len(files["0"]); size < 2*windowSize {
		t.Fatalf("files of %d bytes need no refill", size)
	}
	got, err := readToEnd(t, openAll(t, save(t, files)), packets)
	if err != nil || len(got) != packets {
		t.Fatalf("want %d packets, got %d, error %v", packets, len(got), err)
	}
	for i, p := range got {
		if want := strings.Repeat(fmt.Sprintf("%05d", i), 80+i%40); p.SrcPort != uint16(i) || string(p.Payload) != want {
			t.Fatalf("packet %d: port %d, payload %.20q, want %.20q", i, p.SrcPort, p.Payload, want)
		}
	}
}

// A packet longer than the window makes it grow.
func TestReadLongFrames(t *testing.T) {
	w := newCapture(magicMicroseconds, binary.LittleEndian)
	for i := range 3 {
		frame := append(datagram(uint16(i), "x"), make([]byte, (i+1)*windowSize)...)
		w.add(1, 0, len(frame), frame)
	}
	packets, err := readToEnd(t, openAll(t, save(t, map[string][]byte{"f": w.Bytes()})), 10)
	if want := []uint16{0, 1, 2}; err != nil || !slices.Equal(ports(packets), want) {
		t.Errorf("want %v, got %v, error %v", want, ports(packets), err)
	}
}

// Reading allocates nothing once the window is there.
func TestReadAllocates(t *testing.T) {
	opts := fileOptions
	opts.Stdin = bytes.NewReader(mixedCapture(40_000))
	s, err := OpenFiles([]string{"-"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]bpf.Packet, 64)
	if n := testing.AllocsPerRun(100, func() { _, err = s.Read(dst) }); n != 0 || err != nil {
		t.Errorf("want no allocation and no error, got %v and %v", n, err)
	}
}

// A frame's packets stay together and share time and ordinal, however many are read
// at a time.
func TestReadTunnels(t *testing.T) {
	inner := frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: frametest.UDP}.Packet(frametest.Datagram(7, 8)))
	w := newCapture(magicMicroseconds, binary.LittleEndian)
	for i := range 5 {
		vxlan := frametest.Datagram(uint16(i), frametest.PortVXLAN, frametest.VXLAN(uint32(i), inner)...)
		frame := frametest.Ethernet(frametest.TypeIPv4, frametest.IPv4{Protocol: frametest.UDP}.Packet(vxlan))
		w.add(uint32(i+1), 0, len(frame), frame)
	}
	path := filepath.Join(save(t, map[string][]byte{"f": w.Bytes()}), "f")
	for _, batch := range []int{1, 2, 3, 9, 10, bpf.PacketsMax, 100} {
		opts := fileOptions
		opts.Parser.Tunnels = true
		s, err := OpenFiles([]string{path}, opts)
		if err != nil {
			t.Fatal(err)
		}
		var packets []bpf.Packet
		for dst := make([]bpf.Packet, batch); err == nil; {
			var n int
			n, err = s.Read(dst)
			packets = append(packets, dst[:n]...)
		}
		if err != io.EOF || len(packets) != 10 {
			t.Fatalf("%d at a time: %d packets, %v", batch, len(packets), err)
		}
		for i, p := range packets {
			frame, kind := i/2, bpf.KindPacket+bpf.Kind(i%2)
			if p.Kind != kind || p.Ordinal != uint64(frame+1) || p.Time != int64(frame+1)*1e9 || kind == bpf.KindInner && p.TunnelID != uint32(frame) {
				t.Errorf("%d at a time: packet %d: %+v", batch, i, p)
			}
		}
		if stats := s.Stats(); stats.Recorded != 5 || stats.Packets != 5 {
			t.Errorf("%d at a time: %+v", batch, stats)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
