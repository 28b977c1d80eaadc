// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loggedRun is conntap run with a log directory, on an interface to which a burst of
// packets comes. Its table is small, so that new connections push others into the log.
type loggedRun struct {
	*exec.Cmd
	near     *namespace
	messages *bufio.Reader
	metrics  string // address
	burst    *burst
	dir      string
	next     uint16 // number of the next connection
}

// firstPort is before that of the first connection, by whose port no role is guessed.
const firstPort = 30_000

func startLogged(t *testing.T, dir string, args ...string) *loggedRun {
	t.Helper()
	near, far := twoHosts(t)
	r := &loggedRun{near: near, burst: burstOf(t, far), dir: dir, next: 1}
	r.start(t, args...)
	return r
}

// start starts conntap, once more after one that has ended.
func (r *loggedRun) start(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{
		"--log-dir", r.dir, "--metrics", ":0", "--max-connections", "64", "--shards", "1",
		"--filter", "udp port 9", "--account", "full", "--ring-size", "16M",
	}, args...)
	r.Cmd, _, r.messages = startRun(t, r.near, args...)
	r.metrics = metricsAddress(t, r.messages)
}

// connect makes n connections, each of one packet from a port of its own.
func (r *loggedRun) connect(t *testing.T, n int) {
	t.Helper()
	for range n {
		r.burst.send(t, firstPort+r.next, 1)
		r.next++
	}
}

// await waits until a scrape is as wanted.
func (r *loggedRun) await(t *testing.T, what string, wanted func(scraped) bool) scraped {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s := scrape(t, r.near, r.metrics)
		if wanted(s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited until %s; got %v", what, s)
		}
	}
}

// awaitRows waits until so many rows have been logged, and are on the disk.
func (r *loggedRun) awaitRows(t *testing.T, n uint64) {
	t.Helper()
	r.await(t, "rows are on the disk", func(s scraped) bool {
		return s.sum("log_rows_total") >= n && s.sum("log_backlog_bytes") == 0
	})
	time.Sleep(flushInterval + 100*time.Millisecond) // what the formatter holds
	r.await(t, "rows are on the disk", func(s scraped) bool { return s.sum("log_backlog_bytes") == 0 })
}

// end ends conntap by a signal, and returns what it said.
func (r *loggedRun) end(t *testing.T, signal os.Signal) string {
	t.Helper()
	must(t, r.Process.Signal(signal))
	said, err := io.ReadAll(r.messages)
	must(t, err)
	_ = r.Wait()
	return string(said)
}

// logged are the numbers of the connections in a log, all of whose lines must be whole.
func logged(t *testing.T, path string) (numbers []int) {
	t.Helper()
	text := readLog(t, path)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 22 || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%s: want whole lines of 22 columns, got %q", path, line)
		}
		port, err := strconv.Atoi(fields[3])
		must(t, err)
		numbers = append(numbers, port-firstPort)
	}
	return numbers
}

// readLog is what is in a log, compressed by gzip or not.
func readLog(t *testing.T, path string) []byte {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	r := io.Reader(file)
	if strings.HasSuffix(path, ".gz") {
		r, err = gzip.NewReader(file)
		must(t, err)
	}
	text, err := io.ReadAll(r)
	must(t, err)
	return text
}

