/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records wait for others in the staging of their CPU and hook and go to user space
 * as one sample: a batch. What is left over is sent by a timer or by user space. */
#ifndef CONNTAP_BATCH_H
#define CONNTAP_BATCH_H

#include "maps.h"

#define CLOCK_MONOTONIC 1
#define TIMER_CPU_PIN 2 /* BPF_F_TIMER_CPU_PIN, kernel 6.7 and later */

static __always_inline struct pending *pending_of(__u32 cpu, enum hook hook)
{
	__u32 key = cpu * HOOK_COUNT + hook;

	return bpf_map_lookup_elem(&pending, &key);
}

/* Makes the timer come, unless it will. */
static __always_inline void arm(struct staging *s, __u32 cpu, enum hook hook)
{
	__u32 key = cpu * HOOK_COUNT + hook;
	struct flush_timer *t;

	if (s->armed)
		return;
	t = bpf_map_lookup_elem(&timers, &key);
	if (!t)
		return;
	s->armed_at = s->sequence;
	s->armed = bpf_timer_start(&t->timer, s->busy ? config.busy_ns : config.flush_ns,
				   TIMER_CPU_PIN) == 0;
}

/* Reads the clock for a batch's first record. The bound is in the map before, which
 * the exchange makes sure of: a reader that has read the clock later sees it. */
static __noinline __u64 open_batch(struct staging *s, enum hook hook)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct pending *p = pending_of(cpu, hook);
	__u64 now;

	if (!p)
		return bpf_ktime_get_boot_ns();
	__sync_lock_test_and_set(&p->since_ns, s->base_ns | 1);
	now = bpf_ktime_get_boot_ns();
	p->since_ns = now;
	if (config.timers)
		arm(s, cpu, hook);
	return now;
}

/* What the walk through a lost batch works on: a pointer on the stack, which is short. */
struct lost {
	struct staging *staging;
};

/* Moves the frame of one record, if it is its first, from the recorded ones to the
 * lost ones of its interface. */
static long count_lost(__u32 index __attribute__((unused)), struct lost *lost)
{
	struct staging *s = lost->staging;
	struct record_head *head = (void *)s->records + (s->lost_at & RECORDS_MASK);
	__u32 key = (head->interface & config.slot_mask) * HOOK_COUNT + s->lost_hook;
	struct counters *counts;

	if (s->lost_at >= s->lost_end)
		return 1;
	s->lost_at += head->words * 8;
	if (head->kind != RECORD_PACKET)
		return 0;
	counts = bpf_map_lookup_elem(&counters, &key);
	if (counts) {
		counts->recorded--;
		counts->lost++;
	}
	return 0;
}

#define RECORDS_MAX ((BATCH_SIZE + RECORDS_SIZE) / 40)

/* Sends the records from `start` to `end`, with the header in front of them. */
static __always_inline void send(struct staging *s, enum hook hook, __u32 cpu, __u32 start,
				 __u32 end, __u32 length, int late)
{
	struct batch_header *header = (void *)&s->header + start;
	struct lost lost = {s};
	void *ring = bpf_map_lookup_elem(&rings, &cpu);
	__u64 flags = BPF_RB_NO_WAKEUP;

	header->version = WIRE_VERSION;
	header->hook = hook;
	header->cpu = cpu;
	header->length = length;
	header->sequence = s->sequence;
	header->lost = s->lost;
	header->base_ns = s->base_ns;
	if (late || (s->batches & config.wakeup_mask) == 0)
		flags = BPF_RB_FORCE_WAKEUP;
	if (!ring || bpf_ringbuf_output(ring, header, length, flags)) {
		s->lost += s->frames;
		s->lost_hook = hook;
		s->lost_at = start;
		s->lost_end = end;
		if (config.batch_bytes == 1) /* one frame; bpf_loop is of kernel 5.17 */
			count_lost(0, &lost);
		else
			bpf_loop(RECORDS_MAX, count_lost, &lost, 0);
	} else {
		s->batches++;
		s->sequence += s->frames;
		s->unsaid = flags == BPF_RB_NO_WAKEUP;
	}
	s->frames = 0;
	s->replaced = 0;
}

