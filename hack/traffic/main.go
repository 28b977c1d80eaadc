// SPDX-License-Identifier: Apache-2.0

// Command traffic makes real connections between two hosts, for hack/demo.sh,
// hack/overhead.sh and hack/soak.sh.
//
// usage: traffic serve, on one host; on the other one
//
//   - traffic make SERVER4 SERVER6 NOWHERE: some of many kinds; NOWHERE is an address
//     from which nothing comes back;
//   - traffic time SERVER REQUESTS: how long requests take;
//   - traffic churn SERVER SECONDS: as many as it can, for so long.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The server's TCP and UDP ports.
const (
	httpPort = "80"
	echoPort = "7"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve()
	case len(os.Args) == 5 && os.Args[1] == "make":
		err = makeTraffic(os.Args[2], os.Args[3], os.Args[4])
	case len(os.Args) == 4 && os.Args[1] == "time":
		err = withNumber(os.Args[2], os.Args[3], timeRequests)
	case len(os.Args) == 4 && os.Args[1] == "churn":
		err = withNumber(os.Args[2], os.Args[3], churn)
	default:
		fmt.Fprintln(os.Stderr, "usage: traffic serve | make SERVER4 SERVER6 NOWHERE | time SERVER REQUESTS | churn SERVER SECONDS")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

// withNumber calls f with a server and a number above 0.
func withNumber(server, number string, f func(string, int) error) error {
	n, err := strconv.Atoi(number)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q: want a number above 0", number)
	}
	return f(server, n)
}

// serve answers until it is asked to stop: pages of /N bytes over HTTP, echo over
// UDP.
func serve() error {
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	echo, err := net.ListenPacket("udp", ":"+echoPort)
	if err != nil {
		return err
	}
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := echo.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(buf[:n], from)
		}
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("/abort", abort)
	mux.HandleFunc("/", page)
	server := http.Server{Addr: ":" + httpPort, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(stop, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// page reads what the client sends and answers with as many bytes as the path
// says.
func page(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	size, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	_, _ = io.CopyN(w, zeros{}, size)
}

// abort resets the connection where an answer was due.
func abort(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		err = reset(conn)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "traffic: abort:", err)
	}
}

// reset closes a TCP connection with a RST.
func reset(conn net.Conn) error {
	return errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close())
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// makeTraffic has one connection of each kind with the server.
func makeTraffic(server4, server6, nowhere string) error {
	for _, step := range []struct {
		name string
		make func() error
	}{
		{"page over IPv4", func() error { return get(server4, "/1200") }},
		{"page over IPv6", func() error { return get(server6, "/1200") }},
		{"upload", func() error { return post(server4, 2_000_000) }},
		{"large page over IPv6", func() error { return get(server6, "/20000000") }},
		{"reset by the server", func() error { return resetByServer(server4) }},
		{"interrupted transfer", func() error { return interrupt(server4, "/50000000") }},
		{"UDP with an answer", func() error { return echo(server4) }},
		{"UDP to a closed port", func() error { return send(server6, "9", "anybody?") }},
		{"ping over IPv4", func() error { return ping("ip4:icmp", server4, 8) }},
		{"ping over IPv6", func() error { return ping("ip6:ipv6-icmp", server6, 128) }},
		{"no answer", func() error { return knock(nowhere, 443) }},
		{"scan of closed ports", func() error { return knock(server4, 21, 22, 23, 25, 110) }},
	} {
		if err := step.make(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// client opens a connection for each request.
var client = http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
	Timeout:   30 * time.Second,
}

func url(server, path string) string {
	return "http://" + net.JoinHostPort(server, httpPort) + path
}

func get(server, path string) error {
	response, err := client.Get(url(server, path))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return errors.Join(err, response.Body.Close())
}

func post(server string, size int64) error {
	response, err := client.Post(url(server, "/0"), "application/octet-stream", io.LimitReader(zeros{}, size))
	if err != nil {
		return err
	}
	return response.Body.Close()
}

func resetByServer(server string) error {
	if err := get(server, "/abort"); err == nil {
		return errors.New("it answered")
	}
	return nil
}

// interrupt reads the start of a page and resets the connection.
func interrupt(server, path string) error {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(server, httpPort), 5*time.Second)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", path); err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, conn, 1_000_000)
	return errors.Join(err, reset(conn))
}

func echo(server string) error {
	conn, err := net.Dial("udp", net.JoinHostPort(server, echoPort))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	return answer(conn)
}

func send(server, port, text string) error {
	conn, err := net.Dial("udp", net.JoinHostPort(server, port))
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte(text))
	return errors.Join(err, conn.Close())
}

// ping sends one ICMP echo request. The kernel fills in ICMPv6's checksum.
func ping(network, server string, echoRequest byte) error {
	conn, err := net.Dial(network, server)
	if err != nil {
		return err
	}
	defer conn.Close()
	message := append([]byte{echoRequest, 0, 0, 0, 0x12, 0x34, 0, 1}, "abcdefghijklmnopqrstuvwxyzabcdef"...)
	if network == "ip4:icmp" {
		sum := checksum(message)
		message[2], message[3] = byte(sum>>8), byte(sum)
	}
	if _, err := conn.Write(message); err != nil {
		return err
	}
	return answer(conn)
}

// checksum is the internet checksum (RFC 1071) of b, of an even length.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func answer(conn net.Conn) error {
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 2048))
	return err
}

// knock asks for TCP connections that nobody accepts.
func knock(server string, ports ...int) error {
	for _, port := range ports {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(server, strconv.Itoa(port)), 500*time.Millisecond)
		if err == nil {
			return errors.Join(fmt.Errorf("port %d is open", port), conn.Close())
		}
	}
	return nil
}
