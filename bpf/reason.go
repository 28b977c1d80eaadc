// SPDX-License-Identifier: Apache-2.0

package bpf

// Reason is why a frame gave no packet. The kernel program and the Go parser use
// the same numbers, so that one counter serves live capture and files.
type Reason uint8

// The reasons, as enum reason.
const (
	ReasonNone            Reason = iota // the frame gave a packet
	ReasonShortFrame                    // no room for a link-layer header and anything after it
	ReasonARP                           // ARP and RARP
	ReasonLLDP                          //
	ReasonLLC                           // an IEEE 802.3 length or LLC instead of a type, and no IP in SNAP
	ReasonMPLS                          // a label stack that is cut, or multicast
	ReasonPPPoE                         // discovery, or a session header that is cut
	ReasonEtherType                     // any other EtherType without IP inside
	ReasonLinkDepth                     // more tags and labels than the bound
	ReasonLinkType                      // no link layer that conntap reads, and no IP in its place
	ReasonIPVersion                     // the version nibble is neither 4 nor 6
	ReasonIPHeader                      // IP header cut, or its length impossible
	ReasonIPLength                      // total length below the header, zero, or above the frame
	ReasonIPChecksum                    // bad IPv4 header checksum
	ReasonIPExtension                   // more IPv6 extension headers and options than the bound
	ReasonESPMobility                   // IPv6 ESP or mobility: consumed without a connection
	ReasonNoNextHeader                  // protocol 59
	ReasonPPP                           // PPP of another protocol than IP
	ReasonTransportHeader               // TCP, UDP or ICMP header longer than the packet or what was captured
	ReasonFragment                      // a later fragment, not captured whole
	ReasonLoad                          // the kernel refused to load bytes that the lengths promised
	ReasonWLAN                          // IEEE 802.11 without data in the clear: management, control, encrypted
	ReasonLinkHeader                    // another link-layer header that is cut, or says that no IP follows

	ReasonCount = 23
)

var reasonNames = [ReasonCount]string{
	"none", "short_frame", "arp", "lldp", "llc", "mpls", "pppoe", "ethertype", "link_depth", "link_type",
	"ip_version", "ip_header", "ip_length", "ip_checksum", "ip_extension", "esp_mobility", "no_next_header",
	"ppp", "transport_header", "fragment", "load", "wlan", "link_header",
}

// String is the reason's name, as it stands in accounts and metrics.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}
