/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of the capture programs, and what is fixed when they are loaded. */
#ifndef CONNTAP_MAPS_H
#define CONNTAP_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "record.h"

/* What stands first in a frame. */
enum link {
	LINK_ETHERNET = 0,
	LINK_IP = 1, /* tun, WireGuard, and TCX behind generic XDP */
};

/* Fixed at load time: one loaded collection serves one interface. The verifier
 * takes these as constants and drops what they rule out. */
struct config {
	__u16 interface; /* slot of the interface in this run, for record_head */
	__u8 link;	 /* enum link */
	__u8 l2;	 /* 1: records carry BLOCK_L2, where there is a link layer */
	__u8 identity;	 /* 1: records carry BLOCK_IDENTITY */
	__u8 layers;	 /* 1: read what direct packet access can't; wants bpf_loop (5.17) and,
			  * for XDP, bpf_xdp_load_bytes (5.18). 0: such frames are REASON_LOAD */
	__u8 reserved[2];
	__u32 wakeup_mask; /* the reader is woken when (sequence & mask) == 0: 0 is always */
};
const volatile struct config config = {.l2 = 1, .layers = 1, .wakeup_mask = 255};

/* The longest record: every part that a program here writes. */
#define BLOCKS_MAX                                                                                 \
	(sizeof(struct block_l2) + sizeof(struct block_fragment) + sizeof(struct block_gso) +      \
	 sizeof(struct block_identity) + 8 + PAYLOAD_FRAGMENT)

/* Where the layer path stands in a frame. */
enum layer {
	LAYER_ETHERNET,
	LAYER_TYPE, /* after the addresses or a tag: `type` says what comes */
	LAYER_IP,
	LAYER_EXTENSION, /* IPv6: `protocol` says which */
	LAYER_OPTION,	 /* in an IPv6 destination options header */
	LAYER_TRANSPORT,
};

/* A frame while it is parsed. */
struct frame {
	__u32 length; /* of the frame, as on the wire */
	__u32 offset; /* of what comes next */
	__u32 ip_offset;
	__u32 ip_end;	  /* ip_offset + record_head.ip_length */
	__u32 option_end; /* LAYER_OPTION: where the header ends */
	__u16 type;	  /* EtherType, host byte order */
	__u16 gso_size;
	__u16 gso_segments;
	__u8 layer;	    /* enum layer */
	__u8 protocol;	    /* of what stands at `offset` */
	__u8 after_options; /* LAYER_OPTION: protocol after the header */
	__u8 tags;	    /* VLAN tags so far */
	__u8 walked;	    /* extension headers and options so far */
	__u8 reason;	    /* enum reason, once parsing has ended */
	__u8 routed;	    /* 1: a routing header has replaced the destination */
	__u8 home;	    /* 1: a home address option has replaced the source */
	__u16 payload;	    /* bytes of payload to be recorded */
	__u16 reserved;
	struct block_l2 l2;
	struct block_fragment fragment;
	__u32 ip_id;
	__u32 reserved2;
};

/* What of the wire no map and no function mentions: a compiler puts into BTF only
 * what is mentioned, and a test wants to see it all there. */
struct wire {
	enum hook hook;
	enum record_kind kind;
	enum record_block block;
	enum record_state state;
	enum checksum_state checksum;
	enum reason reason;
	enum link link;
	struct block_gso gso;
	struct block_identity identity;
	struct block_tunnel tunnel;
	struct block_owner owner;
};

/* Written by one CPU for one hook alone: the batch stands here until the ring
 * takes it. On PREEMPT_RT one hook's program can be preempted by another's. */
struct staging {
	__u64 sequence; /* batches written */
	__u64 lost;	/* records that found no room */
	struct wire wire[0];
	struct frame frame;
	struct batch_header header;
	struct record_head head;
	union {
		struct record_ipv4 ipv4;
		struct record_ipv6 ipv6;
	};
	__u8 blocks[BLOCKS_MAX];
	__u8 slack[256]; /* for the verifier, which rounds the payload up to 504 bytes */
};

/* Batches for user space. All CPUs, hooks and interfaces share it: the order of
 * reservation is the order of events. max_entries is bytes, set at load. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} ring SEC(".maps");

/* Key: enum hook. Value: struct staging, of the CPU. Read by nobody else. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK_COUNT);
	__type(key, __u32);
	__type(value, struct staging);
} staging SEC(".maps");

/* Key: config.interface * HOOK_COUNT + enum hook; max_entries is set at load.
 * Value: struct counters, per CPU. Read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64 * HOOK_COUNT);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

#endif
