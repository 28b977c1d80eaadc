/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A frame becomes a record. Two paths with one meaning:
 *
 *   parse_direct  reads through pointers what nearly every frame is: Ethernet, up
 *                 to two tags, IPv4 or IPv6 without extensions, one transport
 *                 header, all of it in the linear part. It judges nothing: what
 *                 it doesn't take, it leaves.
 *   parse_layers  reads anything, layer by layer, through a helper that also
 *                 reaches bytes beyond the linear part, and says why not.
 *
 * Both write the record's head and addresses where they go into the batch. The
 * Go twin is parse.go, with the same names in the same order. The rules are
 * Zeek's (src/packet_analysis/protocol/{ethernet,vlan,ip,tcp,udp,icmp}).
 */
#ifndef CONNTAP_PARSE_H
#define CONNTAP_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include "maps.h"

/* parse_direct: this frame is for parse_layers. Not a reason. */
#define PARSE_LAYERS REASON_COUNT

#define VLAN_TAGS_MAX 2
#define EXTENSIONS_MAX 32 /* IPv6 extension headers and options in them */
#define ETHERTYPE_QINQ 0x9100
#define ETHERTYPE_RARP 0x8035
#define ETHERTYPE_LLDP 0x88cc
#define ETHERTYPE_MPLS_MC 0x8848
#define ETHERTYPE_LENGTH_MAX 1500
#define LLC_SNAP 0xaa
#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset */
#define PROTOCOL_MOBILITY 135
#define OPTION_PAD1 0
#define OPTION_JUMBO 0xc2
#define OPTION_HOME_ADDRESS 201

struct vlan_tag {
	__be16 tci;
	__be16 type;
};

struct llc_head {
	__u8 destination; /* service access points */
	__u8 source;
	__u8 control;
};

struct snap_head {
	__u8 organisation[3];
	__u8 type[2]; /* network byte order; not aligned */
};

struct icmp_head {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

struct ipv6_extension {
	__u8 next;
	__u8 length; /* in 8-byte units without the first; AH: in 4-byte units minus 2 */
	__u8 byte2;  /* routing: type */
	__u8 byte3;  /* routing: segments left */
	__be32 word;
};

/* A VLAN tag's EtherType: any of three outside, 802.1Q alone inside another tag
 * (Zeek: protocol/vlan/main.zeek). */
static __always_inline int is_vlan(const struct frame *f, __u16 type)
{
	if (type == ETH_P_8021Q)
		return 1;
	return f->tags == 0 && (type == ETH_P_8021AD || type == ETHERTYPE_QINQ);
}

/* Books one tag. A priority tag (id 0) gives its place to the next one. */
static __always_inline void add_vlan(struct frame *f, __u16 tci)
{
	if (f->l2.vlan == 0)
		f->l2.vlan = tci & 0xfff;
	else
		f->l2.inner_vlan = tci & 0xfff;
	f->tags++;
}

/* Protocols that give no ordinary record: REASON_NONE for all others. */
static __always_inline enum reason judge_protocol(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
		return REASON_TUNNEL;
	case IPPROTO_NONE:
		return REASON_NO_NEXT_HEADER;
	}
	return REASON_NONE;
}

static __always_inline int is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_ESP || protocol == IPPROTO_AH ||
	       protocol == IPPROTO_DSTOPTS || protocol == PROTOCOL_MOBILITY;
}

/* A port whose first payload bytes decide who asked (DNS, NTP). */
static __always_inline int is_direction_port(__be16 port)
{
	return port == bpf_htons(53) || port == bpf_htons(123) || port == bpf_htons(137) ||
	       port == bpf_htons(5353) || port == bpf_htons(5355);
}

