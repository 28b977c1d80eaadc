/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets in packets. The Go twin is tunnel.go, with the same names in the same
 * order. The rules are Zeek's (src/packet_analysis/protocol/{iptunnel,gre,vxlan,
 * geneve,gtpv1,teredo,ayiya}).
 */
#ifndef CONNTAP_TUNNEL_H
#define CONNTAP_TUNNEL_H

#include "layer.h"
#include "link.h"

#define PORT_TEREDO 3544
#define PORT_GRE 4754
#define PORT_VXLAN 4789
#define PORT_AYIYA 5072
#define PORT_GENEVE 6081
#define PORT_GTP_CONTROL 2123
#define PORT_GTP_USER 2152

#define TEREDO_MIN 40		 /* of a payload that is looked at without its port */
#define TEREDO_PREFIX 0x20010000 /* 2001::/32 */
#define VXLAN_FLAG_ID 0x08
#define GRE_CHECKSUM 0x8000
#define GRE_ROUTING 0x4000
#define GRE_KEY 0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_ACK 0x0080
#define GRE_RESERVED 0x0078
#define GRE_VERSION 0x0007
#define GRE_BRIDGE 0x6558 /* transparent Ethernet bridging */
#define GRE_PPTP 0x880b
#define GRE_ERSPAN 0x88be
#define GRE_ERSPAN_III 0x22eb
#define GRE_ARUBA 0x8200 /* bits of Aruba's types, with the last digit 0 */
#define GRE_ARUBA_TEST 0x9000
#define GTP_EXTENSIONS_MAX 32

struct tunnel_head {
	__u8 bytes[4];
	__be32 word;
};

/* The UDP ports of tunnels (Zeek: packet-protocols/.../main.zeek). */
static __always_inline enum tunnel_type tunnel_on_port(__be16 port)
{
	switch (bpf_ntohs(port)) {
	case PORT_VXLAN:
		return TUNNEL_VXLAN;
	case PORT_GENEVE:
		return TUNNEL_GENEVE;
	case PORT_GTP_USER:
	case PORT_GTP_CONTROL:
		return TUNNEL_GTPV1;
	case PORT_TEREDO:
		return TUNNEL_TEREDO;
	case PORT_AYIYA:
		return TUNNEL_AYIYA;
	case PORT_GRE:
		return TUNNEL_GRE_UDP;
	}
	return TUNNEL_NONE;
}

/* Whether a datagram's payload, of which direct access shows what is before `end`, may
 * be Teredo or AYIYA; the full judgement is detect's. */
static __always_inline int may_be_tunnel(const __u8 *b, __u32 length, const void *end)
{
	const __be32 *words = (void *)b;

	if ((void *)b + 3 > end)
		return length >= 3;
	if (b[1] == 0x52 && b[2] == 0x11)
		return 1;
	if (length < TEREDO_MIN || (b[0] >> 4 != 6 && (b[0] || b[1] > 1)))
		return 0;
	if ((void *)b + 28 > end || b[1] == 1)
		return 1;
	if (b[1] == 0 && b[8] >> 4 == 6)
		return 1;
	return b[0] >> 4 == 6 &&
	       (words[2] == bpf_htonl(TEREDO_PREFIX) || words[6] == bpf_htonl(TEREDO_PREFIX));
}

/* The protocols that packets stand in. */
static __always_inline int may_carry(__u8 protocol)
{
	return protocol == IPPROTO_UDP || protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 ||
	       protocol == IPPROTO_GRE;
}

/* Says of a tunnel that gives no packet what is the matter. Those over IP itself are
 * not worth it: they make no connection that could learn from it. */
static __always_inline long note(struct frame *f, enum tunnel_type tunnel, enum record_kind kind)
{
	if (tunnel >= TUNNEL_VXLAN) {
		f->tunnel = tunnel;
		f->depth++;
		f->id = 0;
		f->note = kind;
	}
	return finish(f, REASON_NONE);
}

