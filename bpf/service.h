/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which packets' payload tells the application protocol: the first few of each
 * direction of a flow. Go has no twin, as it has all payload at hand. */
#ifndef CONNTAP_SERVICE_H
#define CONNTAP_SERVICE_H

#include "layer.h"

static __always_inline __u64 join(__be32 high, __be32 low)
{
	return (__u64)high << 32 | low;
}

/* A hash of one direction of a flow: products with odd constants, whose lower half goes
 * into the upper bits as well, as these alone put runs of addresses into few slots. A
 * TCP and a UDP flow with the same addresses and ports are taken for one: they are few.
 * Each field is read as it was written: a wider load would have to wait for the
 * stores. Of an IPv6 destination the words are turned round, lest its last bits meet
 * the source's in the product's upper bits alone and cancel out. */
static __always_inline __u64 hash_flow(const struct record *r)
{
	__u64 ports = *(__u32 *)&r->head.src_port;
	__u64 hash;

	if (r->head.state & STATE_IPV6)
		hash = join(r->ipv6.src[1] ^ r->ipv6.dst[2], r->ipv6.src[0] ^ r->ipv6.dst[3]) *
			   0xbf58476d1ce4e5b9 +
		       join(r->ipv6.src[3] ^ r->ipv6.dst[0], r->ipv6.src[2] ^ r->ipv6.dst[1]);
	else
		hash = join(r->ipv4.dst, r->ipv4.src);
	hash = hash * 0x9e3779b97f4a7c15 ^ ports * 0x94d049bb133111eb;
	return hash ^ hash << 32;
}

/* The table of a flow: not by the hash, so that the processor looks for the table while
 * it multiplies. */
static __always_inline __u32 table_of(const struct record *r)
{
	__u32 ports = *(__u32 *)&r->head.src_port;
	__u32 mix = ports >> 9 ^ ports >> 25;

	if (r->head.state & STATE_IPV6)
		return mix ^ r->ipv6.src[3] >> 24 ^ r->ipv6.dst[3] >> 24;
	return mix ^ r->ipv4.src >> 24 ^ r->ipv4.dst >> 24;
}

/* Where the flow may have its slot: the first of two. */
static __always_inline __u16 *slots_of(const struct record *r, __u64 hash)
{
	__u32 key = table_of(r) & (FLOW_TABLES - 1);
	struct flows *flows = bpf_map_lookup_elem(&flows_seen, &key);

	return flows ? flows->slots[hash >> (64 - FLOW_SLOTS_BITS + 1)] : 0;
}

/* The flow's slot: its own, an empty one, or else another flow's. */
static __always_inline __u16 *choose_slot(__u16 *slots, __u32 fingerprint)
{
	if ((slots[0] ^ fingerprint) <= FLOW_COUNT_MASK || !slots[0])
		return slots;
	if ((slots[1] ^ fingerprint) <= FLOW_COUNT_MASK || !slots[1])
		return slots + 1;
	return slots + (fingerprint >> 15);
}

static __always_inline int has_payload(const struct record *r)
{
	return r->head.ip_length > r->head.header_length;
}

/* Tells whether the payload is an application's, with its beginning in the frame. */
static __always_inline int has_application(const struct record_head *head)
{
	return (head->protocol == IPPROTO_TCP || head->protocol == IPPROTO_UDP) &&
	       !(head->state & (STATE_MALFORMED | STATE_FRAGMENT));
}

/* Counts the packet, and tells whether its payload is to be recorded. A SYN starts
 * its direction anew. Most packets are of a flow that has had its share, and stands in
 * its first slot: what is asked of the others is asked later. */
static __always_inline int is_first_payload(struct staging *s, const struct record *r)
{
	int syn = r->head.tcp_flags & TCP_FLAG_SYN_BYTE;
	__u32 fingerprint, count;
	__u16 *slots, *slot;
	__u64 hash;

	if (!syn && !has_payload(r))
		return 0;
	hash = hash_flow(r);
	slots = slots_of(r, hash);
	if (!slots)
		return 0;
	fingerprint = hash >> 31 & 0xffff & ~FLOW_COUNT_MASK;
	if (!syn && (slots[0] ^ fingerprint) == FLOW_PAYLOADS_MAX)
		return 0;
	slot = choose_slot(slots, fingerprint);
	if (syn) {
		*slot = fingerprint;
		if (!has_payload(r))
			return 0;
	}
	count = *slot ^ fingerprint; /* above FLOW_COUNT_MASK if it is another flow's */
	if (count == FLOW_PAYLOADS_MAX || !has_application(&r->head))
		return 0;
	if (count > FLOW_COUNT_MASK) {
		if (*slot && s->replaced++ >= config.replaced_max)
			return 0;
		count = 0;
	}
	*slot = fingerprint + count + 1;
	return 1;
}

#endif
