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
	__u16 interface; /* number of the interface in this run, for record_head */
	__u8 link;	 /* enum link */
	__u8 l2;	 /* 1: records carry BLOCK_L2, where there is a link layer */
	__u8 identity;	 /* 1: records carry BLOCK_IDENTITY */
	__u8 layers;	 /* 1: read what direct packet access can't; wants bpf_loop (5.17) and,
			  * for XDP, bpf_xdp_load_bytes (5.18). 0: such frames are REASON_LOAD */
	__u8 tunnels;	 /* 1: record what is inside tunnels too; wants `layers` */
	__u8 verify;	 /* 1: judge checksums, and sum up fragments; wants `layers` */
	__u8 service;	 /* 1: record how a flow's first payload packets begin */
	__u8 filter;	 /* 1: record what filter_frame lets pass */
	__u8 drop;	 /* 1: XDP ends the way of every packet, recorded or not */
	__u8 timers;	 /* 1: `timers` are started, and pinned to their CPUs */
	__u8 owner;	 /* 1: records carry BLOCK_OWNER, where it is known: for TC egress, as only
			  * there a socket is the sender's for certain */
	__u8 reserved[3];
	__u32 sample;	    /* record one connection in so many; 0 and 1: all */
	__u32 wakeup_mask;  /* the reader is woken by a batch whose number & mask is 0 */
	__u32 batch_bytes;  /* a batch is sent once it is so long, header included, or longer: up to
			     * BATCH_SIZE; 1: with each frame */
	__u32 flush_ns;	    /* how long a record waits for others at most, where they are few */
	__u32 busy_ns;	    /* the same where they are many: see BUSY_FRAMES */
	__u32 index_mask;   /* of an ifindex: its place in `interfaces`, where its number stands;
			     * 0: the program is of one interface. SKB alone: XDP's frames may
			     * name the device below, as on a bond */
	__u32 slot;	    /* of the interface: its place in the counters, number & slot_mask */
	__u32 slot_mask;    /* of an interface's number: its place in the counters */
	__u32 replaced_max; /* how many packets of a batch may drive another flow out of its
			     * slot: with more flows than slots nearly all payloads would be
			     * recorded otherwise */
};
const volatile struct config config = {.l2 = 1,
				       .layers = 1,
				       .tunnels = 1,
				       .service = 1,
				       .slot_mask = 0xffff,
				       .wakeup_mask = 255,
				       .batch_bytes = 1,
				       .replaced_max = 8};

/* A batch's records, but for those of its last frame, end below this. */
#define BATCH_SIZE 4096
/* Below this end the records of a frame, whose last one of 400 bytes at most, a
 * fragment's, stands behind at most one of 200 and four of 208. */
#define RECORDS_SIZE 2048
#define RECORDS_MASK (2 * BATCH_SIZE - 8) /* of a place in staging.records */

/* So many frames while the timer ran, and it takes longer the next time. */
#define BUSY_FRAMES 32

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

/* A frame while it is parsed. Direct access works on one in registers: for what that
 * has no need of itself (l2, ip_id, check), it goes to the staging's. */
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
	__u8 hook;	    /* enum hook */
	__u8 layer;	    /* enum layer */
	__u8 protocol;	    /* of what stands at `offset` */
	__u8 after_options; /* LAYER_OPTION: protocol after the header */
	__u8 reason;	    /* enum reason, once parsing has ended */
	__u16 payload;	    /* bytes of payload to be recorded */
	__u16 at;	    /* where the record begins, in staging.records */
	__u16 start;	    /* where the frame begins there, if it is sent on its own; else 0 */
	__u32 dt_ns;	    /* since the batch's time, once there are records */
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
	struct record_head head;
	struct record_ipv4 ipv4;
	struct record_ipv6 ipv6;
	struct block_gso gso;
	struct block_identity identity;
	struct block_tunnel tunnel;
	struct block_owner owner;
};

/* What one CPU writes for one hook alone, a batch as it grows above all. Nothing
 * else touches it in between: XDP and TC ingress run in softirq, which doesn't nest;
 * TC egress runs there or with softirqs disabled; so do BPF_PROG_RUN of live frames
 * and, in softirq, a timer. On PREEMPT_RT one hook's program can be preempted by
 * another's, hence one per hook. */