/* Goes on with what stands in a tunnel. If it gives no packet, the tunnel is empty. */
static __always_inline long inner(struct frame *f, enum tunnel_type tunnel, __u32 id,
				  enum layer layer, __u32 offset)
{
	f->tunnel = tunnel;
	f->depth++;
	f->id = id;
	f->note = tunnel >= TUNNEL_VXLAN ? RECORD_EMPTY : 0;
	f->length = f->end;
	f->has_l2 = 0;
	f->l2.vlan = 0;
	f->l2.inner_vlan = 0;
	f->tagged = 0;
	f->off_tag = 0;
	f->labels = 0;
	f->walked = 0;
	f->routed = 0;
	f->home = 0;
	f->payload = 0;
	return go_on(f, layer, offset);
}

/* Whether an IP header of the version stands at f->offset and says that its packet
 * ends where the layer does; version 0: of either. Negative: it can't be loaded. */
static __always_inline int is_whole_ip(struct walk *walk, int xdp, __u8 version)
{
	struct frame *f = &walk->staging->frame;
	struct tunnel_head head; /* the first 8 bytes */
	__u8 found;

	if (!has(f, sizeof(struct iphdr)))
		return 0;
	if (load(walk, xdp, f->offset, &head, sizeof(head)))
		return -1;
	found = head.bytes[0] >> 4;
	if (version && found != version)
		return 0;
	if (found == 4)
		return f->offset + ((__u32)head.bytes[2] << 8 | head.bytes[3]) == f->end;
	return found == 6 &&
	       f->offset + sizeof(struct ipv6hdr) + (bpf_ntohl(head.word) >> 16) == f->end;
}

/* Knows tunnels by the first bytes of a UDP payload at f->offset: AYIYA, and IPv6
 * from or to 2001::/32 or behind the two headers that may stand before it (RFC 4380,
 * sections 5.1.1 and 2.6). The second of the first two bytes counts even if the
 * first is IPv6's (Zeek: AYIYA.cc and Teredo.cc, DetectProtocol). */
static __always_inline enum tunnel_type detect(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	__u32 at = f->offset, words[7] = {};
	__u8 *b = (__u8 *)words;
	__u8 next[2];

	if (!has(f, 3) || load(walk, xdp, at, words, 3))
		return TUNNEL_NONE;
	if (b[1] == 0x52 && b[2] == 0x11)
		return TUNNEL_AYIYA;
	if (!has(f, TEREDO_MIN) || (b[0] >> 4 != 6 && (b[0] || b[1] > 1)))
		return TUNNEL_NONE;
	if (load(walk, xdp, at, words, sizeof(words)))
		return TUNNEL_NONE;
	if (b[0] >> 4 == 6 &&
	    (words[2] == bpf_htonl(TEREDO_PREFIX) || words[6] == bpf_htonl(TEREDO_PREFIX)))
		return TUNNEL_TEREDO;
	if (b[1] == 1) {
		at += 13 + b[2] + b[3];
		if (at + sizeof(struct ipv6hdr) > f->end || load(walk, xdp, at, next, sizeof(next)))
			return TUNNEL_NONE;
		if (next[0] || next[1])
			return TUNNEL_NONE;
	} else if (b[1]) {
		return TUNNEL_NONE;
	}
	at += 8;
	if (at + sizeof(struct ipv6hdr) > f->end || load(walk, xdp, at, next, 1))
		return TUNNEL_NONE;
	return next[0] >> 4 == 6 ? TUNNEL_TEREDO : TUNNEL_NONE;
}

static __always_inline enum layer tunnel_layer(enum tunnel_type tunnel)
{
	switch (tunnel) {
	case TUNNEL_VXLAN:
		return LAYER_VXLAN;
	case TUNNEL_GENEVE:
		return LAYER_GENEVE;
	case TUNNEL_GTPV1:
		return LAYER_GTP;
	case TUNNEL_TEREDO:
		return LAYER_TEREDO;
	case TUNNEL_AYIYA:
		return LAYER_AYIYA;
	default:
		return LAYER_GRE;
	}
}

/* UDP goes by the ports or else by content. */
static __always_inline long layer_udp_tunnel(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	enum tunnel_type tunnel = tunnel_on_port(f->dst_port);

	f->end = f->ip_end > f->offset ? lesser(f->ip_end, f->end) : f->end;
	f->offset += sizeof(struct udphdr);
	if (tunnel == TUNNEL_NONE)
		tunnel = tunnel_on_port(f->src_port);
	if (tunnel == TUNNEL_NONE)
		tunnel = detect(walk, xdp);
	if (tunnel == TUNNEL_NONE)
		return finish(f, REASON_NONE);
	f->seen = 0;
	f->walked = 0;
	return go_on(f, tunnel_layer(tunnel), f->offset);
}

