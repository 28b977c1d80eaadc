/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A frame becomes records. Two paths with one meaning:
 *
 *   parse_direct  reads through pointers what nearly every frame is: Ethernet, up
 *                 to two tags, IPv4 or IPv6 without extensions, one transport
 *                 header, all of it in the linear part. It judges nothing: what
 *                 it doesn't take, it leaves.
 *   parse_layers  reads anything, layer by layer, through a helper that also
 *                 reaches bytes beyond the linear part, and says why not. What is
 *                 in tunnels is for it alone.
 *
 * Both write the record's head and addresses where they go into the batch. The
 * Go twin is parse.go, with the same names in the same order; link.h and tunnel.h
 * have link.go and tunnel.go. The rules are Zeek's
 * (src/packet_analysis/protocol/{ip,tcp,udp,icmp}).
 */
#ifndef CONNTAP_PARSE_H
#define CONNTAP_PARSE_H

#include "batch.h"
#include "checksum.h"
#include "filter.h"
#include "layer.h"
#include "link.h"
#include "owner.h"
#include "service.h"
#include "tunnel.h"

/* parse_direct: this frame is for parse_layers. Not a reason. */
#define PARSE_LAYERS REASON_COUNT
/* parse_direct: a packet, and parse_layers may find others in it. Not a reason. */
#define PARSE_TUNNEL (REASON_COUNT + 1)

#define VLAN_TAGS_DIRECT 2
#define EXTENSIONS_MAX 32    /* IPv6 extension headers and options in them */
#define IPV4_FRAGMENT 0x3fff /* more fragments, or an offset */
#define PROTOCOL_MOBILITY 135
#define OPTION_PAD1 0
#define OPTION_JUMBO 0xc2
#define OPTION_HOME_ADDRESS 201

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

#define PORT_BIT(port) (1ULL << ((port) >> 8 & 63))

/* The ports of both lists, by six bits of each. */
#define PORT_BITS                                                                                  \
	(PORT_BIT(53) | PORT_BIT(5353) | PORT_BIT(PORT_VXLAN) | PORT_BIT(PORT_GENEVE) |            \
	 PORT_BIT(PORT_GTP_USER) | PORT_BIT(PORT_GTP_CONTROL) | PORT_BIT(PORT_TEREDO) |            \
	 PORT_BIT(PORT_AYIYA) | PORT_BIT(PORT_GRE))

/* Whether a port may be a direction port, or that of a tunnel: most datagrams are
 * spared some twenty comparisons. */
static __always_inline int may_be_listed(const struct udphdr *uh)
{
	const __u8 *source = (void *)&uh->source, *dest = (void *)&uh->dest;

	return (PORT_BITS >> (*source & 63) | PORT_BITS >> (*dest & 63)) & 1;
}

/* Whether a transport header of `minimum` bytes has room (Zeek:
 * IPBasedAnalyzer.cc, CheckHeaderTrunc). */
static __always_inline int has_transport(const struct frame *f, __u32 minimum)
{
	return has(f, minimum) && transport_length(f) >= minimum;
}

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

/* Both ports at once: they stand side by side in packet and record. */
static __always_inline void copy_ports(struct record_head *head, const void *transport)
{
	*(__u32 *)&head->src_port = *(const __u32 *)transport;
}

/* `check` gets the checksum, if it is wanted. */
static __always_inline void fill_tcp(struct frame *f, struct record_head *head,
				     const struct tcphdr *th, __be16 *check)
{
	__u16 offset_and_flags = bpf_ntohs(*((__be16 *)th + 6));
	__u32 length = (offset_and_flags >> 12) * 4;

	copy_ports(head, th);
	head->seq = bpf_ntohl(th->seq);
	head->ack = bpf_ntohl(th->ack_seq);
	head->window = bpf_ntohs(th->window);
	if (config.verify)
		*check = th->check;
	head->tcp_flags = (__u8)offset_and_flags;
	if (length < sizeof(*th))
		head->state |= STATE_MALFORMED | STATE_SHORT_OFFSET;
	else if (length > transport_length(f) || !has(f, length))
		head->state |= STATE_MALFORMED;
	head->header_length = f->offset - f->ip_offset + length;
}

