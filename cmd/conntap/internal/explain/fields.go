// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"conntap/cmd/conntap/internal/logread"
)

// fieldWords are the meanings of the fields, and of their absence.
var fieldWords = map[string]struct{ plain, unset string }{
	"ts":        {"the first packet", ""},
	"uid":       {"names this connection in other logs", ""},
	"id.orig_h": {"originator: who sent first, or should have", ""},
	"id.orig_p": {"its port", ""},
	"id.resp_h": {"responder", ""},
	"id.resp_p": {"its port", ""},
	"proto":     {"transport", ""},

	"id.ctx.vlan":       {"VLAN id, part of what identifies the connection", "no VLAN tag"},
	"id.ctx.inner_vlan": {"second VLAN id, part of what identifies the connection", "no second VLAN tag"},

	"service":        {"application protocol, found in the payload", "no application protocol was found"},
	"duration":       {"seconds from the first to the last packet that counts", "a single packet counted"},
	"orig_bytes":     {"payload the originator sent; TCP: by sequence numbers", "unset, as the duration is"},
	"resp_bytes":     {"payload the responder sent; TCP: by sequence numbers", "unset, as the duration is"},
	"conn_state":     {"", ""},
	"local_orig":     {"the originator is in a local network", "no local networks were defined"},
	"local_resp":     {"the responder is in a local network", "no local networks were defined"},
	"missed_bytes":   {"bytes that were acknowledged and never seen", ""},
	"history":        {"", "none: not TCP or UDP, or nothing that counts"},
	"orig_pkts":      {"packets of the originator", ""},
	"orig_ip_bytes":  {"their bytes, by the IP header's length field", ""},
	"resp_pkts":      {"packets of the responder", ""},
	"resp_ip_bytes":  {"their bytes, by the IP header's length field", ""},
	"tunnel_parents": {"uids of the tunnels around it", "not in a tunnel"},
	"ip_proto":       {"IP protocol number", ""},

	"orig_l2_addr":       {"MAC address of the originator's side, first packet", "no MAC address known"},
	"resp_l2_addr":       {"MAC address of the responder's side, first packet", "no MAC address known"},
	"vlan":               {"VLAN id, first packet", "no VLAN tag"},
	"inner_vlan":         {"second VLAN id, first packet", "no second VLAN tag"},
	"community_id":       {"the same for this flow in other tools", ""},
	"orig_rtt":           {"seconds from SYN-ACK to ACK at the capture point", "handshake not seen, or ambiguous"},
	"resp_rtt":           {"seconds from SYN to SYN-ACK at the capture point", "handshake not seen, or ambiguous"},
	"orig_retransmits":   {"packets of the originator with data sent before (T)", ""},
	"orig_gaps":          {"gaps in the originator's data (G)", ""},
	"orig_zero_windows":  {"packets of the originator with window 0 (W)", ""},
	"orig_bad_checksums": {"packets of the originator with a bad checksum (C)", ""},
	"resp_retransmits":   {"packets of the responder with data sent before (t)", ""},
	"resp_gaps":          {"gaps in the responder's data (g)", ""},
	"resp_zero_windows":  {"packets of the responder with window 0 (w)", ""},
	"resp_bad_checksums": {"packets of the responder with a bad checksum (c)", ""},
	"lost_records":       {"packets that conntap lost meanwhile, of any connection", "read from a file, which does not say"},
	"sensor":             {"who saw the connection", ""},
	"interface":          {"network interface of the first packet", "read from a file, which does not say"},
	"pid":                {"process that opened the socket, as the host numbers it", "no local process known"},
	"process":            {"name of that process", "no local process known"},
	"process_uid":        {"user of that process, as the host numbers it", "no local process known"},
	"cgroup":             {"control group of that process, or its id if it was gone", "no local process known"},
	"container":          {"container of that process, by the name of its control group", "no container, or none known"},
	"local address":      {"the local side, or the responder if neither is local", ""},
	"remote address":     {"the other side", ""},
	"flags":              {"L: the local side began; U: with a neighbor network; X: neither", ""},
	"additional":         {"free text", ""},
}

// meaning is what a field says in this row; state and history have lines of
// their own.
func (r record) meaning(f logread.Field) string {
	words, known := fieldWords[f.Name]
	switch {
	case !known:
		return "a field that conntap doesn't write"
	case !f.Set && r.get("flags") != "": // red
		return "not known"
	case !f.Set && words.unset != "":
		return words.unset
	case !f.Set:
		return "unset"
	}
	switch f.Name {
	case "service":
		if r.get("flags") != "" {
			return "the name of the responder's port, a guess"
		}
	case "ts":
		return words.plain + utc(f.Value)
	case "id.orig_p", "id.resp_p":
		return r.portMeaning(f.Name, words.plain)
	case "local_orig", "local_resp":
		if f.Value == "F" || f.Value == "false" {
			return strings.Replace(words.plain, "is in a", "is not in a", 1)
		}
	case "orig_bytes", "resp_bytes":
		if r.get("proto") != "tcp" {
			words.plain, _, _ = strings.Cut(words.plain, ";")
		}
	}
	return words.plain
}

// portMeaning tells ports from what ICMP keeps in their place.
func (r record) portMeaning(name, plain string) string {
	switch {
	case r.get("proto") == "unknown_transport":
		return "no ports in this transport"
	case r.get("proto") != "icmp":
		return plain
	case name == "id.orig_p":
		return "ICMP type of the first packet"
	}
	return "ICMP: the counterpart's type of a paired type, the code of another"
}

// utc is a time since 1970 for people, or nothing if it isn't one.
func utc(value string) string {
	v, err := strconv.ParseFloat(value, 64)
	if err != nil || v < 0 || v >= 253402300800 { // the year 10000
		return ""
	}
	micros := int64(v*1e6 + 0.5)
	return fmt.Sprintf(": %s UTC", time.UnixMicro(micros).UTC().Format("2006-01-02 15:04:05.000000"))
}
