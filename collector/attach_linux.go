// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// The hooks in the words of the start line.
const (
	modeXDP        = "XDP native"
	modeXDPGeneric = "XDP generic"
	modeTCX        = "TCX"
	modeClsact     = "clsact"
	modePacket     = "AF_PACKET"
)

// nativeXDPMTU is the largest MTU of a driver that keeps a frame in one page for
// XDP: 4096 less headroom, tail room and Ethernet header, as most do.
const nativeXDPMTU = 3498

// tap is one program on one hook of an interface.
type tap struct {
	mode       string
	link       io.Closer        // detaches
	collection *ebpf.Collection // nil: shared with other interfaces
}

// detach takes the program off its hook. It may still be running elsewhere for
// a moment.
func (t *tap) detach() error {
	err := t.link.Close()
	t.close()
	return err
}

func (t *tap) close() {
	if t.collection != nil {
		t.collection.Close()
	}
}

// attachXDP loads the XDP program and attaches it by a link, which never takes
// the place of another's.
func attachXDP(l *loader, i *Interface, number uint16, generic bool) (*tap, error) {
	collection, err := l.load(bpf.HookXDP, i, number)
	if err != nil {
		return nil, err
	}
	mode, flags := modeXDP, link.XDPDriverMode
	if generic {
		mode, flags = modeXDPGeneric, link.XDPGenericMode
	}
	attached, err := link.AttachXDP(link.XDPOptions{
		Program: collection.Programs[programNames[bpf.HookXDP]], Interface: i.Index, Flags: flags,
	})
	if err != nil {
		collection.Close()
		return nil, xdpError(i, mode, err)
	}
	return &tap{mode, attached, collection}, nil
}

// errHeld means that another program has the hook. Nothing else is tried then:
// what is behind that program may see only some of the packets.
var errHeld = errors.New("left alone")

// xdpError puts a refusal to attach in words that say what to do.
func xdpError(i *Interface, mode string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return xdpHeldError(i.Name, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: attaching XDP: %w", i.Name, err)
	case i.MTU > nativeXDPMTU:
		return fmt.Errorf("%s: MTU %d may be too large for %s with driver %s: use --capture tcx, or: "+
			"ip link set %s mtu %d (%w)", i.Name, i.MTU, mode, i.Driver, i.Name, nativeXDPMTU, err)
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%s: driver %s has no queues to spare for %s: use --capture tcx, or fewer queues "+
			"by ethtool -L (%w)", i.Name, i.Driver, mode, err)
	}
	return fmt.Errorf("%s mode not supported by %s (driver %s): use --capture tcx (%w)", mode, i.Name, i.Driver, err)
}

// xdpHeldError says whose XDP program is on the interface and how to get it off.
func xdpHeldError(name string, err error) error {
	device, lookupErr := netlink.LinkByName(name)
	if lookupErr != nil || device.Attrs().Xdp == nil || !device.Attrs().Xdp.Attached {
		return fmt.Errorf("%s: another XDP program is attached; it is %w. Use --capture tcx (%w)", name, errHeld, err)
	}
	xdp := device.Attrs().Xdp
	return fmt.Errorf("%s: an XDP program (%s) is attached; it is %w. Use --capture tcx, or detach it: %s",
		name, findHolder("XDP", xdp.ProgId), errHeld, detachCommand(name, xdp))
}

// xdpAttachedSKB is linux/if_link.h, XDP_ATTACHED_SKB.
const xdpAttachedSKB = 2

// detachCommand is what takes an XDP program off. One that is held by a link
// goes with the link alone.
func detachCommand(name string, xdp *netlink.LinkXdp) string {
	if id := programLink(xdp.ProgId); id != 0 {
		return fmt.Sprintf("bpftool link detach id %d", id)
	}
	if xdp.AttachMode == xdpAttachedSKB {
		return fmt.Sprintf("ip link set %s xdpgeneric off", name)
	}
	return fmt.Sprintf("ip link set %s xdp off", name)
}

// attachTC loads the program for hook and attaches it by a link before the
// programs of others, one of which may end the chain; where the kernel has no
// TCX, to a clsact qdisc.
func attachTC(l *loader, i *Interface, number uint16, hook bpf.Hook) (*tap, error) {
	program, own, err := l.loadTC(hook, i, number)
	if err != nil {
		return nil, err
	}
	t := &tap{modeTCX, nil, own}
	if l.clsact {
		t.mode = modeClsact
		t.link, err = attachClsact(i.Index, clsactParents[hook], program)
	} else {
		t.link, err = link.AttachTCX(link.TCXOptions{
			Interface: i.Index, Program: program, Attach: tcxAttachTypes[hook], Anchor: link.Head(),
		})
	}
	if err != nil {
		t.close()
		return nil, fmt.Errorf("%s: attaching %s: %w", i.Name, t.mode, err)
	}
	return t, nil
}

var (
	tcxAttachTypes = map[bpf.Hook]ebpf.AttachType{
		bpf.HookTCIngress: ebpf.AttachTCXIngress,
		bpf.HookTCEgress:  ebpf.AttachTCXEgress,
	}
	clsactParents = map[bpf.Hook]uint32{
		bpf.HookTCIngress: netlink.HANDLE_MIN_INGRESS,
		bpf.HookTCEgress:  netlink.HANDLE_MIN_EGRESS,
	}
)

// promiscuousSocket is a packet socket whose membership keeps an interface
// promiscuous. It goes with the process, whatever ends that.
type promiscuousSocket int

func enterPromiscuous(i *Interface) (promiscuousSocket, error) {
	// Protocol 0: the socket gets no packets.
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: promiscuous mode: opening a packet socket: %w (--promiscuous off does without)", i.Name, err)
	}
	if err := setPromiscuous(socket, i); err != nil {
		return -1, errors.Join(err, unix.Close(socket))
	}
	return promiscuousSocket(socket), nil
}

// setPromiscuous gives a packet socket the membership.
func setPromiscuous(socket int, i *Interface) error {
	err := unix.SetsockoptPacketMreq(socket, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, i.membership())
	if err != nil {
		return fmt.Errorf("%s: promiscuous mode: %w (--promiscuous off does without)", i.Name, err)
	}
	return nil
}

// membership is what makes the interface promiscuous.
func (i *Interface) membership() *unix.PacketMreq {
	return &unix.PacketMreq{Ifindex: int32(i.Index), Type: unix.PACKET_MR_PROMISC}
}

// Close ends the membership.
func (s promiscuousSocket) Close() error { return unix.Close(int(s)) }