static __always_inline void fill_udp(struct frame *f, struct record_head *head,
				     const struct udphdr *uh, __be16 *check)
{
	head->tcp_flags = 0;
	copy_ports(head, uh);
	head->seq = 0;
	head->ack = 0;
	f->src_port = uh->source;
	f->dst_port = uh->dest;
	head->window = bpf_ntohs(uh->len);
	if (config.verify)
		*check = uh->check;
	head->header_length = f->offset - f->ip_offset + sizeof(*uh);
	if (may_be_listed(uh) && (is_direction_port(uh->source) || is_direction_port(uh->dest)))
		f->payload = PAYLOAD_DIRECTION;
}

static __always_inline void fill_icmp(struct frame *f, struct record_head *head,
				      const struct icmp_head *icmph, __be16 *check)
{
	clear_transport(head);
	head->window = icmph->type << 8 | icmph->code;
	if (config.verify)
		*check = icmph->checksum;
	head->header_length = f->offset - f->ip_offset + sizeof(*icmph);
}

/* Cuts frame.payload to what there is after header_length. */
static __always_inline void limit_payload(struct frame *f, const struct record_head *head)
{
	__u32 start = f->ip_offset + head->header_length;
	__u32 end = lesser(f->ip_end, f->end);

	f->payload = start < end ? lesser(f->payload, end - start) : 0;
}

/* --- direct --------------------------------------------------------------- */

/* A place in the linear part of a frame. */
struct cursor {
	void *pos;
	void *end;
};

/* Whether a datagram is to be looked into: by its ports, or by how it begins. What
 * direct access can't see is. */
static __always_inline enum reason direct_tunnel(const struct frame *f, const struct udphdr *uh,
						 const struct cursor *cursor)
{
	__u32 length = transport_length(f) - sizeof(*uh);
	const __u8 *payload = (void *)(uh + 1);

	if (!config.tunnels || !config.layers)
		return REASON_NONE;
	if (may_be_listed(uh) && (tunnel_on_port(uh->dest) || tunnel_on_port(uh->source)))
		return PARSE_TUNNEL;
	return may_be_tunnel(payload, length, cursor->end) ? PARSE_TUNNEL : REASON_NONE;
}

static __always_inline enum reason direct_transport(struct frame *f, struct record_head *head,
						    __be16 *check, struct cursor *cursor)
{
	void *pos = cursor->pos;

	head->protocol = f->protocol;
	switch (f->protocol) {
	case IPPROTO_TCP:
		if (pos + sizeof(struct tcphdr) > cursor->end ||
		    !has_transport(f, sizeof(struct tcphdr)))
			return PARSE_LAYERS;
		fill_tcp(f, head, pos, check);
		return REASON_NONE;
	case IPPROTO_UDP:
		if (pos + sizeof(struct udphdr) > cursor->end ||
		    !has_transport(f, sizeof(struct udphdr)))
			return PARSE_LAYERS;
		fill_udp(f, head, pos, check);
		return direct_tunnel(f, pos, cursor);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (pos + sizeof(struct icmp_head) > cursor->end ||
		    !has_transport(f, sizeof(struct icmp_head)))
			return PARSE_LAYERS;
		fill_icmp(f, head, pos, check);
		return REASON_NONE;
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
	case IPPROTO_NONE:
		return PARSE_LAYERS;
	}
	clear_transport(head);
	head->header_length = f->offset - f->ip_offset;
	return REASON_NONE;
}

/* ip_length by the header or, of a super-packet whose header can't say it (BIG
 * TCP), by the frame. */
static __always_inline int set_ip_length(struct frame *f, struct record_head *head, __u32 length,
					 __u32 unsaid)
{
	if (length == unsaid && f->gso_size)
		length = f->length - f->ip_offset;
	head->ip_length = length;
	f->ip_end = f->ip_offset + length;
	head->state = f->ip_end <= f->end ? STATE_COMPLETE : 0;
	return length != 0 && f->ip_end <= f->length;
}

