// SPDX-License-Identifier: Apache-2.0

package collector

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"conntap/bpf"
)

// virtioHeader is the length of struct virtio_net_hdr (linux/virtio_net.h), which
// stands before each packet, in host byte order.
const virtioHeader = 10

// Places in it.
const (
	virtioGSOType = 1
	virtioGSOSize = 4
)

const (
	macAddresses = 12 // destination and source
	vlanTag      = 4
)

// packetTap makes packets of the frames of one interface.
type packetTap struct {
	ring   *packetRing
	parser bpf.Parser
	super  bpf.Parser // for super-packets
	number uint16     // of the interface

	selection Selection

	counted  [bpf.HookCount]bpf.Counters // by direction; of the reader
	sequence uint64                      // frames recorded so far

	// What follows is guarded by packetCapture.mu.
	nic          *nic                        // nil: it leaves, once it is drained
	stream       int                         // in packetCapture.losses
	published    [bpf.HookCount]bpf.Counters // counted, as of the end of a Read
	ringed, lost uint64                      // as the kernel counts: put into the ring, and not
	outward      bool                        // outgoing frames alone
}

func openPacketTap(c *LiveConfig, i *Interface, p plan, n *nic, bytes int) (*packetTap, error) {
	ring, err := openPacketRing(i, p, bytes, c.VerifyChecksums)
	if err != nil {
		return nil, err
	}
	t := &packetTap{ring: ring, nic: n, number: n.number, selection: c.Selection, outward: p.ingress == ingressNone}
	t.parser = bpf.Parser{
		Link: bpf.LinkEthernet, Tunnels: !c.NoTunnels, AssumePayload: true,
		VerifyChecksums: c.VerifyChecksums, PartialChecksums: c.VerifyChecksums,
	}
	if i.hasBareIP() {
		t.parser.Link = bpf.LinkRawIP
	}
	t.super = t.parser
	t.super.SuperPackets = true
	return t, nil
}

// attachment is what was obtained.
func (t *packetTap) attachment(i *Interface, p plan) Attachment {
	a := Attachment{Interface: *i, Promiscuous: p.promiscuous}
	if p.ingress != ingressNone {
		a.Ingress = modePacket
	}
	if p.egress {
		a.Egress = modePacket
	}
	return a
}

// isSuper tells whether the current frame is a super-packet.
func (t *packetTap) isSuper() bool {
	place := t.ring.at + uint32(t.ring.header().Mac) - virtioHeader
	return t.ring.block[place+virtioGSOType] != 0 // VIRTIO_NET_HDR_GSO_NONE
}

// take stores the current frame's packets in dst, which has room for
// bpf.PacketsMax, counts the frame, and says how many packets there are. Their
// payloads are in the ring.
func (t *packetTap) take(dst []bpf.Packet) int {
	r, header := t.ring, t.ring.header()
	start := r.at + uint32(header.Mac)
	data, wire := r.block[start:][:header.Snaplen:header.Snaplen], int(header.Len)
	parser, size := &t.parser, uint16(0)
	if t.isSuper() {
		parser, size = &t.super, binary.NativeEndian.Uint16(r.block[start-virtioHeader+virtioGSOSize:])
	}
	if header.Status&unix.TP_STATUS_VLAN_VALID != 0 && len(data) >= macAddresses {
		data = r.putTagBack(start, header)
		wire += vlanTag
	}
	hook := t.hook()
	counts := &t.counted[hook]
	counts.Seen++
	n, reason := parser.Parse(data, wire, dst)
	if reason != bpf.ReasonNone {
		counts.Skipped[reason]++
		return 0
	}
	if n = t.selection.keep(dst[:n]); n == 0 {
		counts.Filtered++
		return 0
	}
	counts.Recorded++
	t.mark(dst[:n], hook, size)
	return n
}

// mark fills in what the frame's packets have from the ring.
func (t *packetTap) mark(packets []bpf.Packet, hook bpf.Hook, size uint16) {
	ordinal := uint64(t.number)<<48 | t.sequence
	t.sequence++
	for i := range packets {
		p := &packets[i]
		p.Time, p.Ordinal, p.Hook, p.Interface = t.ring.time, ordinal, hook, t.number
		if size != 0 && (p.Kind == bpf.KindPacket || p.Kind == bpf.KindInner) {
			p.Blocks |= bpf.BlockGSO
			p.GSOSize = size
		}
	}
}

// hook tells the current frame's direction: struct sockaddr_ll stands behind the
// frame's header.
func (t *packetTap) hook() bpf.Hook {
	address := (*unix.RawSockaddrLinklayer)(unsafe.Pointer(&t.ring.block[t.ring.at+unix.SizeofTpacket3Hdr]))
	if address.Pkttype == unix.PACKET_OUTGOING {
		return bpf.HookTCEgress
	}
	return bpf.HookTCIngress
}

// putTagBack puts the VLAN tag that the stack or the card took off the frame where it
// was; the addresses move over the struct virtio_net_hdr, which was read.
func (r *packetRing) putTagBack(start uint32, header *unix.Tpacket3Hdr) []byte {
	frame := r.block[start-vlanTag:][:vlanTag+header.Snaplen]
	copy(frame, frame[vlanTag:][:macAddresses])
	tag := frame[macAddresses:][:vlanTag]
	protocol := uint16(unix.ETH_P_8021Q)
	if header.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		protocol = header.Hv1.Vlan_tpid
	}
	binary.BigEndian.PutUint16(tag, protocol)
	binary.BigEndian.PutUint16(tag[2:], uint16(header.Hv1.Vlan_tci))
	return frame
}

// stats are the account by direction. What was lost may be of either.
func (t *packetTap) stats(name string) [2]HookStats {
	rows := [2]HookStats{
		{Interface: name, Hook: bpf.HookTCIngress, Counters: t.published[bpf.HookTCIngress]},
		{Interface: name, Hook: bpf.HookTCEgress, Counters: t.published[bpf.HookTCEgress]},
	}
	losing := &rows[0]
	if t.outward {
		losing = &rows[1]
	}
	losing.Lost += t.lost
	losing.Seen += t.lost
	return rows
}

// abandon counts what is in the ring, and nobody will read, as lost.
func (t *packetTap) abandon() {
	var read uint64
	for hook := range t.counted {
		t.published[hook] = t.counted[hook]
		read += t.counted[hook].Seen
	}
	if t.ringed > read {
		t.lost += t.ringed - read
	}
}
