// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// Open opens a log, which may be compressed with gzip or zstd; - is standard input.
func Open(path string) (io.ReadCloser, error) {
	if path == "-" {
		return unpack(io.NopCloser(os.Stdin))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		_ = file.Close() // nothing was written
		return nil, fmt.Errorf("open log: %s is a directory: give its files", path)
	}
	unpacked, err := unpack(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log %s: %w", path, err), file.Close())
	}
	return unpacked, nil
}

// What compressed files begin with (RFC 1952, RFC 8878).
var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// widestWindow bounds the memory that a zstd file may ask for.
const widestWindow = 128 << 20

// unpack takes off the compression that the first bytes tell of.
func unpack(file io.ReadCloser) (io.ReadCloser, error) {
	r := bufio.NewReader(file)
	start, err := r.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, gzipMagic):
		unpacked, err := gzip.NewReader(r)
		return unpackedFile{unpacked, file}, err
	case bytes.HasPrefix(start, zstdMagic):
		unpacked, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(widestWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return unpackedFile{unpacked.IOReadCloser(), file}, nil
	}
	return unpackedFile{io.NopCloser(r), file}, nil
}

// unpackedFile reads what is in a file, and closes both.
type unpackedFile struct {
	io.ReadCloser
	file io.Closer
}

func (u unpackedFile) Close() error { return errors.Join(u.ReadCloser.Close(), u.file.Close()) }
