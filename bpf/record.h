/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Wire format v1: what crosses the ring buffer from the kernel to user space.
 *
 * A ring sample is one batch: a batch_header and `length` bytes in all, records
 * back to back. One record per batch is the per-packet transport. A record is a
 * record_head, the addresses (struct record_ipv4 or record_ipv6), then the blocks
 * named in `blocks`, in ascending order of their bits. Every part starts on an
 * 8-byte boundary. Integers are in host byte order unless their type says __be.
 *
 * Each struct has a documented Go twin in record.go; a test on BTF holds the two
 * together. This header is the only definition in C.
 */
#ifndef CONNTAP_RECORD_H
#define CONNTAP_RECORD_H

#include <linux/types.h>

#define WIRE_VERSION 1

/* Where a packet was seen. */
enum hook {
	HOOK_XDP = 0,	     /* ingress, before the stack made an skb of it */
	HOOK_TC_INGRESS = 1, /* ingress, after GRO */
	HOOK_TC_EGRESS = 2,  /* egress, before segmentation */
	HOOK_COUNT = 3,
};

struct batch_header {
	__u8 version;	/* WIRE_VERSION */
	__u8 hook;	/* enum hook */
	__u16 cpu;	/* the CPU that wrote the batch */
	__u32 length;	/* bytes of the batch, this header included */
	__u64 sequence; /* frames recorded before this batch by the same CPU and hook */
	__u64 lost;    /* frames lost before this batch by the same CPU and hook, since the start */
	__u64 base_ns; /* time of the batch, ns of CLOCK_BOOTTIME */
};

/* What a record describes. */
enum record_kind {
	RECORD_PACKET = 1,    /* the outermost IP packet of a frame */
	RECORD_INNER = 2,     /* a packet inside the tunnel whose record stands right before it */
	RECORD_VIOLATION = 3, /* what stands on a tunnel's port, or is of its protocol, but breaks
				 its rules: right after its carrier; BLOCK_TUNNEL alone says more */
	RECORD_EMPTY = 4, /* a tunnel's header without fault, and no packet that can be read behind
			     it: right after its carrier; BLOCK_TUNNEL alone says more */
};

/*
 * What an inner packet came out of. The parsers judge by what stands in the frame
 * alone: tunnels in UDP by the port of either side, the destination's before the
 * source's, Teredo and AYIYA by their content too. Whoever knows the connection
 * decides.
 */
enum tunnel_type {
	TUNNEL_NONE = 0,
	TUNNEL_IP = 1,	    /* protocols 4 and 41 */
	TUNNEL_GRE = 2,	    /* protocol 47; ERSPAN and PPTP too */
	TUNNEL_GRE_UDP = 3, /* port 4754 */
	TUNNEL_VXLAN = 4,   /* port 4789 */
	TUNNEL_GENEVE = 5,  /* port 6081 */
	TUNNEL_GTPV1 = 6,   /* ports 2123 and 2152 */
	TUNNEL_TEREDO = 7,  /* port 3544, or content */
	TUNNEL_AYIYA = 8,   /* port 5072, or content */
};

/* The deepest packet that is recorded: one below what Zeek follows
 * (Tunnel::max_depth), so that user space sees that there was one. */
#define TUNNEL_DEPTH_MAX 5

/* record_head.blocks: the optional parts, in the order in which they follow. */
enum record_block {
	BLOCK_L2 = 1 << 0,	 /* struct block_l2 */
	BLOCK_FRAGMENT = 1 << 1, /* struct block_fragment */
	BLOCK_GSO = 1 << 2,	 /* struct block_gso */
	BLOCK_IDENTITY = 1 << 3, /* struct block_identity */
	BLOCK_TUNNEL = 1 << 4,	 /* struct block_tunnel */
	BLOCK_OWNER = 1 << 5,	 /* struct block_owner */
	BLOCK_PAYLOAD = 1 << 6,	 /* struct block_payload and its bytes; always last */
};

