// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/pcapgo"
)

// frameReader is a reader of gopacket's, for either format.
type frameReader interface {
	ZeroCopyReadPacketData() ([]byte, gopacket.CaptureInfo, error)
}

// openPcapgo opens a capture with gopacket, which unpacks gzip in pcap alone.
func openPcapgo(file io.Reader) (frameReader, error) {
	buffered := bufio.NewReader(file)
	magic, _ := buffered.Peek(4)
	if bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		buffered = bufio.NewReader(unpacked)
		magic, _ = buffered.Peek(4)
	}
	if len(magic) > 0 && magic[0] == 0x0a {
		return pcapgo.NewNgReader(buffered, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	}
	r, err := pcapgo.NewReader(buffered)
	if err == nil {
		r.SetSnaplen(maxBlock) // captured lengths above the file's are accepted
	}
	return r, err
}

// TestReadersAgree holds our readers of capture files against gopacket's, frame by
// frame. Ours are in use because they take less than half the time, and tell a cut file
// from one that ended; BenchmarkPcapgo measures the other one.
func TestReadersAgree(t *testing.T) {
	traces := filepath.Join("..", "..", "shared", "conformance", "traces")
	if _, err := os.Stat(traces); err != nil {
		t.Skipf("no traces: %v", err)
	}
	files, frames := 0, 0
	err := filepath.WalkDir(traces, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		frames += compareReaders(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d frames", files, frames)
	if frames < 200_000 {
		t.Errorf("want 200,000 frames at least, got %d", frames)
	}
}

func compareReaders(t *testing.T, path string) (frames int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	theirs, err := openPcapgo(file)
	if err != nil {
		t.Logf("%s: gopacket: %v", path, err)
		return 0
	}
	s, err := OpenFiles([]string{path}, fileOptions)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return 0
	}
	defer s.Close()
	for ; len(s.merge) > 0; frames++ {
		data, info, err := theirs.ZeroCopyReadPacketData()
		if err != nil {
			t.Errorf("%s: gopacket ended after %d frames: %v", path, frames, err)
			return frames
		}
		want := info.Timestamp.UnixNano() / 1000 * 1000
		if info.Timestamp.IsZero() { // a simple packet of pcapng has no time
			want = 0
		}
		ours := &s.next().frame
		if ours.time != want || int(ours.wire) != info.Length || !bytes.Equal(ours.data, data) {
			t.Errorf("%s: frame %d: want time %d, %d bytes, %x; got time %d, %d bytes, %x",
				path, frames+1, want, info.Length, data, ours.time, ours.wire, ours.data)
			return frames
		}
		s.advanced(s.next().refillNext())
	}
	if _, _, err := theirs.ZeroCopyReadPacketData(); err == nil && len(s.problems) == 0 {
		t.Errorf("%s: ended after %d frames, gopacket goes on", path, frames)
	} else if err != nil && !errors.Is(err, io.EOF) && len(s.problems) == 0 {
		t.Logf("%s: gopacket: %v", path, err)
	}
	return frames
}