/* Makes sure that a frame is known to its end, if an IP packet of that length may not
 * be all in the linear part, which is the first guess. */
static __always_inline void see_end(struct walk *walk, int xdp, struct frame *f, __u32 length,
				    __u32 header)
{
	if (xdp == XDP && (f->ip_offset + length > f->end || length <= header)) {
		f->length = bpf_xdp_get_buff_len(walk->ctx);
		f->end = f->length;
	}
}

static __always_inline enum reason direct_ipv4(struct walk *walk, int xdp, struct frame *f,
					       struct record *r, struct cursor *cursor)
{
	struct iphdr *iph = cursor->pos;
	__u32 header;

	if (cursor->pos + sizeof(*iph) > cursor->end)
		return PARSE_LAYERS;
	header = iph->ihl * 4;
	if (header < sizeof(*iph) || iph->frag_off & bpf_htons(IPV4_FRAGMENT))
		return PARSE_LAYERS;
	if (config.verify && (header > sizeof(*iph) || !is_intact(iph)))
		return PARSE_LAYERS;
	see_end(walk, xdp, f, bpf_ntohs(iph->tot_len), header);
	if (!set_ip_length(f, &r->head, bpf_ntohs(iph->tot_len), 0) || r->head.ip_length < header)
		return PARSE_LAYERS;
	r->ipv4.src = iph->saddr;
	r->ipv4.dst = iph->daddr;
	if (config.identity)
		walk->staging->frame.ip_id = bpf_ntohs(iph->id);
	f->protocol = iph->protocol;
	f->offset = f->ip_offset + header;
	cursor->pos += header;
	return direct_transport(f, &r->head, &walk->staging->frame.check, cursor);
}

static __always_inline void copy_addresses(struct record_ipv6 *to, const struct ipv6hdr *ip6h)
{
	__builtin_memcpy(to, &ip6h->saddr, sizeof(*to));
}

static __always_inline enum reason direct_ipv6(struct walk *walk, int xdp, struct frame *f,
					       struct record *r, struct cursor *cursor)
{
	struct ipv6hdr *ip6h = cursor->pos;

	if (cursor->pos + sizeof(*ip6h) > cursor->end)
		return PARSE_LAYERS;
	if (is_extension(ip6h->nexthdr))
		return PARSE_LAYERS;
	see_end(walk, xdp, f, bpf_ntohs(ip6h->payload_len) + sizeof(*ip6h), sizeof(*ip6h));
	if (!set_ip_length(f, &r->head, bpf_ntohs(ip6h->payload_len) + sizeof(*ip6h),
			   sizeof(*ip6h)))
		return PARSE_LAYERS;
	r->head.state |= STATE_IPV6;
	copy_addresses(&r->ipv6, ip6h);
	if (config.identity)
		walk->staging->frame.ip_id = bpf_ntohl(*(__be32 *)ip6h) & 0xfffff;
	f->protocol = ip6h->nexthdr;
	f->offset = f->ip_offset + sizeof(*ip6h);
	cursor->pos += sizeof(*ip6h);
	return direct_transport(f, &r->head, &walk->staging->frame.check, cursor);
}

/* Whether anyone asks for VLAN ids. */
static __always_inline int wants_vlans(void)
{
	return config.l2 || config.filter;
}

static __always_inline enum reason direct_ethernet(struct staging *s, struct frame *f,
						   struct cursor *cursor)
{
	__be16 *addresses_and_type = cursor->pos;
	struct vlan_tag *tag;
	__u16 type;

	if (cursor->pos + ETH_HLEN > cursor->end || !has_ethernet(f))
		return PARSE_LAYERS;
	type = bpf_ntohs(addresses_and_type[ETH_ALEN]);
	cursor->pos += ETH_HLEN;
	f->offset = ETH_HLEN;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS_DIRECT; i++) {
		if (!is_vlan(f, type))
			break;
		tag = cursor->pos;
		if (cursor->pos + sizeof(*tag) > cursor->end)
			return PARSE_LAYERS;
		f->tagged = 1;
		if (wants_vlans())
			add_vlan(&s->frame.l2, bpf_ntohs(tag->tci));
		type = bpf_ntohs(tag->type);
		cursor->pos += sizeof(*tag);
		f->offset += sizeof(*tag);
	}
	return type == ETH_P_IP || type == ETH_P_IPV6 ? REASON_NONE : PARSE_LAYERS;
}