/* record_head.state */
enum record_state {
	STATE_IPV6 = 1 << 0,	  /* the addresses are struct record_ipv6 */
	STATE_COMPLETE = 1 << 1,  /* the frame held all bytes of ip_length */
	STATE_CHECKSUM = 3 << 2,  /* mask: enum checksum_state, shifted by STATE_CHECKSUM_SHIFT */
	STATE_MALFORMED = 1 << 4, /* the TCP data offset is below 5 or beyond what is there */
	STATE_SHORT_OFFSET = 1 << 5, /* with STATE_MALFORMED: the TCP data offset is below 5 */
	STATE_FRAGMENT =
	    1 << 6, /* a fragment: no transport header was read, BLOCK_FRAGMENT follows */
	STATE_NO_LENGTH = 1 << 7, /* files: the IP header says 0, ip_length is what was captured */
};
#define STATE_CHECKSUM_SHIFT 2

/* The transport checksum, as far as the parser judged it. */
enum checksum_state {
	CHECKSUM_UNCHECKED = 0, /* not asked for, not captured whole, or absent (UDP over IPv4) */
	CHECKSUM_GOOD = 1,
	CHECKSUM_BAD = 2,
	CHECKSUM_NOT_FINAL = 3, /* equals the pseudo-header's sum: the device will complete it */
};

struct record_head {
	__u32 dt_ns;	     /* time since base_ns */
	__u8 words;	     /* length of the record, this head included, in 8-byte words */
	__u8 kind;	     /* enum record_kind */
	__u8 blocks;	     /* bits of enum record_block */
	__u8 state;	     /* bits of enum record_state */
	__u16 interface;     /* number of the interface in this run; no ifindex */
	__u8 protocol;	     /* IP protocol number of the transport header */
	__u8 tcp_flags;	     /* byte 13 of the TCP header: CWR ECE URG ACK PSH RST SYN FIN */
	__u16 header_length; /* from the start of the IP header to the transport payload, bytes */
	__u16 window;	     /* TCP: window, unscaled; UDP: length field; ICMP: type << 8 | code */
	__u32 ip_length; /* IPv4 total length, IPv6 payload length + 40; of a super-packet, of all
			    of it */
	__be16 src_port; /* 0 without ports */
	__be16 dst_port;
	__u32 seq; /* TCP sequence number */
	__u32 ack; /* TCP acknowledgment number, as it stands, ACK flag or not */
};

#define TCP_FLAG_SYN_BYTE 0x02 /* of record_head.tcp_flags */

struct record_ipv4 {
	__be32 src;
	__be32 dst;
};

struct record_ipv6 {
	__be32 src[4]; /* effective: after a routing header or home address option */
	__be32 dst[4];
};

struct block_l2 {
	__u8 dst[6];
	__u8 src[6];
	__u16 vlan;	  /* 12-bit id of the outer tag; 0: none */
	__u16 inner_vlan; /* 12-bit id of the inner tag; 0: none */
};

struct block_fragment {
	__u32 id;     /* IPv4: 16 bits */
	__u16 offset; /* bytes */
	__u8 more;    /* 1: more fragments follow */
	__u8 reserved;
	__u32 partial_sum; /* ones' complement sum of the fragment's payload, folded to 16 bits; 0
			      unless asked for */
	__u32 reserved2;
};

struct block_gso {
	__u16 size;	/* payload bytes of each segment but the last; skb gso_size */
	__u16 segments; /* skb gso_segs; 0: not known */
	__u32 reserved;
};

struct block_identity {
	__u32 ip_id; /* IPv4 identification; IPv6: flow label */
	__u32 reserved;
};

struct block_tunnel {
	__u8 type;  /* enum tunnel_type: what the packet came out of */
	__u8 depth; /* 1: directly inside the outermost packet */
	__u16 reserved;
	__u32 id; /* VNI, GRE key, PPTP call or TEID of that tunnel, 0 without */
};

