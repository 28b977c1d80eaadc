// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"testing"
	"time"
)

// TestRunKnowsService: live, the first bytes of a flow's payload are enough for
// service.
func TestRunKnowsService(t *testing.T) {
	near, far := twoHosts(t)
	run, stdout, messages := startRun(t, near, "--format", "tsv", "--fields", "id.resp_p,service,history")
	var listener net.Listener
	near.do(t, func() (err error) {
		listener, err = net.Listen("tcp", "192.0.2.1:8000")
		return err
	})
	server := http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	far.do(t, func() error {
		conn, err := net.DialTimeout("tcp", "192.0.2.1:8000", 5*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: near\r\nConnection: close\r\n\r\n"); err != nil {
			return err
		}
		_, err = io.ReadAll(conn)
		return err
	})
	rows := endRun(t, run, stdout, messages)
	if want := regexp.MustCompile(`(?m)^8000\thttp\tSh`); !want.MatchString(rows) {
		t.Errorf("want a row like %s, got\n%s", want, rows)
	}
}
