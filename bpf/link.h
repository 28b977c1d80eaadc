/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Link layers: what an Ethernet device carries, down to an IP header. The Go twin
 * is link.go, which knows more kinds of frames. The rules are Zeek's
 * (src/packet_analysis/protocol/{ethernet,vlan,snap,mpls,pppoe,pbb,vntag}).
 */
#ifndef CONNTAP_LINK_H
#define CONNTAP_LINK_H

#include "layer.h"

#define LABELS_MAX 32 /* tags, labels and the like of one packet */
#define ETHERTYPE_QINQ 0x9100
#define ETHERTYPE_RARP 0x8035
#define ETHERTYPE_LLDP 0x88cc
#define ETHERTYPE_MPLS_MC 0x8848
#define ETHERTYPE_PBB 0x88e7
#define ETHERTYPE_FABRIC_PATH 0x8903
#define ETHERTYPE_VNTAG 0x8926
#define ETHERTYPE_LENGTH_MAX 1500
#define FABRIC_PATH_LENGTH 16
#define PBB_LENGTH 4
#define VNTAG_LENGTH 6
#define LLC_SNAP 0xaa
#define PPP_IPV4 0x0021
#define PPP_IPV6 0x0057

struct vlan_tag {
	__be16 tci;
	__be16 type;
};

struct llc_head {
	__u8 destination; /* service access points */
	__u8 source;
	__u8 control;
};

struct snap_head {
	__u8 organisation[3];
	__u8 type[2]; /* network byte order; not aligned */
};

struct pppoe_head {
	__u8 version_type;
	__u8 code;
	__be16 session;
	__be16 length; /* of the protocol and what follows */
	__be16 protocol;
};

/* A VLAN tag's EtherType: any of three outside, 802.1Q alone inside another tag
 * (Zeek: protocol/vlan/main.zeek). */
static __always_inline int is_vlan(const struct frame *f, __u16 type)
{
	if (type == ETH_P_8021Q)
		return 1;
	return !f->tagged && (type == ETH_P_8021AD || type == ETHERTYPE_QINQ);
}

/* Books one tag. A priority tag (id 0) gives its place to the next one, and the
 * third tag takes that of the second. */
static __always_inline void add_vlan(struct block_l2 *l2, __u16 tci)
{
	if (l2->vlan == 0)
		l2->vlan = tci & 0xfff;
	else
		l2->inner_vlan = tci & 0xfff;
}

/* Whether a frame is long enough for an Ethernet header, as Zeek sees it
 * (Ethernet.cc); a tag that the stack took off counts. */
static __always_inline int has_ethernet(const struct frame *f)
{
	return has_more(f, f->off_tag ? ETH_HLEN : ETH_HLEN + 2);
}

static __always_inline long layer_ethernet(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct ethhdr eth;

	if (!has_ethernet(f))
		return finish(f, REASON_SHORT_FRAME);
	if (load(walk, xdp, f->offset, &eth, sizeof(eth)))
		return finish(f, REASON_LOAD);
	if (eth.h_proto == bpf_htons(ETHERTYPE_FABRIC_PATH) && !f->off_tag) {
		f->offset += FABRIC_PATH_LENGTH;
		if (!has_more(f, sizeof(eth)))
			return finish(f, REASON_SHORT_FRAME);
		if (load(walk, xdp, f->offset, &eth, sizeof(eth)))
			return finish(f, REASON_LOAD);
	}
	__builtin_memcpy(&f->l2, &eth, 2 * ETH_ALEN);
	f->has_l2 = 1;
	f->tagged = f->off_tag;
	f->off_tag = 0;
	f->type = bpf_ntohs(eth.h_proto);
	return go_on(f, LAYER_TYPE, f->offset + sizeof(eth));
}

/* Counts one more tag or label; REASON_NONE within the bound. */
static __always_inline enum reason add_label(struct frame *f)
{
	return ++f->labels > LABELS_MAX ? REASON_LINK_DEPTH : REASON_NONE;
}

static __always_inline long layer_vlan(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct vlan_tag tag;

	if (!has_more(f, sizeof(tag)))
		return finish(f, REASON_SHORT_FRAME);
	if (add_label(f))
		return finish(f, REASON_LINK_DEPTH);
	if (load(walk, xdp, f->offset, &tag, sizeof(tag)))
		return finish(f, REASON_LOAD);
	add_vlan(&f->l2, bpf_ntohs(tag.tci));
	f->tagged = 1;
	f->type = bpf_ntohs(tag.type);
	return go_on(f, LAYER_TYPE, f->offset + sizeof(tag));
}

