// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestRunDedup captures both ports of a bridge, in both directions. Each packet counts
// once; one that is sent again counts again, though nothing tells it from the first.
func TestRunDedup(t *testing.T) {
	bridge, a := newNamespace(t), newNamespace(t)
	b := newNamespace(t)
	bridge.addBridge(t, "br0")
	bridge.addVeth(t, "pa", a, "ea", 1500)
	bridge.addVeth(t, "pb", b, "eb", 1500)
	bridge.addPorts(t, "br0", "pa", "pb")
	time.Sleep(settled)

	run := exec.Command("conntap", "run", "-i", "pa", "-i", "pb", "--direction", "both", "--dedup", "--account", "full",
		"--filter", "udp", "--format", "tsv", "--fields", "id.orig_p,orig_pkts,resp_pkts")
	stdout, err := run.StdoutPipe()
	must(t, err)
	stderr, err := run.StderrPipe()
	must(t, err)
	bridge.do(t, run.Start)
	watchdog := time.AfterFunc(30*time.Second, func() { _ = run.Process.Kill() })
	defer watchdog.Stop()
	messages := bufio.NewReader(stderr)
	for line := ""; !strings.Contains(line, "tcp rows appear"); {
		line, err = messages.ReadString('\n')
		must(t, err)
	}
	const alike, distinct = 5, 20
	a.do(t, func() error {
		for range alike {
			if err := sendFrame("ea", dedupFrame(40000, 7)); err != nil {
				return err
			}
		}
		for id := range uint16(distinct) {
			if err := sendFrame("ea", dedupFrame(50000, id)); err != nil {
				return err
			}
		}
		return nil
	})
	time.Sleep(settled)
	rows, account := interrupted(t, run, stdout, messages)
	for _, want := range []string{fmt.Sprintf("\n40000\t%d\t0\n", alike), fmt.Sprintf("\n50000\t%d\t0\n", distinct)} {
		if strings.Count(rows, want) != 1 {
			t.Errorf("want the row %q once, got\n%s", want, rows)
		}
	}
	checkDedupAccount(t, account, alike+distinct)
}

// checkDedupAccount wants as many duplicates as packets, and a sum that is right.
func checkDedupAccount(t *testing.T, account string, packets int) {
	t.Helper()
	line := regexp.MustCompile(`(?m)^  packets .*$`).FindString(account)
	var numbers []int
	for _, digits := range regexp.MustCompile(`\d+`).FindAllString(strings.ReplaceAll(line, ",", ""), -1) {
		n, err := strconv.Atoi(digits)
		must(t, err)
		numbers = append(numbers, n)
	}
	if len(numbers) == 0 {
		t.Fatalf("want an equation of packets, got\n%s", account)
	}
	sum := 0
	for _, n := range numbers[1:] {
		sum += n
	}
	if numbers[0] != 2*packets || sum != numbers[0] || !strings.Contains(line, fmt.Sprintf("+ duplicates %d", packets)) {
		t.Errorf("want %d packets, half of them duplicates, got: %s", 2*packets, line)
	}
}

// dedupFrame is a UDP packet from a port, with an IPv4 identification.
func dedupFrame(port, id uint16) []byte {
	header := udpHeader()
	binary.BigEndian.PutUint16(header, port)
	packet := ipv4Packet(protocolUDP, header)
	binary.BigEndian.PutUint16(packet[4:], id)
	sum := ^uint32(binary.BigEndian.Uint16(packet[10:]))&0xffff + uint32(id) // RFC 1624
	binary.BigEndian.PutUint16(packet[10:], ^uint16(sum+sum>>16))
	return ethernetFrame(packet)
}

// addBridge makes a bridge that is up, and forwards what it knows no port for.
func (n *namespace) addBridge(t *testing.T, name string) {
	t.Helper()
	n.do(t, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		link := &netlink.Bridge{LinkAttrs: attrs}
		return errors.Join(netlink.LinkAdd(link), netlink.LinkSetUp(link))
	})
}

// addPorts makes interfaces ports of a bridge.
func (n *namespace) addPorts(t *testing.T, bridge string, names ...string) {
	t.Helper()
	n.do(t, func() error {
		master, err := netlink.LinkByName(bridge)
		for _, name := range names {
			var port netlink.Link
			if err == nil {
				port, err = netlink.LinkByName(name)
			}
			if err == nil {
				err = netlink.LinkSetMaster(port, master)
			}
		}
		return err
	})
}

// sendFrame sends a frame as it is, in the calling thread's namespace.
func sendFrame(name string, frame []byte) error {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	return unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: device.Index, Halen: 6})
}