/* At the transport header of a packet whose record is finished. IP in IP must have
 * the length of all that is left (Zeek: IPTunnel.cc, IP.cc ParsePacket). */
static __always_inline long layer_tunnel(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;

	if (f->depth >= TUNNEL_DEPTH_MAX)
		return finish(f, REASON_NONE);
	if (f->protocol == IPPROTO_UDP)
		return layer_udp_tunnel(walk, xdp);
	if (f->protocol == IPPROTO_GRE)
		return go_on(f, LAYER_GRE, f->offset);
	if (is_whole_ip(walk, xdp, f->protocol == IPPROTO_IPIP ? 4 : 6) <= 0)
		return finish(f, REASON_NONE);
	return inner(f, TUNNEL_IP, 0, LAYER_IP, f->offset);
}

/* RFC 7348, section 5 (Zeek: VXLAN.cc). */
static __always_inline long layer_vxlan(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct tunnel_head head;

	if (!has(f, sizeof(head)))
		return note(f, TUNNEL_VXLAN, RECORD_VIOLATION);
	if (load(walk, xdp, f->offset, &head, sizeof(head)))
		return finish(f, REASON_LOAD);
	if (!(head.bytes[0] & VXLAN_FLAG_ID))
		return note(f, TUNNEL_VXLAN, RECORD_VIOLATION);
	return inner(f, TUNNEL_VXLAN, bpf_ntohl(head.word) >> 8, LAYER_ETHERNET,
		     f->offset + sizeof(head));
}

/* RFC 8926, section 3.4 (Zeek: Geneve.cc). */
static __always_inline long layer_geneve(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct tunnel_head head;
	__u32 length, id;

	if (!has(f, sizeof(head)))
		return note(f, TUNNEL_GENEVE, RECORD_VIOLATION);
	if (load(walk, xdp, f->offset, &head, sizeof(head)))
		return finish(f, REASON_LOAD);
	if (head.bytes[0] >> 6) /* no violation to Zeek */
		return finish(f, REASON_NONE);
	length = sizeof(head) + (head.bytes[0] & 0x3f) * 4;
	if (!has(f, length))
		return note(f, TUNNEL_GENEVE, RECORD_VIOLATION);
	id = bpf_ntohl(head.word) >> 8;
	switch ((__u16)head.bytes[2] << 8 | head.bytes[3]) {
	case GRE_BRIDGE:
		return inner(f, TUNNEL_GENEVE, id, LAYER_ETHERNET, f->offset + length);
	case ETH_P_IP:
	case ETH_P_IPV6:
		return inner(f, TUNNEL_GENEVE, id, LAYER_IP, f->offset + length);
	}
	return note(f, TUNNEL_GENEVE, RECORD_EMPTY);
}

/* The header and the optional fields of GTP-U (3GPP TS 29.281, section 5; Zeek:
 * gtpv1-protocol.pac, gtpv1-analyzer.pac, GTPv1.cc). */
static __always_inline long layer_gtp(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct tunnel_head head;

	if (!has(f, sizeof(head)))
		return note(f, TUNNEL_GTPV1, RECORD_VIOLATION);
	if (load(walk, xdp, f->offset, &head, sizeof(head)))
		return finish(f, REASON_LOAD);
	f->flags = head.bytes[0];
	f->message = head.bytes[1];
	f->id = bpf_ntohl(head.word);
	f->offset += sizeof(head);
	if (!(f->flags & 7))
		return go_on(f, LAYER_GTP_PACKET, f->offset);
	if (!has(f, 4))
		return note(f, TUNNEL_GTPV1, RECORD_VIOLATION);
	return go_on(f, f->flags & 4 ? LAYER_GTP_EXTENSION : LAYER_GTP_PACKET, f->offset + 4);
}