static __always_inline __u32 lesser(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

/* The bytes of transport header and payload: by the IP length or, where that
 * leaves none, all that the frame holds (Zeek: TCP.cc, UDP.cc, ICMP.cc,
 * DeliverPacket). */
static __always_inline __u32 transport_length(const struct frame *f)
{
	return f->ip_end > f->offset ? f->ip_end - f->offset : f->length - f->offset;
}

/* Whether a transport header of `minimum` bytes has room (Zeek:
 * IPBasedAnalyzer.cc, CheckHeaderTrunc). */
static __always_inline int has_transport(const struct frame *f, __u32 minimum)
{
	return f->offset + minimum <= f->length && transport_length(f) >= minimum;
}

static __always_inline void fill_tcp(struct staging *s, const struct tcphdr *th)
{
	struct record_head *head = &s->head;
	__u16 offset_and_flags = bpf_ntohs(*((__be16 *)th + 6));
	__u32 length = (offset_and_flags >> 12) * 4;

	head->src_port = th->source;
	head->dst_port = th->dest;
	head->seq = bpf_ntohl(th->seq);
	head->ack = bpf_ntohl(th->ack_seq);
	head->window = bpf_ntohs(th->window);
	head->tcp_flags = (__u8)offset_and_flags;
	if (length < sizeof(*th))
		head->state |= STATE_MALFORMED | STATE_SHORT_OFFSET;
	else if (length > transport_length(&s->frame))
		head->state |= STATE_MALFORMED;
	head->header_length = s->frame.offset - s->frame.ip_offset + length;
}

static __always_inline void fill_udp(struct staging *s, const struct udphdr *uh)
{
	struct record_head *head = &s->head;
	struct frame *f = &s->frame;

	head->src_port = uh->source;
	head->dst_port = uh->dest;
	head->window = bpf_ntohs(uh->len);
	head->header_length = f->offset - f->ip_offset + sizeof(*uh);
	if (is_direction_port(uh->source) || is_direction_port(uh->dest))
		f->payload = PAYLOAD_DIRECTION;
}

static __always_inline void fill_icmp(struct staging *s, const struct icmp_head *icmph)
{
	s->head.window = icmph->type << 8 | icmph->code;
	s->head.header_length = s->frame.offset - s->frame.ip_offset + sizeof(*icmph);
}

/* Cuts frame.payload to what there is after header_length. */
static __always_inline void limit_payload(struct staging *s)
{
	struct frame *f = &s->frame;
	__u32 start = f->ip_offset + s->head.header_length;

	f->payload = start < f->ip_end ? lesser(f->payload, f->ip_end - start) : 0;
}

/* --- direct --------------------------------------------------------------- */

/* A place in the linear part of a frame. */
struct cursor {
	void *pos;
	void *end;
};

/* The fields of the head that only some packets have. */
static __always_inline void clear_transport(struct record_head *head)
{
	head->tcp_flags = 0;
	head->window = 0;
	head->src_port = 0;
	head->dst_port = 0;
	head->seq = 0;
	head->ack = 0;
}

static __always_inline enum reason direct_transport(struct staging *s, struct cursor *cursor)
{
	struct frame *f = &s->frame;
	struct record_head *head = &s->head;
	void *pos = cursor->pos;

	clear_transport(head);
	head->protocol = f->protocol;
	switch (f->protocol) {
	case IPPROTO_TCP:
		if (pos + sizeof(struct tcphdr) > cursor->end ||
		    !has_transport(f, sizeof(struct tcphdr)))
			return PARSE_LAYERS;
		fill_tcp(s, pos);
		return REASON_NONE;
	case IPPROTO_UDP:
		if (pos + sizeof(struct udphdr) > cursor->end ||
		    !has_transport(f, sizeof(struct udphdr)))
			return PARSE_LAYERS;
		fill_udp(s, pos);
		return REASON_NONE;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (pos + sizeof(struct icmp_head) > cursor->end ||
		    !has_transport(f, sizeof(struct icmp_head)))
			return PARSE_LAYERS;
		fill_icmp(s, pos);
		return REASON_NONE;
	}
	head->header_length = f->offset - f->ip_offset;
	return REASON_NONE;
}

/* ip_length by the header or, of a super-packet whose header can't say it (BIG
 * TCP), by the frame. */
static __always_inline int set_ip_length(struct staging *s, __u32 length, __u32 unsaid)
{
	struct frame *f = &s->frame;

	if (length == unsaid && f->gso_size)
		length = f->length - f->ip_offset;
	s->head.ip_length = length;
	f->ip_end = f->ip_offset + length;
	return length != 0 && f->ip_end <= f->length;
}

static __always_inline enum reason direct_ipv4(struct staging *s, struct cursor *cursor)
{
	struct frame *f = &s->frame;
	struct iphdr *iph = cursor->pos;
	__u32 header;

	if (cursor->pos + sizeof(*iph) > cursor->end)
		return PARSE_LAYERS;
	header = iph->ihl * 4;
	if (header < sizeof(*iph) || iph->frag_off & bpf_htons(IPV4_FRAGMENT) ||
	    judge_protocol(iph->protocol) != REASON_NONE)
		return PARSE_LAYERS;
	if (!set_ip_length(s, bpf_ntohs(iph->tot_len), 0) || s->head.ip_length < header)
		return PARSE_LAYERS;
	s->head.state = STATE_COMPLETE;
	s->ipv4.src = iph->saddr;
	s->ipv4.dst = iph->daddr;
	f->ip_id = bpf_ntohs(iph->id);
	f->protocol = iph->protocol;
	f->offset = f->ip_offset + header;
	cursor->pos += header;
	return direct_transport(s, cursor);
}

static __always_inline void copy_addresses(struct record_ipv6 *to, const struct ipv6hdr *ip6h)
{
	__builtin_memcpy(to, &ip6h->saddr, sizeof(*to));
}

static __always_inline enum reason direct_ipv6(struct staging *s, struct cursor *cursor)
{
	struct frame *f = &s->frame;
	struct ipv6hdr *ip6h = cursor->pos;

	if (cursor->pos + sizeof(*ip6h) > cursor->end)
		return PARSE_LAYERS;
	if (is_extension(ip6h->nexthdr) || judge_protocol(ip6h->nexthdr) != REASON_NONE)
		return PARSE_LAYERS;
	if (!set_ip_length(s, bpf_ntohs(ip6h->payload_len) + sizeof(*ip6h), sizeof(*ip6h)))
		return PARSE_LAYERS;
	s->head.state = STATE_COMPLETE | STATE_IPV6;
	copy_addresses(&s->ipv6, ip6h);
	f->ip_id = bpf_ntohl(*(__be32 *)ip6h) & 0xfffff;
	f->protocol = ip6h->nexthdr;
	f->offset = f->ip_offset + sizeof(*ip6h);
	cursor->pos += sizeof(*ip6h);
	return direct_transport(s, cursor);
}

/* Whether a frame is long enough for an Ethernet header, as Zeek sees it
 * (Ethernet.cc); a tag that the stack took off counts. */
static __always_inline int has_ethernet(const struct frame *f)
{
	return f->length > (f->tags ? ETH_HLEN : ETH_HLEN + 2);
}

static __always_inline enum reason direct_ethernet(struct staging *s, struct cursor *cursor)
{
	struct frame *f = &s->frame;
	struct ethhdr *eth = cursor->pos;
	struct vlan_tag *tag;
	__u16 type;

	if (cursor->pos + sizeof(*eth) > cursor->end || !has_ethernet(f))
		return PARSE_LAYERS;
	__builtin_memcpy(&f->l2, eth, 2 * ETH_ALEN);
	type = bpf_ntohs(eth->h_proto);
	cursor->pos += sizeof(*eth);
	f->offset = sizeof(*eth);
#pragma unroll
	for (int i = 0; i < VLAN_TAGS_MAX; i++) {
		if (!is_vlan(f, type))
			break;
		tag = cursor->pos;
		if (f->tags >= VLAN_TAGS_MAX || cursor->pos + sizeof(*tag) > cursor->end)
			return PARSE_LAYERS;
		add_vlan(f, bpf_ntohs(tag->tci));
		type = bpf_ntohs(tag->type);
		cursor->pos += sizeof(*tag);
		f->offset += sizeof(*tag);
	}
	return type == ETH_P_IP || type == ETH_P_IPV6 ? REASON_NONE : PARSE_LAYERS;
}

static __always_inline enum reason parse_direct(struct staging *s, void *data, void *data_end)
{
	struct cursor cursor = {data, data_end};
	struct frame *f = &s->frame;
	__u8 version;

	if (config.link == LINK_ETHERNET && direct_ethernet(s, &cursor) != REASON_NONE)
		return PARSE_LAYERS;
	if (cursor.pos + 1 > cursor.end)
		return PARSE_LAYERS;
	f->ip_offset = f->offset;
	version = *(__u8 *)cursor.pos >> 4;
	if (version == 4)
		return direct_ipv4(s, &cursor);
	if (version == 6)
		return direct_ipv6(s, &cursor);
	return PARSE_LAYERS;
}

/* --- layers --------------------------------------------------------------- */

/* What the callback of bpf_loop works on: a frame's context can stand on the
 * stack alone, the rest in the map, where the verifier keeps no values. */
struct walk {
	void *ctx; /* struct xdp_md or struct __sk_buff */
	struct staging *staging;
};

static __always_inline long load(struct walk *walk, int xdp, __u32 offset, void *to, __u32 length)
{
	if (xdp)
		return bpf_xdp_load_bytes(walk->ctx, offset, to, length);
	return bpf_skb_load_bytes(walk->ctx, offset, to, length);
}

/* Ends the walk. */
static __always_inline long finish(struct frame *f, enum reason reason)
{
	f->reason = reason;
	return 1;
}

/* Goes on with the layer after `offset`. */
static __always_inline long go_on(struct frame *f, enum layer layer, __u32 offset)
{
	f->layer = layer;
	f->offset = offset;
	return 0;
}

static __always_inline long layer_ethernet(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct ethhdr eth;

	if (!has_ethernet(f))
		return finish(f, REASON_SHORT_FRAME);
	if (load(walk, xdp, 0, &eth, sizeof(eth)))
		return finish(f, REASON_LOAD);
	__builtin_memcpy(&f->l2, &eth, 2 * ETH_ALEN);
	f->type = bpf_ntohs(eth.h_proto);
	return go_on(f, LAYER_TYPE, sizeof(eth));
}

static __always_inline long layer_vlan(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct vlan_tag tag;

	if (f->tags >= VLAN_TAGS_MAX)
		return finish(f, REASON_VLAN_DEPTH);
	if (f->offset + sizeof(tag) >= f->length)
		return finish(f, REASON_SHORT_FRAME);
	if (load(walk, xdp, f->offset, &tag, sizeof(tag)))
		return finish(f, REASON_LOAD);
	add_vlan(f, bpf_ntohs(tag.tci));
	f->type = bpf_ntohs(tag.type);
	return go_on(f, LAYER_TYPE, f->offset + sizeof(tag));
}

/* After an IEEE 802.3 length, an LLC header of 3 bytes, or of 4 if it is numbered,
 * and a SNAP header may bring an EtherType after all (Zeek: Ethernet.cc, SNAP.cc). */
static __always_inline long layer_snap(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct llc_head llc;
	struct snap_head snap;
	__u32 at = f->offset;
	__u16 type;

	if (at + f->type > f->length || at + sizeof(llc) > f->length)
		return finish(f, REASON_LLC);
	if (load(walk, xdp, at, &llc, sizeof(llc)))
		return finish(f, REASON_LOAD);
	if (llc.destination != LLC_SNAP || llc.source != LLC_SNAP)
		return finish(f, REASON_LLC);
	at += (llc.control & 3) == 3 ? sizeof(llc) : sizeof(llc) + 1;
	if (at + sizeof(snap) > f->length)
		return finish(f, REASON_LLC);
	if (load(walk, xdp, at, &snap, sizeof(snap)))
		return finish(f, REASON_LOAD);
	if (snap.organisation[0] || snap.organisation[1] || snap.organisation[2])
		return finish(f, REASON_LLC);
	type = (__u16)snap.type[0] << 8 | snap.type[1];
	if (type == ETH_P_IP || type == ETH_P_IPV6)
		return go_on(f, LAYER_IP, at + sizeof(snap));
	return finish(f, type == ETH_P_ARP || type == ETHERTYPE_RARP ? REASON_ARP : REASON_LLC);
}

static __always_inline enum reason judge_type(__u16 type)
{
	switch (type) {
	case ETH_P_ARP:
	case ETHERTYPE_RARP:
		return REASON_ARP;
	case ETHERTYPE_LLDP:
		return REASON_LLDP;
	case ETH_P_MPLS_UC:
	case ETHERTYPE_MPLS_MC:
		return REASON_MPLS;
	case ETH_P_PPP_DISC:
	case ETH_P_PPP_SES:
		return REASON_PPPOE;
	}
	return REASON_ETHERTYPE;
}

static __always_inline long layer_type(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;

	if (is_vlan(f, f->type))
		return layer_vlan(walk, xdp);
	if (f->type == ETH_P_IP || f->type == ETH_P_IPV6)
		return go_on(f, LAYER_IP, f->offset);
	if (f->type <= ETHERTYPE_LENGTH_MAX)
		return layer_snap(walk, xdp);
	return finish(f, judge_type(f->type));
}

/* Ends the walk at a fragment, whose transport header is not read. */
static __always_inline long finish_fragment(struct staging *s)
{
	struct frame *f = &s->frame;

	clear_transport(&s->head);
	s->head.state |= STATE_FRAGMENT;
	s->head.protocol = f->protocol;
	s->head.header_length = f->offset - f->ip_offset;
	f->payload = PAYLOAD_FRAGMENT;
	return finish(f, REASON_NONE);
}

static __always_inline long layer_ipv4(struct walk *walk, int xdp)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;
	struct iphdr iph;
	__u32 header;
	__u16 fragment;

	if (load(walk, xdp, f->offset, &iph, sizeof(iph)))
		return finish(f, REASON_LOAD);
	header = iph.ihl * 4;
	if (!set_ip_length(s, bpf_ntohs(iph.tot_len), 0) || header > s->head.ip_length)
		return finish(f, REASON_IP_LENGTH);
	if (header < sizeof(iph))
		return finish(f, REASON_IP_HEADER);
	s->head.state = STATE_COMPLETE;
	s->ipv4.src = iph.saddr;
	s->ipv4.dst = iph.daddr;
	f->ip_id = bpf_ntohs(iph.id);
	f->protocol = iph.protocol;
	go_on(f, LAYER_TRANSPORT, f->offset + header);
	fragment = bpf_ntohs(iph.frag_off);
	if (!(fragment & IPV4_FRAGMENT))
		return 0;
	f->fragment.id = f->ip_id;
	f->fragment.offset = (fragment & 0x1fff) << 3;
	f->fragment.more = fragment >> 13 & 1;
	return finish_fragment(s);
}

