/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/parse.h"
#include "../include/verdict.h"
#include "../maps/lb.h"

/* Which endpoint of a service gets a new flow: one function for each way of selection. */

/* Candidates looked at by least connections; the daemon refuses rules with more endpoints. */
#define LB_MAX_ENDPOINTS 1024
/* The same on kernels without bpf_loop, where the verifier walks every round. */
#define LB_MAX_ENDPOINTS_UNROLLED 64

static __always_inline __u32 mix(__u32 hash, __u32 word)
{
	/* MurmurHash3's body. */
	word *= 0xcc9e2d51;
	word = (word << 15) | (word >> 17);
	hash ^= word * 0x1b873593;
	hash = (hash << 13) | (hash >> 19);
	return hash * 5 + 0xe6546b64;
}

static __always_inline __u32 finish(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ (hash >> 16);
}

static __always_inline __u32 hash_address(const struct ip_addr *a, __u32 hash)
{
	hash = mix(hash, a->w[0]);
	hash = mix(hash, a->w[1]);
	hash = mix(hash, a->w[2]);
	return mix(hash, a->w[3]);
}

static __always_inline __u32 hash_tuple(const struct ct_key *key)
{
	__u32 hash = hash_address(&key->saddr, 0x9747b28c);

	hash = hash_address(&key->daddr, hash);
	hash = mix(hash, (__u32)key->sport << 16 | key->dport);
	return finish(mix(hash, key->proto));
}

static __always_inline __u32 scale(__u32 hash, __u32 count)
{
	return ((__u64)hash * count) >> 32;
}

static __always_inline __u32 slot_endpoint(const struct lb_service *service, __u32 index)
{
	__u32 slot = service->slot_base + index;
	struct lb_slot *value = bpf_map_lookup_elem(&lb_slot, &slot);

	return value ? value->endpoint_id : 0;
}

static __always_inline __u32 next_slot(const struct lb_service *service)
{
	__u32 count = service->slot_count, service_id = service->service_id;
	struct lb_service_state *state = bpf_map_lookup_elem(&lb_svc_state, &service_id);

	if (!state || !count)
		return 0;
	return __sync_fetch_and_add(&state->cursor, 1) % count;
}

struct lc_search {
	__u32 slot; /* the next candidate */
	__u32 end;  /* behind the last one */
	__u32 turn; /* of the next candidate: 0 whose turn it is among equals, 1 the one behind it; modulo 2^32 */
	__u32 pad;
	__u64 best; /* live flows in the upper half, the turn in the lower one */
};

/* More than any endpoint has. */
#define LC_NONE (1ULL << 62)
/* Candidates looked at in one round of bpf_loop, which costs as much as eight of them, and in one of a plain loop. */
#define LC_ROUND LB_MAX_ENDPOINTS_UNROLLED
#define LC_STEP 8

/* The better of `best` and this candidate: fewest flows, then the nearest turn. */
static __always_inline __u64 consider(__u32 slot, __u32 turn, __u64 best)
{
	struct lb_slot *value = bpf_map_lookup_elem(&lb_slot, &slot);
	struct lb_endpoint_flows *flows;
	__u64 own;

	if (!value)
		return best;
	flows = bpf_map_lookup_elem(&lb_ep_flows, &value->endpoint_id);
	if (!flows)
		return best;
	own = (__u64)(flows->active + flows->pending) << 32 | turn;
	return own < best ? own : best;
}

static __always_inline void consider_round(struct lc_search *search)
{
	__u32 slot = search->slot, end = search->end, turn = search->turn, i, j;
	__u64 best = search->best;

#pragma clang loop unroll(disable)
	for (i = 0; i < LC_ROUND / LC_STEP && end - slot >= LC_STEP; i++) {
#pragma unroll
		for (j = 0; j < LC_STEP; j++)
			best = consider(slot + j, turn + j, best);
		slot += LC_STEP;
		turn += LC_STEP;
	}
	/* The last few. */
	if (i < LC_ROUND / LC_STEP) {
#pragma clang loop unroll(disable)
		for (j = 0; j < LC_STEP - 1 && slot != end; j++, slot++, turn++)
			best = consider(slot, turn, best);
	}
	search->slot = slot;
	search->turn = turn;
	search->best = best;
}

static long consider_next(__u32 i, struct lc_search *search)
{
	consider_round(search);
	return 0;
}

__noinline int select_least_connections(const struct lb_service *service)
{
	struct lc_search search = { .best = LC_NONE };
	struct lb_slot *chosen;
	__u32 rounds, slot, start;

	if (!service)
		return 0;
	search.slot = service->slot_base;
	search.end = service->slot_base + service->slot_count;
	/* A moving place, so that equals take turns. */
	start = next_slot(service);
	search.turn = -start;
	rounds = (service->slot_count + LC_ROUND - 1) / LC_ROUND;
	if (cfg_bpf_loop) {
		rounds &= 2 * LB_MAX_ENDPOINTS / LC_ROUND - 1;
		barrier_var(rounds);
		bpf_loop(rounds, consider_next, &search, 0);
	} else {
		consider_round(&search);
	}
	if (search.best == LC_NONE)
		return 0;
	slot = service->slot_base + start + (__u32)search.best;
	chosen = bpf_map_lookup_elem(&lb_slot, &slot);
	return chosen ? chosen->endpoint_id : 0;
}

static __always_inline bool endpoint_serves(__u32 endpoint_id, __u32 service_id)
{
	struct lb_endpoint *endpoint = bpf_map_lookup_elem(&lb_endpoint, &endpoint_id);

	/* One of weight 0 takes no new flow, not of clients it has had either. */
	return endpoint && endpoint->active && endpoint->weight && endpoint->service_id == service_id;
}

/* The endpoint this client had, while it is remembered and active; else the one its address hashes to. */
__noinline int select_persistent(const struct lb_service *service, const struct pkt *p)
{
	struct lb_affinity fresh = { .seen = now_ticks() };
	struct lb_affinity_key key = {};
	struct lb_affinity *known;

	if (!service || !p)
		return 0;
	key.client = p->key.saddr;
	key.service_id = service->service_id;
	known = bpf_map_lookup_elem(&lb_affinity, &key);
	if (known && fresh.seen - known->seen <= service->affinity_ticks &&
	    endpoint_serves(known->endpoint_id, service->service_id)) {
		known->seen = fresh.seen;
		return known->endpoint_id;
	}
	fresh.endpoint_id =
		slot_endpoint(service, scale(finish(hash_address(&key.client, 0x9747b28c)), service->slot_count));
	bpf_map_update_elem(&lb_affinity, &key, &fresh, BPF_ANY);
	return fresh.endpoint_id;
}

static __always_inline __u32 select_endpoint(const struct lb_service *service, const struct pkt *p)
{
	switch (service->select) {
	case LB_SELECT_HASH:
		return slot_endpoint(service, scale(hash_tuple(&p->key), service->slot_count));
	case LB_SELECT_PERSIST:
		return select_persistent(service, p);
	case LB_SELECT_LC:
		return select_least_connections(service);
	default:
		return slot_endpoint(service, next_slot(service));
	}
}
