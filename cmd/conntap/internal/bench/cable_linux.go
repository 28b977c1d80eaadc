// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/collector/thread"
)

// The ends of a cable, each in a namespace of its own.
const (
	sendingEnd  = "bench0"
	capturedEnd = "bench1"
)

// namespace is a network namespace, entered by one thread. It has no name: the
// kernel removes it, and the interfaces in it, when that thread and the file are
// gone, even if conntap is killed.
type namespace struct {
	file  *os.File
	calls chan func()
	ended chan struct{}
}

func newNamespace() (*namespace, error) {
	n := &namespace{calls: make(chan func()), ended: make(chan struct{})}
	entered := make(chan error)
	thread.Go(func() {
		defer close(n.ended)
		entered <- n.enter()
		for call := range n.calls {
			call()
		}
	})
	if err := <-entered; err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *namespace) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("making a network namespace: %w", needsRoot(err))
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("making a network namespace: %w", err)
	}
	n.file = file
	return silence()
}

// needsRoot says what to do about a refusal.
func needsRoot(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: run it as root (sudo conntap bench)", err)
	}
	return err
}

// silence keeps the kernel from sending anything by itself in this thread's
// namespace: ARP is turned off by interface.
func silence() error {
	for _, which := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+which+"/disable_ipv6", []byte("1"), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
			return fmt.Errorf("turning IPv6 off: %w", err)
		}
	}
	return nil
}

// do runs f in the namespace. Threads that f makes are not in it.
func (n *namespace) do(f func() error) error {
	result := make(chan error)
	n.calls <- func() { result <- f() }
	return <-result
}

// enterFrom puts the calling thread, which must be locked, into the namespace.
func (n *namespace) enterFrom() error {
	if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	return nil
}

func (n *namespace) close() {
	close(n.calls)
	<-n.ended
	if n.file != nil {
		n.file.Close()
	}
}

// cable is a veth pair: what is sent into one end arrives at the other.
type cable struct {
	sending, captured *namespace
	sendingIndex      int // of the interface, in its namespace
	capturedIndex     int
}

// newCable makes a cable with so many queues, each served by the CPU that sends
// into it.
func newCable(queues, mtu int) (*cable, error) {
	c := &cable{}
	if err := c.make(queues, mtu); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cable) make(queues, mtu int) (err error) {
	if c.sending, err = newNamespace(); err != nil {
		return err
	}
	if c.captured, err = newNamespace(); err != nil {
		return err
	}
	err = c.sending.do(func() error { return addVeth(queues, mtu, c.captured.file) })
	if err != nil {
		return err
	}
	err = c.sending.do(func() (err error) { c.sendingIndex, err = bringUp(sendingEnd); return err })
	if err != nil {
		return err
	}
	return c.captured.do(func() (err error) {
		if c.capturedIndex, err = bringUp(capturedEnd); err != nil {
			return err
		}
		// Only an end with native XDP or GRO takes redirected frames
		// (drivers/net/veth.c, veth_xdp_xmit).
		return turnOnGRO(capturedEnd)
	})
}

func addVeth(queues, mtu int, peer *os.File) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.NumTxQueues, attrs.NumRxQueues = sendingEnd, mtu, queues, queues
	pair := &netlink.Veth{
		LinkAttrs: attrs, PeerName: capturedEnd, PeerMTU: uint32(mtu), PeerNamespace: netlink.NsFd(peer.Fd()),
		PeerNumTxQueues: uint32(queues), PeerNumRxQueues: uint32(queues),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("making a veth pair: %w", needsRoot(err))
	}
	return nil
}

// bringUp turns an interface on, without ARP, and returns its index.
func bringUp(name string) (int, error) {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if err := errors.Join(netlink.LinkSetARPOff(device), netlink.LinkSetUp(device)); err != nil {
		return 0, fmt.Errorf("turning %s on: %w", name, err)
	}
	return device.Attrs().Index, nil
}

// close removes the namespaces, and the pair with them.
func (c *cable) close() {
	for _, n := range []*namespace{c.sending, c.captured} {
		if n != nil {
			n.close()
		}
	}
}

// cableCounts is what the driver counted at both ends.
type cableCounts struct {
	sent    uint64 // taken from the producers
	refused uint64 // not taken from them
	arrived uint64 // at the captured end
	dropped uint64 // there, before any hook
}

// counts reads the driver's counters.
func (c *cable) counts() (cableCounts, error) {
	var counts cableCounts
	err := c.sending.do(func() error {
		counters, err := driverCounters(sendingEnd)
		counts.sent = queueSum(counters, "tx_queue_", "_xdp_xmit")
		counts.refused = queueSum(counters, "tx_queue_", "_xdp_xmit_errors")
		return err
	})
	if err != nil {
		return counts, err
	}
	err = c.captured.do(func() error {
		counters, err := driverCounters(capturedEnd)
		counts.arrived = queueSum(counters, "rx_queue_", "_xdp_packets")
		counts.dropped = queueSum(counters, "rx_queue_", "_drops") - queueSum(counters, "rx_queue_", "_xdp_drops")
		return err
	})
	return counts, err
}

// minus is the difference to an earlier state.
func (c cableCounts) minus(before cableCounts) cableCounts {
	return cableCounts{
		c.sent - before.sent, c.refused - before.refused, c.arrived - before.arrived, c.dropped - before.dropped,
	}
}

// queueSum adds up a counter over the queues.
func queueSum(counters []driverCounter, prefix, suffix string) uint64 {
	var sum uint64
	for _, c := range counters {
		if strings.HasPrefix(c.name, prefix) && strings.HasSuffix(c.name, suffix) {
			sum += c.value
		}
	}
	return sum
}