/* The layer after an IPv6 header of any kind, at f->offset. */
static __always_inline long layer_after_ipv6(struct frame *f, __u8 next)
{
	f->protocol = next;
	return go_on(f, is_extension(next) ? LAYER_EXTENSION : LAYER_TRANSPORT, f->offset);
}

static __always_inline long layer_ipv6(struct walk *walk, int xdp)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;
	struct ipv6hdr ip6h;

	if (f->offset + sizeof(ip6h) > f->length)
		return finish(f, REASON_IP_HEADER);
	if (load(walk, xdp, f->offset, &ip6h, sizeof(ip6h)))
		return finish(f, REASON_LOAD);
	if (!set_ip_length(s, bpf_ntohs(ip6h.payload_len) + sizeof(ip6h), sizeof(ip6h)))
		return finish(f, REASON_IP_LENGTH);
	s->head.state = STATE_COMPLETE | STATE_IPV6;
	copy_addresses(&s->ipv6, &ip6h);
	f->ip_id = bpf_ntohl(*(__be32 *)&ip6h) & 0xfffff;
	f->offset += sizeof(ip6h);
	return layer_after_ipv6(f, ip6h.nexthdr);
}

/* The version nibble decides, whatever the EtherType said (Zeek: IP.cc,
 * AnalyzePacket). */
