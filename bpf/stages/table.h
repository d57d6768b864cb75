/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../maps/conntrack.h"
#include "../maps/lb.h"
#include "sctp_assoc.h"

/* The books of the flow tables: how many flows are where, and taking one out. */

static __always_inline void endpoint_flow_confirmed(__u32 endpoint_id)
{
	struct lb_endpoint_flows *flows = bpf_map_lookup_elem(&lb_ep_flows, &endpoint_id);

	if (!flows)
		return;
	if (flows->pending)
		__sync_fetch_and_add(&flows->pending, -1);
	__sync_fetch_and_add(&flows->active, 1);
}

static __always_inline void endpoint_flow_ended(__u32 endpoint_id, bool pending)
{
	struct lb_endpoint_flows *flows = bpf_map_lookup_elem(&lb_ep_flows, &endpoint_id);

	if (!flows)
		return;
	/* Never below zero: an evicted flow may have been taken off by the recount already. */
	if (pending) {
		if (flows->pending)
			__sync_fetch_and_add(&flows->pending, -1);
	} else if (flows->active) {
		__sync_fetch_and_add(&flows->active, -1);
	}
}

/* Takes one of the places that flows nobody has confirmed may have in ct_flow. */
static __always_inline bool ct_reserve(void)
{
	struct ct_half_open *count = half_open();

	if (!count || (__s32)(count->taken - count->given_back) >= (__s32)cfg_half_open_flows)
		return false;
	__sync_fetch_and_add(&count->taken, 1);
	return true;
}

static __always_inline void ct_release(void)
{
	struct ct_half_open *count = half_open();

	if (count)
		__sync_fetch_and_add(&count->given_back, 1);
}

__noinline int ct_forget_idle(const struct ct_key *key)
{
	struct ct_key own;

	if (!key)
		return 0;
	own = *key;
	return bpf_map_delete_elem(&ct_idle, &own);
}

/* Takes both directions out. */
static __always_inline void ct_remove(const struct ct_key *key, struct ct_entry *entry)
{
	struct ct_key reverse;
	__u8 flags = entry->flags;

	ct_reverse_key(&reverse, key, entry);
	if (!(flags & CT_PATH)) {
		endpoint_flow_ended(entry->endpoint_id, flags & CT_PENDING);
		if (key->proto == IPPROTO_SCTP)
			sctp_forget(key, entry);
	}
	/* The key of the client's direction. Of a flow that is gone nobody need be told. */
	if (unlikely(flags & CT_IDLE_TIMER))
		ct_forget_idle(flags & CT_REPLY ? &reverse : key);
	if ((flags & (CT_EVICTABLE | CT_PENDING)) == CT_PENDING)
		ct_release();
	/* Without a way back the reverse tuple may belong to somebody else. */
	if (!(flags & CT_ONE_WAY))
		ct_delete(&reverse, flags & CT_EVICTABLE);
	ct_delete(key, flags & CT_EVICTABLE);
}
