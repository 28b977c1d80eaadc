//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Notes in each socket who opened it, for owner.h. What is done here takes a cgroup
 * of version 2 and knowledge of kernel structs: hence these programs stand apart, and
 * are loaded only when asked for. */

#include "owner.h"
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PF_KTHREAD 0x00200000 /* of task_struct.flags */
#define AF_INET 2
#define AF_INET6 10

/* The kernel's own structs, as far as they are needed. The places of their members are
 * taken from its BTF when the programs are loaded. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct user_id { /* the kernel's kuid_t, which has no name as a struct */
	__u32 val;
};

struct cred {
	struct user_id uid;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp; /* of version 2 */
};

struct task_struct {
	__u32 flags;
	__s32 tgid;
	struct task_struct *group_leader;
	const struct cred *cred;
	struct css_set *cgroups;
	char comm[16];
};

struct sock_common {
	unsigned short skc_family;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};

struct mptcp_sock {
	struct sock *first;
};

struct socket {
	struct sock *sk;
};

struct file;

struct bpf_iter__task_file {
	struct task_struct *task;
	struct file *file;
};

struct bpf_iter__tcp {
	struct sock_common *sk_common;
};

#pragma clang attribute pop

/* Describes a process: a thread's own name would say little. */
static __always_inline void describe(struct block_owner *owner, struct task_struct *task)
{
	owner->pid = BPF_CORE_READ(task, tgid);
	owner->uid = BPF_CORE_READ(task, cred, uid.val);
	owner->cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	BPF_CORE_READ_STR_INTO(&owner->comm, task, group_leader, comm);
}

/* --- sockets to come ------------------------------------------------------ */

/* The calling process becomes the owner of a socket, unless that has one. */
static __always_inline int note_caller(struct bpf_sock *sk)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct socket_owner noted = {};

	if (!(BPF_CORE_READ(task, flags) & PF_KTHREAD)) {
		describe(&noted.owner, task);
		bpf_sk_storage_get(&owners, sk, &noted, BPF_SK_STORAGE_GET_F_CREATE);
	}
	return 1; /* it may go on */
}

SEC("cgroup/sock_create")
int conntap_owner_create(struct bpf_sock *sk)
{
	return note_caller(sk);
}

/* A Multipath TCP server's packets leave by a socket of the kernel's own, which no
 * program sees made, but bound. */
SEC("cgroup/post_bind4")
int conntap_owner_bind4(struct bpf_sock *sk)
{
	return note_caller(sk);
}

SEC("cgroup/post_bind6")
int conntap_owner_bind6(struct bpf_sock *sk)
{
	return note_caller(sk);
}

/* --- sockets that are there ----------------------------------------------- */

#define MPTCP_SOCKETS_MAX 16384

/* Key: the address of the socket that a Multipath TCP socket sends and listens by.
 * Value: who has that one open. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MPTCP_SOCKETS_MAX);
	__type(key, __u64);
	__type(value, struct socket_owner);
} mptcp_owners SEC(".maps");

/* Notes who has a Multipath TCP socket open, for conntap_owner_tcp. */
static __always_inline void note_mptcp(struct sock *sk, const struct socket_owner *noted)
{
	struct mptcp_sock *mptcp = (void *)sk;
	__u64 key;

	if (!bpf_core_field_exists(mptcp->first))
		return; /* the kernel has no such protocol */
	key = (__u64)BPF_CORE_READ(mptcp, first);
	bpf_map_update_elem(&mptcp_owners, &key, noted, BPF_NOEXIST);
}

/* The process of an open file becomes the owner of the socket behind it, unless that has
 * one. Of a socket that several processes have open, the one with the lowest number
 * comes first, which is the parent as a rule. */
SEC("iter/task_file")
int conntap_owner_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket_owner noted = {};
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	if (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6)
		return 0;
	describe(&noted.owner, task);
	bpf_sk_storage_get(&owners, sk, &noted, BPF_SK_STORAGE_GET_F_CREATE);
	if (sk->sk_protocol == IPPROTO_MPTCP)
		note_mptcp(sk, &noted);
	return 0;
}

/* Goes through all TCP sockets, after that, as no file leads to the ones below those of
 * Multipath TCP. */
SEC("iter/tcp")
int conntap_owner_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct socket_owner *noted;
	__u64 key = (__u64)sk;

	if (!sk)
		return 0;
	noted = bpf_map_lookup_elem(&mptcp_owners, &key);
	if (noted)
		bpf_sk_storage_get(&owners, sk, noted, BPF_SK_STORAGE_GET_F_CREATE);
	return 0;
}
