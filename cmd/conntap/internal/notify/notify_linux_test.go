// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// manager listens as systemd does, and sets the environment for Open.
func manager(t *testing.T, name, watchdog string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", watchdog)
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	return conn
}

// hear is the next datagram.
func hear(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 4096)
	n, err := conn.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(text[:n])
}

func TestStates(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@conntap-notify-" + strconv.Itoa(os.Getpid())} {
		conn := manager(t, name, "")
		s, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			name string
			say  func() error
			want string
		}{
			{"ready", func() error { return s.Ready("in XDP native") }, "READY=1\nSTATUS=in XDP native"},
			{"one line", func() error { return s.Status("a\nWATCHDOG=1") }, "STATUS=a WATCHDOG=1"},
			{"reloading", s.Reloading, "RELOADING=1\nMONOTONIC_USEC="},
			{"stopping", s.Stopping, "STOPPING=1\nSTATUS=stopping"},
		}
		for _, tt := range tests {
			if err := tt.say(); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if got := hear(t, conn); !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s: want %q, got %q", tt.name, tt.want, got)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestWatchdog feeds it while nothing is stuck, and says why not otherwise.
func TestWatchdog(t *testing.T) {
	conn := manager(t, filepath.Join(t.TempDir(), "notify"), "80000")
	s, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	s.Watch(func(patience time.Duration) error {
		if patience != 40*time.Millisecond {
			t.Errorf("want the patience 40ms, got %v", patience)
		}
		if broken.Load() {
			return errors.New("the reader stands")
		}
		return nil
	})
	for range 3 {
		if got := hear(t, conn); got != "WATCHDOG=1" {
			t.Fatalf("want food, got %q", got)
		}
	}
	broken.Store(true)
	for hear(t, conn) == "WATCHDOG=1" { // until those on their way have come
	}
	for range 3 {
		if got := hear(t, conn); got != "STATUS=the reader stands" {
			t.Fatalf("want the reason and no food, got %q", got)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestNoManager: without one, all methods of nil do nothing.
func TestNoManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	s, err := Open()
	if s != nil || err != nil {
		t.Fatalf("want nothing, got %v, %v", s, err)
	}
	s.Watch(nil)
	if err := errors.Join(s.Ready(""), s.Reloading(), s.Status(""), s.Stopping(), s.Close()); err != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if _, err := Open(); err == nil || !strings.Contains(err.Error(), "NOTIFY_SOCKET") {
		t.Errorf("want an error that names NOTIFY_SOCKET, got %v", err)
	}
}

func TestWatchdogInterval(t *testing.T) {
	tests := []struct {
		microseconds, forPID string
		want                 time.Duration
		fails                bool
	}{
		{"", "", 0, false},
		{"30000000", "", 30 * time.Second, false},
		{"30000000", "42", 30 * time.Second, false},
		{"30000000", "43", 0, false}, // somebody else's
		{"soon", "", 0, true},
		{"0", "", 0, true},
	}
	for _, tt := range tests {
		got, err := watchdogInterval(tt.microseconds, tt.forPID, 42)
		if got != tt.want || (err != nil) != tt.fails {
			t.Errorf("%q for %q: want %v, error %t; got %v, %v", tt.microseconds, tt.forPID, tt.want, tt.fails, got, err)
		}
	}
}
