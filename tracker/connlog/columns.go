// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"fmt"
	"slices"
	"strings"

	"conntap/tracker"
)

// With is a set of what a log carries beyond Zeek's default columns.
type With uint16

// The values of With, in the order in which their columns stand.
const (
	MAC              With = 1 << iota // orig_l2_addr, resp_l2_addr
	VLAN                              // vlan, inner_vlan
	CommunityID                       // community_id
	RTT                               // orig_rtt, resp_rtt
	Counters                          // what T, G, W and C stand for, one by one
	Loss                              // lost_records
	History                           // red, text: the history, which tsv and json always have
	UID                               // red, text: the uid, which tsv and json always have
	NetworkInterface                  // interface
	Process                           // pid, process, process_uid, cgroup, container

	keyVLAN   // id.ctx.vlan, id.ctx.inner_vlan: Config.KeyVLAN's
	forSensor // sensor: Config.Sensor's
)

var withNames = []string{"mac", "vlan", "community-id", "rtt", "counters", "loss", "history", "uid", "interface", "process"}

// ParseWith reads a comma-separated list of names such as "mac,vlan". The empty
// string is the empty set.
func ParseWith(list string) (With, error) {
	var with With
	for name := range splitList(list) {
		i := slices.Index(withNames, name)
		if i < 0 {
			return 0, fmt.Errorf("nothing is called %q: known are %s", name, strings.Join(withNames, ", "))
		}
		with |= 1 << i
	}
	return with, nil
}

// kind is a column's Zeek type.
type kind uint8

const (
	kindTime kind = iota
	kindInterval
	kindCount
	kindInt
	kindPort
	kindBool
	kindString
	kindFreeText // a string that may need escaping
	kindAddr
	kindEnum
	kindUIDs
)

var kindNames = [...]string{
	kindTime: "time", kindInterval: "interval", kindCount: "count", kindInt: "int", kindPort: "port",
	kindBool: "bool", kindString: "string", kindFreeText: "string", kindAddr: "addr", kindEnum: "enum",
	kindUIDs: "set[string]",
}

// column is one field of the log. One of the functions is set, by kind:
// seconds for times and intervals, number for counts, ints, ports and bools,
// text for the rest, but for tunnel_parents, the only set.
type column struct {
	name string
	kind kind
	// with is what must be asked for; 0 for the default columns.
	with With

	// The functions' second result tells a set value from an unset one.
	seconds func(r *row) (float64, bool)
	number  func(r *row) (uint64, bool)
	// text appends the value; an unset one appends nothing.
	text func(b []byte, r *row) []byte
}

