// SPDX-License-Identifier: Apache-2.0

//go:build unix

package connlog

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCreateFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	t.Setenv("SUDO_UID", "1234")
	t.Setenv("SUDO_GID", "2345")
	defer syscall.Umask(syscall.Umask(0o022))
	f, err := CreateFile(dir, "conn.log")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("line\n")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{f.Path(): 0o640, dir: 0o750, filepath.Dir(dir): 0o750} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s: want mode %o, got %o", path, want, info.Mode().Perm())
		}
		stat := info.Sys().(*syscall.Stat_t)
		if os.Geteuid() == 0 && (stat.Uid != 1234 || stat.Gid != 2345) {
			t.Errorf("%s: want owner 1234:2345, got %d:%d", path, stat.Uid, stat.Gid)
		}
	}
	_, err = CreateFile(dir, "conn.log")
	if err == nil || !strings.Contains(err.Error(), "conn.log exists and is left alone") {
		t.Errorf("second time: want a refusal, got %v", err)
	}
	if content, _ := os.ReadFile(f.Path()); string(content) != "line\n" {
		t.Errorf("the file that was there became %q", content)
	}
	if _, err := CreateFile(f.Path(), "conn.log"); err == nil {
		t.Error("a file as directory: want an error")
	}
	if _, err := CreateFile(dir, "red.a/b"); err == nil {
		t.Error("a path as name: want an error")
	}
}

func TestEmptyFileIsRemoved(t *testing.T) {
	f, err := CreateFile(t.TempDir(), "conn.log")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("want no file, got %v", err)
	}
}

func TestFileName(t *testing.T) {
	tag := DefaultTag("gate", time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	tests := []struct {
		format Format
		want   string
	}{
		{TSV, "conn.log"},
		{JSON, "conn.log"},
		{Red, "red.gate.26-03-04_05.06.07"},
		{Text, "text.gate.26-03-04_05.06.07"},
	}
	for _, tt := range tests {
		if got := FileName(tt.format, tag); got != tt.want {
			t.Errorf("%s: want %s, got %s", tt.format, tt.want, got)
		}
	}
}

// TestFullDisk lets a file grow to a limit that cuts a line in the middle.
func TestFullDisk(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	f, err := CreateFile(t.TempDir(), "conn.log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f, Config{Format: TSV, Now: fixedNow})
	if err != nil {
		t.Fatal(err)
	}
	limitFileSize(t, 1000)
	var writeErr error
	rows := 0
	for writeErr == nil && rows < 1000 {
		writeErr = w.Write(sample())
		if writeErr == nil {
			writeErr = w.Flush()
		}
		rows++
	}
	if !errors.Is(writeErr, syscall.EFBIG) {
		t.Fatalf("want file too large, got %v after %d rows", writeErr, rows)
	}
	if err := w.Close(); !errors.Is(err, syscall.EFBIG) {
		t.Errorf("Close: want the first error again, got %v", err)
	}
	content, err := os.ReadFile(f.Path())
	if err != nil {
		t.Fatal(err)
	}
	want := write(t, Config{Format: TSV}, sample(), sample(), sample(), sample())
	if !strings.HasPrefix(want, string(content)) || !strings.HasSuffix(string(content), "\t6\n") {
		t.Errorf("want whole lines of\n%s\n got\n%s", want, content)
	}
}

// inOwnProcess tells whether a test has a process to itself, and otherwise runs it in
// one. A limit on the size of files would else hit the log that the go command has each
// test process write, too.
func inOwnProcess(t *testing.T) bool {
	t.Helper()
	const variable = "CONNTAP_TEST_IN_OWN_PROCESS"
	if os.Getenv(variable) == t.Name() {
		return true
	}
	command := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=2m")
	command.Env = append(os.Environ(), variable+"="+t.Name())
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// limitFileSize makes writes beyond size fail until the test ends, which must be in a
// process of its own.
func limitFileSize(t *testing.T, size uint64) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	})
}
