//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The capture programs: each frame that passes a hook becomes a record in the
 * ring, or a count. No program here changes, drops or delays a packet. */

#include "parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TC_NEXT -1 /* TCX_NEXT, and clsact's TC_ACT_UNSPEC */

/* Appends one block to the batch, whose length `at` is; the new length. */
#define APPEND(s, at, block)                                                                       \
	({                                                                                         \
		__builtin_memcpy((__u8 *)&(s)->header + (at), block, sizeof(*(block)));            \
		(at) + sizeof(*(block));                                                           \
	})

/* Forgets the frame before. What else a record holds is set where it is read. */
static __always_inline void start_frame(struct frame *f)
{
	f->offset = 0;
	f->tags = 0;
	f->walked = 0;
	f->routed = 0;
	f->home = 0;
	f->payload = 0;
	f->l2.vlan = 0;
	f->l2.inner_vlan = 0;
}

/* Writes the blocks behind the addresses, but for the payload's. */
static __always_inline __u32 append_blocks(struct staging *s, __u32 at)
{
	struct frame *f = &s->frame;
	struct block_gso gso = {f->gso_size, f->gso_segments, 0};
	struct block_identity identity = {f->ip_id, 0};

	s->head.blocks = 0;
	if (config.l2 && config.link == LINK_ETHERNET) {
		s->head.blocks |= BLOCK_L2;
		at = APPEND(s, at, &f->l2);
	}
	if (s->head.state & STATE_FRAGMENT) {
		s->head.blocks |= BLOCK_FRAGMENT;
		at = APPEND(s, at, &f->fragment);
	}
	if (f->gso_size) {
		s->head.blocks |= BLOCK_GSO;
		at = APPEND(s, at, &gso);
	}
	if (config.identity) {
		s->head.blocks |= BLOCK_IDENTITY;
		at = APPEND(s, at, &identity);
	}
	return at;
}

/* Writes the payload's block, padded with zeros; none if there is no payload. */
static __always_inline __u32 append_payload(struct walk *walk, int xdp, __u32 at)
{
	struct staging *s = walk->staging;
	struct block_payload *block = (void *)&s->header + at;
	__u32 start = s->frame.ip_offset + s->head.header_length;
	__u32 length;

	limit_payload(s);
	if (s->frame.payload == 0)
		return at;
	/* From 1 to PAYLOAD_FRAGMENT, in a way that the verifier of 6.1 follows. */
	length = ((s->frame.payload - 1) & (PAYLOAD_FRAGMENT - 1)) + 1;
	*(__u64 *)((void *)block + ((length + 1) & 0x1f8)) = 0;
	block->length = length;
	if (load(walk, xdp, start, block->bytes, length))
		return at;
	s->head.blocks |= BLOCK_PAYLOAD;
	return at + ((length + sizeof(*block) + 7) & 0x1f8);
}

/* Hands the record to user space, in a batch of its own. */
static __always_inline void send_record(struct walk *walk, int xdp, enum hook hook,
					struct counters *counts)
{
	struct staging *s = walk->staging;
	__u32 length = sizeof(s->header) + sizeof(s->head);
	__u64 flags;

	length += s->head.state & STATE_IPV6 ? sizeof(s->ipv6) : sizeof(s->ipv4);
	length = append_blocks(s, length);
	if (s->frame.payload && (xdp == 0 || config.layers))
		length = append_payload(walk, xdp, length);
	s->head.words = (length - sizeof(s->header)) / 8;
	s->head.kind = RECORD_PACKET;
	s->head.interface = config.interface;
	s->head.dt_ns = 0;
	s->header.version = WIRE_VERSION;
	s->header.hook = hook;
	s->header.cpu = bpf_get_smp_processor_id();
	s->header.length = length;
	s->header.sequence = s->sequence;
	s->header.lost = s->lost;
	s->header.base_ns = bpf_ktime_get_boot_ns();
	flags = s->sequence & config.wakeup_mask ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP;
	if (bpf_ringbuf_output(&ring, &s->header, length, flags)) {
		s->lost++;
		counts->lost++;
		return;
	}
	s->sequence++;
	counts->recorded++;
}

/* What the frame of `ctx` is, by the one path or the other. */
static __always_inline enum reason parse(struct walk *walk, int xdp, void *data, void *data_end,
					 int tagged, __u16 tci)
{
	struct frame *f = &walk->staging->frame;
	enum reason reason;

	start_frame(f);
	if (tagged)
		add_vlan(f, tci);
	reason = parse_direct(walk->staging, data, data_end);
	if (reason != PARSE_LAYERS)
		return reason;
	if (!config.layers)
		return REASON_LOAD;
	start_frame(f);
	if (tagged)
		add_vlan(f, tci);
	return parse_layers(walk, xdp);
}

/* Counts the frame and, if it is a packet, records it. */
static __always_inline void account(struct walk *walk, int xdp, enum hook hook, enum reason reason)
{
	__u32 key = config.interface * HOOK_COUNT + hook;
	struct counters *counts = bpf_map_lookup_elem(&counters, &key);

	if (!counts)
		return;
	counts->seen++;
	if (reason == REASON_NONE)
		send_record(walk, xdp, hook, counts);
	else if (reason < REASON_COUNT)
		counts->skipped[reason]++;
}

static __always_inline int tap_xdp(struct xdp_md *xdp, __u32 length)
{
	__u32 hook = HOOK_XDP;
	struct walk walk = {xdp, bpf_map_lookup_elem(&staging, &hook)};
	void *data = (void *)(long)xdp->data;
	void *data_end = (void *)(long)xdp->data_end;

	if (!walk.staging)
		return XDP_PASS;
	walk.staging->frame.length = length;
	walk.staging->frame.gso_size = 0;
	account(&walk, 1, HOOK_XDP, parse(&walk, 1, data, data_end, 0, 0));
	return XDP_PASS;
}

static __always_inline int tap_skb(struct __sk_buff *skb, __u32 hook)
{
	struct walk walk = {skb, bpf_map_lookup_elem(&staging, &hook)};
	void *data = (void *)(long)skb->data;
	void *data_end = (void *)(long)skb->data_end;

	if (!walk.staging)
		return TC_NEXT;
	walk.staging->frame.length = skb->len;
	walk.staging->frame.gso_size = skb->gso_size;
	walk.staging->frame.gso_segments = skb->gso_segs;
	account(&walk, 0, hook, parse(&walk, 0, data, data_end, skb->vlan_present, skb->vlan_tci));
	return TC_NEXT;
}

/* Kernel 5.18 and later: takes frames in several buffers, so jumbo MTUs too. */
SEC("xdp.frags")
int conntap_xdp(struct xdp_md *xdp)
{
	return tap_xdp(xdp, bpf_xdp_get_buff_len(xdp));
}

/* For kernels and drivers without them. */
SEC("xdp")
int conntap_xdp_linear(struct xdp_md *xdp)
{
	return tap_xdp(xdp, xdp->data_end - xdp->data);
}

SEC("tcx/ingress")
int conntap_tc_ingress(struct __sk_buff *skb)
{
	return tap_skb(skb, HOOK_TC_INGRESS);
}

SEC("tcx/egress")
int conntap_tc_egress(struct __sk_buff *skb)
{
	return tap_skb(skb, HOOK_TC_EGRESS);
}
