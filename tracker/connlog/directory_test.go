// SPDX-License-Identifier: Apache-2.0

//go:build unix

package connlog

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeClock is a clock that tests set.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func clockAt(t *testing.T, text string) *fakeClock {
	c := &fakeClock{}
	c.set(t, text)
	return c
}

func (c *fakeClock) set(t *testing.T, text string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.now, err = time.ParseInLocation(time.DateTime, text, time.Local); err != nil {
		t.Fatal(err)
	}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func openDirectory(t *testing.T, path string, cfg DirectoryConfig) *Directory {
	t.Helper()
	if cfg.Backlog == 0 {
		cfg.Backlog = 1 << 20
	}
	d, err := OpenDirectory(path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *Directory) newTestWriter(t *testing.T, name string, format Format) *Writer {
	t.Helper()
	w, err := d.NewWriter(name, Config{Format: format})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// logRow logs a connection that is known by its responder's port.
func logRow(t *testing.T, w *Writer, port uint16) {
	t.Helper()
	c := sample()
	c.Resp.Port = port
	if err := w.Write(c); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

// written waits until nothing waits for the disk any more.
func written(t *testing.T, d *Directory) {
	t.Helper()
	eventually(t, "all rows are written", func() bool { waiting, _ := d.backlog.state(); return waiting == 0 })
}

func closeDirectory(t *testing.T, d *Directory) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantFiles compares the names in a directory, and of each the ports of its rows:
// conn.log=80,81.
func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name()+"="+strings.Join(ports(t, filepath.Join(dir, entry.Name())), ","))
	}
	if !slices.Equal(got, want) {
		t.Errorf("want the files %q, got %q", want, got)
	}
}

// ports are the responders' ports in a log of tsv, json or red, compressed or not.
func ports(t *testing.T, path string) (ports []string) {
	t.Helper()
	for line := range strings.Lines(content(t, path)) {
		if !strings.HasSuffix(line, "\n") {
			t.Errorf("%s ends within a line: %q", path, line)
		}
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "{"):
			_, rest, _ := strings.Cut(line, `"id.resp_p":`)
			port, _, _ := strings.Cut(rest, ",")
			ports = append(ports, port)
		case strings.Contains(line, "\t"):
			ports = append(ports, strings.TrimSpace(strings.Split(line, "\t")[5]))
		default:
			ports = append(ports, strings.Fields(line)[2])
		}
	}
	return ports
}

