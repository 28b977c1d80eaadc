//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The capture programs: each frame that passes a hook becomes a record in the
 * ring, or a count. No program here changes or delays a packet; XDP drops them if
 * that was asked for. */

#include "parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TC_NEXT -1 /* TCX_NEXT, and clsact's TC_ACT_UNSPEC */

/* Forgets the frame before. What else a record holds is set where it is read. */
static __always_inline void start_frame(struct frame *f, int tagged, __u16 tci)
{
	f->end = f->length;
	f->offset = 0;
	f->payload = 0;
	f->at = sizeof(struct batch_header);
	f->has_l2 = 0;
	f->tagged = 0;
	f->off_tag = 0;
	f->labels = 0;
	f->walked = 0;
	f->routed = 0;
	f->home = 0;
	f->records = 0;
	f->depth = 0;
	f->tunnel = TUNNEL_NONE;
	f->note = 0;
	f->seen = 0;
	f->l2.vlan = 0;
	f->l2.inner_vlan = 0;
	if (tagged) {
		add_vlan(f, tci);
		f->off_tag = 1;
	}
}

/* Hands the records of a frame to user space, in a batch of their own. */
static __always_inline void send_records(struct staging *s, enum hook hook, __u32 length,
					 struct counters *counts)
{
	__u64 flags;

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
					 int tagged, __u16 tci, __u32 *length)
{
	struct staging *s = walk->staging;
	struct frame *f = &s->frame;
	enum reason reason;

	start_frame(f, tagged, tci);
	reason = parse_direct(s, data, data_end);
	if (config.verify && config.layers && reason != PARSE_LAYERS &&
	    begin_checksum(walk, xdp, (void *)&s->head) &&
	    !direct_checksum(walk, xdp, &s->head, data, data_end)) {
		reason = parse_layers(walk, xdp, LAYER_CHECKSUM);
		*length = f->at & (RECORDS_SIZE * 2 - 8);
		return reason;
	}
	if (config.verify && reason == PARSE_TUNNEL &&
	    (s->head.state & STATE_CHECKSUM) >> STATE_CHECKSUM_SHIFT == CHECKSUM_BAD)
		reason = REASON_NONE;
	if (reason != PARSE_LAYERS && !is_selected(f, (void *)&s->head))
		return PARSE_FILTERED;
	if (reason != PARSE_LAYERS) {
		*length = append_record(walk, xdp, (void *)&s->head, sizeof(s->header));
		if (config.layers && reason == PARSE_TUNNEL) {
			f->at = *length;
			f->records = 1;
			parse_layers(walk, xdp, LAYER_TUNNEL);
			*length = f->at & (RECORDS_SIZE * 2 - 8);
		}
		return REASON_NONE;
	}
	if (!config.layers)
		return REASON_LOAD;
	start_frame(f, tagged, tci);
	reason = parse_layers(walk, xdp, config.link == LINK_ETHERNET ? LAYER_ETHERNET : LAYER_IP);
	*length = f->at & (RECORDS_SIZE * 2 - 8);
	return reason;
}

/* Counts the frame and, if there are packets in it, sends their records. */
static __always_inline void account(struct walk *walk, int xdp, enum hook hook, void *data,
				    void *data_end, int tagged, __u16 tci)
{
	__u32 key = config.interface * HOOK_COUNT + hook;
	struct counters *counts = bpf_map_lookup_elem(&counters, &key);
	enum reason reason;
	__u32 length;

	if (!counts)
		return;
	counts->seen++;
	reason = parse(walk, xdp, data, data_end, tagged, tci, &length);
	if (reason == REASON_NONE)
		send_records(walk->staging, hook, length, counts);
	else if (reason == PARSE_FILTERED)
		counts->filtered++;
	else if (reason < REASON_COUNT)
		counts->skipped[reason]++;
}

static __always_inline int tap_xdp(struct xdp_md *xdp, __u32 length)
{
	__u32 hook = HOOK_XDP;
	struct walk walk = {xdp, bpf_map_lookup_elem(&staging, &hook)};
	void *data = (void *)(long)xdp->data;
	void *data_end = (void *)(long)xdp->data_end;
	int verdict = config.drop ? XDP_DROP : XDP_PASS;

	if (!walk.staging)
		return verdict;
	walk.staging->frame.length = length;
	walk.staging->frame.gso_size = 0;
	account(&walk, 1, HOOK_XDP, data, data_end, 0, 0);
	return verdict;
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
	account(&walk, 0, hook, data, data_end, skb->vlan_present, skb->vlan_tci);
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
