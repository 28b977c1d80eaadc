// SPDX-License-Identifier: Apache-2.0

package connlog

import (
	"strconv"

	"conntap/tracker"
)

// The service names of red and text: by the responder's port, from the table
// of Bro 1.5 (policy/port-name.bro). They are a guess, unlike conn.log's
// service column.

// appendServiceName writes the well-known name of the responder's port, or a
// name made of the number: priv-P or other-P for TCP, upriv-P or uother-P for
// UDP, by whether P is below 1024.
func appendServiceName(b []byte, c *tracker.Conn) []byte {
	if name := portName(c); name != "" {
		return append(b, name...)
	}
	prefix, number := "", uint64(c.Resp.Port)
	switch c.Protocol {
	case protocolTCP:
		prefix = privileged(c.Resp.Port, "priv-", "other-")
	case protocolUDP:
		prefix = privileged(c.Resp.Port, "upriv-", "uother-")
	case protocolICMP, protocolICMPv6:
		prefix, number = "icmp-", uint64(c.Orig.Port)
	default:
		prefix, number = "proto-", uint64(c.Protocol)
	}
	return strconv.AppendUint(append(b, prefix...), number, 10)
}

func privileged(port uint16, below, from string) string {
	if port < 1024 {
		return below
	}
	return from
}

// portName is the well-known name, or "".
func portName(c *tracker.Conn) string {
	switch c.Protocol {
	case protocolTCP:
		return tcpPortName(c.Resp.Port)
	case protocolUDP:
		return udpPortName(c.Resp.Port)
	case protocolICMP:
		return icmpTypeName(c.Orig.Port)
	}
	return ""
}

func icmpTypeName(icmpType uint16) string {
	switch icmpType {
	case 0, 8:
		return "icmp-echo"
	case 3:
		return "icmp-unreach"
	}
	return ""
}

func udpPortName(port uint16) string {
	switch port {
	case 53:
		return "dns"
	case 69:
		return "tftp"
	case 111:
		return "portmap"
	case 123:
		return "ntp"
	case 137:
		return "netbios-ns"
	case 138:
		return "netbios-dgm"
	case 161:
		return "snmp"
	case 2049:
		return "nfs"
	}
	return ""
}

func tcpPortName(port uint16) string { return tcpPortNames[port] }

var tcpPortNames = map[uint16]string{
	7: "echo", 9: "discard", 20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp",
	37: "time", 43: "whois", 53: "dns", 79: "finger", 80: "http", 109: "pop-2", 110: "pop-3",
	111: "portmap", 113: "ident", 119: "nntp", 135: "epmapper", 139: "netbios-ssn", 143: "imap4",
	179: "bgp", 389: "ldap", 443: "https", 445: "smb", 512: "exec", 513: "rlogin", 514: "shell",
	515: "printer", 524: "ncp", 543: "klogin", 544: "kshell", 631: "ipp", 993: "simap", 995: "spop",
	1521: "oracle-sql", 2049: "nfs", 6000: "X11", 6001: "X11", 6667: "IRC",
}
