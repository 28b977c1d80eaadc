// SPDX-License-Identifier: Apache-2.0

// Package notify tells systemd in which state the service is: sd_notify(3), a
// datagram of lines NAME=VALUE. The socket is opened once and kept, as a sandbox may
// not let it be found again later.
package notify

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Service speaks to the service manager. The methods of a nil Service, which is what
// there is without a manager, do nothing. They may be called from any goroutine.
type Service struct {
	conn     *net.UnixConn
	watchdog time.Duration // how often systemd wants to hear; 0: it does not listen
	done     chan struct{} // closed to end the watchdog
	feeding  sync.WaitGroup
}

// Open finds the service manager in the environment (NOTIFY_SOCKET, WATCHDOG_USEC,
// WATCHDOG_PID); nil if there is none.
func Open() (*Service, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("service manager of NOTIFY_SOCKET: %w", err)
	}
	watchdog, err := watchdogInterval(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"), os.Getpid())
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &Service{conn: conn, watchdog: watchdog, done: make(chan struct{})}, nil
}

// watchdogInterval is what the environment says to the process pid; 0 if nothing.
func watchdogInterval(microseconds, forPID string, pid int) (time.Duration, error) {
	if microseconds == "" || forPID != "" && forPID != strconv.Itoa(pid) {
		return 0, nil
	}
	n, err := strconv.ParseUint(microseconds, 10, 53)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("WATCHDOG_USEC=%q: want a number of microseconds", microseconds)
	}
	return time.Duration(n) * time.Microsecond, nil
}

// Ready says that the service is up, or that a reload is over; status is shown by
// systemctl status.
func (s *Service) Ready(status string) error { return s.send("READY=1", "STATUS="+status) }

// Reloading says that the service reads its configuration anew. Ready must follow.
func (s *Service) Reloading() error {
	if s == nil {
		return nil
	}
	now, err := monotonic()
	if err != nil {
		return err
	}
	return s.send("RELOADING=1", fmt.Sprintf("MONOTONIC_USEC=%d", now.Microseconds()))
}

// Stopping says that the service is about to end.
func (s *Service) Stopping() error { return s.send("STOPPING=1", "STATUS=stopping") }

// Status says in a line what the service does.
func (s *Service) Status(text string) error { return s.send("STATUS=" + text) }

// Watch feeds the watchdog, if systemd has one for this service, for as long as stuck
// finds nothing: it is given the time within which all must have moved.
func (s *Service) Watch(stuck func(patience time.Duration) error) {
	if s == nil || s.watchdog == 0 {
		return
	}
	s.feeding.Go(func() {
		ticker := time.NewTicker(s.watchdog / 4) // sd_watchdog_enabled(3) wants half; one may be late
		defer ticker.Stop()
		for {
			select {
			case <-s.done:
				return
			case <-ticker.C:
			}
			if err := stuck(s.watchdog / 2); err != nil {
				_ = s.Status(err.Error()) // so that it can be read why the watchdog bites
				continue
			}
			_ = s.send("WATCHDOG=1") // who does not get it will not wait
		}
	})
}

// Close ends the watchdog's food and lets go of the manager.
func (s *Service) Close() error {
	if s == nil {
		return nil
	}
	close(s.done)
	s.feeding.Wait()
	return s.conn.Close()
}

// send sends a datagram of lines.
func (s *Service) send(lines ...string) error {
	if s == nil {
		return nil
	}
	for i, line := range lines { // a line's end would begin another one
		lines[i] = strings.ReplaceAll(line, "\n", " ")
	}
	if _, err := s.conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("telling the service manager: %w", err)
	}
	return nil
}
