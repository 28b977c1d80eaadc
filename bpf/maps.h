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
	__u16 interface;   /* slot of the interface in this run, for record_head */
	__u8 link;	   /* enum link */
	__u8 l2;	   /* 1: records carry BLOCK_L2, where there is a link layer */
	__u8 identity;	   /* 1: records carry BLOCK_IDENTITY */
	__u8 layers;	   /* 1: read what direct packet access can't; wants bpf_loop (5.17) and,
			    * for XDP, bpf_xdp_load_bytes (5.18). 0: such frames are REASON_LOAD */
	__u8 tunnels;	   /* 1: record what is inside tunnels too; wants `layers` */
	__u8 verify;	   /* 1: judge checksums, and sum up fragments; wants `layers` */
	__u8 service;	   /* 1: record how a flow's first payload packets begin */
	__u8 filter;	   /* 1: record what filter_frame lets pass */
	__u8 drop;	   /* 1: XDP ends the way of every packet, recorded or not */
	__u32 sample;	   /* record one connection in so many; 0 and 1: all */
	__u32 wakeup_mask; /* the reader is woken when (sequence & mask) == 0: 0 is always */
};
const volatile struct config config = {
    .l2 = 1, .layers = 1, .tunnels = 1, .service = 1, .wakeup_mask = 255};

/* Where the records of a frame begin is below this: the last one stands behind at
 * most one of 168 bytes and four of 176. It is of 400 at most, a fragment's. */
#define RECORDS_SIZE 1024

#define CHUNK_SIZE 512 /* the most that bpf_csum_diff takes before kernel 6.13 */

/* Where the layer path stands in a frame. */
enum layer {
	LAYER_ETHERNET,
	LAYER_TYPE, /* after the addresses or a tag: `type` says what comes */
	LAYER_MPLS, /* at a label */
	LAYER_WLAN, /* IEEE 802.11, in GRE alone */
	LAYER_IP,
	LAYER_EXTENSION, /* IPv6: `protocol` says which */
	LAYER_OPTION,	 /* in an IPv6 destination options header */
	LAYER_TRANSPORT,
	LAYER_CHECKSUM, /* of the transport header at `offset` */
	LAYER_RECORD,	/* all of a record is known but its blocks */
	LAYER_TUNNEL,	/* at the transport header of a packet that may carry others */
	LAYER_GRE,
	LAYER_VXLAN,
	LAYER_GENEVE,
	LAYER_GTP,
	LAYER_GTP_EXTENSION,
	LAYER_GTP_PACKET,
	LAYER_TEREDO,
	LAYER_AYIYA,
};

/* A frame while it is parsed. */
struct frame {
	__u32 length; /* of the frame, as on the wire; in a tunnel: where its content ends */
	__u32 end;    /* where the layer ends */
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
	__u8 reason;	    /* enum reason, once parsing has ended */
	__u16 payload;	    /* bytes of payload to be recorded */
	__u16 at;	    /* where the record begins, from the batch's start */
	__be16 src_port;    /* of a UDP header: the tunnels in it go by them */
	__be16 dst_port;

	__u8 has_l2;  /* 1: there was a header with addresses */
	__u8 tagged;  /* 1: the layer before was a VLAN tag */
	__u8 off_tag; /* 1: the stack took a tag off the frame */
	__u8 labels;  /* tags, labels and the like so far */
	__u8 walked;  /* extension headers and options so far */
	__u8 routed;  /* 1: a routing header has replaced the destination */
	__u8 home;    /* 1: a home address option has replaced the source */
	__u8 records; /* finished so far */

	__u8 depth;  /* of the packet, 0: outermost */
	__u8 tunnel; /* enum tunnel_type: what it came out of */
	__u8 note;   /* enum record_kind to be recorded in place of a packet; 0: none */
	__u8 seen;   /* headers of a tunnel so far */
	__u32 id;    /* block_tunnel.id */
	__u8 flags;  /* LAYER_GTP_PACKET: the header's first two bytes */
	__u8 message;
	__u16 reserved;
	__u32 sum;	/* LAYER_CHECKSUM: so far */
	__u32 sum_at;	/* what is to be added next */
	__u32 sum_left; /* bytes */
	__be16 check;	/* the checksum field of the transport header */
	__u16 reserved2;
	__u32 ip_id;
	struct block_l2 l2;
	struct block_fragment fragment;
};

/* What of the wire no map and no function mentions: a compiler puts into BTF only
 * what is mentioned, and a test wants to see it all there. */
struct wire {
	enum hook hook;
	enum record_kind kind;
	enum tunnel_type tunnel_type;
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
	__u64 sequence; /* frames recorded */
	__u64 lost;	/* frames that found no room */
	struct wire wire[0];
	struct frame frame;
	struct batch_header header;
	struct record_head head;
	union {
		struct record_ipv4 ipv4;
		struct record_ipv6 ipv6;
	};
	__u8 more[2 * RECORDS_SIZE];
	__u8 chunk[CHUNK_SIZE + 8] __attribute__((aligned(8)));
};

/* A record in the batch, at frame.at. */
struct record {
	struct record_head head;
	union {
		struct record_ipv4 ipv4;
		struct record_ipv6 ipv6;
	};
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

#define FLOW_SLOTS 8192	    /* the most that a per-CPU value takes: 32 KiB */
#define FLOW_PAYLOADS_MAX 4 /* of a flow's direction, that are recorded */
#define FLOW_COUNT_MASK 7

/* Flows by their hash, for a guess at what is new; two in one slot drive each other
 * out. Each is the hash's lower bits but FLOW_COUNT_MASK's, and there the number of
 * payload packets that were seen. */
struct flows {
	__u32 slots[FLOW_SLOTS];
};

/* One struct flows per CPU. Hooks share it: a race makes a guess wrong, no more. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flows);
} flows_seen SEC(".maps");

/* Key: config.interface * HOOK_COUNT + enum hook; max_entries is set at load.
 * Value: struct counters, per CPU. Read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64 * HOOK_COUNT);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

#endif