static __always_inline long layer_ip(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	__u8 version;

	f->ip_offset = f->offset;
	if (f->offset + sizeof(struct iphdr) > f->length)
		return finish(f, REASON_IP_HEADER);
	if (load(walk, xdp, f->offset, &version, sizeof(version)))
		return finish(f, REASON_LOAD);
	switch (version >> 4) {
	case 4:
		return layer_ipv4(walk, xdp);
	case 6:
		return layer_ipv6(walk, xdp);
	}
	return finish(f, REASON_IP_VERSION);
}

/* A routing header of type 0 or 2 that still has a way to go: its last address
 * is the destination (RFC 2460, section 4.4; RFC 6275, section 6.4). */
static __always_inline long replace_destination(struct walk *walk, int xdp,
						const struct ipv6_extension *ext, __u32 end)
{
	struct staging *s = walk->staging;
	int type0 = ext->byte2 == 0 && ext->length >= 2 && ext->length % 2 == 0;
	int type2 = ext->byte2 == 2 && ext->length == 2;

	if (s->frame.routed || ext->byte3 == 0 || !(type0 || type2))
		return 0;
	s->frame.routed = 1;
	return load(walk, xdp, end - sizeof(s->ipv6.dst), s->ipv6.dst, sizeof(s->ipv6.dst));
}