struct block_owner {   /* who opened the socket, as it was then */
	__u32 pid;     /* of the process, in the first namespace */
	__u32 uid;     /* its real user, in the first namespace */
	__u64 cgroup;  /* id in the hierarchy of version 2 */
	__u8 comm[16]; /* NUL-padded */
};

struct block_payload {
	__u16 length; /* bytes that follow; the block is padded with zeros to 8 bytes */
	__u8 bytes[]; /* the first bytes of the transport payload, of a fragment: of its payload */
};

/* The longest payload prefix of each kind of packet. */
#define PAYLOAD_DIRECTION 12 /* UDP from or to 53, 123, 137, 5353, 5355: direction rules */
#define PAYLOAD_SERVICE 64   /* first payload packets of a flow */
#define PAYLOAD_FRAGMENT 256 /* fragments */

/*
 * Why a frame gave no record. Zero is "recorded". The Go parser uses the same
 * numbers, so one counter serves kernel and files.
 */
enum reason {
	REASON_NONE = 0,
	REASON_SHORT_FRAME, /* no room for a link-layer header and anything after it */
	REASON_ARP,	    /* ARP and RARP */
	REASON_LLDP,
	REASON_LLC,	     /* an IEEE 802.3 length or LLC instead of a type, and no IP in SNAP */
	REASON_MPLS,	     /* a label stack that is cut, or multicast */
	REASON_PPPOE,	     /* discovery, or a session header that is cut */
	REASON_ETHERTYPE,    /* any other EtherType without IP inside */
	REASON_LINK_DEPTH,   /* more tags and labels than the bound */
	REASON_LINK_TYPE,    /* no link layer that conntap reads, and no IP in its place */
	REASON_IP_VERSION,   /* the version nibble is neither 4 nor 6 */
	REASON_IP_HEADER,    /* IP header cut, or its length impossible */
	REASON_IP_LENGTH,    /* total length below the header, zero, or above the frame */
	REASON_IP_CHECKSUM,  /* bad IPv4 header checksum */
	REASON_IP_EXTENSION, /* more IPv6 extension headers and options than the bound */
	REASON_ESP_MOBILITY, /* IPv6 ESP or mobility: consumed without a connection */
	REASON_NO_NEXT_HEADER,	 /* protocol 59 */
	REASON_PPP,		 /* PPP of another protocol than IP */
	REASON_TRANSPORT_HEADER, /* TCP, UDP or ICMP header longer than the packet or what was
				    captured */
	REASON_FRAGMENT,	 /* a later fragment, not captured whole */
	REASON_LOAD,		 /* the kernel refused to load bytes that the lengths promised */
	REASON_WLAN,		 /* files: IEEE 802.11 without data in the clear */
	REASON_LINK_HEADER, /* another link-layer header that is cut, or says that no IP follows */
	REASON_COUNT,
};

/* Per CPU, hook and interface slot; every frame is in exactly one of its sums:
 * seen = recorded + filtered + lost + sum of skipped. A super-frame counts once. */
struct counters {
	__u64 seen;
	__u64 recorded;
	__u64 filtered;
	__u64 lost; /* no room in the ring */
	__u64 skipped[REASON_COUNT];
};

_Static_assert(sizeof(struct batch_header) == 32, "batch_header");
_Static_assert(sizeof(struct record_head) == 32, "record_head");
_Static_assert(sizeof(struct record_ipv4) == 8, "record_ipv4");
_Static_assert(sizeof(struct record_ipv6) == 32, "record_ipv6");
_Static_assert(sizeof(struct block_l2) == 16, "block_l2");
_Static_assert(sizeof(struct block_fragment) == 16, "block_fragment");
_Static_assert(sizeof(struct block_gso) == 8, "block_gso");
_Static_assert(sizeof(struct block_identity) == 8, "block_identity");
_Static_assert(sizeof(struct block_tunnel) == 8, "block_tunnel");
_Static_assert(sizeof(struct block_owner) == 32, "block_owner");
_Static_assert(sizeof(struct block_payload) == 2, "block_payload");

#endif
