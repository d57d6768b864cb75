/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "counters.h"
#include "parse.h"
#include "../maps/dataplane.h"

/* What happened to a packet, for those who watch (`observe`), and drops by service. */

static __always_inline __u32 kind_of(__u32 reason)
{
	return reason < PASS_FRAGMENT	     ? DP_OBSERVE_DROPS
	       : reason < EVENT_FLOW_CREATED ? DP_OBSERVE_PASSES
					     : DP_OBSERVE_EVENTS;
}

static __always_inline void count_service_drop(__u32 service_id, __u32 reason)
{
	struct dp_service_drop_key key = { .service_id = service_id, .reason = reason };
	struct dp_service_drop first = { .packets = 1 };
	struct dp_service_drop *drop = bpf_map_lookup_elem(&dp_service_drop, &key);

	if (drop)
		drop->packets++;
	else
		bpf_map_update_elem(&dp_service_drop, &key, &first, BPF_NOEXIST);
}

/* Counts, and shows the packet to who watches. Off the fast path. `service_id` and `endpoint_id` 0: not known. */
__noinline int report(const struct pkt *p, __u32 reason, __u32 service_id, __u32 endpoint_id, __u32 ifindex)
{
	struct dp_observe *observe;
	struct dp_event *event;
	__u32 zero = 0;

	count(reason);
	if (service_id && reason < PASS_FRAGMENT)
		count_service_drop(service_id, reason);
	if (!p)
		return 0;
	observe = bpf_map_lookup_elem(&dp_observe, &zero);
	if (!observe || !(observe->kinds & kind_of(reason)))
		return 0;
	if (observe->service_id && observe->service_id != service_id)
		return 0;
	if (observe->sample > 1 && bpf_get_prandom_u32() % observe->sample)
		return 0;
	event = bpf_ringbuf_reserve(&dp_event, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&observe->lost, 1);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->reason = reason;
	event->service_id = service_id;
	event->endpoint_id = endpoint_id;
	event->ifindex = ifindex;
	event->length = p->l3_len;
	event->sport = p->key.sport;
	event->dport = p->key.dport;
	event->saddr = p->key.saddr;
	event->daddr = p->key.daddr;
	event->proto = p->key.proto;
	event->tcp_flags = p->tcp_flags;
	bpf_ringbuf_submit(event, 0);
	return 0;
}