static __always_inline long layer_gtp_extension(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	__u8 length, next;

	if (f->walked++ >= GTP_EXTENSIONS_MAX)
		return finish(f, REASON_NONE);
	if (!has(f, 1))
		return note(f, TUNNEL_GTPV1, RECORD_VIOLATION);
	if (load(walk, xdp, f->offset, &length, 1))
		return finish(f, REASON_LOAD);
	if (length == 0 || !has(f, length * 4))
		return note(f, TUNNEL_GTPV1, RECORD_VIOLATION);
	f->offset += length * 4;
	if (load(walk, xdp, f->offset - 1, &next, 1))
		return finish(f, REASON_LOAD);
	return go_on(f, next ? LAYER_GTP_EXTENSION : LAYER_GTP_PACKET, f->offset);
}

static __always_inline long layer_gtp_packet(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	int whole;

	if (f->tunnel == TUNNEL_GTPV1 || f->flags >> 5 != 1)
		return note(f, TUNNEL_GTPV1, RECORD_VIOLATION);
	if (!(f->flags & 0x10) || f->message != 0xff) /* GTP', or no packet of a user */
		return finish(f, REASON_NONE);
	whole = is_whole_ip(walk, xdp, 0);
	if (whole == 0)
		return note(f, TUNNEL_GTPV1, RECORD_VIOLATION);
	if (whole < 0)
		return finish(f, REASON_LOAD);
	return inner(f, TUNNEL_GTPV1, f->id, LAYER_IP, f->offset);
}

#define TEREDO_ORIGIN 1
#define TEREDO_AUTHENTICATION 2

/* One header of Teredo: an authentication header and an origin indication, at most
 * one of each, in this order, then IPv6 (RFC 4380, section 5.1.1; Zeek: Teredo.cc). */
static __always_inline long layer_teredo(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	__u8 b[7] = {}; /* of IPv6, up to the next header's number */
	__u32 length, end;

	if (!has(f, 2))
		return note(f, TUNNEL_TEREDO, RECORD_VIOLATION);
	if (load(walk, xdp, f->offset, b, 2))
		return finish(f, REASON_LOAD);
	if (b[0] >> 4 == 6) {
		if (!has(f, sizeof(struct ipv6hdr)))
			return note(f, TUNNEL_TEREDO, RECORD_VIOLATION);
		if (load(walk, xdp, f->offset, b, sizeof(b)))
			return finish(f, REASON_LOAD);
		length = (__u32)b[4] << 8 | b[5];
		end = f->offset + sizeof(struct ipv6hdr) + length;
		/* Of a bubble, what follows is no matter. */
		if (end > f->end || (end < f->end && (length || b[6] != IPPROTO_NONE)))
			return note(f, TUNNEL_TEREDO, RECORD_VIOLATION);
		return inner(f, TUNNEL_TEREDO, 0, LAYER_IP, f->offset);
	}
	if (b[0] == 0 && b[1] == 0 && !(f->seen & TEREDO_ORIGIN)) {
		f->seen |= TEREDO_ORIGIN;
		length = 8;
	} else if (b[0] == 0 && b[1] == 1 && !f->seen) {
		f->seen |= TEREDO_AUTHENTICATION;
		if (!has(f, 4))
			return note(f, TUNNEL_TEREDO, RECORD_VIOLATION);
		if (load(walk, xdp, f->offset, b, 4))
			return finish(f, REASON_LOAD);
		length = 13 + b[2] + b[3];
	} else {
		return note(f, TUNNEL_TEREDO, RECORD_VIOLATION);
	}
	if (!has(f, length))
		return note(f, TUNNEL_TEREDO, RECORD_VIOLATION);
	return go_on(f, LAYER_TEREDO, f->offset + length);
}

/* draft-massar-v6ops-ayiya-02, section 3 (Zeek: AYIYA.cc). */
static __always_inline long layer_ayiya(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct tunnel_head head;
	__u32 length;

	if (!has(f, sizeof(head)))
		return note(f, TUNNEL_AYIYA, RECORD_VIOLATION);
	if (load(walk, xdp, f->offset, &head, sizeof(head)))
		return finish(f, REASON_LOAD);
	length = sizeof(head) + (1U << (head.bytes[0] >> 4)) + (head.bytes[1] >> 4) * 4;
	if (!has(f, length))
		return note(f, TUNNEL_AYIYA, RECORD_VIOLATION);
	if ((head.bytes[2] & 0xf) != 1) /* not to be forwarded */
		return finish(f, REASON_NONE);
	if (head.bytes[3] != IPPROTO_IPIP && head.bytes[3] != IPPROTO_IPV6)
		return note(f, TUNNEL_AYIYA, RECORD_EMPTY);
	return inner(f, TUNNEL_AYIYA, 0, LAYER_IP, f->offset + length);
}