struct staging {
	__u64 sequence;	 /* frames recorded before the batch */
	__u64 lost;	 /* frames that found no room in the ring */
	__u64 base_ns;	 /* time of the batch's first record */
	__u64 armed_at;	 /* sequence when the timer was started */
	__u32 batches;	 /* sent */
	__u32 frames;	 /* in the batch */
	__u32 used;	 /* length of the batch's records; 0: there is none */
	__u32 armed;	 /* 1: the timer will come */
	__u32 busy;	 /* 1: BUSY_FRAMES came while it ran the last time */
	__u32 lost_hook; /* of a batch that found no room, while its frames are counted */
	__u32 lost_at;
	__u32 lost_end;
	__u32 unsaid;	 /* 1: the reader was not woken for the last batch */
	__u32 replaced;	 /* flows that the batch's packets have driven out of their slots */
	__u32 interface; /* with config.index_mask: of the frame */
	struct wire wire[0];
	struct frame frame;
	__u8 chunk[CHUNK_SIZE + 8] __attribute__((aligned(8)));
	struct batch_header header;
	/* As far as RECORDS_MASK goes, for the verifier, and the last record of a frame. */
	__u8 records[2 * BATCH_SIZE + RECORDS_SIZE] __attribute__((aligned(8)));
};

/* A record in the batch, at frame.at. */
struct record {
	struct record_head head;
	union {
		struct record_ipv4 ipv4;
		struct record_ipv6 ipv6;
	};
};

/* Batches for user space. max_entries is bytes, set at load. */
struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
};

/* Key: CPU. Value: the ring that it writes to, put here at load: one of its own or,
 * where each frame is sent at once, one for all, in which the order of reservation is
 * the order of events. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ring);
} rings SEC(".maps");

/* Key: enum hook. Value: struct staging, of the CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, HOOK_COUNT);
	__type(key, __u32);
	__type(value, struct staging);
} staging SEC(".maps");

#define FLOW_SLOTS_BITS 14 /* the most that a per-CPU value takes: 32 KiB */
#define FLOW_TABLES_BITS 3 /* 131,072 flows on each CPU */
#define FLOW_TABLES (1 << FLOW_TABLES_BITS)
#define FLOW_PAYLOADS_MAX 4 /* of a flow's direction, that are recorded */
#define FLOW_COUNT_MASK 7

/* Flows by their hash, for a guess at what is new. Each is some of the hash's bits and,
 * in FLOW_COUNT_MASK, the number of payload packets that were seen. It stands in one of
 * two slots. */
struct flows {
	__u16 slots[1 << (FLOW_SLOTS_BITS - 1)][2];
};

/* Key: table_of a flow. Value: struct flows, of the CPU. Hooks share it: a
 * race makes a guess wrong, no more. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FLOW_TABLES);
	__type(key, __u32);
	__type(value, struct flows);
} flows_seen SEC(".maps");

/* For user space, which maps it: what a CPU and hook has not put into its ring yet is
 * not older than this. */
struct pending {
	__u64 since_ns;	   /* 0: there is nothing */
	__u64 reserved[7]; /* a cache line */
};

/* Key: CPU * HOOK_COUNT + enum hook. Value: struct pending. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, HOOK_COUNT);
	__type(key, __u32);
	__type(value, struct pending);
} pending SEC(".maps");

struct flush_timer {
	struct bpf_timer timer;
};

/* Key: CPU * HOOK_COUNT + enum hook. Value: what sends a batch that waits. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HOOK_COUNT);
	__type(key, __u32);
	__type(value, struct flush_timer);
} timers SEC(".maps");

struct interface_number {
	__u32 index;
	__u32 number;
};

/* Key: ifindex & config.index_mask, for programs of several interfaces; max_entries is set
 * at load. Value: struct interface_number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct interface_number);
} interfaces SEC(".maps");

/* Key: slot of the interface * HOOK_COUNT + enum hook; max_entries is set at load.
 * Value: struct counters, per CPU. Read by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64 * HOOK_COUNT);
	__type(key, __u32);
	__type(value, struct counters);
} counters SEC(".maps");

#endif
