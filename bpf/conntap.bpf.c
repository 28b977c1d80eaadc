//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The capture programs: each frame that passes a hook becomes a record in the
 * ring, or a count. No program here changes or delays a packet; XDP drops them if
 * that was asked for. */

#include "parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TC_NEXT -1 /* TCX_NEXT, and clsact's TC_ACT_UNSPEC */

/* What the context says of the frame, for direct access: of XDP what the linear part
 * holds. Nothing is known of what is in it. */
static __always_inline void start_direct(struct frame *f, struct walk *walk, int xdp,
					 enum hook hook)
{
	struct block_l2 *l2 = &walk->staging->frame.l2;
	struct __sk_buff *skb = walk->ctx;
	struct xdp_md *md = walk->ctx;

	*f = (struct frame){.hook = hook, .at = walk->staging->used};
	if (wants_vlans()) {
		l2->vlan = 0;
		l2->inner_vlan = 0;
	}
	if (xdp) {
		f->length = (void *)(long)md->data_end - (void *)(long)md->data;
	} else {
		f->length = skb->len;
		f->gso_size = skb->gso_size;
		f->gso_segments = skb->gso_segs;
		if (skb->vlan_present) { /* the stack took a tag off */
			f->off_tag = 1;
			f->tagged = 1;
			if (wants_vlans())
				add_vlan(l2, skb->vlan_tci);
		}
	}
	f->end = f->length;
}

/* Reads the frame layer by layer, from its start. What direct access has found out is
 * forgotten. */
static __always_inline enum reason read_layers(struct walk *walk, int xdp, struct frame *f)
{
	struct frame *kept = &walk->staging->frame;
	struct __sk_buff *skb = walk->ctx;
	enum reason reason;

	*kept = (struct frame){.hook = f->hook,
			       .at = f->at,
			       .length = xdp == XDP ? bpf_xdp_get_buff_len(walk->ctx) : f->length,
			       .gso_size = f->gso_size,
			       .gso_segments = f->gso_segments};
	kept->end = kept->length;
	if (!xdp && skb->vlan_present) {
		add_vlan(&kept->l2, skb->vlan_tci);
		kept->off_tag = 1;
		kept->tagged = 1;
	}
	reason = parse_layers(walk, xdp, config.link == LINK_ETHERNET ? LAYER_ETHERNET : LAYER_IP);
	f->at = kept->at;
	f->start = kept->start;
	return reason;
}

/* Hands what direct access has found out to the layer path. */
static __always_inline struct frame *keep(struct staging *s, const struct frame *f,
					  const struct record *r)
{
	struct frame *kept = &s->frame;
	struct block_l2 l2 = kept->l2;
	__u32 ip_id = kept->ip_id;
	__be16 check = kept->check;

	*kept = (struct frame){.length = f->length,
			       .end = f->end,
			       .offset = f->offset,
			       .ip_offset = f->ip_offset,
			       .ip_end = f->ip_end,
			       .gso_size = f->gso_size,
			       .gso_segments = f->gso_segments,
			       .hook = f->hook,
			       .protocol = r->head.protocol,
			       .payload = f->payload,
			       .at = f->at,
			       .start = f->start,
			       .dt_ns = f->dt_ns,
			       .src_port = r->head.src_port,
			       .dst_port = r->head.dst_port,
			       .records = f->records,
			       .check = check,
			       .ip_id = ip_id,
			       .l2 = l2};
	return kept;
}

/* Judges the checksum of what direct access has read, and ends it. */
static __always_inline void verify_direct(struct walk *walk, int xdp, struct frame *f,
					  struct record *r, void *data, void *data_end,
					  enum reason reason)
{
	struct frame *kept = keep(walk->staging, f, r);

	kept->has_l2 = config.link == LINK_ETHERNET;
	if (data + 2 * ETH_ALEN <= data_end)
		__builtin_memcpy(&kept->l2, data, 2 * ETH_ALEN);
	if (begin_checksum(walk, xdp, r) && !direct_checksum(walk, xdp, &r->head, data, data_end)) {
		parse_layers(walk, xdp, LAYER_CHECKSUM);
	} else {
		kept->at = append_record(walk, xdp, kept, r, (void *)&kept->l2,
					 kept->at & (BATCH_SIZE - 8));
		kept->records = 1;
		if (reason == PARSE_TUNNEL && !is_bad(&r->head))
			parse_layers(walk, xdp, LAYER_TUNNEL);
	}
	f->at = kept->at;
	f->start = kept->start;
}

