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

/* The way back. Where it is taken already, by another path to the same address, answers go that way. */
__noinline int sctp_insert_reverse(const struct pkt *p, struct ct_entry *path, __u32 peer_tag)
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
	/* What was made one way stays so. */
	err = path->flags & CT_ONE_WAY ? -EEXIST : insert_unique(&key, &reverse);
	if (err && err != -EEXIST)
		return -1;
	if (err)
		path->flags |= CT_ONE_WAY;
	return 0;
}

/*
 * Gives a packet of a handshake the addresses of its flow. A side with several may answer from any of them; which that
 * is, the other learns from the chunks.
 */
__noinline int sctp_readdress(struct __sk_buff *skb, struct pkt *p, const struct ip_addr *saddr,
			      const struct ip_addr *daddr)
{
	__be32 old[2], new[2];

	if (!p || !saddr || !daddr || ip_is_v4(saddr) != p->v4 || ip_is_v4(daddr) != p->v4)
		return -1;
	if (p->v4) {
		old[0] = p->key.saddr.w[3];
		old[1] = p->key.daddr.w[3];
		new[0] = saddr->w[3];
		new[1] = daddr->w[3];
		if (bpf_l3_csum_replace(skb, ETH_HLEN + 10, 0, csum_delta(old, 8, new, 8), 0) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + 12, new, sizeof(new), 0))
			return -1;
	} else if (bpf_skb_store_bytes(skb, ETH_HLEN + 8, saddr, sizeof(*saddr), BPF_F_RECOMPUTE_CSUM) ||
		   bpf_skb_store_bytes(skb, ETH_HLEN + 24, daddr, sizeof(*daddr), BPF_F_RECOMPUTE_CSUM)) {
		return -1;
	}
	p->key.saddr = *saddr;
	p->key.daddr = *daddr;
	return 0;
}

/* A packet of a handshake that was begun between other addresses: VERDICT_CONTINUE when it is. */
__noinline int sctp_join_handshake(struct __sk_buff *skb, struct pkt *p, __u32 service_id)
{
	struct ct_sctp_opening *opening;
	struct ct_entry *first;

	if (!p)
		return VERDICT_NEXT;
	opening = sctp_find_opening(p->tcp_seq, &p->key);
	first = opening ? ct_lookup(&opening->first) : NULL;
	if (!first || first->state >= CT_SCTP_EST || (!opening->reply && first->service_id != service_id))
		return VERDICT_NEXT;
	/* Once readdressed, an answer to its sender or the later parts of it would go astray. */
	if (p->ttl <= 1 || p->fragment)
		return refuse(skb, p, first->service_id, first->endpoint_id, DROP_SCTP);
	if (opening->reply ? sctp_readdress(skb, p, &first->ndaddr, &first->nsaddr)
			   : sctp_readdress(skb, p, &opening->first.saddr, &opening->first.daddr))
		return refuse(skb, p, first->service_id, first->endpoint_id, DROP_SCTP);
	return VERDICT_CONTINUE;
}

/* A packet of an established association: VERDICT_CONTINUE when it is, and has a flow now. */
__noinline int sctp_open_path(struct __sk_buff *skb, const struct pkt *p, __u32 service_id)
{
	struct ct_sctp_assoc *assoc;
	struct ct_entry path = {};
	struct ct_entry *first;

	if (!p)
		return VERDICT_NEXT;
	assoc = sctp_find(p->tcp_seq, &p->key);
	first = assoc ? ct_lookup(&assoc->first) : NULL;
	if (!first || sctp_over(first->state))
		return VERDICT_NEXT;
	if (!assoc->reply) {
		if (service_id != first->service_id)
			return VERDICT_NEXT;
		sctp_path_to_endpoint(p, assoc, first, &path);
	} else {
		/* Translated already: it has come by here before. */
		if (sctp_is_vip(&p->key.saddr, &assoc->first.daddr, first->service_id))
			return VERDICT_NEXT;
		sctp_path_to_client(p, assoc, first, &path);
		/*
		 * Who knows a tag may send to the client, but not have the packets of a client's address sent to itself: that
		 * way is made by the client's own packets, and leads to the endpoint.
		 */
		if (!ip_equal(&p->key.saddr, &first->ndaddr))
			path.flags |= CT_ONE_WAY;
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
	if (sctp_insert_reverse(p, &path, assoc->peer_tag))
		return refuse(skb, p, path.service_id, path.endpoint_id, DROP_FLOW_INSERT);
	if (ct_insert(&p->key, &path)) {
		drop_reverse(&p->key, &path);
		return refuse(skb, p, path.service_id, path.endpoint_id, DROP_FLOW_INSERT);
	}
	report(p, EVENT_SCTP_PATH, path.service_id, path.endpoint_id, skb->ifindex);
	step_with(STEP_FLOW_OPENED, path.nat, path.special, bpf_ntohs(path.nsport), &path.nsaddr);
	return VERDICT_CONTINUE;
}

/* The flow of a packet that has none by its tuple and is no INIT. NULL: `verdict` says what to do with it. */
static __always_inline struct ct_entry *sctp_find_path(struct __sk_buff *skb, struct pkt *p, int *verdict)
{
	struct lb_service *service = find_service(skb, p);
	__u32 service_id = service ? service->service_id : 0;
	struct ct_entry *entry;
	int result;

	*verdict = sctp_open_path(skb, p, service_id);
	if (*verdict == VERDICT_NEXT)
		*verdict = sctp_join_handshake(skb, p, service_id);
	if (*verdict == VERDICT_NEXT) {
		step(service_id ? STEP_NOT_OPENING : STEP_NO_SERVICE, 0, skb->mark, 0);
		if (service_id)
			report(p, PASS_NO_FLOW, service_id, 0, skb->ifindex);
	}
	if (*verdict != VERDICT_CONTINUE)
		return NULL;
	*verdict = VERDICT_DROP;
	entry = ct_lookup(&p->key);
	if (!entry)
		return NULL;
	result = sctp_advance(skb, p, entry);
	if (result == CT_KEPT)
		return entry;
	return result == CT_MOVED ? bpf_map_lookup_elem(&ct_flow, &p->key) : NULL;
}
