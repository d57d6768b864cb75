/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include <linux/errno.h>

#include "../maps/conntrack.h"
#include "../maps/lb.h"
#include "reset.h"
#include "table.h"

/* How long flows may be silent, and the timers of those that end to the second. */

/* Idle times, RFC-free choices of the product (contract: conntrack timeouts); established flows use the service's. */
#define CT_TCP_TRANSIENT_TICKS (10 * TICKS_PER_SECOND)
#define CT_UDP_TRANSIENT_TICKS (5 * TICKS_PER_SECOND)
#define CT_ICMP_TRANSIENT_TICKS (5 * TICKS_PER_SECOND)
#define CT_DEFAULT_TICKS (240 * TICKS_PER_SECOND)

/* Idle time of a flow in this state: the service's once both sides have spoken. */
static __always_inline __u32 ct_idle_ticks(__u8 proto, __u8 state, const struct lb_service_state *service)
{
	__u32 established = service && service->idle_ticks ? service->idle_ticks : CT_DEFAULT_TICKS;

	switch (proto) {
	case IPPROTO_TCP:
		return state == CT_TCP_EST || state == CT_TCP_FINI ? established : CT_TCP_TRANSIENT_TICKS;
	case IPPROTO_SCTP:
		/* What is in flight may still arrive after a shutdown has begun. */
		return state >= CT_SCTP_EST && state <= CT_SCTP_SHUT_ACK ? established : CT_TCP_TRANSIENT_TICKS;
	case IPPROTO_UDP:
		return state == CT_UDP_EST ? established : CT_UDP_TRANSIENT_TICKS;
	default:
		return state == CT_ICMP_BIDIR ? established : CT_ICMP_TRANSIENT_TICKS;
	}
}

/* `silent` is below zero when a packet has come in since the time was taken. */
static __always_inline bool silent_too_long(__u32 silent, __u32 idle)
{
	return (__s32)silent > (__s32)idle;
}

static __always_inline bool is_idle(const struct ct_entry *entry, __u32 idle, __u32 now)
{
	return silent_too_long(now - entry->seen, idle);
}

/* One timer does for both directions: they are looked up anew each time, and a flow that is gone ends it. */
static int idle_over(void *map, struct ct_key *key, struct ct_idle *idle)
{
	struct ct_entry *entry, *other;
	struct lb_service_state *service;
	__u32 now = now_ticks_exact(), limit, silent;
	struct ct_key own = *key, reverse;

	entry = ct_lookup(&own);
	if (!entry || !tcp_is_open(&own, entry))
		goto over;
	other = ct_lookup_reverse(&reverse, &own, entry);
	service = bpf_map_lookup_elem(&lb_svc_state, &entry->service_id);
	limit = ct_idle_ticks(IPPROTO_TCP, entry->state, service);
	silent = now - entry->seen;
	if (other && (__s32)(other->seen - entry->seen) > 0)
		silent = now - other->seen;
	if ((__s32)silent < 0)
		silent = 0;
	if (silent < limit) {
		bpf_timer_start(&idle->timer, (__u64)(limit - silent) << TICK_SHIFT, 0);
		return 0;
	}
	announce_reset(&own, entry, other, CT_RESET_IDLE);
	ct_remove(&own, entry);
	count(EVENT_FLOW_EXPIRED);
over:
	bpf_map_delete_elem(&ct_idle, &own);
	return 0;
}

#define CLOCK_MONOTONIC 1

/* Begins to watch an established flow whose service has an idle time of its own. The key is the client's direction. */
__noinline int watch_idle(const struct ct_key *key, struct ct_entry *entry, struct ct_entry *other)
{
	struct lb_service_state *service;
	struct ct_idle fresh = {}, *idle;
	struct ct_key own;
	__u32 service_id;
	long err;

	if (!key || !entry)
		return 0;
	service_id = entry->service_id;
	service = bpf_map_lookup_elem(&lb_svc_state, &service_id);
	if (!service || !service->reset || !service->idle_ticks)
		return 0;
	own = *key;
	bpf_map_update_elem(&ct_idle, &own, &fresh, BPF_NOEXIST);
	idle = bpf_map_lookup_elem(&ct_idle, &own);
	if (!idle)
		return 0;
	err = bpf_timer_init(&idle->timer, &ct_idle, CLOCK_MONOTONIC);
	/* No memory to be had just now: the pass ends the flow, a second later at most. */
	if (err && err != -EBUSY) {
		bpf_map_delete_elem(&ct_idle, &own);
		return 0;
	}
	entry->flags |= CT_IDLE_TIMER;
	if (other)
		other->flags |= CT_IDLE_TIMER;
	/* An earlier flow of this tuple has left its timer, which serves as well. */
	if (err)
		return 0;
	bpf_timer_set_callback(&idle->timer, idle_over);
	bpf_timer_start(&idle->timer, (__u64)service->idle_ticks << TICK_SHIFT, 0);
	return 0;
}
