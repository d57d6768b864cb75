/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../maps/sctp.h"

/* The books of SCTP associations. */

/* Both directions of an association whose first flow has the client's direction `first`, until it ends. */
__noinline int sctp_remember(const struct ct_key *first, __u32 endpoint_tag, __u32 client_tag)
{
	struct ct_sctp_assoc_key key = { .tag = endpoint_tag };
	struct ct_sctp_assoc assoc = { .peer_tag = client_tag };
	struct ct_entry *entry;

	if (!first)
		return 0;
	assoc.first = *first;
	entry = ct_lookup(&assoc.first);
	if (!entry)
		return 0;
	key.sport = first->sport;
	key.dport = first->dport;
	/* Whoever has these tag and ports already keeps them. */
	bpf_map_update_elem(&ct_sctp_assoc, &key, &assoc, BPF_NOEXIST);
	key.tag = client_tag;
	key.sport = entry->ndport;
	key.dport = entry->nsport;
	assoc.peer_tag = endpoint_tag;
	assoc.reply = 1;
	bpf_map_update_elem(&ct_sctp_assoc, &key, &assoc, BPF_NOEXIST);
	return 0;
}

/* Where a handshake whose packets have this tag and these ports is remembered. Tags are random (RFC 9260 5.3.1). */
static __always_inline struct ct_sctp_opening *sctp_opening(const struct ct_sctp_assoc_key *key)
{
	__u32 ports = (__u32)key->dport << 16 | key->sport;
	__u32 place = (key->tag ^ ports * 0x9e3779b1) * 0x85ebca6b >> (32 - CT_SCTP_OPENING_BITS);

	return bpf_map_lookup_elem(&ct_sctp_begun, &place);
}

/*
 * In a handshake: the tag that packets of the client carry, or of the endpoint (`reply`), and their ports, source in the
 * lower half, as they arrive.
 */
__noinline int sctp_remember_opening(const struct ct_key *first, __u32 tag, __u32 reply, __u32 ports)
{
	struct ct_sctp_assoc_key key = { .tag = tag, .sport = ports, .dport = ports >> 16 };
	struct ct_sctp_opening *opening = sctp_opening(&key);

	if (!first || !opening)
		return 0;
	opening->key = key;
	opening->first = *first;
	opening->reply = reply;
	return 0;
}

/* The handshake that packets with this tag and these ports belong to, or NULL. */
static __always_inline struct ct_sctp_opening *sctp_find_opening(__u32 tag, const struct ct_key *flow)
{
	struct ct_sctp_assoc_key key = { .tag = tag, .sport = flow->sport, .dport = flow->dport };
	struct ct_sctp_opening *opening = sctp_opening(&key);

	if (!opening || opening->key.tag != tag || opening->key.sport != key.sport || opening->key.dport != key.dport)
		return NULL;
	return opening;
}

/* The association of either direction of its first flow ends: what its paths do is nobody's any more. */
__noinline int sctp_forget(const struct ct_key *flow, const struct ct_entry *entry)
{
	struct ct_sctp_assoc_key key = {};
	struct ct_sctp_assoc *assoc;

	if (!flow || !entry)
		return 0;
	key.tag = entry->tcp_ack;
	key.sport = flow->sport;
	key.dport = flow->dport;
	assoc = bpf_map_lookup_elem(&ct_sctp_assoc, &key);
	if (!assoc)
		return 0;
	key.tag = assoc->peer_tag;
	key.sport = entry->ndport;
	key.dport = entry->nsport;
	bpf_map_delete_elem(&ct_sctp_assoc, &key);
	key.tag = entry->tcp_ack;
	key.sport = flow->sport;
	key.dport = flow->dport;
	bpf_map_delete_elem(&ct_sctp_assoc, &key);
	return 0;
}

static __always_inline struct ct_sctp_assoc *sctp_find(__u32 tag, const struct ct_key *flow)
{
	struct ct_sctp_assoc_key key = { .tag = tag, .sport = flow->sport, .dport = flow->dport };

	return bpf_map_lookup_elem(&ct_sctp_assoc, &key);
}

/* Packets of `flow` may carry `tag`, once the handshake is through. */
__noinline int sctp_offer(const struct ct_key *flow, __u32 tag, __u32 peer_tag)
{
	struct ct_sctp_offer_key key = { .tag = tag };
	struct ct_sctp_offer offer = { .peer_tag = peer_tag };

	if (!flow)
		return 0;
	key.flow = *flow;
	bpf_map_update_elem(&ct_sctp_offer, &key, &offer, BPF_ANY);
	return 0;
}

#define SCTP_OFFERED (1ULL << 32)

/* SCTP_OFFERED when packets of `flow` may carry `tag`; the tag of the other way in the lower half. */
__noinline __u64 sctp_offered(const struct ct_key *flow, __u32 tag)
{
	struct ct_sctp_offer_key key = { .tag = tag };
	struct ct_sctp_offer *offer;

	if (!flow)
		return 0;
	key.flow = *flow;
	offer = bpf_map_lookup_elem(&ct_sctp_offer, &key);
	return offer ? SCTP_OFFERED | offer->peer_tag : 0;
}

__noinline int sctp_withdraw(const struct ct_key *flow, __u32 tag)
{
	struct ct_sctp_offer_key key = { .tag = tag };

	if (!flow)
		return 0;
	key.flow = *flow;
	bpf_map_delete_elem(&ct_sctp_offer, &key);
	return 0;
}
