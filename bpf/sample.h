/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * One connection in so many. The Go twin is sample.go.
 *
 * Both directions of a connection have one hash, over addresses, ports and
 * protocol, and it alone decides: all of a connection is recorded, or nothing. Two
 * kinds of packets need care:
 *
 *   fragments    have no ports. All pass; user space judges what it makes of them.
 *   tunnels in   have a source port for each flow inside, and another one for its
 *   UDP          other direction. Of their ports none is hashed, so that what is
 *                inside stays together.
 */
#ifndef CONNTAP_SAMPLE_H
#define CONNTAP_SAMPLE_H

#include "layer.h"
#include "tunnel.h"

/* An IPv6 address in 64 bits. */
static __always_inline __u64 fold_address(const __be32 *a)
{
	return ((__u64)a[1] << 32 | a[0]) * 0x9e3779b97f4a7c15 ^ ((__u64)a[3] << 32 | a[2]);
}

/* Of two ends, whichever comes first. */
static __always_inline __u64 hash_ends(__u64 a, __u64 b)
{
	return (a ^ b) * 0xbf58476d1ce4e5b9 ^ (a + b) * 0x94d049bb133111eb;
}

/* 32 bits that the directions of a connection have in common. */
static __always_inline __u32 hash_connection(const struct record *r)
{
	__u64 hash, a = r->ipv4.src, b = r->ipv4.dst;
	__u32 src = r->head.src_port, dst = r->head.dst_port;

	if (r->head.state & STATE_IPV6) {
		a = fold_address(r->ipv6.src);
		b = fold_address(r->ipv6.dst);
	}
	if (r->head.protocol == IPPROTO_UDP &&
	    (tunnel_on_port(r->head.src_port) || tunnel_on_port(r->head.dst_port)))
		src = dst = 0;
	hash = hash_ends(a, b) + ((__u64)(src ^ dst) << 32 | (src + dst) << 8 | r->head.protocol) *
				     0xd6e8feb86659fd93;
	hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93;
	return hash >> 32;
}

/* Whether the connection of a packet is among those of which all is recorded. */
static __always_inline int in_sample(const struct record *r)
{
	if (r->head.state & STATE_FRAGMENT)
		return 1;
	return (__u64)hash_connection(r) * config.sample >> 32 == 0;
}

#endif
