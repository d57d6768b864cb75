/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "conntrack.h"

/*
 * Ageing, inside the kernel: the daemon reads an iterator over a flow table and the program below ends what is idle or
 * belongs to a service that is gone. The byte written per element is what slices the walk: a read(2) returns when its
 * buffer is full, and the next one goes on where it stopped.
 */

struct seq_file;
struct bpf_map;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
} __attribute__((preserve_access_index));

static __always_inline bool service_is_dead(__u32 service_id)
{
	struct lb_service_state *state = bpf_map_lookup_elem(&lb_svc_state, &service_id);

	return !state || !state->alive;
}

/* A flow is idle when both of its directions are. */
static __always_inline bool flow_is_over(const struct ct_key *key, const struct ct_entry *entry, __u32 now)
{
	__u32 idle = ct_idle_ticks(key, entry);
	struct ct_key reverse;
	struct ct_entry *other;

	/* A packet may have come in since `now` was taken. */
	if ((__s32)(now - entry->seen) <= (__s32)idle)
		return false;
	ct_reverse_key(&reverse, key, entry);
	other = ct_lookup(&reverse);
	return !other || (__s32)(now - other->seen) > (__s32)idle;
}

static __always_inline int walk_flow(struct bpf_iter__bpf_map_elem *ctx, __u32 table)
{
	struct ct_pass *pass = bpf_map_lookup_elem(&ct_pass, &table);
	struct ct_entry *entry = ctx->value;
	struct ct_key *current = ctx->key;
	struct lb_endpoint_flows *flows;
	struct ct_key key;
	__u8 byte = 0;

	/* Read once: the verifier forgets the check below when the compiler loads them again. */
	barrier_var(entry);
	barrier_var(current);
	if (!entry || !current || !pass)
		return 0;
	bpf_seq_write(ctx->meta->seq, &byte, sizeof(byte));
	key = *current;
	pass->seen++;
	/* One service lookup per flow will do: the entry of the first packet asks for both. */
	if ((!(entry->flags & CT_REPLY) && service_is_dead(entry->service_id)) ||
	    flow_is_over(&key, entry, now_ticks_exact())) {
		pass->expired++;
		count(EVENT_FLOW_EXPIRED);
		ct_remove(&key, entry);
		return 0;
	}
	if (table && !(entry->flags & CT_REPLY)) {
		flows = bpf_map_lookup_elem(&lb_ep_flows, &entry->endpoint_id);
		if (flows)
			__sync_fetch_and_add(&flows->recount, 1);
	}
	return 0;
}
