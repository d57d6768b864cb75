/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include <linux/errno.h>

#include "../include/csum.h"
#include "../include/parse.h"
#include "../include/verdict.h"
#include "../maps/lb.h"
#include "conntrack.h"
#include "reply.h"
#include "select.h"

/* First packet of a flow: find the service, have an endpoint selected, compile both directions. */

/* Source ports tried before the packet is dropped. */
#define LB_PORT_TRIES 32
#define LB_PORT_MIN 1024
#define LB_PORT_MAX 65535

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

/* Before anything is put into ct_new, so that nobody misses it. */
static __always_inline void use_new(void)
{
	struct ct_half_open *count = half_open();

	if (count && count->new_use != CT_NEW_USED)
		count->new_use = CT_NEW_USED;
}

/* The tuple may be in neither table. */
static __always_inline long insert_unique(const struct ct_key *key, const struct ct_entry *entry)
{
	if (entry->flags & CT_EVICTABLE) {
		if (bpf_map_lookup_elem(&ct_flow, key))
			return -EEXIST;
		use_new();
		return bpf_map_update_elem(&ct_new, key, entry, BPF_NOEXIST);
	}
	if (ct_lookup_new(key))
		return -EEXIST;
	return bpf_map_update_elem(&ct_flow, key, entry, BPF_NOEXIST);
}