/* After an IEEE 802.3 length, an LLC header of 3 bytes, or of 4 if it is numbered,
 * and a SNAP header may bring an EtherType after all. After the addresses the frame
 * must hold as many bytes, after a tag it need not (Zeek: Ethernet.cc, VLAN.cc,
 * SNAP.cc). */
static __always_inline long layer_snap(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct llc_head llc;
	struct snap_head snap;
	__u16 type;

	if ((!f->tagged && !has(f, f->type)) || !has(f, sizeof(llc)))
		return finish(f, REASON_LLC);
	if (load(walk, xdp, f->offset, &llc, sizeof(llc)))
		return finish(f, REASON_LOAD);
	if (llc.destination != LLC_SNAP || llc.source != LLC_SNAP)
		return finish(f, REASON_LLC);
	f->offset += (llc.control & 3) == 3 ? sizeof(llc) : sizeof(llc) + 1;
	if (!has(f, sizeof(snap)))
		return finish(f, REASON_LLC);
	if (load(walk, xdp, f->offset, &snap, sizeof(snap)))
		return finish(f, REASON_LOAD);
	if (snap.organisation[0] || snap.organisation[1] || snap.organisation[2])
		return finish(f, REASON_LLC);
	type = (__u16)snap.type[0] << 8 | snap.type[1];
	if (type == ETH_P_IP || type == ETH_P_IPV6)
		return go_on(f, LAYER_IP, f->offset + sizeof(snap));
	return finish(f, type == ETH_P_ARP || type == ETHERTYPE_RARP ? REASON_ARP : REASON_LLC);
}

/* One label. What is below the bottom of the stack is always taken for IP (Zeek:
 * MPLS.cc). */
static __always_inline long layer_mpls(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	__be32 label;

	if (!has_more(f, sizeof(label)))
		return finish(f, REASON_MPLS);
	if (add_label(f))
		return finish(f, REASON_LINK_DEPTH);
	if (load(walk, xdp, f->offset, &label, sizeof(label)))
		return finish(f, REASON_LOAD);
	return go_on(f, label & bpf_htonl(1 << 8) ? LAYER_IP : LAYER_MPLS,
		     f->offset + sizeof(label));
}

/* The session header says where the packet ends (Zeek: PPPoE.cc). */
static __always_inline long layer_pppoe(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	struct pppoe_head head;
	__u32 length;

	if (!has_more(f, sizeof(head)))
		return finish(f, REASON_PPPOE);
	if (load(walk, xdp, f->offset, &head, sizeof(head)))
		return finish(f, REASON_LOAD);
	length = bpf_ntohs(head.length);
	f->offset += sizeof(head);
	f->end = lesser(f->end, f->offset + (length < 2 ? 0 : length - 2));
	if (head.protocol != bpf_htons(PPP_IPV4) && head.protocol != bpf_htons(PPP_IPV6))
		return finish(f, REASON_PPP);
	return go_on(f, LAYER_IP, f->offset);
}

/* A backbone tag: after it comes a whole Ethernet frame (IEEE 802.1ah; Zeek:
 * PBB.cc). */
static __always_inline long layer_pbb(struct frame *f)
{
	if (!has_more(f, PBB_LENGTH + ETH_HLEN))
		return finish(f, REASON_SHORT_FRAME);
	if (add_label(f))
		return finish(f, REASON_LINK_DEPTH);
	return go_on(f, LAYER_ETHERNET, f->offset + PBB_LENGTH);
}

static __always_inline enum reason judge_type(__u16 type)
{
	switch (type) {
	case ETH_P_ARP:
	case ETHERTYPE_RARP:
		return REASON_ARP;
	case ETHERTYPE_LLDP:
		return REASON_LLDP;
	case ETHERTYPE_MPLS_MC:
		return REASON_MPLS;
	case ETH_P_PPP_DISC:
		return REASON_PPPOE;
	}
	return REASON_ETHERTYPE;
}

/* A VN-Tag. Only a VLAN tag may follow (Zeek: VNTag.cc,
 * packet-protocols/vntag/main.zeek). */
static __always_inline long layer_vntag(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	__be16 type;

	if (!has_more(f, VNTAG_LENGTH))
		return finish(f, REASON_SHORT_FRAME);
	if (add_label(f))
		return finish(f, REASON_LINK_DEPTH);
	if (load(walk, xdp, f->offset + VNTAG_LENGTH - sizeof(type), &type, sizeof(type)))
		return finish(f, REASON_LOAD);
	f->type = bpf_ntohs(type);
	f->tagged = 0;
	if (!is_vlan(f, f->type))
		return finish(f, judge_type(f->type));
	return go_on(f, LAYER_TYPE, f->offset + VNTAG_LENGTH);
}