/* Writes the records of the frame behind those of the batch. They end at f->at. */
static __always_inline enum reason parse(struct walk *walk, int xdp, struct frame *f, void *data,
					 void *data_end)
{
	struct staging *s = walk->staging;
	__u32 at = f->at & (BATCH_SIZE - 8);
	struct record *r = (void *)s->records + at;
	enum reason reason = parse_direct(walk, xdp, f, r, data, data_end);

	if (reason == PARSE_LAYERS)
		return config.layers ? read_layers(walk, xdp, f) : REASON_LOAD;
	if (!is_selected(&s->frame, r))
		return PARSE_FILTERED;
	if (config.verify && config.layers) {
		verify_direct(walk, xdp, f, r, data, data_end, reason);
		return REASON_NONE;
	}
	f->has_l2 = config.link == LINK_ETHERNET;
	f->at = append_record(walk, xdp, f, r, data, at);
	if (config.layers && reason == PARSE_TUNNEL) {
		f->records = 1;
		keep(s, f, r);
		parse_layers(walk, xdp, LAYER_TUNNEL);
		f->at = s->frame.at;
	}
	return REASON_NONE;
}

/* Finds the interface's slot; false if the program is not of that interface. */
static __always_inline int find_interface(struct walk *walk, int xdp, __u32 *slot)
{
	struct interface_number *found;
	struct __sk_buff *skb = walk->ctx;
	__u32 key, index;

	*slot = config.slot;
	if (xdp || !config.index_mask)
		return 1;
	index = skb->ifindex;
	key = index & config.index_mask;
	found = bpf_map_lookup_elem(&interfaces, &key);
	if (!found || found->index != index)
		return 0;
	*slot = found->number & config.slot_mask;
	walk->staging->interface = found->number;
	return 1;
}

/* Counts a frame and, if there are packets in it, sends their records on. */
static __always_inline void tap(void *ctx, int xdp, enum hook hook, void *data, void *data_end)
{
	__u32 staging_key = hook, key, slot;
	struct walk walk = {ctx, bpf_map_lookup_elem(&staging, &staging_key)};
	struct counters *counts;
	enum reason reason;
	struct frame f;

	if (!walk.staging || !find_interface(&walk, xdp, &slot))
		return;
	key = slot * HOOK_COUNT + hook;
	counts = bpf_map_lookup_elem(&counters, &key);
	if (!counts)
		return;
	counts->seen++;
	start_direct(&f, &walk, xdp, hook);
	reason = parse(&walk, xdp, &f, data, data_end);
	if (reason == REASON_NONE) {
		counts->recorded++;
		end_frame(walk.staging, hook, f.start, f.at);
	} else if (reason == PARSE_FILTERED) {
		counts->filtered++;
	} else if (reason < REASON_COUNT) {
		counts->skipped[reason]++;
	}
}

static __always_inline int tap_xdp(struct xdp_md *md, int xdp)
{
	tap(md, xdp, HOOK_XDP, (void *)(long)md->data, (void *)(long)md->data_end);
	return config.drop ? XDP_DROP : XDP_PASS;
}

static __always_inline int tap_skb(struct __sk_buff *skb, enum hook hook)
{
	tap(skb, SKB, hook, (void *)(long)skb->data, (void *)(long)skb->data_end);
	return TC_NEXT;
}

/* Kernel 5.18 and later: takes frames in several buffers, so jumbo MTUs too. */
SEC("xdp.frags")
int conntap_xdp(struct xdp_md *xdp)
{
	return tap_xdp(xdp, XDP);
}

/* For kernels and drivers without them. */
SEC("xdp")
int conntap_xdp_linear(struct xdp_md *xdp)
{
	return tap_xdp(xdp, XDP_LINEAR);
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

/* What BPF_PROG_RUN hands to the programs below, in the place of a frame. */
struct request {
	__u32 cpu;
	__u32 hook;
};

/* Sends what waits on a CPU, of all hooks. To be run on that CPU, as if a frame came
 * in (BPF_F_TEST_XDP_LIVE_FRAMES), so that softirqs are off. */
SEC("xdp")
int conntap_flush(struct xdp_md *xdp)
{
	struct request *request = (void *)(long)xdp->data;

	if ((void *)(request + 1) > (void *)(long)xdp->data_end)
		return XDP_ABORTED;
	flush(request->cpu, HOOK_XDP);
	flush(request->cpu, HOOK_TC_INGRESS);
	flush(request->cpu, HOOK_TC_EGRESS);
	return XDP_DROP;
}

/* Makes a timer ready, and starts it: only that tells whether the kernel pins timers. */
SEC("xdp")
int conntap_start_timer(struct xdp_md *xdp)
{
	struct request *request = (void *)(long)xdp->data;
	struct flush_timer *t;
	__u32 key;

	if ((void *)(request + 1) > (void *)(long)xdp->data_end)
		return XDP_ABORTED;
	key = request->cpu * HOOK_COUNT + request->hook;
	t = bpf_map_lookup_elem(&timers, &key);
	if (!t || bpf_timer_init(&t->timer, &timers, CLOCK_MONOTONIC) ||
	    bpf_timer_set_callback(&t->timer, flush_late) ||
	    bpf_timer_start(&t->timer, 0, TIMER_CPU_PIN))
		return XDP_ABORTED;
	return XDP_PASS;
}