/* Sends the batch, whose records end at `end`. */
static __noinline void send_batch(struct staging *s, enum hook hook, __u32 cpu, __u32 end, int late)
{
	struct pending *p;

	send(s, hook, cpu, 0, end, sizeof(s->header) + (end & RECORDS_MASK), late);
	s->used = 0;
	if (config.batch_bytes == 1)
		return;
	p = pending_of(cpu, hook);
	if (p)
		p->since_ns =
		    0; /* after the sample's end, which the ring's exchange makes sure of */
}

/* Sends a frame that doesn't belong to the batch whose place it follows. */
static __noinline void send_alone(struct staging *s, enum hook hook, __u32 cpu, __u32 start,
				  __u32 end)
{
	struct pending *p = pending_of(cpu, hook);

	start &= BATCH_SIZE - 8;
	send(s, hook, cpu, start, end, sizeof(s->header) + ((end - start) & (RECORDS_SIZE - 8)), 0);
	s->used = 0;
	if (p)
		p->since_ns = 0;
}

/* The time of a frame's first record, since the batch's. If the batch is too old for
 * that, it is sent, and frame.start is set: the frame then goes on its own. */
static __always_inline __u32 stamp(struct staging *s, struct frame *f)
{
	__u64 since;

	if (config.batch_bytes == 1) {
		s->base_ns = bpf_ktime_get_boot_ns();
		return 0;
	}
	if (s->used == 0) {
		s->base_ns = open_batch(s, f->hook);
		return 0;
	}
	since = bpf_ktime_get_boot_ns() - s->base_ns;
	if (since >> 32 == 0)
		return since;
	f->start = s->used;
	send_batch(s, f->hook, bpf_get_smp_processor_id(), s->used, 0);
	s->base_ns = open_batch(s, f->hook);
	return 0;
}

/* Books a frame, whose records end at `end`. */
static __always_inline void end_frame(struct staging *s, enum hook hook, __u32 start, __u32 end)
{
	end &= RECORDS_MASK;
	s->frames++;
	if (start)
		send_alone(s, hook, bpf_get_smp_processor_id(), start, end);
	else if (sizeof(s->header) + end >= config.batch_bytes)
		send_batch(s, hook, bpf_get_smp_processor_id(), end, 0);
	else
		s->used = end;
}

/* Tells the reader of batches that were full, after which none came that waits: by
 * a sample that is thrown away. */
static __always_inline void wake_reader(struct staging *s, __u32 cpu)
{
	void *ring = bpf_map_lookup_elem(&rings, &cpu);
	void *sample;

	s->unsaid = 0;
	if (!ring)
		return;
	sample = bpf_ringbuf_reserve(ring, 8, 0);
	if (sample)
		bpf_ringbuf_discard(sample, BPF_RB_FORCE_WAKEUP);
}

/* Sends what waits. On the CPU itself in a context that the programs on it don't
 * interrupt; of another CPU only if that is offline or runs no program any more. */
static __always_inline void flush(__u32 cpu, enum hook hook)
{
	__u32 key = hook;
	struct staging *s;

	if (cpu == bpf_get_smp_processor_id())
		s = bpf_map_lookup_elem(&staging, &key);
	else
		s = bpf_map_lookup_percpu_elem(&staging, &key, cpu);
	if (!s)
		return;
	s->armed = 0;
	s->busy = s->sequence + s->frames - s->armed_at >= BUSY_FRAMES;
	if (s->used)
		send_batch(s, hook, cpu, s->used, 1);
	else if (s->unsaid)
		wake_reader(s, cpu);
}

/* The timer comes to its own CPU, or to another after its own went offline: the
 * kernel then moves it (kernel/time/hrtimer.c, hrtimers_cpu_dying). */
static int flush_late(void *map __attribute__((unused)), __u32 *key,
		      struct flush_timer *t __attribute__((unused)))
{
	flush(*key / HOOK_COUNT, *key % HOOK_COUNT);
	return 0;
}

#endif