// columns are all fields in the log's order: Zeek's defaults (spec 11) with the
// rest of the connection's key, Zeek's optional ones, then our own.
var columns = []column{
	{name: "ts", kind: kindTime, seconds: func(r *row) (float64, bool) { return r.start, true }},
	{name: "uid", kind: kindString, text: func(b []byte, r *row) []byte { return r.conn.UID.Append(b) }},
	{name: "id.orig_h", kind: kindAddr, text: func(b []byte, r *row) []byte { return appendAddr(b, &r.conn.Orig.Addr) }},
	{name: "id.orig_p", kind: kindPort, number: func(r *row) (uint64, bool) { return uint64(r.conn.Orig.Port), true }},
	{name: "id.resp_h", kind: kindAddr, text: func(b []byte, r *row) []byte { return appendAddr(b, &r.conn.Resp.Addr) }},
	{name: "id.resp_p", kind: kindPort, number: func(r *row) (uint64, bool) { return uint64(r.conn.Resp.Port), true }},
	{name: "id.ctx.vlan", kind: kindInt, with: keyVLAN, number: func(r *row) (uint64, bool) { return unlessZero(uint64(r.conn.VLAN)) }},
	{name: "id.ctx.inner_vlan", kind: kindInt, with: keyVLAN, number: func(r *row) (uint64, bool) { return unlessZero(uint64(r.conn.InnerVLAN)) }},
	{name: "proto", kind: kindEnum, text: func(b []byte, r *row) []byte { return append(b, tracker.TransportOf(r.conn.Protocol).String()...) }},
	{name: "service", kind: kindFreeText, text: func(b []byte, r *row) []byte { return append(b, r.conn.Service...) }},
	{name: "duration", kind: kindInterval, seconds: func(r *row) (float64, bool) { return r.duration, r.lasted }},
	{name: "orig_bytes", kind: kindCount, number: func(r *row) (uint64, bool) { return r.conn.Orig.Bytes, r.lasted }},
	{name: "resp_bytes", kind: kindCount, number: func(r *row) (uint64, bool) { return r.conn.Resp.Bytes, r.lasted }},
	{name: "conn_state", kind: kindString, text: func(b []byte, r *row) []byte { return append(b, r.conn.State.String()...) }},
	{name: "local_orig", kind: kindBool, number: func(r *row) (uint64, bool) { return r.local(&r.seen.Orig) }},
	{name: "local_resp", kind: kindBool, number: func(r *row) (uint64, bool) { return r.local(&r.seen.Resp) }},
	{name: "missed_bytes", kind: kindCount, number: func(r *row) (uint64, bool) { return r.conn.MissedBytes, true }},
	{name: "history", kind: kindFreeText, text: func(b []byte, r *row) []byte { return append(b, r.conn.History...) }},
	{name: "orig_pkts", kind: kindCount, number: func(r *row) (uint64, bool) { return r.conn.Orig.Packets, true }},
	{name: "orig_ip_bytes", kind: kindCount, number: func(r *row) (uint64, bool) { return r.conn.Orig.IPBytes, true }},
	{name: "resp_pkts", kind: kindCount, number: func(r *row) (uint64, bool) { return r.conn.Resp.Packets, true }},
	{name: "resp_ip_bytes", kind: kindCount, number: func(r *row) (uint64, bool) { return r.conn.Resp.IPBytes, true }},
	{name: "tunnel_parents", kind: kindUIDs},
	{name: "ip_proto", kind: kindCount, number: func(r *row) (uint64, bool) { return uint64(r.conn.Protocol), true }},

	{name: "orig_l2_addr", kind: kindString, with: MAC, text: func(b []byte, r *row) []byte { return appendMAC(b, r.conn.Orig.MAC) }},
	{name: "resp_l2_addr", kind: kindString, with: MAC, text: func(b []byte, r *row) []byte { return appendMAC(b, r.conn.Resp.MAC) }},
	{name: "vlan", kind: kindInt, with: VLAN, number: func(r *row) (uint64, bool) { return unlessZero(uint64(r.conn.VLAN)) }},
	{name: "inner_vlan", kind: kindInt, with: VLAN, number: func(r *row) (uint64, bool) { return unlessZero(uint64(r.conn.InnerVLAN)) }},
	{name: "community_id", kind: kindString, with: CommunityID, text: func(b []byte, r *row) []byte { return appendCommunityID(b, r.conn) }},

	{name: "orig_rtt", kind: kindInterval, with: RTT, seconds: func(r *row) (float64, bool) { return roundTrip(&r.conn.Orig) }},
	{name: "resp_rtt", kind: kindInterval, with: RTT, seconds: func(r *row) (float64, bool) { return roundTrip(&r.conn.Resp) }},
	{name: "orig_retransmits", kind: kindCount, with: Counters, number: func(r *row) (uint64, bool) { return r.conn.Orig.Retransmits, true }},
	{name: "orig_gaps", kind: kindCount, with: Counters, number: func(r *row) (uint64, bool) { return r.conn.Orig.Gaps, true }},
	{name: "orig_zero_windows", kind: kindCount, with: Counters, number: func(r *row) (uint64, bool) { return r.conn.Orig.ZeroWindows, true }},
	{name: "orig_bad_checksums", kind: kindCount, with: Counters, number: func(r *row) (uint64, bool) { return r.conn.Orig.BadChecksums, true }},
	{name: "resp_retransmits", kind: kindCount, with: Counters, number: func(r *row) (uint64, bool) { return r.conn.Resp.Retransmits, true }},
	{name: "resp_gaps", kind: kindCount, with: Counters, number: func(r *row) (uint64, bool) { return r.conn.Resp.Gaps, true }},
	{name: "resp_zero_windows", kind: kindCount, with: Counters, number: func(r *row) (uint64, bool) { return r.conn.Resp.ZeroWindows, true }},
	{name: "resp_bad_checksums", kind: kindCount, with: Counters, number: func(r *row) (uint64, bool) { return r.conn.Resp.BadChecksums, true }},
	{name: "lost_records", kind: kindCount, with: Loss, number: func(r *row) (uint64, bool) { return r.conn.LostRecords, r.conn.LostKnown }},
	{name: "interface", kind: kindFreeText, with: NetworkInterface, text: func(b []byte, r *row) []byte { return append(b, r.conn.InterfaceName...) }},
	{name: "pid", kind: kindCount, with: Process, number: func(r *row) (uint64, bool) { return unlessZero(uint64(r.conn.Owner.PID)) }},
	{name: "process", kind: kindFreeText, with: Process, text: func(b []byte, r *row) []byte { return appendProcess(b, &r.conn.Owner) }},
	{name: "process_uid", kind: kindCount, with: Process, number: func(r *row) (uint64, bool) { return uint64(r.conn.Owner.UID), r.conn.Owner.PID != 0 }},
	{name: "cgroup", kind: kindFreeText, with: Process, text: func(b []byte, r *row) []byte { return appendCgroup(b, r.conn) }},
	{name: "container", kind: kindString, with: Process, text: func(b []byte, r *row) []byte { return append(b, containerOf(r.conn.Cgroup)...) }},
	{name: "sensor", kind: kindFreeText, with: forSensor, text: func(b []byte, r *row) []byte { return append(b, r.sensor...) }},
}