/* Fills what `f` needs for the record, which is `r`: all but the link addresses. */
static __always_inline enum reason parse_direct(struct walk *walk, int xdp, struct frame *f,
						struct record *r, void *data, void *data_end)
{
	struct cursor cursor = {data, data_end};
	__u8 version;

	if (config.link == LINK_ETHERNET &&
	    direct_ethernet(walk->staging, f, &cursor) != REASON_NONE)
		return PARSE_LAYERS;
	if (cursor.pos + 1 > cursor.end)
		return PARSE_LAYERS;
	f->ip_offset = f->offset;
	version = *(__u8 *)cursor.pos >> 4;
	if (version == 4)
		return direct_ipv4(walk, xdp, f, r, &cursor);
	if (version == 6)
		return direct_ipv6(walk, xdp, f, r, &cursor);
	return PARSE_LAYERS;
}

/* --- layers --------------------------------------------------------------- */

/* Ends the walk at a fragment, whose transport header is not read. One that is not
 * there as a whole can't be reassembled: the first then stands for the datagram,
 * others for nothing (Zeek: IP.cc, AnalyzePacket). */
static __always_inline long layer_fragment(struct staging *s)
{
	struct frame *f = &s->frame;
	struct record_head *head = &record_of(s)->head;

	if (!(head->state & STATE_COMPLETE)) {
		if (f->fragment.offset)
			return finish(f, REASON_FRAGMENT);
		return go_on(f, LAYER_TRANSPORT, f->offset);
	}
	clear_transport(head);
	head->state |= STATE_FRAGMENT;
	head->protocol = f->protocol;
	head->header_length = f->offset - f->ip_offset;
	f->payload = PAYLOAD_FRAGMENT;
	f->fragment.partial_sum = 0;
	if (!config.verify)
		return go_on(f, LAYER_RECORD, f->offset);
	f->sum = 0;
	f->sum_at = f->offset;
	f->sum_left = f->ip_end - f->offset;
	if (f->sum_left)
		return go_on(f, LAYER_CHECKSUM, f->offset);
	end_checksum(f, head);
	return go_on(f, LAYER_RECORD, f->offset);
}

/* Whether the IPv4 header of so many bytes at f->offset is intact. */
static __always_inline int is_intact_at(struct walk *walk, int xdp, __u32 header)
{
	struct staging *s = walk->staging;

	header = ((header - 1) & 63) + 1; /* for the verifier */
	if (load(walk, xdp, s->frame.offset, s->chunk, header))
		return 0;
	return fold((__u32)bpf_csum_diff(0, 0, (__be32 *)s->chunk, header & 0x3c, 0)) == 0xffff;
}

