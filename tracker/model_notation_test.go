// SPDX-License-Identifier: Apache-2.0

package tracker_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"conntap/bpf"
)

// modelBase is the scenarios' time 0.
const modelBase = int64(1_700_000_000 * time.Second)

func timeNotation(at int64) string {
	return strconv.FormatFloat(float64(at-modelBase)/1e9, 'f', -1, 64)
}

// endpointNotation writes an endpoint as scenarios do: A is 10.0.0.1, a is
// 2001:db8::1.
func endpointNotation(a bpf.Addr, port uint16) string {
	addr := netip.AddrFrom16(a).Unmap()
	switch last := a[15] - 1; {
	case addr.Is4() && a[12] == 10 && a[13]|a[14] == 0 && last < 26:
		return fmt.Sprintf("%c:%d", 'A'+last, port)
	case a[0] == 0x20 && last < 26:
		return fmt.Sprintf("%c:%d", 'a'+last, port)
	}
	return netip.AddrPortFrom(addr, port).String()
}

// notation writes frames as a scenario. What the notation lacks (tunnels,
// fragments, the link layer) follows as a comment.
func notation(frames []modelFrame) string {
	var b strings.Builder
	for _, frame := range frames {
		for i := range frame {
			b.WriteString(packetNotation(&frame[i]) + "\n")
		}
	}
	return b.String()
}

func packetNotation(p *bpf.Packet) string {
	if p.Kind == bpf.KindNone {
		return "advance " + timeNotation(p.Time)
	}
	words := []string{
		timeNotation(p.Time), endpointNotation(p.Src, p.SrcPort), ">", endpointNotation(p.Dst, p.DstPort),
		transportNotation(p),
	}
	if p.State&bpf.StateFragment == 0 {
		if len(p.Payload) > 0 {
			words = append(words, fmt.Sprintf("payload %x", p.Payload))
		}
		words = append(words, fmt.Sprint("length ", p.PayloadLength()))
	}
	for _, finding := range []struct {
		is   bool
		word string
	}{
		{p.Checksum() == bpf.ChecksumBad, "bad"},
		{p.Checksum() == bpf.ChecksumGood, "good"},
		{p.Checksum() == bpf.ChecksumNotFinal, "notfinal"},
		{p.State&bpf.StateComplete == 0, "cut"},
		{p.State&bpf.StateShortOffset != 0, "short"},
		{p.State&bpf.StateMalformed != 0 && p.State&bpf.StateShortOffset == 0, "malformed"},
		{p.State&bpf.StateNoLength != 0, "# no length"},
		{p.State&bpf.StateFragment != 0, fmt.Sprintf("# fragment %d at %d+%d, more %t", p.FragmentID, p.FragmentOffset, len(p.Payload), p.FragmentMore)},
		{p.Kind != bpf.KindPacket, fmt.Sprintf("# kind %d, tunnel %d, depth %d", p.Kind, p.TunnelType, p.TunnelDepth)},
		{p.Blocks&bpf.BlockL2 != 0, fmt.Sprintf("# %x > %x, VLANs %d %d", p.SrcMAC, p.DstMAC, p.VLAN, p.InnerVLAN)},
	} {
		if finding.is {
			words = append(words, finding.word)
		}
	}
	return strings.Join(words, " ")
}

func transportNotation(p *bpf.Packet) string {
	switch p.Protocol {
	case bpf.ProtocolTCP:
		flags := ""
		for i, letter := range "FSRP.UEW" {
			if p.Flags>>i&1 != 0 {
				flags += string(letter)
			}
		}
		if flags == "" {
			flags = "none"
		}
		return fmt.Sprintf("[%s] seq %d ack %d win %d", flags, p.Seq, p.Ack, p.Window)
	case bpf.ProtocolUDP:
		return fmt.Sprintf("udp ulen %d", p.Window)
	case bpf.ProtocolICMP:
		return fmt.Sprintf("icmp %d/%d", p.Window>>8, p.Window&0xff)
	case bpf.ProtocolICMPv6:
		return fmt.Sprintf("icmp6 %d/%d", p.Window>>8, p.Window&0xff)
	}
	return fmt.Sprintf("proto %d", p.Protocol)
}