static __always_inline long insert_forward(const struct ct_key *key, const struct ct_entry *entry)
{
	if (entry->flags & CT_EVICTABLE)
		use_new();
	return ct_insert(key, entry);
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
	if (entry->flags & CT_ONE_WAY) {
		entry->flags |= ct_reserve() ? 0 : CT_EVICTABLE;
		return 0;
	}
	reverse.seen = entry->seen;
	reverse.endpoint_id = entry->endpoint_id;
	reverse.service_id = entry->service_id;
	reverse.state = entry->state;
	reverse.nat = entry->nat;
	reverse.special = entry->special;
	reverse.flags = entry->flags | CT_REPLY | (ct_reserve() ? 0 : CT_EVICTABLE);
	reverse.nsaddr = p->key.daddr;
	reverse.ndaddr = p->key.saddr;
	reverse.nsport = p->key.dport;
	reverse.ndport = p->key.sport;
	ct_reverse_key(&key, &p->key, entry);
	for (i = 0; i < LB_PORT_TRIES; i++) {
		__be16 port;
		long err;

		/* Its loads stay in the loop: Linux 6.1 refuses a loop that is entered in its middle and falls into its head. */
		barrier();
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
	return -1;

inserted:
	entry->flags |= reverse.flags & CT_EVICTABLE;
	return 0;
}

/* A service of a range of ports, or NULL. Asked only where no service has the very port. */
static __always_inline struct lb_service *find_range(const struct lb_service_key *service)
{
	__u32 zero = 0;
	struct lb_control *control = bpf_map_lookup_elem(&lb_control, &zero);
	struct lb_range_key key = {
		.prefixlen = LB_RANGE_FIXED_BITS + 16,
		.mark = service->mark,
		.addr = service->addr,
		.proto = service->proto,
		.port = service->port,
	};

	if (likely(!control || !(control->flags & LB_HAS_RANGES)))
		return NULL;
	return bpf_map_lookup_elem(&lb_range, &key);
}

static __always_inline struct lb_service *find_of_mark(const struct lb_service_key *key)
{
	struct lb_service *service = bpf_map_lookup_elem(&lb_service, key);

	return service ? service : find_range(key);
}

/* Not inlined, for its keys need not be on the stack of all that follows. */
static __noinline struct lb_service *find_service(const struct __sk_buff *skb, const struct pkt *p)
{
	struct lb_service_key key = {
		.addr = p->key.daddr,
		.port = is_icmp(p->key.proto) ? 0 : p->key.dport,
		.proto = p->key.proto,
		.mark = skb->mark,
	};
	struct lb_service *service = find_of_mark(&key);

	if (service || !key.mark)
		return service;
	/* A rule without a mark takes packets of any mark. */
	key.mark = 0;
	return find_of_mark(&key);
}

/* Whether the client is one of those the service is for. */
__noinline int source_is_allowed(const struct pkt *p, __u32 service_id)
{
	struct lb_source_key key = { .prefixlen = 32 + 128, .service_id = service_id };

	if (!p)
		return 0;
	key.addr = p->key.saddr;
	return bpf_map_lookup_elem(&lb_source, &key) != NULL;
}

/* The endpoint's port for a flow to this port of the service. */
static __always_inline __be16 endpoint_port(const struct pkt *p, const struct lb_service *service,
					    const struct lb_endpoint *endpoint)
{
	__u32 offset, ports = endpoint->ports;

	if (is_icmp(p->key.proto) || service->mode == LB_MODE_DSR)
		return p->key.dport;
	if (likely(ports <= 1))
		return endpoint->port;
	if (endpoint->flags & LB_EP_PORT_SHIFT)
		offset = (bpf_ntohs(p->key.dport) - bpf_ntohs(service->port)) & 0xffff;
	else
		/* Another hash than the one that chose the endpoint: it would always choose the same of its ports. */
		offset = scale(finish(hash_tuple(&p->key) ^ 0x9e3779b9), ports);
	return bpf_htons(bpf_ntohs(endpoint->port) + (offset < ports ? offset : 0));
}

/* Fills in what the flow's packets become. */
static __noinline int translate(const struct pkt *p, const struct lb_service *service,
				const struct lb_endpoint *endpoint, bool from_local, struct ct_entry *entry)
{
	bool v4 = ip_is_v4(&endpoint->addr);
	/* A local process that talks to the service has taken the service's own address as its source. */
	bool own_source = from_local && ip_equal(&p->key.saddr, &p->key.daddr);

	entry->ndaddr = endpoint->addr;
	entry->ndport = endpoint_port(p, service, endpoint);
	entry->nsport = p->key.sport;
	/* The endpoint could not answer to an address it has itself: such a flow is translated. */
	if (service->mode == LB_MODE_DSR && !own_source) {
		entry->nsaddr = endpoint->self;
		entry->nat = CT_NAT_DSR;
		entry->flags |= CT_ONE_WAY;
		entry->special = CT_SPECIAL_DSR;
		if (v4 != p->v4 || endpoint->flags & LB_EP_TUNNEL)
			entry->special |= CT_SPECIAL_TUNNEL | CT_SPECIAL_FORCED;
		return 0;
	}
	if (p->key.proto == IPPROTO_SCTP)
		entry->special |= CT_SPECIAL_SCTP;
	else if (p->key.proto == IPPROTO_TCP && service->flags & LB_SERVICE_PPV2)
		entry->special |= CT_SPECIAL_PPV2;
	if (v4 != p->v4)
		entry->special |= CT_SPECIAL_FAMILY;
	if (ip_equal(&endpoint->addr, &p->key.saddr)) {
		entry->nsaddr = p->key.daddr;
		entry->nat = CT_NAT_HAIRPIN;
	} else if (!ip_is_zero(&endpoint->source)) {
		entry->nsaddr = endpoint->source;
		entry->nat = CT_NAT_FULL;
	} else if ((v4 != p->v4 || own_source) && !ip_is_zero(&endpoint->self)) {
		/* A client of another family has no address the endpoint could answer to either. */
		entry->nsaddr = endpoint->self;
		entry->nat = CT_NAT_FULL;
	} else {
		entry->nsaddr = p->key.saddr;
		entry->nat = CT_NAT_DNAT;
	}
	return ip_is_v4(&entry->nsaddr) == v4 ? 0 : -1;
}

__noinline int drop_reverse(const struct ct_key *key, const struct ct_entry *entry)
{
	struct ct_key reverse;

	if (!key || !entry)
		return 0;
	ct_reverse_key(&reverse, key, entry);
	if (!(entry->flags & CT_ONE_WAY))
		ct_delete(&reverse, entry->flags & CT_EVICTABLE);
	return 0;
}

/* One event of this service. */
static __always_inline int refuse(const struct __sk_buff *skb, const struct pkt *p, __u32 service_id, __u32 endpoint_id,
				  __u32 reason)
{
	report(p, reason, service_id, endpoint_id, skb->ifindex);
	return VERDICT_DROP;
}

static __always_inline void count_flow_opened(__u32 endpoint_id)
{
	struct lb_endpoint_flows *flows = bpf_map_lookup_elem(&lb_ep_flows, &endpoint_id);
	struct lb_endpoint_stats *stats = bpf_map_lookup_elem(&lb_ep_stats, &endpoint_id);

	if (flows)
		__sync_fetch_and_add(&flows->pending, 1);
	if (stats)
		stats->flows++;
}

/* Inserts both directions. VERDICT_CONTINUE, or what to do with the packet. */
static __always_inline int insert_flow(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry)
{
	if (insert_reverse(p, entry))
		return refuse(skb, p, entry->service_id, entry->endpoint_id, DROP_PORT_EXHAUSTED);
	if (insert_forward(&p->key, entry)) {
		/* It became full between the two: the sender tries again, and then there is no room for either. */
		drop_reverse(&p->key, entry);
		if (!(entry->flags & CT_EVICTABLE))
			ct_release();
		return refuse(skb, p, entry->service_id, entry->endpoint_id, DROP_FLOW_INSERT);
	}
	count_flow_opened(entry->endpoint_id);
	report(p, EVENT_FLOW_CREATED, entry->service_id, entry->endpoint_id, skb->ifindex);
	if (unlikely(entry->nsport != p->key.sport))
		report(p, EVENT_PORT_TRANSLATED, entry->service_id, entry->endpoint_id, skb->ifindex);
	step_with(STEP_FLOW_OPENED, entry->nat, entry->special, bpf_ntohs(entry->nsport), &entry->nsaddr);
	return VERDICT_CONTINUE;
}

#include "sctp_path.h"

/*
 * Nobody's address, or everybody's: multicast, broadcast, loopback, unspecified (RFC 1812 5.3.7, RFC 4291 2.7). The kernel
 * discards such packets, and would not see them any more when they were sent on from here.
 */
static __always_inline bool source_is_martian(const struct pkt *p)
{
	const __u8 *bytes = (const __u8 *)&p->key.saddr;

	if (p->v4)
		return bytes[12] >= 224 || bytes[12] == 127 || !bytes[12];
	return bytes[0] == 0xff || !(p->key.saddr.w[0] | p->key.saddr.w[1] | p->key.saddr.w[2]);
}

/*
 * Opens a flow for a packet that has none: VERDICT_CONTINUE when it has one now, otherwise what to do with the packet.
 */
__noinline int lb_open_flow(struct __sk_buff *skb, const struct pkt *p)
{
	struct lb_service *service;
	struct lb_endpoint *endpoint;
	struct ct_entry entry = {};
	int verdict;

	if (!p)
		return VERDICT_NEXT;
	/* Refused, as its flow is still there. */
	if (p->key.proto == IPPROTO_SCTP && ct_find(&p->key))
		return VERDICT_DROP;
	service = find_service(skb, p);
	if (!service && p->key.proto == IPPROTO_SCTP && !p->opens_flow)
		return VERDICT_PATH;
	if (!service) {
		step(STEP_NO_SERVICE, bpf_ntohs(p->key.dport), skb->mark, 0);
		return VERDICT_NEXT;
	}
	if (unlikely(source_is_martian(p)) && skb->ifindex != LOOPBACK_IFINDEX)
		return VERDICT_NEXT;
	entry.service_id = service->service_id;
	step(STEP_SERVICE_FOUND, service->service_id, service->mode, service->select);
	if (service->flags & LB_SERVICE_SOURCES && !source_is_allowed(p, service->service_id)) {
		step_with(STEP_SOURCE_REFUSED, service->service_id, 0, 0, &p->key.saddr);
		return refuse(skb, p, service->service_id, 0, DROP_SOURCE);
	}
	/*
	 * Answers of DSR do not come by here: a flow in its middle hashes to where it began. A request that has the tuple of
	 * somebody's answers must not take their place.
	 */
	if ((!p->opens_flow && service->mode != LB_MODE_DSR) || (is_icmp(p->key.proto) && ct_find(&p->key))) {
		if (p->key.proto == IPPROTO_SCTP)
			return VERDICT_PATH;
		step(STEP_NOT_OPENING, p->tcp_flags, 0, 0);
		report(p, PASS_NO_FLOW, service->service_id, 0, skb->ifindex);
		return VERDICT_NEXT;
	}
	if (!service->slot_count) {
		step(STEP_NO_ENDPOINT, service->service_id, 0, 0);
		report(p, DROP_NO_ENDPOINT, service->service_id, 0, skb->ifindex);
		return VERDICT_REFUSE;
	}
	entry.endpoint_id = select_endpoint(service, p);
	endpoint = bpf_map_lookup_elem(&lb_endpoint, &entry.endpoint_id);
	if (!entry.endpoint_id || !endpoint)
		return refuse(skb, p, service->service_id, 0, DROP_BAD_ENDPOINT);
	step_with(STEP_ENDPOINT, entry.endpoint_id, bpf_ntohs(endpoint->port), service->slot_count, &endpoint->addr);
	entry.seen = now_ticks();
	entry.flags = CT_PENDING;
	if (skb->ifindex == LOOPBACK_IFINDEX || !skb->ingress_ifindex)
		entry.flags |= CT_FROM_LOCAL;
	if (translate(p, service, endpoint, entry.flags & CT_FROM_LOCAL, &entry))
		return refuse(skb, p, service->service_id, entry.endpoint_id, DROP_BAD_ENDPOINT);
	/* The two do not go together yet. */
	if ((entry.special & (CT_SPECIAL_PPV2 | CT_SPECIAL_FAMILY)) == (CT_SPECIAL_PPV2 | CT_SPECIAL_FAMILY))
		return refuse(skb, p, service->service_id, entry.endpoint_id, DROP_PPV2);
	if (p->key.proto == IPPROTO_TCP) {
		entry.state = CT_TCP_SYN_SENT;
		remember_syn(skb, p, &entry);
	} else if (p->key.proto == IPPROTO_SCTP) {
		entry.state = CT_SCTP_INIT;
		entry.tcp_ack = sctp_initiate_tag(skb, p);
		if (p->opens_flow && (!entry.tcp_ack || p->tcp_seq))
			return refuse(skb, p, service->service_id, 0, DROP_SCTP);
	} else if (is_icmp(p->key.proto)) {
		entry.state = CT_ICMP_REQ_SENT;
	}
	verdict = insert_flow(skb, p, &entry);
	if (verdict == VERDICT_CONTINUE && entry.special & CT_SPECIAL_SCTP)
		sctp_remember_opening(&p->key, entry.tcp_ack, 1, (__u32)entry.nsport << 16 | entry.ndport);
	return verdict;
}
