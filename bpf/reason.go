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
	ReasonLLC                           // an IEEE 802.3 length instead of a type, and no IP in SNAP
	ReasonMPLS                          //
	ReasonPPPoE                         //
	ReasonEtherType                     // any other EtherType without IP inside
	ReasonVLANDepth                     // more tags than two
	ReasonLinkType                      // no link layer that conntap reads
	ReasonIPVersion                     // the version nibble is neither 4 nor 6
	ReasonIPHeader                      // IP header cut, or its length impossible
	ReasonIPLength                      // total length below the header, zero, or above the frame
	ReasonIPChecksum                    // bad IPv4 header checksum
	ReasonIPExtension                   // more IPv6 extension headers and options than the bound
	ReasonESPMobility                   // IPv6 ESP or mobility: consumed without a connection
	ReasonNoNextHeader                  // protocol 59
	ReasonTunnel                        // IP in IP, 6in4, GRE
	ReasonTransportHeader               // TCP, UDP or ICMP header longer than the packet or what was captured
	ReasonFragment                      // a fragment, not reassembled
	ReasonLoad                          // the kernel refused to load bytes that the lengths promised

	ReasonCount = 21
)

var reasonNames = [ReasonCount]string{
	"none", "short_frame", "arp", "lldp", "llc", "mpls", "pppoe", "ethertype", "vlan_depth", "link_type",
	"ip_version", "ip_header", "ip_length", "ip_checksum", "ip_extension", "esp_mobility", "no_next_header",
	"tunnel", "transport_header", "fragment", "load",
}

// String is the reason's name, as it stands in accounts and metrics.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}
