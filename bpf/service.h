/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which packets' payload tells the application protocol: the first few of each
 * direction of a flow. Go has no twin, as it has all payload at hand. */
#ifndef CONNTAP_SERVICE_H
#define CONNTAP_SERVICE_H

#include "layer.h"

#define TCP_FLAG_SYN_BYTE 0x02 /* of record_head.tcp_flags */

/* A hash of one direction of a flow. */
static __always_inline __u64 hash_flow(const struct record *r)
{
	__u64 addresses, ports = (__u64)r->head.src_port << 32 | r->head.dst_port;

	if (r->head.state & STATE_IPV6)
		addresses = ((__u64)(r->ipv6.src[0] ^ r->ipv6.src[2]) << 32 |
			     (r->ipv6.src[1] ^ r->ipv6.src[3])) *
				0x9e3779b97f4a7c15 ^
			    ((__u64)(r->ipv6.dst[0] ^ r->ipv6.dst[2]) << 32 |
			     (r->ipv6.dst[1] ^ r->ipv6.dst[3]));
	else
		addresses = (__u64)r->ipv4.src << 32 | r->ipv4.dst;
	addresses ^= (ports | (__u64)r->head.protocol << 16) * 0xbf58476d1ce4e5b9;
	addresses = (addresses ^ addresses >> 32) * 0x94d049bb133111eb;
	return addresses ^ addresses >> 29;
}

/* Counts the packet, and tells whether its payload is to be recorded. A SYN starts
 * its direction anew. */
static __always_inline int is_first_payload(const struct record *r)
{
	int syn = r->head.tcp_flags & TCP_FLAG_SYN_BYTE;
	__u32 zero = 0, fingerprint, count;
	struct flows *flows;
	__u32 *slot;
	__u64 hash;

	if (r->head.protocol != IPPROTO_TCP && r->head.protocol != IPPROTO_UDP)
		return 0;
	if (r->head.state & (STATE_MALFORMED | STATE_FRAGMENT))
		return 0;
	if (r->head.ip_length <= r->head.header_length && !syn)
		return 0;
	flows = bpf_map_lookup_elem(&flows_seen, &zero);
	if (!flows)
		return 0;
	hash = hash_flow(r);
	fingerprint = (__u32)hash & ~FLOW_COUNT_MASK;
	slot = &flows->slots[hash >> 32 & (FLOW_SLOTS - 1)];
	if (syn || (*slot & ~FLOW_COUNT_MASK) != fingerprint)
		*slot = fingerprint;
	count = *slot & FLOW_COUNT_MASK;
	if (count >= FLOW_PAYLOADS_MAX || r->head.ip_length <= r->head.header_length)
		return 0;
	*slot = fingerprint | (count + 1);
	return 1;
}

#endif