/* The length of an extension header, bytes. */
static __always_inline __u32 extension_length(__u8 protocol, const struct ipv6_extension *ext)
{
	switch (protocol) {
	case IPPROTO_FRAGMENT:
	case IPPROTO_ESP:
		return 8;
	case IPPROTO_AH:
		return (ext->length + 2) * 4;
	}
	return (ext->length + 1) * 8;
}

/* A super-packet's length option (RFC 2675) never reaches the wire: the stack
 * takes it out when it cuts the segments. */
static __always_inline int is_jumbo(const struct frame *f, const struct ipv6_extension *ext)
{
	return f->gso_size && f->protocol == IPPROTO_HOPOPTS && ext->length == 0 &&
	       ext->byte2 == OPTION_JUMBO;
}

static __always_inline void drop_jumbo(struct staging *s, __u32 length)
{
	s->head.ip_length -= length;
	s->frame.ip_offset += length;
}

/* One IPv6 extension header. The chain ends after a fragment header, ESP or
 * mobility, and before a header that was cut, whose number then stands for the
 * transport protocol (Zeek: IP.cc, IPv6_Hdr_Chain::Init). */
static __always_inline long layer_extension(struct walk *walk, int xdp)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;
	struct ipv6_extension ext;
	__u32 length, end;

	if (f->walked++ >= EXTENSIONS_MAX)
		return finish(f, REASON_IP_EXTENSION);
	if (f->offset + sizeof(ext) > f->length) /* no extension header is shorter */
		return go_on(f, LAYER_TRANSPORT, f->offset);
	if (load(walk, xdp, f->offset, &ext, sizeof(ext)))
		return finish(f, REASON_LOAD);
	length = extension_length(f->protocol, &ext);
	end = f->offset + length;
	if (end > f->length)
		return go_on(f, LAYER_TRANSPORT, f->offset);
	if (end > f->ip_end)
		return finish(f, REASON_IP_LENGTH);
	switch (f->protocol) {
	case IPPROTO_ESP:
	case PROTOCOL_MOBILITY:
		return finish(f, REASON_ESP_MOBILITY);
	case IPPROTO_FRAGMENT:
		f->fragment.id = bpf_ntohl(ext.word);
		f->fragment.offset = ((__u16)ext.byte2 << 8 | ext.byte3) & 0xfff8;
		f->fragment.more = ext.byte3 & 1;
		f->protocol = ext.next;
		f->offset = end;
		return finish_fragment(s);
	case IPPROTO_DSTOPTS:
		f->option_end = end;
		f->after_options = ext.next;
		return go_on(f, LAYER_OPTION, f->offset + 2);
	case IPPROTO_ROUTING:
		if (replace_destination(walk, xdp, &ext, end))
			return finish(f, REASON_LOAD);
		break;
	}
	if (is_jumbo(f, &ext))
		drop_jumbo(s, length);
	f->offset = end;
	return layer_after_ipv6(f, ext.next);
}