/* PPP with address and control fields. The key's lower half is the call. */
static __always_inline long layer_pptp(struct walk *walk, int xdp, enum tunnel_type tunnel,
				       __u32 id)
{
	struct frame *f = &walk->staging->frame;
	__be16 protocol[2];

	if (!has(f, sizeof(protocol)))
		return finish(f, REASON_NONE);
	if (load(walk, xdp, f->offset, protocol, sizeof(protocol)))
		return finish(f, REASON_LOAD);
	f->offset += sizeof(protocol);
	if (protocol[1] != bpf_htons(PPP_IPV4) && protocol[1] != bpf_htons(PPP_IPV6))
		return finish(f, REASON_NONE);
	if (is_whole_ip(walk, xdp, protocol[1] == bpf_htons(PPP_IPV4) ? 4 : 6) <= 0)
		return finish(f, REASON_NONE);
	return inner(f, tunnel, id & 0xffff, LAYER_IP, f->offset);
}

/* GRE goes by the protocol type: Ethernet, mirrored Ethernet (ERSPAN,
 * draft-foschiano-erspan-03), Aruba's IEEE 802.11, and IP of any other. */
static __always_inline long layer_gre_content(struct walk *walk, int xdp, enum tunnel_type tunnel,
					      __u32 id, __u16 flags, __u16 type)
{
	struct frame *f = &walk->staging->frame;
	__u8 platform;

	if (type == GRE_BRIDGE)
		return inner(f, tunnel, id, LAYER_ETHERNET, f->offset);
	if (type == GRE_ERSPAN) /* type I has no header */
		return inner(f, tunnel, id, LAYER_ETHERNET,
			     f->offset + (flags & GRE_SEQUENCE ? 8 : 0));
	if (type == GRE_ERSPAN_III) {
		if (!has(f, 12))
			return finish(f, REASON_NONE);
		if (load(walk, xdp, f->offset + 11, &platform, 1))
			return finish(f, REASON_LOAD);
		return inner(f, tunnel, id, LAYER_ETHERNET, f->offset + (platform & 1 ? 20 : 12));
	}
	if (((type & GRE_ARUBA) == GRE_ARUBA && !(type & 0xf)) || type == GRE_ARUBA_TEST)
		return inner(f, tunnel, id, LAYER_WLAN, f->offset);
	return inner(f, tunnel, id, LAYER_IP, f->offset);
}

/* RFC 2784, RFC 2890 and, in version 1, RFC 2637 (Zeek: GRE.cc). */
static __always_inline long layer_gre(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	enum tunnel_type tunnel = f->protocol == IPPROTO_UDP ? TUNNEL_GRE_UDP : TUNNEL_GRE;
	__be16 head[2]; /* flags, type */
	__u32 length = sizeof(head);
	__be32 key = 0;
	__u16 flags;

	if (!has(f, sizeof(head)))
		return finish(f, REASON_NONE);
	if (load(walk, xdp, f->offset, head, sizeof(head)))
		return finish(f, REASON_LOAD);
	flags = bpf_ntohs(head[0]);
	length += flags & GRE_CHECKSUM ? 4 : 0;
	if (flags & GRE_KEY) {
		if (has(f, length + 4) && load(walk, xdp, f->offset + length, &key, sizeof(key)))
			return finish(f, REASON_LOAD);
		length += 4;
	}
	length += flags & GRE_SEQUENCE ? 4 : 0;
	length += flags & GRE_ACK ? 4 : 0;
	if (flags & (GRE_ROUTING | GRE_RESERVED) || !has(f, length))
		return finish(f, REASON_NONE);
	f->offset += length;
	if ((flags & GRE_VERSION) == 0)
		return layer_gre_content(walk, xdp, tunnel, bpf_ntohl(key), flags,
					 bpf_ntohs(head[1]));
	if ((flags & GRE_VERSION) == 1 && head[1] == bpf_htons(GRE_PPTP))
		return layer_pptp(walk, xdp, tunnel, bpf_ntohl(key));
	return finish(f, REASON_NONE);
}

#endif
