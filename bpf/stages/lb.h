/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include <linux/errno.h>

#include "../include/csum.h"
#include "../include/parse.h"
#include "../include/verdict.h"
#include "../maps/lb.h"
#include "conntrack.h"
#include "reply.h"

/* First packet of a flow: find the service, choose an endpoint, compile both directions. */

/* Candidates looked at by least connections; the daemon refuses rules with more endpoints. */
#define LB_MAX_ENDPOINTS 1024
/* The same on kernels without bpf_loop, where the verifier walks every round. */
#define LB_MAX_ENDPOINTS_UNROLLED 64
/* Source ports tried before the packet is dropped. */
#define LB_PORT_TRIES 32
#define LB_PORT_MIN 1024
#define LB_PORT_MAX 65535

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
	struct lb_service_state *state = bpf_map_lookup_elem(&lb_svc_state, &service->service_id);
	__u32 count = service->slot_count;

	if (!state || !count)
		return 0;
	return __sync_fetch_and_add(&state->cursor, 1) % count;
}

struct lc_search {
	__u32 base;
	__u32 count;
	__u32 index;
	__u32 best;
	__u32 fewest;
};

static __always_inline void consider(struct lc_search *search)
{
	__u32 slot = search->base + search->index, total;
	struct lb_slot *value = bpf_map_lookup_elem(&lb_slot, &slot);
	struct lb_endpoint_flows *flows;

	search->index++;
	if (search->index >= search->count)
		search->index = 0;
	if (!value)
		return;
	flows = bpf_map_lookup_elem(&lb_ep_flows, &value->endpoint_id);
	if (!flows)
		return;
	total = flows->active + flows->pending;
	if (total < search->fewest) {
		search->fewest = total;
		search->best = value->endpoint_id;
	}
}

static long consider_next(__u32 i, struct lc_search *search)
{
	consider(search);
	return 0;
}

__noinline int select_least_connections(const struct lb_service *service)
{
	struct lc_search search = { .fewest = ~0U };
	__u32 i;

	if (!service)
		return 0;
	search.base = service->slot_base;
	search.count = service->slot_count;
	/* Begins at a moving place so that equals take turns. */
	search.index = next_slot(service);
	if (cfg_bpf_loop) {
		__u32 rounds = search.count & (2 * LB_MAX_ENDPOINTS - 1);

		barrier_var(rounds);
		bpf_loop(rounds, consider_next, &search, 0);
		return search.best;
	}
	for (i = 0; i < LB_MAX_ENDPOINTS_UNROLLED; i++) {
		if (i >= search.count)
			break;
		consider(&search);
	}
	return search.best;
}