static __always_inline long layer_type(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;

	if (is_vlan(f, f->type))
		return layer_vlan(walk, xdp);
	if (f->type <= ETHERTYPE_LENGTH_MAX)
		return layer_snap(walk, xdp);
	switch (f->type) {
	case ETH_P_IP:
	case ETH_P_IPV6:
		return go_on(f, LAYER_IP, f->offset);
	case ETH_P_MPLS_UC:
		return go_on(f, LAYER_MPLS, f->offset);
	case ETH_P_PPP_SES:
		return layer_pppoe(walk, xdp);
	case ETHERTYPE_PBB:
		return layer_pbb(f);
	case ETHERTYPE_VNTAG:
		return layer_vntag(walk, xdp);
	}
	return finish(f, judge_type(f->type));
}

#define WLAN_LENGTH 24
#define WLAN_DATA 0x08	  /* type: data */
#define WLAN_NO_DATA 0x40 /* subtype: without data */
#define WLAN_QOS 0x80	  /* subtype: with a QoS field */
#define WLAN_TO_DS 0x01
#define WLAN_FROM_DS 0x02
#define WLAN_PROTECTED 0x40
#define QOS_AMSDU 0x80 /* the QoS field's: an aggregate */

/* Takes the addresses, whose places depend on the direction. */
static __always_inline void fill_wlan(struct frame *f, const __u8 *head)
{
	const __u8 *src = head + 10, *dst = head + 4;

	f->has_l2 = 1;
	switch (head[1] & (WLAN_TO_DS | WLAN_FROM_DS)) {
	case WLAN_TO_DS:
		dst = head + 16;
		break;
	case WLAN_FROM_DS:
		src = head + 16;
		break;
	case WLAN_TO_DS | WLAN_FROM_DS:
		src = head + 24;
		dst = head + 16;
		break;
	}
	__builtin_memcpy(f->l2.src, src, ETH_ALEN);
	__builtin_memcpy(f->l2.dst, dst, ETH_ALEN);
}

/* What follows the header: LLC and SNAP of one form. */
static __always_inline long layer_wlan_body(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	__u8 snap[8];
	__u16 type;

	if (!has(f, sizeof(snap)))
		return finish(f, REASON_LLC);
	if (load(walk, xdp, f->offset, snap, sizeof(snap)))
		return finish(f, REASON_LOAD);
	if (snap[0] != LLC_SNAP || snap[1] != LLC_SNAP || snap[2] != 3 || snap[3] || snap[4] ||
	    snap[5])
		return finish(f, REASON_LLC);
	type = (__u16)snap[6] << 8 | snap[7];
	if (type == ETH_P_IP || type == ETH_P_IPV6)
		return go_on(f, LAYER_IP, f->offset + sizeof(snap));
	return finish(f, judge_type(type));
}

/* A data frame of IEEE 802.11, as Aruba's GRE carries them (Zeek: IEEE802_11.cc).
 * Aggregates are for files. */
static __always_inline long layer_wlan(struct walk *walk, int xdp)
{
	struct frame *f = &walk->staging->frame;
	__u8 head[WLAN_LENGTH + ETH_ALEN] = {}, qos;
	__u32 length = WLAN_LENGTH;

	if (!has_more(f, length))
		return finish(f, REASON_SHORT_FRAME);
	if (load(walk, xdp, f->offset, head, WLAN_LENGTH))
		return finish(f, REASON_LOAD);
	if (!(head[0] & WLAN_DATA) || head[0] & WLAN_NO_DATA)
		return finish(f, REASON_WLAN);
	if ((head[1] & (WLAN_TO_DS | WLAN_FROM_DS)) == (WLAN_TO_DS | WLAN_FROM_DS))
		length += ETH_ALEN;
	if (!has_more(f, length))
		return finish(f, REASON_SHORT_FRAME);
	if (length > WLAN_LENGTH && load(walk, xdp, f->offset, head, sizeof(head)))
		return finish(f, REASON_LOAD);
	if (head[0] & WLAN_QOS) {
		if (load(walk, xdp, f->offset + length, &qos, sizeof(qos)))
			return finish(f, REASON_LOAD);
		if (head[1] & WLAN_PROTECTED || qos & QOS_AMSDU)
			return finish(f, REASON_WLAN);
		length += 2;
	}
	if (!has_more(f, length))
		return finish(f, REASON_SHORT_FRAME);
	fill_wlan(f, head);
	f->offset += length;
	return layer_wlan_body(walk, xdp);
}

#endif
