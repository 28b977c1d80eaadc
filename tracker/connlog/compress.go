// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is what rotated files are compressed with.
type Compression uint8

// The compressions.
const (
	Plain Compression = iota // none
	Gzip
	Zstd
)

var compressionNames = []string{"none", "gzip", "zstd"}

// String is the compression's name on the command line.
func (c Compression) String() string { return nameOf(compressionNames, int(c)) }

// ParseCompression reads a compression's name.
func ParseCompression(name string) (Compression, error) {
	i, err := parseName("compression", compressionNames, name)
	return Compression(i), err
}

// suffix is what it adds to a file's name.
func (c Compression) suffix() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	}
	return ""
}

// temporary is the name of a compressed file while it is being written: .NAME.tmp.
func temporary(name string) string { return "." + name + ".tmp" }

// compressFile puts a compressed file in the place of dir/name. The compressed one
// appears when it is complete and on the disk; then the other goes. If both are there
// already, as a kill between the two leaves them, they are compared.
func compressFile(ctx context.Context, dir, name string, c Compression) error {
	path := filepath.Join(dir, name)
	target := path + c.suffix()
	if _, err := os.Lstat(target); err == nil {
		return finish(ctx, path, target, c)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	plain, err := os.Open(path)
	if err != nil {
		return err
	}
	defer plain.Close()
	scratch := filepath.Join(dir, temporary(name+c.suffix()))
	if err := writeCompressed(ctx, plain, scratch, c); err != nil {
		if removeErr := os.Remove(scratch); !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
		return err
	}
	if err := errors.Join(os.Rename(scratch, target), syncDir(dir)); err != nil {
		return err
	}
	return os.Remove(path)
}

// writeCompressed makes the file at path with all that is in plain, of its time.
func writeCompressed(ctx context.Context, plain *os.File, path string, c Compression) (err error) {
	info, err := plain.Stat()
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	encoder, err := newEncoder(file, c)
	if err != nil {
		return err
	}
	_, err = io.Copy(encoder, &untilDone{ctx, plain})
	if err = errors.Join(err, encoder.Close()); err != nil {
		return err
	}
	err = errors.Join(os.Chtimes(path, info.ModTime(), info.ModTime()), file.Sync()) // as long as it is ours
	_ = giveToCaller(file, nil)                                                      // as with the plain file, rather root's than none
	return err
}

// newEncoder returns an encoder that works on the goroutine of its caller, so that it
// never has more than one CPU.
func newEncoder(w io.Writer, c Compression) (io.WriteCloser, error) {
	if c == Gzip {
		return gzip.NewWriterLevel(w, gzip.DefaultCompression)
	}
	return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
}

// finish removes a plain file whose compressed one has all that is in it.
func finish(ctx context.Context, path, target string, c Compression) error {
	same, err := sameContent(ctx, path, target, c)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s is there already, and is another", target)
	}
	return os.Remove(path)
}

func sameContent(ctx context.Context, path, target string, c Compression) (bool, error) {
	plain, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer plain.Close()
	compressed, err := os.Open(target)
	if err != nil {
		return false, err
	}
	defer compressed.Close()
	decoder, err := newDecoder(compressed, c)
	if err != nil {
		return false, nil // whatever it is, it is none of ours
	}
	defer decoder.Close()
	return sameBytes(&untilDone{ctx, plain}, decoder)
}

func newDecoder(r io.Reader, c Compression) (io.ReadCloser, error) {
	if c == Gzip {
		return gzip.NewReader(r)
	}
	decoder, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return decoder.IOReadCloser(), nil
}

// sameBytes compares what a and b give. What b can't give is a difference.
func sameBytes(a, b io.Reader) (bool, error) {
	const size = 64 << 10
	bufA, bufB := make([]byte, size), make([]byte, size)
	for {
		nA, errA := io.ReadFull(a, bufA)
		if errA != nil && errA != io.EOF && errA != io.ErrUnexpectedEOF {
			return false, errA
		}
		nB, errB := io.ReadFull(b, bufB)
		switch {
		case !bytes.Equal(bufA[:nA], bufB[:nB]), (errA == nil) != (errB == nil):
			return false, nil
		case errA != nil:
			return errB == io.EOF || errB == io.ErrUnexpectedEOF, nil
		}
	}
}

// untilDone ends a long reading when the context is done.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