func content(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var r io.Reader = file
	for _, c := range []Compression{Gzip, Zstd} {
		if strings.HasSuffix(path, c.suffix()) {
			decoder, err := newDecoder(file, c)
			if err != nil {
				t.Fatal(err)
			}
			defer decoder.Close()
			r = decoder
		}
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestRotate: files end with the hour and are called by when they were begun, hours
// without a row have none, and each tsv file has a header and a footer of its own.
func TestRotate(t *testing.T) {
	dir := t.TempDir()
	clock := clockAt(t, "2026-03-04 05:06:07")
	d := openDirectory(t, dir, DirectoryConfig{Rotate: time.Hour, Now: clock.Now})
	tsv, json, red := d.newTestWriter(t, "conn.log", TSV), d.newTestWriter(t, "conn_long.log", JSON), d.newTestWriter(t, "red.gate", Red)
	for i, now := range []string{"05:06:10", "05:59:59", "06:00:00", "06:30:00", "09:10:00"} {
		clock.set(t, "2026-03-04 "+now)
		for _, w := range []*Writer{tsv, json} {
			logRow(t, w, uint16(1000+i))
		}
		if i == 2 {
			logRow(t, red, 443)
		}
		written(t, d)
	}
	clock.set(t, "2026-03-04 10:00:01")
	eventually(t, "the last hour's file is rotated without a row", func() bool {
		_, err := os.Lstat(filepath.Join(dir, "conn.2026-03-04-09-00-00.log"))
		return err == nil
	})
	closeDirectory(t, d)
	wantFiles(t, dir,
		"conn.2026-03-04-05-06-07.log=1000,1001", "conn.2026-03-04-06-00-00.log=1002,1003", "conn.2026-03-04-09-00-00.log=1004",
		"conn_long.2026-03-04-05-06-07.log=1000,1001", "conn_long.2026-03-04-06-00-00.log=1002,1003", "conn_long.2026-03-04-09-00-00.log=1004",
		"red.gate.26-03-04_06.00.00=https")
	for name, want := range map[string][2]string{
		"conn.2026-03-04-05-06-07.log": {"2026-03-04-05-06-10", "2026-03-04-06-00-00"},
		"conn.2026-03-04-06-00-00.log": {"2026-03-04-06-00-00", "2026-03-04-09-10-00"},
	} {
		text := content(t, filepath.Join(dir, name))
		if !strings.Contains(text, "\n#open\t"+want[0]+"\n") || !strings.HasSuffix(text, "\n#close\t"+want[1]+"\n") ||
			strings.Count(text, "#separator") != 1 || strings.Count(text, "#close") != 1 {
			t.Errorf("%s: want one header of %s and one footer of %s, got\n%s", name, want[0], want[1], text)
		}
	}
	if text := content(t, filepath.Join(dir, "conn_long.2026-03-04-06-00-00.log")); strings.Contains(text, "#") {
		t.Errorf("json: want rows alone, got\n%s", text)
	}
}

// TestRotateSize: no file has more bytes of rows than asked for, nothing is lost, and
// names that are taken get a number.
func TestRotateSize(t *testing.T) {
	dir := t.TempDir()
	clock := clockAt(t, "2026-03-04 05:06:07")
	const limit = 8 << 10
	d := openDirectory(t, dir, DirectoryConfig{RotateSize: limit, Now: clock.Now})
	w := d.newTestWriter(t, "conn.log", TSV)
	const rows = 300
	for i := range rows {
		if err := w.Write(sample()); err != nil {
			t.Fatal(err)
		}
		if i%100 == 99 {
			logRow(t, w, 1)
		}
	}
	closeDirectory(t, d)
	got, names := 0, []string{}
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		text := content(t, path)
		got += len(ports(t, path))
		names = append(names, entry.Name())
		if footer := strings.Index(text, "#close"); footer < 0 || footer > limit || footer < limit/2 && len(names) < len(entries) {
			t.Errorf("%s: want up to %d bytes of rows, got %d", entry.Name(), limit, footer)
		}
	}
	if got != rows+3 {
		t.Errorf("want %d rows, got %d", rows+3, got)
	}
	if len(names) < 4 || names[0] != "conn.2026-03-04-05-06-07.log" || !slices.Contains(names, "conn.2026-03-04-05-06-07_2.log") {
		t.Errorf("want files with a number, got %q", names)
	}
}

// TestReopen: what was moved away gets its footer, and later rows go to a new file; what
// was not moved goes on.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	d := openDirectory(t, dir, DirectoryConfig{})
	w := d.newTestWriter(t, "conn.log", TSV)
	path := filepath.Join(dir, "conn.log")
	logRow(t, w, 1)
	d.Reopen()
	logRow(t, w, 2)
	written(t, d)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	logRow(t, w, 3) // nobody has said anything yet
	d.Reopen()
	logRow(t, w, 4)
	written(t, d)
	closeDirectory(t, d)
	wantFiles(t, dir, "conn.log=4", "conn.log.1=1,2,3")
	for _, name := range []string{path, path + ".1"} {
		if text := content(t, name); strings.Count(text, "#separator") != 1 || strings.Count(text, "#close") != 1 {
			t.Errorf("%s: want one header and one footer, got\n%s", name, text)
		}
	}
}

// TestReconfigure: files that are open begin to be rotated and compressed, and cease to.
func TestReconfigure(t *testing.T) {
	dir := t.TempDir()
	clock := clockAt(t, "2026-03-04 05:06:07")
	d := openDirectory(t, dir, DirectoryConfig{Now: clock.Now})
	w := d.newTestWriter(t, "conn.log", TSV)
	for i, step := range []struct {
		now  string
		next DirectoryConfig
	}{
		{"05:06:10", DirectoryConfig{}},
		{"07:00:00", DirectoryConfig{Rotate: time.Hour, Compress: Gzip}}, // what was open ends with this
		{"08:00:00", DirectoryConfig{Rotate: time.Hour}},
		{"08:30:00", DirectoryConfig{}},
		{"09:30:00", DirectoryConfig{}},
	} {
		d.Reconfigure(step.next)
		eventually(t, "the configuration is taken over", func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.changed == nil
		})
		if i == 1 {
			eventually(t, "the file is rotated and compressed", func() bool {
				_, err := os.Lstat(filepath.Join(dir, "conn.2026-03-04-05-06-07.log.gz"))
				return err == nil
			})
		}
		clock.set(t, "2026-03-04 "+step.now)
		logRow(t, w, uint16(1000+i))
		written(t, d)
	}
	closeDirectory(t, d)
	wantFiles(t, dir, "conn.2026-03-04-05-06-07.log.gz=1000", "conn.2026-03-04-07-00-00.log=1001", "conn.log=1002,1003,1004")
}

