// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"fmt"
	"strings"
)

// XDPAction is what becomes of a packet behind the XDP program.
type XDPAction string

// The actions.
const (
	XDPPass XDPAction = "pass" // the stack gets it
	XDPDrop XDPAction = "drop" // its way ends, which spares the stack's cost: for a port that gets copies
)

// XDPActions are the choices in the order in which help and errors name them.
var XDPActions = []XDPAction{XDPPass, XDPDrop}

// planDrop makes a plan end the way of the packets after XDP, or says why that can't
// be. users are what the interface's packets are for, in words; force drops them all
// the same.
func (p *plan) planDrop(i *Interface, users []string, force bool) error {
	switch {
	case p.ingress == ingressNone:
		return fmt.Errorf("%s: --xdp-action drop is for incoming packets, which are not captured", i.Name)
	case p.ingress == ingressTCX && i.hasEthernet():
		return fmt.Errorf("%s: --xdp-action drop takes XDP, and this would be captured by TCX: say --capture xdp or "+
			"xdp-generic, or do without", i.Name)
	case p.ingress != ingressXDP && p.ingress != ingressXDPGeneric:
		return fmt.Errorf("%s: --xdp-action drop takes XDP, by which this is not captured: do without", i.Name)
	case len(users) > 0 && !force:
		return fmt.Errorf("%s %s: --xdp-action drop would cut that off; it is for a port that gets copies of packets "+
			"(--force does it all the same)", i.Name, strings.Join(users, " and "))
	}
	p.fallback = false // TCX would let the packets pass
	return nil
}
