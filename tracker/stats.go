// SPDX-License-Identifier: Apache-2.0

package tracker

import "conntap/bpf"

// Cause is what ended a connection.
type Cause uint8

// The causes.
const (
	CauseTimeout    Cause = iota // a timer: after the close, or silence
	CauseReuse                   // a SYN opened a new connection on its five-tuple
	CauseUnanswered              // the table was full, and nobody had answered it (Config.MaxConnections)
	CauseIdle                    // the table was full, and it was idle the longest
	CauseEnd                     // the end of the input

	CauseCount = 5
)

var causeNames = [CauseCount]string{"timeout", "reuse", "evicted_unanswered", "evicted_idle", "end"}

// String is the cause's name, as it stands in accounts and metrics.
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return "unknown"
}

// Transport is a class of IP protocols, by Zeek's names for the column proto.
type Transport uint8

// The transports.
const (
	TransportTCP   Transport = iota
	TransportUDP             // no UDP-Lite
	TransportICMP            // ICMP and ICMPv6
	TransportOther           // any other IP protocol

	TransportCount = 4
)

var transportNames = [TransportCount]string{"tcp", "udp", "icmp", "unknown_transport"}

// String is the transport's name in the log.
func (t Transport) String() string {
	if int(t) < len(transportNames) {
		return transportNames[t]
	}
	return "unknown"
}

// TransportOf is the class of an IP protocol number.
func TransportOf(protocol uint8) Transport {
	switch protocol {
	case bpf.ProtocolTCP:
		return TransportTCP
	case bpf.ProtocolUDP:
		return TransportUDP
	case bpf.ProtocolICMP, bpf.ProtocolICMPv6:
		return TransportICMP
	}
	return TransportOther
}

// Stats is the tracker's account. Everything handed to Track is in exactly one
// sum, and so is every packet:
//
//	Records + Joined = Packets + Notes
//	Packets = Counted + Fragments + Carriers + Inner + Malformed + BadChecksums + Truncated + Duplicates
//
// Counted is the sum of the packets of all connections, logged and open.
type Stats struct {
	Records uint64 // what Track was handed
	Joined  uint64 // packets read from datagrams put together from fragments
	Notes   uint64 // what is no packet: frames without one, findings about a tunnel

	Packets      uint64 // packets taken
	Tunnelled    uint64 // of these, packets from inside tunnels that are looked into
	Fragments    uint64 // fragments, which count as parts of their datagrams
	Datagrams    uint64 // datagrams put together from fragments
	Unreadable   uint64 // datagrams that no packet could be made of
	Unsampled    uint64 // datagrams that are not of the sample
	Inner        uint64 // skipped: what only looked like a packet inside a tunnel
	Carriers     uint64 // packets of IP tunnels, which have no connection
	Incomplete   uint64 // datagrams given up before all their fragments came
	Malformed    uint64 // TCP headers that contradict themselves; they open connections
	BadChecksums uint64 // TCP, UDP and ICMP; they open connections
	Truncated    uint64 // ICMP packets that were not captured whole: their bytes count
	Duplicates   uint64 // came before from another interface: nothing of them counts
	Counted      uint64 // packets booked to a connection
	IPBytes      uint64 // IP lengths of the outermost packets taken
	MissedBytes  uint64 // bytes in content gaps

	Opened uint64             // connections opened
	Open   uint64             // connections in the table
	Closed [CauseCount]uint64 // connections logged, by cause
	// Interim are the records of open connections, beside all other sums.
	Interim uint64
	// Logged are the connections logged, by transport and state.
	Logged [TransportCount][StateCount]uint64
}

// LoggedAs is how many connections were logged with a state.
func (s *Stats) LoggedAs(state State) (n uint64) {
	for t := range s.Logged {
		n += s.Logged[t][state]
	}
	return n
}

// add adds another account to s.
func (s *Stats) add(o *Stats) {
	for _, sum := range []struct{ to, of *uint64 }{
		{&s.Records, &o.Records},
		{&s.Joined, &o.Joined},
		{&s.Notes, &o.Notes},
		{&s.Packets, &o.Packets},
		{&s.Tunnelled, &o.Tunnelled},
		{&s.Fragments, &o.Fragments},
		{&s.Datagrams, &o.Datagrams},
		{&s.Unreadable, &o.Unreadable},
		{&s.Unsampled, &o.Unsampled},
		{&s.Inner, &o.Inner},
		{&s.Carriers, &o.Carriers},
		{&s.Incomplete, &o.Incomplete},
		{&s.Malformed, &o.Malformed},
		{&s.BadChecksums, &o.BadChecksums},
		{&s.Truncated, &o.Truncated},
		{&s.Duplicates, &o.Duplicates},
		{&s.Counted, &o.Counted},
		{&s.IPBytes, &o.IPBytes},
		{&s.MissedBytes, &o.MissedBytes},
		{&s.Opened, &o.Opened},
		{&s.Open, &o.Open},
		{&s.Interim, &o.Interim},
	} {
		*sum.to += *sum.of
	}
	for i := range s.Closed {
		s.Closed[i] += o.Closed[i]
	}
	for i := range s.Logged {
		for j := range s.Logged[i] {
			s.Logged[i][j] += o.Logged[i][j]
		}
	}
}
