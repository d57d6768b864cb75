/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/event.h"
#include "../maps/fragment.h"
#include "forward.h"

/*
 * Fragments. The first one opens or finds the flow like any packet, and leaves its ports where the later ones find
 * them. Later ones that come before it are kept, and go through the program again behind it.
 */

/* How long the parts of a packet belong together: identifications come round (RFC 791, RFC 8200 say up to a minute). */
#define FRAG_LIFETIME_TICKS (10 * TICKS_PER_SECOND)

static __always_inline void frag_key_of(struct frag_key *key, const struct pkt *p)
{
	key->saddr = p->key.saddr;
	key->daddr = p->key.daddr;
	key->id = p->frag_id;
	key->proto = p->key.proto;
}

/* What is known of the packet this is a part of, unless it was another one long ago. */
static __always_inline struct frag_flow *frag_known(const struct frag_key *key)
{
	struct frag_flow *known = bpf_map_lookup_elem(&frag_flow, key);

	return known && now_ticks() - known->seen <= FRAG_LIFETIME_TICKS ? known : NULL;
}

/* Puts a kept frame in the place of the packet, and that before the program. */
__noinline int frag_send_held(struct __sk_buff *skb, const struct frag_held_key *key)
{
	struct frag_held_key own;
	struct frag_held *held;
	__u32 length;

	if (!key)
		return 0;
	own = *key;
	held = bpf_map_lookup_elem(&frag_held, &own);
	if (!held)
		return 0;
	length = held->length;
	if (now_ticks() - held->seen <= FRAG_LIFETIME_TICKS && length > ETH_HLEN && length <= FRAG_FRAME_MAX &&
	    !bpf_skb_change_tail(skb, length, 0) &&
	    !bpf_skb_store_bytes(skb, 0, held->frame, bounded(length, ETH_HLEN + 1, FRAG_FRAME_MAX),
				 BPF_F_RECOMPUTE_CSUM) &&
	    !bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
		count(EVENT_FRAGMENT_SENT);
	else
		count(DROP_FRAGMENT);
	bpf_map_delete_elem(&frag_held, &own);
	return 0;
}

/* Has the first part come in again, and what was kept behind it: everything is in order then. */
static __always_inline int frag_release(struct __sk_buff *skb, const struct frag_key *key, struct frag_flow *known)
{
	struct frag_held_key held = { .packet = *key };
	__u32 i, count = known->held;

	known->held = 0;
	if (bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
		return VERDICT_DROP;
	for (i = 0; i < FRAG_HELD_MAX; i++) {
		if (i >= count)
			break;
		held.index = i;
		frag_send_held(skb, &held);
	}
	return VERDICT_DROP;
}

/* Keeps a part whose first has not come. */
__noinline int frag_hold(struct __sk_buff *skb, const struct pkt *p)
{
	struct frag_flow fresh = { .verdict = FRAG_WAITING }, *known;
	struct frag_held_key key = {};
	struct frag_held *scratch;
	__u32 zero = 0, length = skb->len;

	if (!p)
		return VERDICT_DROP;
	frag_key_of(&key.packet, p);
	known = frag_known(&key.packet);
	if (!known) {
		fresh.seen = now_ticks();
		bpf_map_update_elem(&frag_flow, &key.packet, &fresh, BPF_ANY);
		known = bpf_map_lookup_elem(&frag_flow, &key.packet);
	}
	scratch = bpf_map_lookup_elem(&frag_scratch, &zero);
	if (!known || !scratch || length <= ETH_HLEN || length > FRAG_FRAME_MAX)
		goto drop;
	key.index = __sync_fetch_and_add(&known->held, 1);
	if (key.index >= FRAG_HELD_MAX ||
	    bpf_skb_load_bytes(skb, 0, scratch->frame, bounded(length, ETH_HLEN + 1, FRAG_FRAME_MAX)))
		goto drop;
	scratch->length = length;
	scratch->seen = now_ticks();
	if (bpf_map_update_elem(&frag_held, &key, scratch, BPF_ANY))
		goto drop;
	report(p, EVENT_FRAGMENT_HELD, 0, 0, skb->ifindex);
	step(STEP_FRAGMENT, 2, p->frag_id, 0);
	return VERDICT_DROP;

drop:
	report(p, DROP_FRAGMENT, 0, 0, skb->ifindex);
	return VERDICT_DROP;
}

/*
 * A fragment comes in. VERDICT_CONTINUE: it can be treated like a packet, and has the ports its flow is found by.
 */
__noinline int frag_arrive(struct __sk_buff *skb, struct pkt *p, __u32 egress)
{
	struct frag_key key = {};
	struct frag_flow *known;

	if (!p)
		return VERDICT_NEXT;
	frag_key_of(&key, p);
	known = frag_known(&key);
	step(STEP_FRAGMENT, p->fragment == FRAGMENT_LATER, p->frag_id, 0);
	if (p->fragment == FRAGMENT_FIRST)
		return known && known->held && !egress && !cfg_trace ? frag_release(skb, &key, known)
								     : VERDICT_CONTINUE;
	if (known && known->verdict == FRAG_FLOW) {
		p->key.sport = known->sport;
		p->key.dport = known->dport;
		return VERDICT_CONTINUE;
	}
	if ((!known || known->verdict == FRAG_WAITING) && !egress &&
	    (lb_has_address(&p->key.daddr) || lb_has_address(&p->key.saddr)))
		return frag_hold(skb, p);
	report(p, PASS_FRAGMENT, 0, 0, skb->ifindex);
	return VERDICT_NEXT;
}

/* The first part has been judged: the others follow it. */
__noinline int frag_remember(const struct pkt *p, __u32 verdict, __u32 ifindex)
{
	struct frag_flow record = { .seen = now_ticks(), .verdict = verdict };
	struct frag_key key = {};

	if (!p)
		return 0;
	frag_key_of(&key, p);
	record.sport = p->key.sport;
	record.dport = p->key.dport;
	bpf_map_update_elem(&frag_flow, &key, &record, BPF_ANY);
	if (verdict == FRAG_FOREIGN)
		report(p, PASS_FRAGMENT, 0, 0, ifindex);
	return 0;
}
