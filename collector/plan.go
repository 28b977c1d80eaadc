// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"slices"
	"strings"
)

// Capture is the way in to an interface's packets.
type Capture string

// The ways in.
const (
	CaptureAuto       Capture = "auto"        // native XDP where the driver has it, else TCX
	CaptureXDP        Capture = "xdp"         // XDP in the driver, or failure
	CaptureXDPGeneric Capture = "xdp-generic" // XDP behind the driver and GRO: sees merged packets as one
	CaptureTCX        Capture = "tcx"         // TCX; below kernel 6.6 clsact
	CaptureAFPacket   Capture = "afpacket"    // a packet socket, where BPF is not to be had
)

// Direction is which packets of an interface are captured.
type Direction string

// The directions.
const (
	DirectionAuto Direction = "auto" // both with an address of its own, else in
	DirectionIn   Direction = "in"
	DirectionOut  Direction = "out"
	DirectionBoth Direction = "both"
)

// Promiscuous says whether an interface takes frames for other machines' MAC
// addresses.
type Promiscuous string

// The choices.
const (
	PromiscuousAuto Promiscuous = "auto" // on without an address of its own: a mirror port
	PromiscuousOn   Promiscuous = "on"
	PromiscuousOff  Promiscuous = "off"
)

// The choices in the order in which help and errors name them.
var (
	Captures           = []Capture{CaptureAuto, CaptureXDP, CaptureXDPGeneric, CaptureTCX, CaptureAFPacket}
	Directions         = []Direction{DirectionAuto, DirectionIn, DirectionOut, DirectionBoth}
	PromiscuousChoices = []Promiscuous{PromiscuousAuto, PromiscuousOn, PromiscuousOff}
)

// oneOf checks a choice; the empty one is the first.
func oneOf[T ~string](flag string, value *T, choices []T) error {
	if *value == "" {
		*value = choices[0]
	}
	if slices.Contains(choices, *value) {
		return nil
	}
	names := make([]string, len(choices))
	for i, c := range choices {
		names[i] = string(c)
	}
	return fmt.Errorf("--%s %s: unknown; one of %s", flag, *value, strings.Join(names, ", "))
}

// ingressHook is where incoming packets are taken.
type ingressHook uint8

const (
	ingressNone ingressHook = iota
	ingressXDP
	ingressXDPGeneric
	ingressTCX
	ingressPacket
)

// plan is what to do on one interface.
type plan struct {
	ingress     ingressHook
	fallback    bool // TCX where the driver refuses native XDP
	egress      bool // by TCX, or with ingressPacket's socket
	promiscuous bool
}

// planCapture decides what to do on an interface from the facts about it and
// the wishes. The wishes are valid choices.
func planCapture(i *Interface, capture Capture, direction Direction, promiscuous Promiscuous) (plan, error) {
	if err := checkLinkLayer(i, capture); err != nil {
		return plan{}, err
	}
	in, out := i.directions(direction)
	if !in && (capture == CaptureXDP || capture == CaptureXDPGeneric) {
		return plan{}, fmt.Errorf("%s: XDP sees incoming packets only; for --direction out use --capture tcx", i.Name)
	}
	p := plan{egress: out, promiscuous: promiscuous == PromiscuousOn}
	if promiscuous == PromiscuousAuto {
		p.promiscuous = in && len(i.Addresses) == 0 && i.Link == "ether"
	}
	if in {
		p.ingress, p.fallback = i.ingress(capture)
	}
	return p, nil
}

// checkLinkLayer says why nothing can be captured for want of Ethernet headers:
// all but XDP do without where the frame starts with the IP header.
func checkLinkLayer(i *Interface, capture Capture) error {
	if i.hasEthernet() || i.hasBareIP() && capture != CaptureXDP && capture != CaptureXDPGeneric {
		return nil
	}
	if i.hasBareIP() {
		return fmt.Errorf("%s carries IP without Ethernet headers, which XDP needs; use --capture tcx", i.Name)
	}
	return fmt.Errorf("%s carries %s frames; conntap needs an Ethernet device (try the interface below it)", i.Name, i.Link)
}

// directions are the directions to capture. What goes out on loopback comes in
// again, so that one direction is all of it.
func (i *Interface) directions(wish Direction) (in, out bool) {
	if wish == DirectionAuto {
		return true, len(i.Addresses) > 0 && i.Link != "loopback"
	}
	return wish != DirectionOut, wish != DirectionIn
}

func (i *Interface) ingress(capture Capture) (hook ingressHook, fallback bool) {
	switch capture {
	case CaptureXDP:
		return ingressXDP, false
	case CaptureXDPGeneric:
		return ingressXDPGeneric, false
	case CaptureAFPacket:
		return ingressPacket, false
	case CaptureAuto:
		if i.native() {
			return ingressXDP, true
		}
	}
	return ingressTCX, false
}