// wantFramed: a log has one header, and a footer if it was ended.
func wantFramed(t *testing.T, path string, ended bool) {
	t.Helper()
	text := readLog(t, path)
	headers, footers := strings.Count(string(text), "#separator"), strings.Count(string(text), "\n#close\t")
	if headers != 1 || (footers == 1) != ended || footers > 1 || ended && !strings.Contains(lastLine(string(text)), "#close") {
		t.Errorf("%s: want one header, and a footer: %v; got %d and %d", path, ended, headers, footers)
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return lines[len(lines)-1]
}

// wantConnections: rows are those of connections first to last, each once.
func wantConnections(t *testing.T, got []int, first, last int) {
	t.Helper()
	slices.Sort(got)
	want := make([]int, 0, last-first+1)
	for number := first; number <= last; number++ {
		want = append(want, number)
	}
	if !slices.Equal(got, want) {
		t.Errorf("want the rows of connections %d to %d, got %d rows, %v to %v", first, last, len(got), got[:min(3, len(got))], got[max(0, len(got)-3):])
	}
}

// TestLogDirectoryFull fills the disk while rows come, more than may wait, and then makes
// space: every connection is in the log or counted as dropped, and the file goes on with
// whole lines.
func TestLogDirectoryFull(t *testing.T) {
	requireRoot(t)
	dir := t.TempDir()
	must(t, unix.Mount("conntap-test", dir, "tmpfs", 0, "size=256k"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	r := startLogged(t, dir, "--log-backlog", "1M")
	r.connect(t, 20_000)
	full := r.await(t, "the disk is full and rows are dropped", func(s scraped) bool {
		return s.sum("log_writable") == 0 && s.sum("log_rows_dropped_total") > 0 && s.sum("log_rows_total") >= 20_000-64
	})
	if n := full.sum("log_backlog_bytes"); n < 1<<20-100<<10 || n > 1<<20 {
		t.Errorf("want about 1 MiB of rows that wait, got %d bytes", n)
	}
	if n := full.sum("connections_opened_total"); n != 20_000 {
		t.Errorf("want 20000 connections tracked all the same, got %d", n)
	}
	complaint, err := r.messages.ReadString('\n')
	must(t, err)
	must(t, unix.Mount("conntap-test", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"))
	r.await(t, "the log is written again", func(s scraped) bool {
		return s.sum("log_writable") == 1 && s.sum("log_backlog_bytes") == 0
	})
	r.connect(t, 100)
	recovery, err := r.messages.ReadString('\n')
	must(t, err)
	if want := "conntap: log: write " + dir + "/conn.log: no space left on device "; !strings.HasPrefix(complaint, want) {
		t.Errorf("want %q, got %q", want, complaint)
	}
	if want := "conntap: log: written again; rows dropped since the start: "; !strings.HasPrefix(recovery, want) {
		t.Errorf("want %q, got %q", want, recovery)
	}
	said := r.end(t, os.Interrupt)
	match := regexp.MustCompile(`not in the log, the disk did not take them: ([0-9,]+) rows`).FindStringSubmatch(said)
	if match == nil {
		t.Fatalf("want the dropped rows in the account, got\n%s", said)
	}
	dropped, err := strconv.Atoi(strings.ReplaceAll(match[1], ",", ""))
	must(t, err)
	rows := logged(t, dir+"/conn.log")
	slices.Sort(rows)
	if n := len(slices.Compact(rows)); n+dropped != 20_100 || n != len(rows) {
		t.Errorf("want 20100 connections, each in the log or dropped, got %d, %d of them different, and %d", len(rows), n, dropped)
	}
	if rows[len(rows)-1] != 20_100 {
		t.Errorf("want the last connection in the log, got %d", rows[len(rows)-1])
	}
	wantFramed(t, dir+"/conn.log", true)
}

// TestLogDirectoryRemoved: the directory is made again, and rows go to a new file there.
// Before that a log is moved away, as logrotate does it.
func TestLogDirectoryRemoved(t *testing.T) {
	requireRoot(t)
	dir := filepath.Join(t.TempDir(), "log")
	path := dir + "/conn.log"
	r := startLogged(t, dir, "--sandbox", "off") // it would keep the directory from being made again
	r.connect(t, 1000)
	r.awaitRows(t, 1000-64)
	must(t, os.Rename(path, path+".1"))
	must(t, r.Process.Signal(syscall.SIGHUP))
	eventually(t, "the old file has its footer", func() bool {
		text, err := os.ReadFile(path + ".1")
		return err == nil && strings.Contains(string(text), "\n#close\t")
	})
	wantFramed(t, path+".1", true)
	wantConnections(t, logged(t, path+".1"), 1, 1000-64)
	r.connect(t, 1000)
	r.awaitRows(t, 2000-64)
	wantFramed(t, path, false)
	wantConnections(t, logged(t, path), 1000-63, 2000-64)

	must(t, os.RemoveAll(dir))
	r.connect(t, 1000)
	r.awaitRows(t, 3000-64)
	wantConnections(t, logged(t, path), 2000-63, 3000-64)
	said := r.end(t, os.Interrupt)
	if want := path + " was removed"; !strings.Contains(said, want) {
		t.Errorf("want %q to be said, got\n%s", want, said)
	}
	wantFramed(t, path, true)
	wantConnections(t, logged(t, path), 2000-63, 3000)
}

// TestKilledWhileWriting kills conntap while it writes: the next run keeps what is in the
// file up to the last whole line, under a name of its own.
func TestKilledWhileWriting(t *testing.T) {
	requireRoot(t)
	dir := t.TempDir()
	path := dir + "/conn.log"
	r := startLogged(t, dir)
	r.connect(t, 2000)
	r.awaitRows(t, 1000)
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		time.Sleep(50 * time.Millisecond)
		_ = r.Process.Kill()
		_ = r.Wait()
	}()
	for alive := true; alive; {
		r.connect(t, 50)
		select {
		case <-killed:
			alive = false
		default:
		}
	}
	before, err := os.ReadFile(path)
	must(t, err)
	// The kernel ends a write of many pages between two of them when it is killed: that
	// can't be had at will.
	torn := append(before, "1700000000.000000\tCtorn"...)
	must(t, os.WriteFile(path, torn, 0o640))
	opened := regexp.MustCompile(`#open\t(\S+)`).FindSubmatch(before)

	r.next = 1
	r.start(t)
	r.connect(t, 100)
	_ = r.end(t, os.Interrupt)
	aside := dir + "/conn." + string(opened[1]) + ".log"
	kept, err := os.ReadFile(aside)
	must(t, err)
	if string(kept) != string(before[:strings.LastIndexByte(string(before), '\n')+1]) {
		t.Errorf("want %d bytes kept up to the last whole line, got %d", len(before), len(kept))
	}
	wantFramed(t, aside, false)
	if rows := logged(t, aside); len(rows) < 1000 {
		t.Errorf("want 1000 rows of the killed run at least, got %d", len(rows))
	}
	wantFramed(t, path, true)
	wantConnections(t, logged(t, path), 1, 100)
}

// TestTerminatedUnderLoad ends conntap while connections come: all that was seen is in
// the log, which has its footer, and with rotation the name of a rotated file.
func TestTerminatedUnderLoad(t *testing.T) {
	requireRoot(t)
	dir := t.TempDir()
	r := startLogged(t, dir, "--rotate", "1d", "--compress", "zstd")
	r.connect(t, 1000)
	ended := make(chan string)
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = r.Process.Signal(syscall.SIGTERM)
		said, _ := io.ReadAll(r.messages)
		ended <- string(said)
	}()
	var said string
	for said == "" {
		r.connect(t, 50)
		select {
		case said = <-ended:
		default:
		}
	}
	if err := r.Wait(); err != nil {
		t.Errorf("want exit code 0, got %v", err)
	}
	names, err := filepath.Glob(dir + "/conn.*")
	must(t, err)
	if len(names) != 1 || !regexp.MustCompile(`/conn\.\d{4}(-\d\d){5}\.log$`).MatchString(names[0]) {
		t.Fatalf("want one rotated file, got %q", names)
	}
	wantFramed(t, names[0], true)
	packets := regexp.MustCompile(`(?m)^  packets ([0-9,]+) = `).FindStringSubmatch(said)
	if packets == nil {
		t.Fatalf("want an account, got\n%s", said)
	}
	want, err := strconv.Atoi(strings.ReplaceAll(packets[1], ",", ""))
	must(t, err)
	wantConnections(t, logged(t, names[0]), 1, want)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain waited until %s", what)
		}
	}
}

// TestCompressedWhileRunning rotates and compresses files that are the caller's of sudo,
// with no more rights than run keeps.
func TestCompressedWhileRunning(t *testing.T) {
	requireRoot(t)
	t.Setenv("SUDO_UID", "1234")
	t.Setenv("SUDO_GID", "2345")
	dir := filepath.Join(t.TempDir(), "log")
	r := startLogged(t, dir, "--rotate-size", "64K", "--compress", "gzip")
	r.connect(t, 3000)
	compressed := func() []string {
		names, err := filepath.Glob(dir + "/conn.*.log.gz")
		must(t, err)
		return names
	}
	eventually(t, "files are compressed", func() bool { return len(compressed()) >= 4 })
	said := r.end(t, os.Interrupt)
	if len(compressed()) < 4 || strings.Contains(said, "rotated log files: ") {
		t.Errorf("want files compressed without a complaint, got %q and\n%s", compressed(), said)
	}
	names, err := filepath.Glob(dir + "/*")
	must(t, err)
	var all []int
	for _, name := range names {
		wantFramed(t, name, true)
		all = append(all, logged(t, name)...)
		var stat unix.Stat_t
		must(t, unix.Stat(name, &stat))
		if stat.Uid != 1234 || stat.Gid != 2345 || stat.Mode&0o777 != 0o640 {
			t.Errorf("%s: want mode 640 and the owner 1234:2345, got %o and %d:%d", name, stat.Mode&0o777, stat.Uid, stat.Gid)
		}
	}
	wantConnections(t, all, 1, 3000)
}

// TestTerminalGone: SIGHUP from a terminal that was closed ends conntap, which would
// otherwise go on with nobody to stop it.
func TestTerminalGone(t *testing.T) {
	near, far := twoHosts(t)
	master, terminal, err := openTerminal()
	must(t, err)
	dir := t.TempDir()
	run := exec.Command("conntap", "run", "-i", "near", "--log-dir", dir, "--format", "tsv")
	run.Stdin, run.Stderr = terminal, terminal
	run.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	near.do(t, run.Start)
	watchdog := time.AfterFunc(20*time.Second, func() { _ = run.Process.Kill() })
	defer watchdog.Stop()
	must(t, terminal.Close())
	for lines := bufio.NewReader(master); ; {
		line, err := lines.ReadString('\n')
		must(t, err)
		if strings.Contains(line, "tcp rows appear 5 s after") {
			break
		}
	}
	refuse(t, far)
	must(t, run.Process.Signal(syscall.SIGHUP)) // the terminal is there: the logs are reopened
	time.Sleep(flushInterval)
	if err := run.Process.Signal(syscall.Signal(0)); err != nil {
		t.Fatalf("want conntap to go on while its terminal is there, got %v", err)
	}
	must(t, master.Close())
	if err := run.Wait(); err != nil {
		t.Errorf("want exit code 0, got %v", err)
	}
	wantFramed(t, dir+"/conn.log", true)
}
