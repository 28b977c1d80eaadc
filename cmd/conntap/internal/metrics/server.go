// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// scrapesAtOnce is how many may be under way; more are told to come later.
	scrapesAtOnce = 4
	// requestTimeout bounds what a client may take for its request, and for the answer.
	requestTimeout = 10 * time.Second
	// closePatience is how long Close waits for scrapes under way.
	closePatience = time.Second
)

// Server serves /metrics and /healthz. A nil Server serves nothing.
type Server struct {
	listener net.Listener
	mux      *http.ServeMux
	server   http.Server
	done     chan error // what serving ended with; nil before Serve
}

// CheckAddress finds what Listen could not take for an address: HOST:PORT, or :PORT
// for the loopback.
func CheckAddress(address string) error {
	_, err := withHost(address)
	return err
}

// withHost completes :PORT, which would mean all interfaces to net.Listen.
func withHost(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("%q: want :PORT for the loopback, or ADDRESS:PORT", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%q: want a port from 0 to 65535, got %q", address, port)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// Listen takes the address, in the calling thread's network namespace. Requests wait
// until Serve.
func Listen(address string) (*Server, error) {
	address, err := withHost(address)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%w: choose another address or port", err)
	}
	s := &Server{listener: listener, mux: http.NewServeMux()}
	s.server = http.Server{
		Handler: s.mux, ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		MaxHeaderBytes: 64 << 10,
	}
	return s, nil
}

// URL is where the metrics are.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() + "/metrics" }

// Serve starts to answer. Every scrape calls snapshot, every question after the health
// calls health, whose error says what does not work; from goroutines of their own.
func (s *Server) Serve(version string, snapshot func() *Snapshot, health func() error) {
	if s == nil {
		return
	}
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { writeIndex(w, version, health()) })
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { writeHealth(w, health()) })
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(newRegistry(version, snapshot), promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesAtOnce,
	}))
	s.done = make(chan error, 1)
	go func() { s.done <- s.server.Serve(s.listener) }()
}

// Close lets scrapes under way end and gives the address back. The error is that of
// serving, if it ended before.
func (s *Server) Close() error {
	switch {
	case s == nil:
		return nil
	case s.done == nil:
		return s.listener.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		_ = s.server.Close() // who is that slow has to do without
	}
	if err := <-s.done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}