static __always_inline long layer_ipv4(struct walk *walk, int xdp)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;
	struct record *r = record_of(s);
	struct iphdr iph;
	__u32 header;
	__u16 fragment;

	if (load(walk, xdp, f->offset, &iph, sizeof(iph)))
		return finish(f, REASON_LOAD);
	header = iph.ihl * 4;
	if (!set_ip_length(f, &r->head, bpf_ntohs(iph.tot_len), 0) || header > r->head.ip_length)
		return finish(f, REASON_IP_LENGTH);
	if (!has(f, header) || header < sizeof(iph))
		return finish(f, REASON_IP_HEADER);
	if (config.verify && !is_intact_at(walk, xdp, header))
		return finish(f, REASON_IP_CHECKSUM);
	r->ipv4.src = iph.saddr;
	r->ipv4.dst = iph.daddr;
	f->ip_id = bpf_ntohs(iph.id);
	f->protocol = iph.protocol;
	go_on(f, LAYER_TRANSPORT, f->offset + header);
	fragment = bpf_ntohs(iph.frag_off);
	if (!(fragment & IPV4_FRAGMENT))
		return 0;
	f->fragment.id = f->ip_id;
	f->fragment.offset = (fragment & 0x1fff) << 3;
	f->fragment.more = fragment >> 13 & 1;
	return layer_fragment(s);
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
	struct record *r = record_of(s);
	struct ipv6hdr ip6h;

	if (!has(f, sizeof(ip6h)))
		return finish(f, REASON_IP_HEADER);
	if (load(walk, xdp, f->offset, &ip6h, sizeof(ip6h)))
		return finish(f, REASON_LOAD);
	if (!set_ip_length(f, &r->head, bpf_ntohs(ip6h.payload_len) + sizeof(ip6h), sizeof(ip6h)))
		return finish(f, REASON_IP_LENGTH);
	r->head.state |= STATE_IPV6;
	copy_addresses(&r->ipv6, &ip6h);
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
	if (!has(f, sizeof(struct iphdr)))
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
	struct record *r = record_of(s);
	int type0 = ext->byte2 == 0 && ext->length >= 2 && ext->length % 2 == 0;
	int type2 = ext->byte2 == 2 && ext->length == 2;

	if (s->frame.routed || ext->byte3 == 0 || !(type0 || type2))
		return 0;
	s->frame.routed = 1;
	return load(walk, xdp, end - sizeof(r->ipv6.dst), r->ipv6.dst, sizeof(r->ipv6.dst));
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
	record_of(s)->head.ip_length -= length;
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
	if (!has(f, sizeof(ext))) /* no extension header is shorter */
		return go_on(f, LAYER_TRANSPORT, f->offset);
	if (load(walk, xdp, f->offset, &ext, sizeof(ext)))
		return finish(f, REASON_LOAD);
	length = extension_length(f->protocol, &ext);
	end = f->offset + length;
	if (end > f->end)
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
		return layer_fragment(s);
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
	struct record *r = record_of(s);
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
	if (option[0] == OPTION_HOME_ADDRESS && option[1] == sizeof(r->ipv6.src) && !f->home) {
		f->home = 1;
		if (load(walk, xdp, f->offset + 2, r->ipv6.src, sizeof(r->ipv6.src)))
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
	struct record_head *head = &record_of(s)->head;
	enum reason reason = REASON_NONE;
	union {
		struct tcphdr tcp;
		struct udphdr udp;
		struct icmp_head icmp;
	} header;

	head->protocol = f->protocol;
	switch (f->protocol) {
	case IPPROTO_TCP:
		reason = load_transport(walk, xdp, &header, sizeof(header.tcp));
		if (reason == REASON_NONE)
			fill_tcp(f, head, &header.tcp, &f->check);
		break;
	case IPPROTO_UDP:
		reason = load_transport(walk, xdp, &header, sizeof(header.udp));
		if (reason == REASON_NONE)
			fill_udp(f, head, &header.udp, &f->check);
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		reason = load_transport(walk, xdp, &header, sizeof(header.icmp));
		if (reason == REASON_NONE)
			fill_icmp(f, head, &header.icmp, &f->check);
		break;
	case IPPROTO_NONE:
		reason = REASON_NO_NEXT_HEADER;
		break;
	default:
		clear_transport(head);
		head->header_length = f->offset - f->ip_offset;
	}
	if (reason != REASON_NONE)
		return finish(f, reason);
	if (config.verify && begin_checksum(walk, xdp, record_of(s)))
		return go_on(f, LAYER_CHECKSUM, f->offset);
	return go_on(f, LAYER_RECORD, f->offset);
}

/* --- records -------------------------------------------------------------- */

/* Appends one block; where it ends. */
#define APPEND(s, at, block)                                                                       \
	({                                                                                         \
		__builtin_memcpy((s)->records + (at), block, sizeof(*(block)));                    \
		(at) + sizeof(*(block));                                                           \
	})

/* Writes the blocks behind the addresses, but for the payload's. `link` is the frame's
 * two link addresses. */
