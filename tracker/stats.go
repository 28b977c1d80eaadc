// SPDX-License-Identifier: Apache-2.0

package tracker

// Cause is what ended a connection.
type Cause uint8

// The causes.
const (
	CauseTimeout    Cause = iota // a timer: after the close, or silence
	CauseReuse                   // a SYN opened a new connection on its five-tuple
	CauseUnanswered              // the table was full, and nobody had answered it
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

// Stats is the tracker's account. Every packet taken is in exactly one sum:
// Packets = Fragments + Inner + Carriers + Malformed + BadChecksums + Truncated +
// Counted, and Counted is the sum of the packets of all connections, logged and
// open.
type Stats struct {
	Packets      uint64 // packets taken, datagrams put together among them
	Fragments    uint64 // fragments, which count as parts of their datagrams
	Datagrams    uint64 // datagrams put together from fragments
	Unreadable   uint64 // datagrams that no packet could be made of
	Inner        uint64 // skipped: what only looked like a packet inside a tunnel
	Carriers     uint64 // packets of IP tunnels, which have no connection
	Incomplete   uint64 // datagrams given up before all their fragments came
	Malformed    uint64 // TCP headers that contradict themselves; they open connections
	BadChecksums uint64 // TCP, UDP and ICMP; they open connections
	Truncated    uint64 // ICMP packets that were not captured whole: their bytes count
	Counted      uint64 // packets booked to a connection
	IPBytes      uint64 // IP lengths of the outermost packets taken
	MissedBytes  uint64 // bytes in content gaps

	Opened uint64             // connections opened
	Open   uint64             // connections in the table
	Closed [CauseCount]uint64 // connections logged, by cause
	Logged [StateCount]uint64 // connections logged, by state
}