// TestLeftover: a log that is there keeps its rows under a name of its own, without a
// last line that is torn, and never in the place of another file.
func TestLeftover(t *testing.T) {
	const head = "#separator \\x09\n#path\tconn\n#open\t2026-03-04-05-06-07\n#fields\tts\n"
	modified := time.Date(2025, 1, 2, 3, 4, 5, 0, time.Local)
	tests := []struct {
		name, there, taken string
		want, wantContent  string
	}{
		{"whole", head + "1\n", "", "conn.2026-03-04-05-06-07.log", head + "1\n"},
		{"torn", head + "1\n2.00", "", "conn.2026-03-04-05-06-07.log", head + "1\n"},
		{"torn in the header", head + "1\n" + strings.Repeat("x", 200_000), "", "conn.2026-03-04-05-06-07.log", head + "1\n"},
		{"name taken", head + "1\n", "conn.2026-03-04-05-06-07.log", "conn.2026-03-04-05-06-07_1.log", head + "1\n"},
		{"name taken by a compressed file", head + "1\n", "conn.2026-03-04-05-06-07.log.zst", "conn.2026-03-04-05-06-07_1.log", head + "1\n"},
		{"json", "{\"a\":1}\n{\"a", "", "conn.2025-01-02-03-04-05.log", "{\"a\":1}\n"},
		{"somebody else's", "mine", "", "conn.2025-01-02-03-04-05.log", "mine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "conn.log")
			files := map[string]string{path: tt.there}
			if tt.taken != "" {
				files[filepath.Join(dir, tt.taken)] = "taken\n"
			}
			for path, text := range files {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(path, modified, modified); err != nil {
					t.Fatal(err)
				}
			}
			d := openDirectory(t, dir, DirectoryConfig{})
			w := d.newTestWriter(t, "conn.log", TSV)
			logRow(t, w, 7)
			closeDirectory(t, d)
			if got := content(t, filepath.Join(dir, tt.want)); got != tt.wantContent {
				t.Errorf("want %q, got %q", tt.wantContent, got)
			}
			if got := ports(t, path); !slices.Equal(got, []string{"7"}) {
				t.Errorf("want a log of its own, got ports %q", got)
			}
			if tt.taken != "" && !strings.HasSuffix(tt.taken, ".zst") {
				if got := content(t, filepath.Join(dir, tt.taken)); got != "taken\n" {
					t.Errorf("the file that was there became %q", got)
				}
			}
			if notes := d.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "it is now "+tt.want) {
				t.Errorf("want it to be said, got %q", notes)
			}
		})
	}
}

// TestEmptyLeftover: an empty file, as logrotate makes one, is taken; without a row none
// is left behind.
func TestEmptyLeftover(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "conn.log")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	d := openDirectory(t, dir, DirectoryConfig{})
	w := d.newTestWriter(t, "conn.log", TSV)
	logRow(t, w, 7)
	closeDirectory(t, d)
	wantFiles(t, dir, "conn.log=7")

	dir = t.TempDir()
	d = openDirectory(t, dir, DirectoryConfig{Rotate: time.Hour})
	d.newTestWriter(t, "conn.log", TSV)
	closeDirectory(t, d)
	wantFiles(t, dir)
}

// TestOneWriter: two processes never share a directory.
func TestOneWriter(t *testing.T) {
	dir := t.TempDir()
	d := openDirectory(t, dir, DirectoryConfig{})
	_, err := OpenDirectory(dir, DirectoryConfig{})
	if err == nil || !strings.Contains(err.Error(), "another conntap writes its logs to "+dir) {
		t.Errorf("want a refusal, got %v", err)
	}
	closeDirectory(t, d)
	closeDirectory(t, openDirectory(t, dir, DirectoryConfig{}))
}

// TestDirectoryErrors: what can't be opened at the start is an error then.
func TestDirectoryErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "conn.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := openDirectory(t, dir, DirectoryConfig{})
	if _, err := d.NewWriter("conn.log", Config{}); err == nil || !strings.Contains(err.Error(), "is no regular file") {
		t.Errorf("want an error for a directory in the log's place, got %v", err)
	}
	if _, err := d.NewWriter("a/conn.log", Config{}); err == nil {
		t.Error("want an error for a path")
	}
	closeDirectory(t, d)
}

// TestBacklog: rows beyond the bound are dropped whole and counted, and those that waited
// come out in order.
func TestBacklog(t *testing.T) {
	line := func(i int) []byte { return fmt.Appendf(nil, "%09d\n", i) }
	const limit = 1000
	b := newBacklog(10 * limit)
	log := new(logFile)
	for i := range limit + 7 {
		b.add(log, line(i))
	}
	if waiting, dropped := b.state(); waiting != 10*limit || dropped != 7 {
		t.Errorf("want %d bytes that wait and 7 rows dropped, got %d and %d", 10*limit, waiting, dropped)
	}
	next := 0
	for first := b.first(); first != nil; first = b.first() {
		for range 3 { // a disk takes parts
			if len(first.lines) == 0 {
				break
			}
			if want := line(next); string(first.lines[:10]) != string(want) {
				t.Fatalf("want %q, got %q", want, first.lines[:10])
			}
			next++
			b.done(10)
		}
	}
	if waiting, _ := b.state(); next != limit || waiting != 0 {
		t.Errorf("want %d rows and nothing that waits, got %d and %d bytes", limit, next, waiting)
	}
	b.add(log, line(1))
	b.first()
	b.add(log, line(2)) // not behind what is being written
	if len(b.blocks) != 2 {
		t.Errorf("want two blocks, got %d", len(b.blocks))
	}
	b.add(new(logFile), line(3))
	if rows := b.dropAll(); rows != 3 {
		t.Errorf("want 3 rows dropped at the end, got %d", rows)
	}
	b.done(10) // the writer comes late
}