static __always_inline __u32 append_blocks(struct staging *s, struct frame *f,
					   struct record_head *head, const __u16 *link, __u32 at)
{
	struct block_gso gso = {f->gso_size, f->gso_segments, 0};
	struct block_identity identity = {s->frame.ip_id, 0};
	struct block_tunnel tunnel = {f->tunnel, f->depth, 0, f->id};
	__u8 blocks = 0;

	if (config.l2 && f->has_l2) {
		blocks |= BLOCK_L2;
		__builtin_memcpy(s->records + at, link, 2 * ETH_ALEN);
		at = APPEND(s, at + 2 * ETH_ALEN, &s->frame.l2.vlan);
		at = APPEND(s, at, &s->frame.l2.inner_vlan);
	}
	if (head->state & STATE_FRAGMENT) {
		blocks |= BLOCK_FRAGMENT;
		at = APPEND(s, at, &s->frame.fragment);
	}
	if (f->gso_size) {
		blocks |= BLOCK_GSO;
		at = APPEND(s, at, &gso);
	}
	if (config.identity) {
		blocks |= BLOCK_IDENTITY;
		at = APPEND(s, at, &identity);
	}
	if (f->depth) {
		blocks |= BLOCK_TUNNEL;
		at = APPEND(s, at, &tunnel);
	}
	head->blocks = blocks;
	return at;
}

/* Writes the owner's block, if the owner is known. */
static __always_inline __u32 append_owner(struct walk *walk, int xdp, struct record_head *head,
					  __u32 at)
{
	struct block_owner *owner = (void *)walk->staging->records + at;

	if (!config.owner || xdp || head->state & STATE_FRAGMENT)
		return at;
	if (!copy_owner(walk->ctx, head, owner))
		return at;
	head->blocks |= BLOCK_OWNER;
	return at + sizeof(*owner);
}

/* Writes the payload's block, padded with zeros; none if there is no payload. */
static __always_inline __u32 append_payload(struct walk *walk, int xdp, struct frame *f,
					    struct record_head *head, __u32 at)
{
	struct block_payload *block = (void *)walk->staging->records + at;
	__u32 start = f->ip_offset + head->header_length;
	__u32 length;

	limit_payload(f, head);
	if (f->payload == 0)
		return at;
	/* From 1 to PAYLOAD_FRAGMENT, in a way that the verifier of 6.1 follows. */
	length = ((f->payload - 1) & (PAYLOAD_FRAGMENT - 1)) + 1;
	*(__u64 *)((void *)block + ((length + 1) & 0x1f8)) = 0;
	block->length = length;
	if (load(walk, xdp, start, block->bytes, length))
		return at;
	head->blocks |= BLOCK_PAYLOAD;
	return at + ((length + sizeof(*block) + 7) & 0x1f8);
}

/* Completes the record that begins at `at`; where it ends. The frame's first one has
 * its time stamped. */
static __always_inline __u32 append_record(struct walk *walk, int xdp, struct frame *f,
					   struct record *r, const __u16 *link, __u32 at)
{
	struct staging *s = walk->staging;
	__u32 end = at + sizeof(r->head);

	end += r->head.state & STATE_IPV6 ? sizeof(r->ipv6) : sizeof(r->ipv4);
	end = append_blocks(s, f, &r->head, link, end);
	end = append_owner(walk, xdp, &r->head, end);
	if (config.service && !f->payload && is_first_payload(s, r))
		f->payload = PAYLOAD_SERVICE;
	if (f->payload && (xdp == 0 || config.layers))
		end = append_payload(walk, xdp, f, &r->head, end);
	r->head.words = (end - at) / 8;
	r->head.kind = f->depth ? RECORD_INNER : RECORD_PACKET;
	r->head.interface = config.index_mask ? s->interface : config.interface;
	if (f->records == 0)
		f->dt_ns = stamp(s, f);
	r->head.dt_ns = f->dt_ns;
	return end;
}

/* Completes the record, if it is to be one, and goes on with what its packet may
 * carry. */