// FieldNames are the names of all columns, in the log's order.
func FieldNames() []string {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	return names
}

// choose picks the columns of one log. With fields, just those, asked for by
// with or not; their order stays the table's, as in Zeek.
func choose(with With, fields []string) ([]column, error) {
	for _, name := range fields {
		if !slices.ContainsFunc(columns, func(c column) bool { return c.name == name }) {
			return nil, fmt.Errorf("no field is called %q: known are %s", name, strings.Join(FieldNames(), ", "))
		}
	}
	if with&keyVLAN == 0 && slices.ContainsFunc(fields, isContext) {
		return nil, fmt.Errorf("the fields id.ctx.vlan and id.ctx.inner_vlan are for logs with VLAN ids in the key: " +
			"otherwise use vlan and inner_vlan")
	}
	if with&forSensor == 0 && slices.Contains(fields, "sensor") {
		return nil, fmt.Errorf("the field sensor is for logs that name theirs")
	}
	var chosen []column
	for _, c := range columns {
		if c.with&^with == 0 && len(fields) == 0 || slices.Contains(fields, c.name) {
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// isContext tells the fields of the key beyond Zeek's five-tuple.
func isContext(name string) bool { return strings.HasPrefix(name, "id.ctx.") }

// row is a connection with what several columns need of it.
type row struct {
	conn *tracker.Conn // as it is written
	// seen is the connection with its true addresses, by which networks are local.
	seen   *tracker.Conn
	nets   *nets // nil: undefined
	sensor string
	// start and duration are seconds in Zeek's arithmetic.
	start, duration float64
	// lasted says that the duration is positive, without which it and the bytes
	// are unset.
	lasted bool
}

// set makes r the row of c, which is written as shown. As Zeek reads packets in
// microseconds and keeps times as doubles, a duration is the difference of two such
// doubles.
func (r *row) set(c, shown *tracker.Conn) {
	r.conn, r.seen = shown, c
	r.start = seconds(c.Start + c.ClockOffset)
	r.duration = seconds(c.Last+c.ClockOffset) - r.start
	r.lasted = r.duration > 0
}

func (r *row) local(e *tracker.Endpoint) (uint64, bool) {
	if r.nets == nil {
		return 0, false
	}
	if r.nets.contains(&e.Addr) {
		return 1, true
	}
	return 0, true
}

func roundTrip(e *tracker.Endpoint) (float64, bool) { return float64(e.RTT) / 1e9, e.RTT > 0 }

func unlessZero(v uint64) (uint64, bool) { return v, v != 0 }

// IP protocol numbers (IANA).
const (
	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
	protocolSCTP   = 132
)
