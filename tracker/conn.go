// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// Conn is one connection as it goes to the log. The tracker reuses it: a
// callback that keeps it must copy it, and History with it.
type Conn struct {
	// UID identifies the connection.
	UID UID
	// Start and Last are the times of the first and the last packet that count,
	// in ns of the source's steady clock. Last may be before Start.
	Start, Last int64
	// ClockOffset is what to add to Start and Last to get ns since 1970. It held
	// at the first packet, so that a stepped clock never bends a duration.
	ClockOffset int64

	// Now is the tracker's time at which the row came out, ns of the same clock.
	Now int64

	// Orig and Resp are the two sides, after all role flips.
	Orig, Resp Endpoint

	// Protocol is the IP protocol number.
	Protocol uint8
	// State is conn_state.
	State State
	// History is Zeek's history; empty for ICMP and unknown protocols. Valid
	// until the callback returns.
	History []byte
	// MissedBytes is the sum of content gaps of both sides.
	MissedBytes uint64
	// VLAN and InnerVLAN are the first packet's 12-bit ids, 0 for none.
	VLAN, InnerVLAN uint16
	// TunnelParents are the uids of the enclosing tunnels; nil if never
	// tunnelled. Valid until the callback returns.
	TunnelParents []UID
	// Service is Zeek's service: application protocols, comma-separated in order
	// of confirmation; empty if none.
	Service string
	// Interface is bpf.Packet.Interface of the first packet.
	Interface uint16
	// InterfaceName is what the source calls it, empty if not known. The tracker
	// leaves it empty; a callback may set it.
	InterfaceName string
	// Interim says that the connection is still open, and this what is known of it so
	// far (Config.LongConnections): another row with the same UID follows.
	Interim bool
	// Owner is the local process that made the connection: the first one that a packet
	// of it was known to be from. PID 0: none is known.
	Owner bpf.Owner
	// Cgroup is the path of Owner.Cgroup, as /system.slice/nginx.service. The tracker
	// leaves it empty; a callback may set it.
	Cgroup string
	// LostRecords is how many packets the capture lost between Start and Last, of
	// any connection; known only if LostKnown. The tracker leaves both alone; a
	// callback may set them.
	LostRecords uint64
	LostKnown   bool
	// Additional is free text that the red and text formats append. The tracker
	// leaves it empty; a callback may set it.
	Additional string
}

// Endpoint is one side of a connection as it goes to the log.
type Endpoint struct {
	// Addr is the address, IPv4 mapped.
	Addr bpf.Addr
	// Port is the port; ICMP: the originator's is the first packet's type, the
	// responder's the counterpart type or the code (spec §7).
	Port uint16
	// Bytes is the payload this side sent: TCP by sequence numbers, UDP by its
	// length fields, ICMP by IP lengths.
	Bytes uint64
	// Packets and IPBytes count IP packets and the bytes of their IP lengths.
	Packets, IPBytes uint64
	// MAC is the link-layer address of the first packet; zero if not known.
	MAC bpf.MAC
	// TCP is the endpoint's final TCP state; TCPInactive for other protocols.
	TCP TCPState
	// RTT is this side's part of the handshake round trip as seen from the
	// capture point, ns: the responder's from SYN to SYN-ACK, the originator's
	// from SYN-ACK to ACK. 0 if it was not seen, or if a retransmission made it
	// ambiguous.
	RTT int64
	// What the letters T, G, W and C stand for, counted one by one.
	Retransmits, Gaps, ZeroWindows, BadChecksums uint64
}

// Duration is Last - Start in ns, 0 if it is not positive: then the log leaves
// it and the byte columns unset.
func (c *Conn) Duration() int64 {
	return max(c.Last-c.Start, 0)
}

// OneSided tells whether a side sent no packet that counts: nobody answered, or only
// answers were seen.
func (c *Conn) OneSided() bool { return c.Orig.Packets == 0 || c.Resp.Packets == 0 }

// State is Zeek's conn_state.
type State uint8

// The connection states (Zeek scripts/base/protocols/conn/main.zeek).
const (
	OTH    State = iota // no handshake seen: midstream, or not TCP or UDP
	S0                  // attempt without a reply
	S1                  // established, not closed
	SF                  // established and closed by both sides
	REJ                 // attempt rejected
	S2                  // established, closed by the originator alone
	S3                  // established, closed by the responder alone
	RSTO                // established, aborted by the originator
	RSTR                // established, aborted by the responder
	RSTOS0              // SYN and RST of the originator, no SYN-ACK seen
	RSTRH               // RST of the responder, nothing of the originator's handshake seen
	SH                  // SYN and FIN of the originator, no SYN-ACK seen
	SHR                 // SYN-ACK and FIN of the responder, no SYN seen

	StateCount = 13
)

var stateNames = [StateCount]string{
	"OTH", "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR",
}

// String is the state's name in the log.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "?"
}

// TCPState is the state of one TCP endpoint, as Zeek keeps it
// (src/analyzer/protocol/tcp/TCP_Endpoint.h, EndpointState).
type TCPState uint8

// The TCP endpoint states.
const (
	TCPInactive    TCPState = iota // nothing seen of it
	TCPSynSent                     // sent a SYN as originator
	TCPSynAckSent                  // sent a SYN-ACK as originator
	TCPPartial                     // seen first in midstream
	TCPEstablished                 // took part in a handshake
	TCPClosed                      // sent a FIN
	TCPReset                       // sent a RST
)
