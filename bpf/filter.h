/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which frames are recorded: those of the sample that the filter lets pass. Decided
 * on the outermost packet, as soon as it is known. */
#ifndef CONNTAP_FILTER_H
#define CONNTAP_FILTER_H

#include "sample.h"

/* parse: there is a packet, but it is not to be recorded. Not a reason. */
#define PARSE_FILTERED (REASON_COUNT + 2)

/* Whether the filter lets a packet pass; `vlans` is the outer tag's id and, shifted
 * by 16, the inner one's. The loader puts the user's expression in place of this
 * body (collector/filter.go; its Go twin is filter.Match). The body is opaque, so
 * that the compiler concludes nothing from it; the function is global, so that the
 * verifier looks at it once, whoever calls it. */
__attribute__((noinline)) int filter_frame(const struct record *r, __u32 vlans)
{
	int pass = 1;

	asm volatile("" : "+r"(pass) : "r"(r), "r"(vlans));
	return pass;
}

/* Whether the frame whose outermost packet is `r` is to be recorded. */
static __always_inline int is_selected(const struct frame *f, const struct record *r)
{
	if (config.sample > 1 && !in_sample(r))
		return 0;
	if (config.filter)
		return filter_frame(r, (__u32)f->l2.inner_vlan << 16 | f->l2.vlan);
	return 1;
}

#endif
