// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"conntap/bpf"
)

// TestLiveOwners has clients and servers, TCP (of servers: Multipath TCP, where the
// kernel has it) and UDP, opened before and after capture began: the packets that leave
// say who opened their sockets.
func TestLiveOwners(t *testing.T) {
	for _, name := range []string{"TCX", "clsact"} {
		t.Run(name, func(t *testing.T) {
			enterNamespace(t)
			must(t, netlink.LinkSetUp(linkByName(t, "lo")))
			before := listenEcho(t)
			client, err := net.Dial("udp4", before.udp.LocalAddr().String())
			must(t, err)
			defer client.Close()

			l := openLive(t, LiveConfig{Interfaces: []string{"lo"}, Direction: DirectionOut, Owners: true, clsact: name == "clsact"})
			after := listenEcho(t)
			ping(t, client)
			before.call(t)
			after.call(t)
			checkOwners(t, readAll(t, l))
		})
	}
}

// checkOwners: at least so many packets have this process for an owner, and all that
// can.
func checkOwners(t *testing.T, packets []bpf.Packet) {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	must(t, err)
	owned := map[uint8]int{}
	for i := range packets {
		p := &packets[i]
		if p.Owner == nil {
			// What answers a segment may have no socket yet, or no more.
			if p.Protocol != bpf.ProtocolTCP || p.PayloadLength() > 0 || p.Flags == bpf.SYN || p.Flags.Has(bpf.FIN) {
				t.Errorf("want an owner: %+v", p)
			}
			continue
		}
		owned[p.Protocol]++
		want := bpf.Owner{PID: uint32(os.Getpid()), UID: uint32(os.Getuid()), Cgroup: p.Owner.Cgroup}
		copy(want.Comm[:], bytes.TrimSpace(name))
		if *p.Owner != want || want.Cgroup == 0 {
			t.Errorf("want %+v, got %+v", want, *p.Owner)
		}
	}
	if owned[bpf.ProtocolTCP] < 2*4 || owned[bpf.ProtocolUDP] < 3*2 {
		t.Errorf("want 8 TCP packets and 6 of UDP at least that have an owner, got %v", owned)
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