static __always_inline long layer_record(struct walk *walk, int xdp)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;
	struct record *r = record_of(s);
	int carries = config.tunnels && may_carry(f->protocol) &&
		      !(r->head.state & STATE_FRAGMENT) && !is_bad(&r->head);

	if (!f->depth && !is_selected(f, r))
		return finish(f, PARSE_FILTERED);
	f->at = append_record(walk, xdp, f, r, (void *)&f->l2, (void *)r - (void *)s->records);
	f->records++;
	f->note = 0;
	if (carries)
		return go_on(f, LAYER_TUNNEL, f->offset);
	return finish(f, REASON_NONE);
}

/* Writes what is to be said of a tunnel that gave no packet. */
static __always_inline void append_note(struct staging *s)
{
	struct frame *f = &s->frame;
	struct record *r = record_of(s);
	struct block_tunnel tunnel = {f->tunnel, f->depth, 0, 0};

	__builtin_memset(&r->head, 0, sizeof(r->head) + sizeof(r->ipv4));
	r->head.dt_ns = f->dt_ns;
	r->head.words = (sizeof(r->head) + sizeof(r->ipv4) + sizeof(tunnel)) / 8;
	r->head.kind = f->note;
	r->head.blocks = BLOCK_TUNNEL;
	r->head.interface = config.index_mask ? s->interface : config.interface;
	__builtin_memcpy((void *)r + sizeof(r->head) + sizeof(r->ipv4), &tunnel, sizeof(tunnel));
	f->at = (f->at & RECORDS_MASK) + r->head.words * 8;
}

static __always_inline long next_layer(struct walk *walk, int xdp)
{
	switch (walk->staging->frame.layer) {
	case LAYER_ETHERNET:
		return layer_ethernet(walk, xdp);
	case LAYER_TYPE:
		return layer_type(walk, xdp);
	case LAYER_MPLS:
		return layer_mpls(walk, xdp);
	case LAYER_WLAN:
		return layer_wlan(walk, xdp);
	case LAYER_IP:
		return layer_ip(walk, xdp);
	case LAYER_EXTENSION:
		return layer_extension(walk, xdp);
	case LAYER_OPTION:
		return layer_option(walk, xdp);
	case LAYER_TRANSPORT:
		return layer_transport(walk, xdp);
	case LAYER_CHECKSUM:
		return layer_checksum(walk, xdp);
	case LAYER_RECORD:
		return layer_record(walk, xdp);
	case LAYER_TUNNEL:
		return layer_tunnel(walk, xdp);
	case LAYER_GRE:
		return layer_gre(walk, xdp);
	case LAYER_VXLAN:
		return layer_vxlan(walk, xdp);
	case LAYER_GENEVE:
		return layer_geneve(walk, xdp);
	case LAYER_GTP:
		return layer_gtp(walk, xdp);
	case LAYER_GTP_EXTENSION:
		return layer_gtp_extension(walk, xdp);
	case LAYER_GTP_PACKET:
		return layer_gtp_packet(walk, xdp);
	case LAYER_TEREDO:
		return layer_teredo(walk, xdp);
	case LAYER_AYIYA:
		return layer_ayiya(walk, xdp);
	}
	return 1;
}

static long next_layer_xdp(__u32 index __attribute__((unused)), void *walk)
{
	return next_layer(walk, 1);
}

static long next_layer_skb(__u32 index __attribute__((unused)), void *walk)
{
	return next_layer(walk, 0);
}

/* More steps than any frame takes, whatever its bounds are. */
#define LAYERS_MAX 4096

/* Reads from frame.layer on. REASON_NONE: there are records. */
static __always_inline enum reason parse_layers(struct walk *walk, int xdp, enum layer first)
{
	struct frame *f = &walk->staging->frame;

	f->reason = REASON_LOAD;
	f->layer = first;
	if (xdp)
		bpf_loop(LAYERS_MAX, next_layer_xdp, walk, 0);
	else
		bpf_loop(LAYERS_MAX, next_layer_skb, walk, 0);
	if (f->note)
		append_note(walk->staging);
	return f->records ? REASON_NONE : f->reason;
}

#endif
