/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the functions of the layer path have in common. */
#ifndef CONNTAP_LAYER_H
#define CONNTAP_LAYER_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include "maps.h"

/* What the callback of bpf_loop works on: a frame's context can stand on the
 * stack alone, the rest in the map, where the verifier keeps no values. */
struct walk {
	void *ctx; /* struct xdp_md or struct __sk_buff */
	struct staging *staging;
};

/* xdp: what the context is. */
#define SKB 0
#define XDP 1
#define XDP_LINEAR 2 /* all of the frame is in the linear part */

/* The record that is being written. The mask is for the verifier. */
static __always_inline struct record *record_of(struct staging *s)
{
	return (void *)s->records + (s->frame.at & RECORDS_MASK);
}

static __always_inline __u32 lesser(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

static __always_inline long load(struct walk *walk, int xdp, __u32 offset, void *to, __u32 length)
{
	if (xdp)
		return bpf_xdp_load_bytes(walk->ctx, offset, to, length);
	return bpf_skb_load_bytes(walk->ctx, offset, to, length);
}

/* Whether the next `length` bytes belong to the layer. */
static __always_inline int has(const struct frame *f, __u32 length)
{
	return f->offset + length <= f->end;
}

/* Whether the layer has a header of `length` bytes, and something after it: Zeek's
 * minimum of every link layer. */
static __always_inline int has_more(const struct frame *f, __u32 length)
{
	return f->offset + length < f->end;
}

/* The bytes of transport header and payload: by the IP length or, where that
 * leaves none, all that the layer holds (Zeek: TCP.cc, UDP.cc, ICMP.cc,
 * DeliverPacket). */
static __always_inline __u32 transport_length(const struct frame *f)
{
	return f->ip_end > f->offset ? f->ip_end - f->offset : f->end - f->offset;
}

/* Ends the walk. */
static __always_inline long finish(struct frame *f, enum reason reason)
{
	f->reason = reason;
	return 1;
}

/* Goes on with the layer at `offset`. */
static __always_inline long go_on(struct frame *f, enum layer layer, __u32 offset)
{
	f->layer = layer;
	f->offset = offset;
	return 0;
}

#endif
