// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// TestLiveOwners has clients and servers, TCP (of servers: Multipath TCP, where the
// kernel has it) and UDP, opened before and after capture began: the packets that leave
// say who opened their sockets. On loopback those are captured that leave, unless asked
// for otherwise.
func TestLiveOwners(t *testing.T) {
	tests := []struct {
		name   string
		config LiveConfig
	}{
		{"TCX", LiveConfig{Interfaces: []string{"lo"}}},
		{"clsact", LiveConfig{Interfaces: []string{"lo"}, clsact: true}},
		{"shared programs", LiveConfig{Interfaces: []string{"l*"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t)
			must(t, netlink.LinkSetUp(linkByName(t, "lo")))
			before := listenEcho(t)
			client, err := net.Dial("udp4", before.udp.LocalAddr().String())
			must(t, err)
			defer client.Close()

			tt.config.Owners = true
			l := openLive(t, tt.config)
			if shared := l.loader.many != nil; shared != (tt.name == "shared programs") {
				t.Errorf("want shared programs or not, got %v", shared)
			}
			after := listenEcho(t)
			ping(t, client)
			before.call(t)
			after.call(t)
			checkOwners(t, readAll(t, l))
		})
	}
}

// checkOwners: each socket that has sent is this process's. Nothing else is known of
// any: a segment that the kernel answers with may have no socket yet, or no more.
func checkOwners(t *testing.T, packets []bpf.Packet) {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	must(t, err)
	type sender struct {
		protocol uint8
		port     uint16
	}
	owned := map[sender]int{}
	for i := range packets {
		p := &packets[i]
		owned[sender{p.Protocol, p.SrcPort}] += 0
		if p.Owner == nil {
			continue
		}
		owned[sender{p.Protocol, p.SrcPort}]++
		want := bpf.Owner{PID: uint32(os.Getpid()), UID: uint32(os.Getuid()), Cgroup: p.Owner.Cgroup}
		copy(want.Comm[:], bytes.TrimSpace(name))
		if *p.Owner != want || want.Cgroup == 0 {
			t.Errorf("want %+v, got %+v", want, *p.Owner)
		}
	}
	if len(owned) != 2*2+2*2+1 {
		t.Errorf("want 9 sockets that send, got %v", owned)
	}
	for s, n := range owned {
		if n == 0 {
			t.Errorf("want an owner of port %d, protocol %d", s.port, s.protocol)
		}
	}
}

// echo answers on a TCP and on a UDP port.
type echo struct {
	tcp net.Listener
	udp net.PacketConn
}

func listenEcho(t *testing.T) *echo {
	t.Helper()
	e := &echo{}
	var err error
	e.tcp, err = net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	e.udp, err = net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() {
		e.tcp.Close()
		e.udp.Close()
	})
	go func() {
		for {
			conn, err := e.tcp.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "hello")
			conn.Close()
		}
	}()
	go func() {
		buffer := make([]byte, 100)
		for {
			n, from, err := e.udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = e.udp.WriteTo(buffer[:n], from)
		}
	}()
	return e
}

// call asks by TCP and by UDP.
func (e *echo) call(t *testing.T) {
	t.Helper()
	tcp, err := net.Dial("tcp4", e.tcp.Addr().String())
	must(t, err)
	defer tcp.Close()
	_, err = tcp.Read(make([]byte, 100))
	must(t, err)
	udp, err := net.Dial("udp4", e.udp.LocalAddr().String())
	must(t, err)
	defer udp.Close()
	ping(t, udp)
}

// ping sends a datagram and waits for the answer.
func ping(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := fmt.Fprint(conn, "ping")
	must(t, err)
	_, err = conn.Read(make([]byte, 100))
	must(t, err)
}

// BenchmarkOwners reports what the program on egress takes for a packet, without and with
// owners: the kernel's own measurement, the best of some rounds. Each datagram says who
// made it; of a TCP connection few packets do.
func BenchmarkOwners(b *testing.B) {
	enterNamespace(b)
	must(b, netlink.LinkSetUp(linkByName(b, "lo")))
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	must(b, err)
	defer stats.Close()
	for _, network := range []string{"tcp4", "udp4"} {
		b.Run(network, func(b *testing.B) {
			without, with := math.Inf(1), math.Inf(1)
			for b.Loop() {
				without = min(without, ownersRound(b, network, false))
				with = min(with, ownersRound(b, network, true))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(without, "ns-without/packet")
			b.ReportMetric(with, "ns-with/packet")
		})
	}
}

// ownersRound is ns per packet.
func ownersRound(b *testing.B, network string, owners bool) float64 {
	l := openLive(b, LiveConfig{
		Interfaces: []string{"lo"}, Direction: DirectionOut, Owners: owners, NoLinkLayer: true, RingBytes: 1 << 25,
	})
	conn := dialSink(b, network)
	defer conn.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		for dst := make([]bpf.Packet, 1000); ; {
			if _, err := l.Read(dst); err != nil {
				return
			}
		}
	}()
	for range 100_000 {
		if _, err := conn.Write([]byte("ping")); err != nil {
			b.Fatal(err)
		}
	}
	run, err := tapsOf(l)[0].collection.Programs[conntapProgConntapTcEgress].Stats()
	must(b, err)
	must(b, l.Close())
	<-read
	return float64(run.Runtime.Nanoseconds()) / float64(run.RunCount)
}

// dialSink connects to somebody who takes everything and answers nothing.
func dialSink(b *testing.B, network string) net.Conn {
	if network == "udp4" {
		sink, err := net.ListenPacket(network, "127.0.0.1:0") // reads nothing
		must(b, err)
		b.Cleanup(func() { sink.Close() })
		conn, err := net.Dial(network, sink.LocalAddr().String())
		must(b, err)
		return conn
	}
	sink, err := net.Listen(network, "127.0.0.1:0")
	must(b, err)
	defer sink.Close()
	go func() {
		if conn, err := sink.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	conn, err := net.Dial(network, sink.Addr().String())
	must(b, err)
	return conn
}
