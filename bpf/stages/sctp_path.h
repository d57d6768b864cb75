/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "sctp.h"
#include "sctp_addresses.h"

/*
 * Other paths of an SCTP association: packets between addresses no flow was opened for, known by their tag. The client
 * sees nothing but addresses of the service. The endpoint sees the client's address where it is kept, and otherwise the
 * service's address the packet came to (fullnat) or this machine's (onearm).
 */

/* Whether `addr` is the service's: its own, or one of the others of a service with several. */
__noinline int sctp_is_vip(const struct ip_addr *addr, const struct ip_addr *own, __u32 service_id)
{
	__u32 i, found;

	if (!addr || !own)
		return 0;
	found = ip_equal(addr, own);
	for (i = 0; i < LB_SCTP_MAX_VIPS; i++)
		found |= sctp_vip_is(service_id, i, addr);
	return found;
}

/* Of a service with several addresses: the first of the family of `like`, or `own`. */
static __always_inline struct ip_addr sctp_vip_like(const struct ip_addr *like, const struct ip_addr *own,
						    __u32 service_id)
{
	struct lb_sctp_vips *vips = bpf_map_lookup_elem(&lb_sctp_vips, &service_id);
	__u32 i, size = sctp_address_size(ip_is_v4(like));

	for (i = 0; i < LB_SCTP_MAX_VIPS; i++) {
		if ((__u32)sctp_vip_size(service_id, i) != size)
			continue;
		return vips ? vips->addr[i] : *own;
	}
	return *own;
}

/* A packet of the client to one of the service's addresses. */
static __always_inline void sctp_path_to_endpoint(const struct pkt *p, const struct ct_sctp_assoc *assoc,
						  const struct ct_entry *first, struct ct_entry *path)
{
	struct lb_endpoint *endpoint = bpf_map_lookup_elem(&lb_endpoint, &first->endpoint_id);

	path->ndaddr = first->ndaddr;
	path->ndport = first->ndport;
	path->nsport = first->nsport;
	path->nat = first->nat;
	if (first->nat == CT_NAT_DNAT)
		path->nsaddr = p->key.saddr;
	else if (ip_equal(&first->nsaddr, &assoc->first.daddr))
		path->nsaddr = p->key.daddr;
	else
		path->nsaddr = first->nsaddr;
	if (ip_is_v4(&path->nsaddr) == ip_is_v4(&path->ndaddr))
		return;
	/* An address of the other family cannot be kept. */
	path->nat = CT_NAT_FULL;
	path->nsaddr = first->nsaddr;
	if (first->nat == CT_NAT_DNAT && endpoint)
		path->nsaddr = endpoint->self;
}

/* A packet of the endpoint, from any address it has. */
static __always_inline void sctp_path_to_client(const struct pkt *p, struct ct_sctp_assoc *assoc,
						const struct ct_entry *first, struct ct_entry *path)
{
	path->nsport = assoc->first.dport;
	path->ndport = assoc->first.sport;
	path->nat = first->nat;
	path->flags = CT_REPLY;
	if (first->nat == CT_NAT_DNAT) {
		path->ndaddr = p->key.daddr;
		path->nsaddr = sctp_vip_like(&p->key.daddr, &assoc->first.daddr, first->service_id);
		return;
	}
	path->ndaddr = assoc->first.saddr;
	path->nsaddr = assoc->first.daddr;
	if (ip_is_v4(&p->key.daddr) == ip_is_v4(&path->ndaddr) &&
	    sctp_is_vip(&p->key.daddr, &assoc->first.daddr, first->service_id))
		path->nsaddr = p->key.daddr;
}

/* Both directions. Where the way back is taken already, by another path to the same address, answers go that way. */
__noinline int sctp_insert_path(const struct pkt *p, struct ct_entry *path, __u32 peer_tag)
{
	struct ct_entry reverse = {};
	struct ct_key key;
	long err;

	if (!p || !path)
		return -1;
	compile_deltas(&p->key, path);
	reverse.seen = path->seen;
	reverse.endpoint_id = path->endpoint_id;
	reverse.service_id = path->service_id;
	reverse.state = path->state;
	reverse.nat = path->nat;
	reverse.special = path->special;
	reverse.flags = path->flags ^ CT_REPLY;
	reverse.nsaddr = p->key.daddr;
	reverse.ndaddr = p->key.saddr;
	reverse.nsport = p->key.dport;
	reverse.ndport = p->key.sport;
	reverse.addr_delta = csum_negate(path->addr_delta);
	reverse.port_delta = csum_negate(path->port_delta);
	reverse.tcp_ack = peer_tag;
	ct_reverse_key(&key, &p->key, path);
	err = insert_unique(&key, &reverse);
	if (err && err != -EEXIST)
		return -1;
	if (err)
		path->flags |= CT_ONE_WAY;
	if (!bpf_map_update_elem(&ct_flow, &p->key, path, BPF_ANY))
		return 0;
	if (!err)
		bpf_map_delete_elem(&ct_flow, &key);
	return -1;
}

/* A packet without a flow, and no INIT: VERDICT_CONTINUE when it has one now. */
__noinline int sctp_open_path(struct __sk_buff *skb, const struct pkt *p)
{
	struct ct_sctp_assoc *assoc;
	struct lb_service *service;
	struct ct_entry path = {};
	struct ct_entry *first;

	if (!p)
		return VERDICT_NEXT;
	service = find_service(skb, p);
	assoc = sctp_find(p->tcp_seq, &p->key);
	first = assoc ? ct_lookup(&assoc->first) : NULL;
	if (!first || sctp_over(first->state))
		goto unknown;
	if (!assoc->reply) {
		if (!service || service->service_id != first->service_id)
			goto unknown;
		sctp_path_to_endpoint(p, assoc, first, &path);
	} else {
		/* Translated already: it has come by here before. */
		if (sctp_is_vip(&p->key.saddr, &assoc->first.daddr, first->service_id))
			goto unknown;
		sctp_path_to_client(p, assoc, first, &path);
	}
	path.service_id = first->service_id;
	path.endpoint_id = first->endpoint_id;
	path.state = first->state;
	path.seen = now_ticks();
	path.tcp_ack = p->tcp_seq;
	path.special = CT_SPECIAL_SCTP | (ip_is_v4(&path.ndaddr) != p->v4 ? CT_SPECIAL_FAMILY : 0);
	path.flags |= CT_PATH | (first->flags & CT_FROM_LOCAL);
	if (ip_is_v4(&path.nsaddr) != ip_is_v4(&path.ndaddr))
		return refuse(skb, p, path.service_id, path.endpoint_id, DROP_SCTP);
	if (sctp_insert_path(p, &path, assoc->peer_tag))
		return refuse(skb, p, path.service_id, path.endpoint_id, DROP_FLOW_INSERT);
	report(p, EVENT_SCTP_PATH, path.service_id, path.endpoint_id, skb->ifindex);
	step_with(STEP_FLOW_OPENED, path.nat, path.special, bpf_ntohs(path.nsport), &path.nsaddr);
	/* An association may end by a path that was never used. */
	if (p->icmp_type == SCTP_ABORT)
		sctp_enter(&assoc->first, CT_SCTP_ABORT);
	return VERDICT_CONTINUE;

unknown:
	if (!service) {
		step(STEP_NO_SERVICE, bpf_ntohs(p->key.dport), skb->mark, 0);
		return VERDICT_NEXT;
	}
	step(STEP_NOT_OPENING, 0, 0, 0);
	report(p, PASS_NO_FLOW, service->service_id, 0, skb->ifindex);
	return VERDICT_NEXT;
}