/* One destination option: a home address is the source (RFC 6275, section 6.3). */
static __always_inline long layer_option(struct walk *walk, int xdp)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;
	__u8 option[2] = {}; /* type, length */
	__u32 end;

	if (f->walked++ >= EXTENSIONS_MAX)
		return finish(f, REASON_IP_EXTENSION);
	if (f->offset < f->option_end && load(walk, xdp, f->offset, &option[0], 1))
		return finish(f, REASON_LOAD);
	if (f->offset < f->option_end && option[0] == OPTION_PAD1)
		return go_on(f, LAYER_OPTION, f->offset + 1);
	if (f->offset + 2 <= f->option_end && load(walk, xdp, f->offset + 1, &option[1], 1))
		return finish(f, REASON_LOAD);
	end = f->offset + 2 + option[1];
	if (end > f->option_end) {
		f->offset = f->option_end;
		return layer_after_ipv6(f, f->after_options);
	}
	if (option[0] == OPTION_HOME_ADDRESS && option[1] == sizeof(s->ipv6.src) && !f->home) {
		f->home = 1;
		if (load(walk, xdp, f->offset + 2, s->ipv6.src, sizeof(s->ipv6.src)))
			return finish(f, REASON_LOAD);
	}
	return go_on(f, LAYER_OPTION, end);
}

