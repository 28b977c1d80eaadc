// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"
)

// terminal is a pseudo-terminal with a program on it.
type terminal struct {
	file *os.File

	mu   sync.Mutex
	seen []byte // since the last change of size
	wide uint16
}

// startOn starts a program on a terminal of its own.
func startOn(t *testing.T, n *namespace, program *exec.Cmd) *terminal {
	t.Helper()
	term := &terminal{wide: 110}
	n.do(t, func() (err error) {
		term.file, err = pty.StartWithSize(program, &pty.Winsize{Rows: 24, Cols: term.wide})
		return err
	})
	watchdog := time.AfterFunc(60*time.Second, func() { _ = program.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		term.file.Close()
	})
	go func() {
		buf := make([]byte, 1<<16)
		for {
			k, err := term.file.Read(buf)
			term.mu.Lock()
			term.seen = append(term.seen, buf[:k]...)
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return term
}

// waitFor waits until all the words stand on the screen. It changes the terminal's
// size again and again, upon which all of the screen is drawn, and not only what has
// changed; but not before there is anything, as the signal of that has the kernel begin
// anew to verify a program.
func (term *terminal) waitFor(t *testing.T, words ...string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		term.mu.Lock()
		if len(term.seen) == 0 && time.Now().Before(deadline) {
			term.mu.Unlock()
			time.Sleep(50 * time.Millisecond)
			continue
		}
		term.seen, term.wide = nil, term.wide^1
		term.mu.Unlock()
		must(t, pty.Setsize(term.file, &pty.Winsize{Rows: 24, Cols: term.wide}))
		time.Sleep(200 * time.Millisecond)
		term.mu.Lock()
		text := ansi.Strip(string(term.seen))
		term.mu.Unlock()
		missing := ""
		for _, word := range words {
			if !strings.Contains(text, word) {
				missing = word
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("want %q on the screen, got\n%s", missing, text)
		}
	}
}

func (term *terminal) press(t *testing.T, keys string) {
	t.Helper()
	_, err := term.file.WriteString(keys)
	must(t, err)
}

// TestTop: a connection that is open and one that was refused are on the screen, can
// be filtered and explained; then comes the account.
func TestTop(t *testing.T) {
	near, far := twoHosts(t)
	top := exec.Command("conntap", "top", "-i", "near")
	top.Env = append(os.Environ(), "TERM=xterm-256color")
	var stderr bytes.Buffer
	top.Stderr = &stderr
	term := startOn(t, near, top)
	term.waitFor(t, "near  in TCX, out TCX")

	var listener net.Listener
	near.do(t, func() (err error) {
		listener, err = net.Listen("tcp", "192.0.2.1:80")
		return err
	})
	defer listener.Close()
	far.do(t, func() error {
		conn, err := net.Dial("tcp", "192.0.2.1:80")
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			_, err = conn.Write(make([]byte, 1000))
		}
		return err
	})
	refuse(t, far)
	term.waitFor(t, "192.0.2.1:80", "S1", "192.0.2.1:81", "REJ", "lost 0 of ")

	term.press(t, "/port:81\r")
	term.waitFor(t, "filter port:81 (1)")
	term.press(t, "\r")
	term.waitFor(t, "to  192.0.2.1:81  tcp", "attempt; the responder refused it (RST)", "r  responder   RST")
	term.waitFor(t, "logged: it began at") // 5 s after its end
	term.press(t, "\x1b")
	term.waitFor(t, "nothing matches the filter")
	term.press(t, "2")
	term.waitFor(t, "LASTED", "192.0.2.1:81")
	term.press(t, "q")
	if err := top.Wait(); err != nil {
		t.Errorf("want exit code 0, got %v\n%s", err, stderr.String())
	}
	for _, want := range []string{"conntap: detached; ", "still open\n  seen ", " + lost 0\n", "REJ 1"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("want %q in the account, got\n%s", want, stderr.String())
		}
	}
}

// TestTopEnds: signals and Ctrl-C end top as q does; without a terminal it does not
// begin.
func TestTopEnds(t *testing.T) {
	near, _ := twoHosts(t)
	for _, tt := range []struct {
		name string
		end  func(*terminal, *os.Process) error
	}{
		{"SIGINT", func(_ *terminal, p *os.Process) error { return p.Signal(os.Interrupt) }},
		{"SIGTERM", func(_ *terminal, p *os.Process) error { return p.Signal(syscall.SIGTERM) }},
		{"Ctrl-C", func(term *terminal, _ *os.Process) error { _, err := term.file.WriteString("\x03"); return err }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			top := exec.Command("conntap", "top", "-i", "near")
			top.Env = append(os.Environ(), "TERM=xterm-256color")
			var stderr bytes.Buffer
			top.Stderr = &stderr
			term := startOn(t, near, top)
			term.waitFor(t, "near  in TCX, out TCX")
			must(t, tt.end(term, top.Process))
			if err := top.Wait(); err != nil || !strings.HasPrefix(stderr.String(), "conntap: detached; ") {
				t.Errorf("want exit code 0 and an account, got %v\n%s", err, stderr.String())
			}
		})
	}
	top := exec.Command("conntap", "top", "-i", "near")
	out, _ := top.CombinedOutput()
	if code := top.ProcessState.ExitCode(); code != exitUsage || !strings.Contains(string(out), "top draws on a terminal") {
		t.Errorf("want exit code %d and why, got %d\n%s", exitUsage, code, out)
	}
}
