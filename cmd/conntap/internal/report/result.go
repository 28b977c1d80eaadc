// SPDX-License-Identifier: Apache-2.0

package report

// Report is what logs say, all in all. Bytes are those of IP packets, or those of
// the payload where the log has no columns for the former; times are seconds since
// 1970.
type Report struct {
	Files []string `json:"files"`
	// Missing are the columns that no row had, and on which something rests.
	Missing []string `json:"missing_columns"`
	// Connections is how many rows there were.
	Connections uint64 `json:"connections"`
	// Interim is how many of these came from a conn_long.log: connections that have
	// another row when they end.
	Interim uint64 `json:"interim"`
	// Bytes are those of all connections.
	Bytes     uint64    `json:"bytes"`
	Malformed Malformed `json:"malformed"`

	// Start and End are when the first connection began and the last one ended; nil
	// if no row has a time.
	Start  *float64 `json:"start"`
	End    *float64 `json:"end"`
	Totals Totals   `json:"totals"`

	Protocols []Group `json:"protocols"`
	States    []Group `json:"states"`
	Services  []Group `json:"services"`

	Originators List `json:"originators"`
	Responders  List `json:"responders"`
	Ports       List `json:"ports"`
	Pairs       List `json:"pairs"`

	Largest []Connection `json:"largest"`
	Longest []Connection `json:"longest"`

	Suspects []Suspect `json:"suspects"`
	// SuspectsExact says that no originator of unanswered attempts was left out of
	// account.
	SuspectsExact bool    `json:"suspects_exact"`
	Quality       Quality `json:"quality"`

	Timeline Timeline `json:"timeline"`
}

// Malformed are lines that are no rows.
type Malformed struct {
	Lines uint64 `json:"lines"`
	// First are the first few of them, in words.
	First []string `json:"first"`
}

// Totals are sums over all connections.
type Totals struct {
	OrigBytes   uint64 `json:"orig_bytes"`
	RespBytes   uint64 `json:"resp_bytes"`
	OrigIPBytes uint64 `json:"orig_ip_bytes"`
	RespIPBytes uint64 `json:"resp_ip_bytes"`
	OrigPackets uint64 `json:"orig_pkts"`
	RespPackets uint64 `json:"resp_pkts"`
	MissedBytes uint64 `json:"missed_bytes"`
}

// Group are the connections with one value of a column.
type Group struct {
	Name string `json:"name"`
	// Words say what the value means, if that is known.
	Words       string `json:"words,omitempty"`
	Connections uint64 `json:"connections"`
	Bytes       uint64 `json:"bytes"`
}

// List are the highest of many values.
type List struct {
	// Distinct is how many different values there were; if not Exact, at least.
	Distinct int `json:"distinct"`
	// Exact says that all sums are. Otherwise those of an entry may lack what its
	// missing fields say at most.
	Exact         bool    `json:"exact"`
	ByConnections []Entry `json:"by_connections"`
	ByBytes       []Entry `json:"by_bytes"`
}

// Entry is a value in a List.
type Entry struct {
	Name               string `json:"name"`
	Connections        uint64 `json:"connections"`
	Bytes              uint64 `json:"bytes"`
	MissingConnections uint64 `json:"missing_connections,omitempty"`
	MissingBytes       uint64 `json:"missing_bytes,omitempty"`
}

// Connection is a single one.
type Connection struct {
	UID        string   `json:"uid,omitempty"`
	Start      *float64 `json:"start"`
	Duration   float64  `json:"duration"` // seconds
	Originator string   `json:"originator"`
	Responder  string   `json:"responder"`
	Protocol   string   `json:"proto"`
	Service    string   `json:"service,omitempty"`
	State      string   `json:"conn_state"`
	Bytes      uint64   `json:"bytes"`
}

// Suspect is an originator whose attempts at many hosts or ports were not taken up.
type Suspect struct {
	Originator string `json:"originator"`
	Attempts   uint64 `json:"attempts"`
	Refused    uint64 `json:"refused"`
	// Hosts and Ports count different ones; there may be more than that if the table
	// for them was full.
	Hosts     int      `json:"hosts"`
	MoreHosts bool     `json:"more_hosts,omitempty"`
	Ports     int      `json:"ports"`
	MorePorts bool     `json:"more_ports,omitempty"`
	First     *float64 `json:"first"`
	Last      *float64 `json:"last"`
}

// Quality says how well the traffic was seen, and went.
type Quality struct {
	// Gaps counts connections with missed bytes.
	Gaps uint64 `json:"gaps"`
	// The rest counts connections whose history has a letter, of either side.
	Retransmissions uint64 `json:"retransmissions"`
	ZeroWindows     uint64 `json:"zero_windows"`
	BadChecksums    uint64 `json:"bad_checksums"`
	// OneSided counts TCP connections of which one side alone was seen, though what it
	// sent shows that there was another.
	OneSided uint64 `json:"one_sided"`
}

// Timeline is what went on, in bins of equal width.
type Timeline struct {
	// Width is in seconds.
	Width  float64  `json:"width"`
	Groups []string `json:"groups"`
	Bins   []Bin    `json:"bins"`
}

// Bin is a part of a timeline: connections that began in it, and bytes, those of a
// connection spread evenly over its duration; by group of states.
type Bin struct {
	Start       float64   `json:"start"`
	Connections []uint64  `json:"connections"`
	Bytes       []float64 `json:"bytes"`
}

// groupNames are the groups of a timeline.
var groupNames = [groupCount]string{
	groupClosed:     "closed (SF)",
	groupOpen:       "not closed (S1, S2, S3)",
	groupAborted:    "aborted (RSTO, RSTR, RSTRH)",
	groupUnanswered: "not taken up (S0, REJ, RSTOS0, SH)",
	groupOther:      "other",
}

// seconds is a time in µs as the report has it.
func seconds(micros int64) *float64 {
	if micros == noTime {
		return nil
	}
	v := float64(micros) / second
	return &v
}
