//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The programs of conntap bench: one that makes frames, one to compare with. */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Fixed at load time. */
struct generator {
	__u32 interface; /* index of the interface that the frames leave by */
	__u32 flows;	 /* how many, in turn */
	__u32 source;	 /* the first flow's address, host byte order; its last 16 bits are 0 */
	__u32 sum;	 /* of the IPv4 header's words, but the source address and the checksum */
	__u16 port;	 /* the first flow's source port */
	__u16 reserved;
	__u64 gap; /* between two frames of a CPU, in 1/1024 ns; 0: none */
};
const volatile struct generator generator = {.flows = 1};

/* Where one CPU stands. */
struct position {
	__u64 frames;	/* made so far */
	__u64 first_ns; /* time of the first frame, by bpf_ktime_get_ns */
	__u64 last_ns;	/* time of the last one whose number is a multiple of STAMP_EVERY */
	__u64 due_ns;	/* the next frame */
	__u32 part;	/* of a ns, in 1/1024, that belongs to due_ns */
	__u32 flow;	/* of the next frame */
};

#define STAMP_EVERY 64

/* Key: 0. Value: struct position, per CPU. Read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct position);
} positions SEC(".maps");

#define DEBT_NS 10000000    /* how far a rate may be behind: the rest is given up */
#define LOOKS_MAX (1 << 20) /* at the clock, for a frame: some tens of ms */

/* Ends the loop when the time `due_ns` has come. */
static long look(__u32 n, __u64 *due_ns)
{
	return bpf_ktime_get_ns() >= *due_ns;
}

/* Returns when the next frame is due. */
static __always_inline void keep_pace(struct position *p)
{
	__u64 now = bpf_ktime_get_ns(), due_ns = p->due_ns, part = p->part + generator.gap;

	if (due_ns + DEBT_NS < now)
		due_ns = now;
	if (due_ns > now)
		bpf_loop(LOOKS_MAX, look, &due_ns, 0);
	p->due_ns = due_ns + (part >> 10);
	p->part = part & 1023;
}

/* Makes the next flow's frame of whichever frame stood here before: it is run by
 * BPF_PROG_RUN with live frames (kernel 5.18), which come back with what was last
 * written to them. The UDP checksum is 0, none (RFC 768). */
SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
	struct udphdr *udp = (void *)(ip + 1);
	struct position *position;
	__u32 key = 0, flow, sum;

	position = bpf_map_lookup_elem(&positions, &key);
	if (!position || (void *)(udp + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (generator.gap)
		keep_pace(position);
	flow = position->flow;
	position->flow = flow + 1 < generator.flows ? flow + 1 : 0;
	if (position->frames++ % STAMP_EVERY == 0) {
		position->last_ns = bpf_ktime_get_ns();
		if (!position->first_ns)
			position->first_ns = position->last_ns;
	}

	/* Addresses first, then ports: flow 65,536 has the first one's address. */
	ip->saddr = bpf_htonl(generator.source | (flow & 0xffff));
	udp->source = bpf_htons(generator.port + (flow >> 16));
	sum = generator.sum + (generator.source >> 16) + (flow & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	ip->check = bpf_htons(~sum);
	return bpf_redirect(generator.interface, 0);
}

/* What is left of capture without its work: reads the clock, drops the frame. */
SEC("xdp")
int baseline(struct xdp_md *ctx)
{
	/* The clock is never 0: the comparison keeps the call from being left out. */
	return bpf_ktime_get_boot_ns() ? XDP_DROP : XDP_ABORTED;
}
