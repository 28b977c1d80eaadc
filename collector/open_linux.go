// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Open captures on interfaces in the calling thread's network namespace: by BPF
// programs ([OpenLive]), or with CaptureAFPacket by packet sockets, which take
// CAP_NET_RAW alone and Linux 4.6. Errors say what to do.
func Open(c LiveConfig) (LiveSource, error) {
	if c.Capture == CaptureAFPacket {
		s, err := openPackets(c)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
	l, err := OpenLive(c)
	if err == nil {
		return l, nil
	}
	if noBPF(err) {
		err = fmt.Errorf("%w\nWhere BPF is not to be had, --capture afpacket does without, at a higher cost", err)
	}
	return nil, err
}

// noBPF tells errors that mean that the kernel, or the process's rights, don't allow
// for BPF.
func noBPF(err error) bool {
	for _, cause := range []error{errNoRights, errOldKernel, unix.EPERM, unix.EACCES, unix.ENOSYS, ebpf.ErrNotSupported} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

// tryPackets says whether there are packet sockets. One of protocol 0 gets no
// packets.
func tryPackets() error {
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(socket)
}

// complete fills in the defaults, and finds what can't be meant.
func (c *LiveConfig) complete() error {
	if c.Warn == nil {
		c.Warn = func(string) {}
	}
	return errors.Join(oneOf("capture", &c.Capture, Captures), oneOf("direction", &c.Direction, Directions),
		oneOf("promiscuous", &c.Promiscuous, PromiscuousChoices), oneOf("transport", &c.Transport, Transports),
		oneOf("xdp-action", &c.XDPAction, XDPActions))
}

// plan decides what to do on an interface.
func (c *LiveConfig) plan(i *Interface) (plan, error) {
	p, err := planCapture(i, c.Capture, c.directionOn(i), c.Promiscuous)
	if err != nil || c.XDPAction != XDPDrop {
		return p, err
	}
	users, err := packetUsers(i)
	if err != nil {
		return p, err
	}
	return p, p.planDrop(i, users, c.Force)
}

// checkRights finds what the calling thread may not do for the plans.
func (c *LiveConfig) checkRights(plans []plan) error {
	promiscuous := slices.ContainsFunc(plans, func(p plan) bool { return p.promiscuous })
	held, err := effectiveCapabilities()
	if err != nil {
		return err
	}
	needed := neededCapabilities(c.Capture, promiscuous)
	return rightsError(held.missing(needed), needed)
}

// directionOn is what was asked for, or on loopback what says who made a packet.
func (c *LiveConfig) directionOn(i *Interface) Direction {
	if c.Owners && c.Direction == DirectionAuto && i.Link == "loopback" {
		return DirectionOut
	}
	return c.Direction
}

// capabilities are what capturing takes on whatever interface comes.
func (c *LiveConfig) capabilities() []Capability {
	return neededCapabilities(c.Capture, c.Promiscuous != PromiscuousOff)
}
