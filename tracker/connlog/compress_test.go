// SPDX-License-Identifier: Apache-2.0

//go:build unix

package connlog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCompress: rotated files are compressed, of their mode and time, and the current one
// is not.
func TestCompress(t *testing.T) {
	for _, c := range []Compression{Gzip, Zstd} {
		t.Run(c.String(), func(t *testing.T) {
			dir := t.TempDir()
			clock := clockAt(t, "2026-03-04 05:06:07")
			d := openDirectory(t, dir, DirectoryConfig{Rotate: time.Hour, Compress: c, Now: clock.Now})
			w := d.newTestWriter(t, "conn.log", TSV)
			logRow(t, w, 1)
			written(t, d)
			clock.set(t, "2026-03-04 06:06:07")
			logRow(t, w, 2)
			want := filepath.Join(dir, "conn.2026-03-04-05-06-07.log"+c.suffix())
			eventually(t, "the file is compressed", func() bool {
				_, err := os.Lstat(strings.TrimSuffix(want, c.suffix()))
				return errors.Is(err, fs.ErrNotExist) && exists(want)
			})
			closeDirectory(t, d)
			info, err := os.Stat(want)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o640 {
				t.Errorf("want mode 640, got %o", info.Mode().Perm())
			}
			wantFiles(t, dir, "conn.2026-03-04-05-06-07.log"+c.suffix()+"=1", "conn.2026-03-04-06-00-00.log=2")
			if text := content(t, want); !strings.HasSuffix(text, "#close\t2026-03-04-06-06-07\n") {
				t.Errorf("want all of the file, got %q", text)
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestCompressionTakenUp starts where a killed run has ended: before, within and after
// writing the compressed file. What is nobody's is left alone.
func TestCompressionTakenUp(t *testing.T) {
	dir := t.TempDir()
	row := "1\t2\t3\t4\t5\t80\n"
	modified := time.Date(2026, 3, 4, 6, 0, 0, 0, time.UTC)
	for name, text := range map[string]string{
		"conn.2026-03-04-01-00-00.log":          row,
		"conn.2026-03-04-02-00-00.log":          row,
		".conn.2026-03-04-02-00-00.log.zst.tmp": "half of",
		"conn.2026-03-04-03-00-00.log":          row,
		"conn.2026-03-04-03-00-00.log.zst":      compressed(t, row),
		"conn.2026-03-04-04-00-00.log":          row,
		"conn.2026-03-04-04-00-00.log.zst":      compressed(t, "1\t2\t3\t4\t5\t81\n"),
		"conn.mine.log":                         row,
		".conn.mine.tmp":                        row,
		"dns.2026-03-04-01-00-00.log":           row,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	d := openDirectory(t, dir, DirectoryConfig{Rotate: time.Hour, Compress: Zstd})
	d.newTestWriter(t, "conn.log", TSV)
	var notes []string
	eventually(t, "the janitor has said what he can't do", func() bool {
		notes = append(notes, d.Notes()...)
		return len(notes) > 0
	})
	closeDirectory(t, d)
	wantFiles(t, dir, ".conn.mine.tmp=80", "conn.2026-03-04-01-00-00.log.zst=80", "conn.2026-03-04-02-00-00.log.zst=80",
		"conn.2026-03-04-03-00-00.log.zst=80", "conn.2026-03-04-04-00-00.log=80", "conn.2026-03-04-04-00-00.log.zst=81",
		"conn.mine.log=80", "dns.2026-03-04-01-00-00.log=80")
	if want := "conn.2026-03-04-04-00-00.log.zst is there already, and is another"; len(notes) != 1 || !strings.Contains(notes[0], want) {
		t.Errorf("want %q, got %q", want, notes)
	}
	info, err := os.Stat(filepath.Join(dir, "conn.2026-03-04-01-00-00.log.zst"))
	if err != nil || !info.ModTime().Equal(modified) {
		t.Errorf("want the time of the plain file, %v, got %v, %v", modified, info.ModTime(), err)
	}
}

func compressed(t *testing.T, text string) string {
	t.Helper()
	var b strings.Builder
	encoder, err := newEncoder(&b, Zstd)
	if err == nil {
		_, err = encoder.Write([]byte(text))
	}
	if err := errors.Join(err, encoder.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestCompressionStopped: the end of conntap does not wait for a long compression, and
// leaves the plain file alone.
func TestCompressionStopped(t *testing.T) {
	dir := t.TempDir()
	const name = "conn.2026-03-04-01-00-00.log"
	if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 1<<20), 0o640); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := compressFile(ctx, dir, name, Gzip); !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("want the plain file alone, got %v", entries)
	}
}

// TestKeep: rotated files go when their last row is too old, and no others.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	clock := clockAt(t, "2026-03-10 00:00:00")
	for name, age := range map[string]time.Duration{
		"conn.2026-03-01-00-00-00.log":    8 * day,
		"conn.2026-03-01-00-00-00.log.gz": 8 * day,
		"conn.2026-03-05-00-00-00.log.gz": 6 * day,
		"conn.log.1":                      8 * day,
		"notes.txt":                       8 * day,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, clock.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	d := openDirectory(t, dir, DirectoryConfig{Keep: 7 * day, Now: clock.Now})
	d.newTestWriter(t, "conn.log", TSV)
	eventually(t, "the old files are gone", func() bool { return !exists(filepath.Join(dir, "conn.2026-03-01-00-00-00.log.gz")) })
	closeDirectory(t, d)
	var names []string
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if want := []string{"conn.2026-03-05-00-00-00.log.gz", "conn.log.1", "notes.txt"}; !slices.Equal(names, want) {
		t.Errorf("want %q left, got %q", want, names)
	}
}