/* Loads a transport header if it has room; a reason if not. */
static __always_inline enum reason load_transport(struct walk *walk, int xdp, void *to,
						  __u32 length)
{
	struct frame *f = &walk->staging->frame;

	if (!has_transport(f, length))
		return REASON_TRANSPORT_HEADER;
	return load(walk, xdp, f->offset, to, length) ? REASON_LOAD : REASON_NONE;
}

static __always_inline long layer_transport(struct walk *walk, int xdp)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;
	enum reason reason = judge_protocol(f->protocol);
	union {
		struct tcphdr tcp;
		struct udphdr udp;
		struct icmp_head icmp;
	} header;

	if (reason != REASON_NONE)
		return finish(f, reason);
	clear_transport(&s->head);
	s->head.protocol = f->protocol;
	switch (f->protocol) {
	case IPPROTO_TCP:
		reason = load_transport(walk, xdp, &header, sizeof(header.tcp));
		if (reason == REASON_NONE)
			fill_tcp(s, &header.tcp);
		return finish(f, reason);
	case IPPROTO_UDP:
		reason = load_transport(walk, xdp, &header, sizeof(header.udp));
		if (reason == REASON_NONE)
			fill_udp(s, &header.udp);
		return finish(f, reason);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		reason = load_transport(walk, xdp, &header, sizeof(header.icmp));
		if (reason == REASON_NONE)
			fill_icmp(s, &header.icmp);
		return finish(f, reason);
	}
	s->head.header_length = f->offset - f->ip_offset;
	return finish(f, REASON_NONE);
}

static __always_inline long next_layer(struct walk *walk, int xdp)
{
	switch (walk->staging->frame.layer) {
	case LAYER_ETHERNET:
		return layer_ethernet(walk, xdp);
	case LAYER_TYPE:
		return layer_type(walk, xdp);
	case LAYER_IP:
		return layer_ip(walk, xdp);
	case LAYER_EXTENSION:
		return layer_extension(walk, xdp);
	case LAYER_OPTION:
		return layer_option(walk, xdp);
	}
	return layer_transport(walk, xdp);
}

static long next_layer_xdp(__u32 index __attribute__((unused)), void *walk)
{
	return next_layer(walk, 1);
}

static long next_layer_skb(__u32 index __attribute__((unused)), void *walk)
{
	return next_layer(walk, 0);
}

/* More steps than any frame takes: Ethernet, three types, IP, transport. */
#define LAYERS_MAX (EXTENSIONS_MAX + 8)

static __always_inline enum reason parse_layers(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;

	f->reason = REASON_LOAD;
	f->layer = config.link == LINK_ETHERNET ? LAYER_ETHERNET : LAYER_IP;
	f->offset = 0;
	if (xdp)
		bpf_loop(LAYERS_MAX, next_layer_xdp, walk, 0);
	else
		bpf_loop(LAYERS_MAX, next_layer_skb, walk, 0);
	return f->reason;
}

#endif
