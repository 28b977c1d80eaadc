/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Checksums, when they are asked for (config.verify). The Go twin is checksum.go. */
#ifndef CONNTAP_CHECKSUM_H
#define CONNTAP_CHECKSUM_H

#include "layer.h"

#define CHUNKS_DIRECT 8			 /* of CHUNK_SIZE, that direct access sums up */
#define VXLAN_PAYLOAD_MIN (8 + ETH_HLEN) /* VXLAN's header and that of the frame inside */

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (sum >> 16) + (sum & 0xffff);
}

/* Whether an IPv4 header without options is intact. */
static __always_inline int is_intact(const struct iphdr *iph)
{
	const __u32 *words = (void *)iph;

	return fold((__u64)words[0] + words[1] + words[2] + words[3] + words[4]) == 0xffff;
}

/* The sum of the header that TCP's, UDP's and ICMPv6's checksums cover beside their own
 * (RFC 9293, section 3.1; RFC 8200, section 8.1). */
static __always_inline __u64 pseudo_header(const struct record *r, __u32 length)
{
	__u64 sum = (__u64)bpf_htonl(length) + bpf_htonl(r->head.protocol);

	if (!(r->head.state & STATE_IPV6))
		return sum + r->ipv4.src + r->ipv4.dst;
#pragma unroll
	for (int i = 0; i < 4; i++)
		sum += (__u64)r->ipv6.src[i] + r->ipv6.dst[i];
	return sum;
}

static __always_inline void set_checksum(struct record_head *head, enum checksum_state state)
{
	head->state |= state << STATE_CHECKSUM_SHIFT;
}

/* A UDP datagram that may leave its checksum out and did: over IPv4, or with VXLAN
 * inside (RFC 7348, section 5; RFC 6935). */
static __always_inline int has_no_checksum(struct walk *walk, int xdp, const struct record *r,
					   __u32 length)
{
	struct frame *f = &walk->staging->frame;
	__u8 flags;

	if (f->check)
		return 0;
	if (!(r->head.state & STATE_IPV6))
		return 1;
	if (f->dst_port != bpf_htons(4789) || length <= sizeof(struct udphdr) + VXLAN_PAYLOAD_MIN)
		return 0;
	return load(walk, xdp, f->offset + sizeof(struct udphdr), &flags, 1) == 0 && flags & 8;
}

/* Makes ready to sum up what the transport checksum covers, or judges without. 1:
 * there is something to be summed up. */
static __always_inline int begin_checksum(struct walk *walk, int xdp, struct record *r)
{
	struct frame *f = &walk->staging->frame;
	__u32 length = transport_length(f);
	__u64 sum = 0;

	if (r->head.state & STATE_MALFORMED || !has(f, length) || length == 0)
		return 0;
	switch (r->head.protocol) {
	case IPPROTO_UDP:
		if (has_no_checksum(walk, xdp, r, length))
			return 0;
		sum = pseudo_header(r, length);
		break;
	case IPPROTO_TCP:
	case IPPROTO_ICMPV6:
		sum = pseudo_header(r, length);
		break;
	case IPPROTO_ICMP:
		break;
	default:
		return 0;
	}
	if (sum && f->check == fold(sum)) { /* the device will complete it */
		set_checksum(&r->head, CHECKSUM_NOT_FINAL);
		return 0;
	}
	if (f->gso_size)
		return 0;
	f->sum = fold(sum);
	f->sum_at = f->offset;
	f->sum_left = length;
	return 1;
}

static __always_inline void end_checksum(struct frame *f, struct record_head *head)
{
	__u16 sum = fold(f->sum);

	if (head->state & STATE_FRAGMENT)
		f->fragment.partial_sum = sum ? sum : 0xffff;
	else
		set_checksum(head, sum == 0xffff ? CHECKSUM_GOOD : CHECKSUM_BAD);
}

static __always_inline int is_bad(const struct record_head *head)
{
	return (head->state & STATE_CHECKSUM) >> STATE_CHECKSUM_SHIFT == CHECKSUM_BAD;
}

/* Adds the next CHUNK_SIZE bytes, or what is left; nonzero: they can't be loaded. */
static __always_inline long add_chunk(struct walk *walk, int xdp)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;
	__u32 length = f->sum_left < CHUNK_SIZE ? f->sum_left : CHUNK_SIZE;

	length = ((length - 1) & (CHUNK_SIZE - 1)) + 1; /* for the verifier */
	*(__u32 *)(s->chunk + (length & 0x3fc)) = 0;
	if (load(walk, xdp, f->sum_at, s->chunk, length))
		return 1;
	f->sum = bpf_csum_diff(0, 0, (__be32 *)s->chunk, (length + 3) & 0x3fc, f->sum);
	f->sum_at += length;
	f->sum_left -= length;
	return 0;
}

/* One chunk of what is to be summed up. */
static __always_inline long layer_checksum(struct walk *walk, int xdp)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;

	if (add_chunk(walk, xdp))
		return finish(f, REASON_LOAD);
	if (f->sum_left)
		return go_on(f, LAYER_CHECKSUM, f->offset);
	end_checksum(f, &record_of(s)->head);
	return go_on(f, LAYER_RECORD, f->offset);
}

/* Adds so many bytes, in 4-byte words, if `left` has that bit. */
#define ADD_WORDS(sum, pos, data_end, left, bytes)                                                 \
	if ((left) & (bytes)) {                                                                    \
		if ((pos) + (bytes) > (data_end))                                                  \
			return 0;                                                                  \
		_Pragma("unroll") for (int i = 0; i < (bytes) / 4; i++)(sum) +=                    \
		    ((__u32 *)(pos))[i];                                                           \
		(pos) += (bytes);                                                                  \
	}

/* Sums up to 63 bytes; 1: all of them are in the linear part. */
static __always_inline int add_small(struct frame *f, const void *pos, const void *data_end)
{
	__u32 left = f->sum_left;
	__u64 sum = f->sum;

	ADD_WORDS(sum, pos, data_end, left, 32);
	ADD_WORDS(sum, pos, data_end, left, 16);
	ADD_WORDS(sum, pos, data_end, left, 8);
	ADD_WORDS(sum, pos, data_end, left, 4);
	if (left & 2) {
		if (pos + 2 > data_end)
			return 0;
		sum += *(__u16 *)pos;
		pos += 2;
	}
	if (left & 1) {
		if (pos + 1 > data_end)
			return 0;
		sum += *(__u8 *)pos;
	}
	f->sum = fold(sum);
	return 1;
}

/* Sums up what stands in the linear part by direct access, as far as it goes. 1: that
 * was all. */
static __always_inline int direct_checksum(struct walk *walk, int xdp, struct record_head *head,
					   void *data, void *data_end)
{
	struct frame *f = &walk->staging->frame;
	void *pos = data + (f->offset & 0xff);
	__u32 left = f->sum_left, sum = f->sum;

	if (left < 64 && add_small(f, pos, data_end)) {
		end_checksum(f, head);
		return 1;
	}
	for (int i = 0; i < CHUNKS_DIRECT && left > CHUNK_SIZE; i++) {
		if (pos + CHUNK_SIZE > data_end)
			break;
		sum = bpf_csum_diff(0, 0, pos, CHUNK_SIZE, sum);
		pos += CHUNK_SIZE;
		left -= CHUNK_SIZE;
	}
	f->sum = sum;
	f->sum_at += f->sum_left - left;
	f->sum_left = left;
	if (left > CHUNK_SIZE || add_chunk(walk, xdp))
		return 0;
	end_checksum(f, head);
	return 1;
}

#endif