// TestDirectoryAddNoAllocation: in the long run handing rows over allocates nothing.
func TestDirectoryAddNoAllocation(t *testing.T) {
	b := newBacklog(1 << 20)
	log := new(logFile)
	lines := []byte(strings.Repeat("line\n", 1000))
	round := func() {
		for range 10 {
			b.add(log, lines)
		}
		b.done(len(b.first().lines))
	}
	round()
	if n := testing.AllocsPerRun(100, round); n > 2 { // the block and the list
		t.Errorf("want 2 allocations for ten times lines, got %v", n)
	}
}

// TestSlowDisk has a pipe that nobody reads in the place of a disk that hangs: whoever
// has rows never waits, what does not fit is counted, and all goes on when the disk does.
func TestSlowDisk(t *testing.T) {
	d := openDirectory(t, t.TempDir(), DirectoryConfig{Backlog: 100_000})
	w := d.newTestWriter(t, "conn.log", JSON)
	read := hang(t, d)
	const rows = 1500
	for i := range rows {
		logRow(t, w, uint16(i))
	}
	state := d.State()
	if state.Dropped == 0 || state.Waiting < 90_000 || state.Waiting > state.Limit {
		t.Errorf("want rows dropped, and nearly %d bytes that wait, got %+v", state.Limit, state)
	}
	lines := make(chan int)
	go func() {
		text, _ := io.ReadAll(read)
		lines <- strings.Count(string(text), "\n")
	}()
	written(t, d)
	closeDirectory(t, d)
	if got := <-lines; uint64(got)+d.State().Dropped != rows {
		t.Errorf("want %d rows, got %d written and %d dropped", rows, got, d.State().Dropped)
	}
}

// hang puts a pipe in the place of the file of d's only log.
func hang(t *testing.T, d *Directory) (read *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = read.Close() })
	if err := unix.Dup2(int(write.Fd()), int(d.logs[0].file.file.Fd())); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	return read
}

// TestCloseWithoutDisk: the end does not wait for a disk that hangs, and says what was
// not written.
func TestCloseWithoutDisk(t *testing.T) {
	d := openDirectory(t, t.TempDir(), DirectoryConfig{Backlog: 1 << 20})
	w := d.newTestWriter(t, "conn.log", JSON)
	hang(t, d)
	d.patience = 50 * time.Millisecond
	const rows = 2000
	for range rows {
		logRow(t, w, 80)
	}
	err := d.Close()
	want := fmt.Sprintf("%d rows were not written: ", d.State().Dropped)
	if err == nil || !strings.Contains(err.Error(), want) || d.State().Dropped < rows/2 {
		t.Errorf("want %q and most of %d rows, got %v", want, rows, err)
	}
}

// TestDirectoryLost: while a directory can't be made again rows wait, and then come out
// in a new one.
func TestDirectoryLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	d := openDirectory(t, dir, DirectoryConfig{})
	w := d.newTestWriter(t, "conn.log", TSV)
	logRow(t, w, 1)
	written(t, d)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // in its place
		t.Fatal(err)
	}
	logRow(t, w, 2)
	eventually(t, "the error is known", func() bool { return d.State().Err != nil })
	logRow(t, w, 3)
	if state := d.State(); !strings.Contains(state.Err.Error(), dir+" is not a directory") || state.Waiting == 0 || state.Dropped != 0 {
		t.Errorf("want rows that wait for a directory, got %+v", state)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	written(t, d)
	eventually(t, "all is well", func() bool { return d.State().Err == nil })
	closeDirectory(t, d)
	wantFiles(t, dir, "conn.log=2,3")
}

// TestFileTooLarge: a file that takes no more, though there is space, is set aside, and
// no row is lost.
func TestFileTooLarge(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	dir := t.TempDir()
	clock := clockAt(t, "2026-03-04 05:06:07")
	d := openDirectory(t, dir, DirectoryConfig{Now: clock.Now})
	w := d.newTestWriter(t, "conn.log", TSV)
	limitFileSize(t, 1000)
	for port := range uint16(5) {
		logRow(t, w, 1+port)
	}
	written(t, d)
	closeDirectory(t, d)
	wantFiles(t, dir, "conn.2026-03-04-05-06-07.log=1,2,3,4", "conn.log=5")
}
