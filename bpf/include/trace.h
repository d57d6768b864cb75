/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "config.h"
#include "../maps/dataplane.h"

/*
 * Tells what was decided about a packet. Only in programs loaded with cfg_trace, which nothing is ever attached to; in
 * all others no instruction of it is left.
 */
static __always_inline void step_with(__u32 step, __u32 a, __u32 b, __u32 c, const struct ip_addr *addr)
{
	struct dp_trace_step *next, *count;
	__u32 index = 0;

	if (!cfg_trace)
		return;
	count = bpf_map_lookup_elem(&dp_trace, &index);
	if (!count || count->a >= DP_TRACE_STEPS - 1)
		return;
	index = ++count->a;
	next = bpf_map_lookup_elem(&dp_trace, &index);
	if (!next)
		return;
	next->step = step;
	next->a = a;
	next->b = b;
	next->c = c;
	if (addr)
		next->addr = *addr;
}

static __always_inline void step(__u32 step, __u32 a, __u32 b, __u32 c)
{
	step_with(step, a, b, c, NULL);
}