static __always_inline bool endpoint_serves(__u32 endpoint_id, __u32 service_id)
{
	struct lb_endpoint *endpoint = bpf_map_lookup_elem(&lb_endpoint, &endpoint_id);

	return endpoint && endpoint->active && endpoint->service_id == service_id;
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

/* Compiles the difference between the tuple as it arrives and as it leaves. */
static __always_inline void compile_deltas(const struct ct_key *key, struct ct_entry *entry)
{
	__be16 old[2] = { key->sport, key->dport };
	__be16 new[2] = { entry->nsport, entry->ndport };
	__u16 addresses = csum_delta(&key->saddr, 32, &entry->nsaddr, 32);

	entry->addr_delta = addresses;
	if (key->proto == IPPROTO_ICMP || key->proto == IPPROTO_ICMPV6) {
		/* The identifier is in the packet once. */
		old[1] = 0;
		new[1] = 0;
	}
	entry->port_delta = csum_delta(old, 4, new, 4);
}

static __always_inline bool is_icmp(__u8 proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* The tuple may be in neither table. */
static __always_inline long insert_unique(const struct ct_key *key, const struct ct_entry *entry)
{
	if (entry->flags & CT_EVICTABLE) {
		if (bpf_map_lookup_elem(&ct_flow, key))
			return -EEXIST;
		return bpf_map_update_elem(&ct_new, key, entry, BPF_NOEXIST);
	}
	if (bpf_map_lookup_elem(&ct_new, key))
		return -EEXIST;
	return bpf_map_update_elem(&ct_flow, key, entry, BPF_NOEXIST);
}

static __always_inline long insert_forward(const struct ct_key *key, const struct ct_entry *entry)
{
	if (entry->flags & CT_EVICTABLE)
		return bpf_map_update_elem(&ct_new, key, entry, BPF_ANY);
	return bpf_map_update_elem(&ct_flow, key, entry, BPF_ANY);
}

/*
 * Inserts the way back, and compiles both. The tuple the endpoint will see must belong to this flow alone: when it is taken another
 * source port is (RFC 4787 REQ-1 does not bind us, the mapping lives with the flow).
 */
__noinline int insert_reverse(const struct pkt *p, struct ct_entry *entry)
{
	struct ct_entry reverse = {};
	struct ct_key key;
	int i;

	if (!p || !entry)
		return -1;
	reverse.seen = entry->seen;
	reverse.endpoint_id = entry->endpoint_id;
	reverse.service_id = entry->service_id;
	reverse.state = entry->state;
	reverse.nat = entry->nat;
	reverse.flags = entry->flags | CT_REPLY | (ct_reserve() ? 0 : CT_EVICTABLE);
	reverse.nsaddr = p->key.daddr;
	reverse.ndaddr = p->key.saddr;
	reverse.nsport = p->key.dport;
	reverse.ndport = p->key.sport;
	ct_reverse_key(&key, &p->key, entry);
	for (i = 0; i < LB_PORT_TRIES; i++) {
		__be16 port;
		long err;

		entry->nsport = key.dport;
		entry->ndport = key.sport;
		compile_deltas(&p->key, entry);
		reverse.addr_delta = csum_negate(entry->addr_delta);
		reverse.port_delta = csum_negate(entry->port_delta);
		err = insert_unique(&key, &reverse);
		if (!err)
			goto inserted;
		/* No room for another flow: it begins where others give way to it. */
		if (err != -EEXIST && !(reverse.flags & CT_EVICTABLE)) {
			ct_release();
			reverse.flags |= CT_EVICTABLE;
			continue;
		}
		port = bpf_htons(LB_PORT_MIN + scale(bpf_get_prandom_u32(), LB_PORT_MAX - LB_PORT_MIN + 1));
		key.dport = port;
		if (is_icmp(key.proto))
			key.sport = port;
	}
	if (!(reverse.flags & CT_EVICTABLE))
		ct_release();
	count(DROP_PORT_EXHAUSTED);
	return -1;

inserted:
	entry->flags |= reverse.flags & CT_EVICTABLE;
	if (entry->nsport != p->key.sport)
		count(EVENT_PORT_TRANSLATED);
	return 0;
}

static __always_inline struct lb_service *find_service(const struct __sk_buff *skb, const struct pkt *p)
{
	struct lb_service_key key = {
		.addr = p->key.daddr,
		.port = is_icmp(p->key.proto) ? 0 : p->key.dport,
		.proto = p->key.proto,
		.mark = skb->mark,
	};
	struct lb_service *service = bpf_map_lookup_elem(&lb_service, &key);

	if (service || !key.mark)
		return service;
	/* A rule without a mark takes packets of any mark. */
	key.mark = 0;
	return bpf_map_lookup_elem(&lb_service, &key);
}

/* Fills in what the flow's packets become. */
static __always_inline int translate(const struct pkt *p, const struct lb_endpoint *endpoint, bool from_local,
				     struct ct_entry *entry)
{
	entry->ndaddr = endpoint->addr;
	entry->ndport = is_icmp(p->key.proto) ? p->key.dport : endpoint->port;
	entry->nsport = p->key.sport;
	if (ip_equal(&endpoint->addr, &p->key.saddr)) {
		entry->nsaddr = p->key.daddr;
		entry->nat = CT_NAT_HAIRPIN;
	} else if (!ip_is_zero(&endpoint->source)) {
		entry->nsaddr = endpoint->source;
		entry->nat = CT_NAT_FULL;
	} else if (from_local && ip_equal(&p->key.saddr, &p->key.daddr) && !ip_is_zero(&endpoint->self)) {
		/* A local process that talks to the service has taken the service's own address as its source. */
		entry->nsaddr = endpoint->self;
		entry->nat = CT_NAT_FULL;
	} else {
		entry->nsaddr = p->key.saddr;
		entry->nat = CT_NAT_DNAT;
	}
	/* Families are not translated into each other here. */
	return ip_is_v4(&entry->ndaddr) == p->v4 && ip_is_v4(&entry->nsaddr) == p->v4 ? 0 : -1;
}

/* The table became full between the two inserts: the sender tries again, and then there is no room for either. */
__noinline int drop_reverse(const struct ct_key *key, const struct ct_entry *entry)
{
	struct ct_key reverse;

	if (!key || !entry)
		return 0;
	ct_reverse_key(&reverse, key, entry);
	if (entry->flags & CT_EVICTABLE) {
		bpf_map_delete_elem(&ct_new, &reverse);
	} else {
		bpf_map_delete_elem(&ct_flow, &reverse);
		ct_release();
	}
	return 0;
}

/*
 * Opens a flow for a packet that has none: VERDICT_CONTINUE when it has one now, otherwise what to do with the packet.
 */
__noinline int lb_open_flow(struct __sk_buff *skb, const struct pkt *p)
{
	struct lb_service *service;
	struct lb_endpoint_flows *flows;
	struct lb_endpoint_stats *stats;
	struct lb_endpoint *endpoint;
	struct ct_entry entry = {};

	if (!p)
		return VERDICT_NEXT;
	service = find_service(skb, p);
	if (!service)
		return VERDICT_NEXT;
	if (!p->opens_flow) {
		count(PASS_NO_FLOW);
		return VERDICT_NEXT;
	}
	if (!service->slot_count)
		return reply_refused(skb, p);
	entry.endpoint_id = select_endpoint(service, p);
	endpoint = bpf_map_lookup_elem(&lb_endpoint, &entry.endpoint_id);
	if (!entry.endpoint_id || !endpoint) {
		count(DROP_BAD_ENDPOINT);
		return VERDICT_DROP;
	}
	entry.service_id = service->service_id;
	entry.seen = now_ticks();
	entry.flags = CT_PENDING;
	if (skb->ifindex == LOOPBACK_IFINDEX || !skb->ingress_ifindex)
		entry.flags |= CT_FROM_LOCAL;
	if (translate(p, endpoint, entry.flags & CT_FROM_LOCAL, &entry)) {
		count(DROP_BAD_ENDPOINT);
		return VERDICT_DROP;
	}
	if (p->key.proto == IPPROTO_TCP) {
		entry.state = CT_TCP_SYN_SENT;
		remember_syn(skb, p, &entry);
	} else if (is_icmp(p->key.proto)) {
		entry.state = CT_ICMP_REQ_SENT;
	}
	if (insert_reverse(p, &entry))
		return VERDICT_DROP;
	if (insert_forward(&p->key, &entry)) {
		drop_reverse(&p->key, &entry);
		count(DROP_FLOW_INSERT);
		return VERDICT_DROP;
	}
	flows = bpf_map_lookup_elem(&lb_ep_flows, &entry.endpoint_id);
	if (flows)
		__sync_fetch_and_add(&flows->pending, 1);
	stats = bpf_map_lookup_elem(&lb_ep_stats, &entry.endpoint_id);
	if (stats)
		stats->flows++;
	count(EVENT_FLOW_CREATED);
	return VERDICT_CONTINUE;
}
