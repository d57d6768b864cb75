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

/* One byte of output for so many elements: what a read(2) of so many bytes is a slice of. */
#define WALK_ELEMENTS_PER_BYTE 4

/* Nothing but the endpoint's removal or a flush makes a service id unknown. */
static __always_inline bool service_is_dead(const struct lb_service_state *service)
{
	return !service || !service->alive;
}

/*
 * Ends the flow unless its other direction is alive. `reset` (enum ct_reset_reason): both ends are told when it was
 * open.
 */
static __noinline bool end_unless_answered(const struct ct_key *key, struct ct_entry *entry, __u32 idle, __u32 now,
					   __u32 reset)
{
	struct ct_key reverse;
	struct ct_entry *other;

	other = ct_lookup_reverse(&reverse, key, entry);
	if (idle && other && !is_idle(other, idle, now))
		return false;
	if (reset && tcp_is_open(key, entry)) {
		if (!(entry->flags & CT_REPLY))
			announce_reset(key, entry, other, reset);
		else if (other)
			announce_reset(&reverse, other, entry, reset);
	}
	ct_remove(key, entry);
	count(EVENT_FLOW_EXPIRED);
	return true;
}

static __always_inline int walk_flow(struct bpf_iter__bpf_map_elem *ctx, __u32 table)
{
	struct ct_pass *pass = bpf_map_lookup_elem(&ct_pass, &table);
	struct ct_entry *entry = ctx->value;
	struct ct_key *current = ctx->key;
	struct lb_service_state *service;
	struct lb_endpoint_flows *flows;
	struct ct_half_open *count;
	__u32 now, idle, silent, reset, service_id, endpoint_id;
	bool dead;
	__u8 byte = 0;

	/* Read once: the verifier forgets the check below when the compiler loads them again. */
	barrier_var(entry);
	barrier_var(current);
	if (!entry || !current || !pass)
		return 0;
	if (!(pass->seen++ % WALK_ELEMENTS_PER_BYTE))
		bpf_seq_write(ctx->meta->seq, &byte, sizeof(byte));
	now = pass->now ? pass->now : now_ticks_exact();
	/* Copies, for what an iterator shows is no memory for keys before Linux 6.2. */
	service_id = entry->service_id;
	endpoint_id = entry->endpoint_id;
	service = bpf_map_lookup_elem(&lb_svc_state, &service_id);
	/* The entry of the first packet answers for both. */
	dead = !(entry->flags & CT_REPLY) && service_is_dead(service);
	reset = service && service->reset ? CT_RESET_IDLE : 0;
	if (unlikely(pass->cut) && !(entry->flags & CT_REPLY)) {
		struct lb_endpoint *endpoint = bpf_map_lookup_elem(&lb_endpoint, &endpoint_id);

		if (endpoint && endpoint->flags & LB_EP_CUT) {
			dead = true;
			reset = endpoint->flags & LB_EP_RESET ? CT_RESET_CUT : 0;
		}
	}
	idle = dead ? 0 : ct_idle_ticks(current->proto, entry->state, service);
	if (!dead && pass->closing_ticks && current->proto == IPPROTO_TCP && entry->state == CT_TCP_CLOSED_WAIT)
		idle = pass->closing_ticks;
	silent = now - entry->seen;
	if (dead || silent_too_long(silent, idle)) {
		struct ct_key key = *current;

		if (end_unless_answered(&key, entry, idle, now, reset)) {
			pass->expired++;
			return 0;
		}
		/* The time of the other direction, which keeps this one alive, is the flow's. */
	} else if (idle - silent < pass->next) {
		pass->next = idle - silent;
	}
	if (unlikely((entry->flags & (CT_PENDING | CT_REPLY)) == CT_PENDING)) {
		flows = bpf_map_lookup_elem(&lb_ep_flows, &endpoint_id);
		if (flows && !(entry->flags & CT_PATH))
			__sync_fetch_and_add(&flows->recount, 1);
		count = half_open();
		if (!table && count)
			__sync_fetch_and_add(&count->recount, 1);
	}
	return 0;
}
