/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Who made a packet: the process that opened the socket that it left by. owner.bpf.c
 * notes it in the socket, the capture program on egress reads it there. Go has no
 * twin, as files have no sockets. */
#ifndef CONNTAP_OWNER_H
#define CONNTAP_OWNER_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "record.h"

/* How often a TCP socket says who opened it: with its first packets, and then once in
 * so many ticks of the kernel's, a second at most. That is enough for a connection whose
 * first records were lost, or that was over in user space in between. */
#define OWNER_SAID_MAX 4
#define OWNER_TICKS 100

struct socket_owner {
	struct block_owner owner;
	__u32 said;    /* with how many packets, OWNER_SAID_MAX at most */
	__u32 said_at; /* in ticks, when last */
};

/* Key: a socket. Value: who opened it. What a listener accepts has the listener's. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct socket_owner);
} owners SEC(".maps");

/* Whether a packet is the socket's own. One that comes out of a tunnel device still
 * has the socket of the packet inside, which its ports and protocol tell apart. */
static __always_inline int is_made_by(const struct bpf_sock *sk, const struct record_head *head)
{
	if (sk->protocol != head->protocol)
		return 0;
	if (head->protocol != IPPROTO_TCP && head->protocol != IPPROTO_UDP)
		return 1;
	return sk->src_port == bpf_ntohs(head->src_port);
}

/* Whether a packet is to say who opened its socket. Any but TCP's is: another packet may
 * go to somebody else. */
static __always_inline int is_due(struct socket_owner *noted, const struct record_head *head)
{
	__u32 now = bpf_jiffies64();

	if (head->protocol != IPPROTO_TCP)
		return 1;
	if (head->tcp_flags & TCP_FLAG_SYN_BYTE)
		noted->said = 0;
	if (noted->said < OWNER_SAID_MAX)
		noted->said++;
	else if (now - noted->said_at < OWNER_TICKS)
		return 0;
	noted->said_at = now;
	return 1;
}

/* Stores the owner of a packet on egress, and tells whether it is known and to be said: not of a
 * forwarded packet, nor of the kernel's own, nor of a SYN-ACK, which is sent before there
 * is a socket. A global function, so that the verifier looks at it once. */
__attribute__((noinline)) int copy_owner(struct __sk_buff *skb, const struct record_head *head,
					 struct block_owner *to)
{
	struct bpf_sock *sk = skb->sk;
	struct socket_owner *noted;

	if (!sk || !head || !to)
		return 0;
	sk = bpf_sk_fullsock(sk);
	if (!sk || !is_made_by(sk, head))
		return 0;
	noted = bpf_sk_storage_get(&owners, sk, 0, 0);
	if (!noted || !is_due(noted, head))
		return 0;
	*to = noted->owner;
	return 1;
}

#endif
