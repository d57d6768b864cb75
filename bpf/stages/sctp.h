/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/csum.h"
#include "../include/event.h"
#include "../include/sctp.h"
#include "../maps/conntrack.h"
#include "../maps/lb.h"
#include "sctp_assoc.h"
#include "table.h"

/*
 * The life of an SCTP association (RFC 9260 4), by its chunks. Every packet has to carry the tag its receiver has
 * chosen (8.5): one that does not is nobody's, and changes nothing. `tcp_ack` of a flow's entry is the tag packets of
 * its direction carry; while the state is CT_SCTP_INIT, the client's entry has the tag the client has chosen.
 *
 * An association has one flow it began with, which counts, and any number of other paths (CT_PATH) that follow it.
 */

/* A path whose answers go another way takes them over when that way has been silent for so long. */
#define SCTP_SILENT_TICKS (2 * TICKS_PER_SECOND)
/* How often other paths keep the first flow alive: seldom enough for its own silence to be seen. */
#define SCTP_TOUCH_TICKS (8 * TICKS_PER_SECOND)

/* Chunks that may change something of an established association. */
#define SCTP_SEEN_CHANGES                                                                                      \
	(SCTP_SEEN(SCTP_INIT) | SCTP_SEEN(SCTP_INIT_ACK) | SCTP_SEEN(SCTP_HEARTBEAT) | SCTP_SEEN(SCTP_ABORT) | \
	 SCTP_SEEN(SCTP_SHUTDOWN) | SCTP_SEEN(SCTP_SHUTDOWN_ACK) | SCTP_SEEN(SCTP_SHUTDOWN_COMPLETE) |         \
	 SCTP_SEEN(SCTP_COOKIE_ECHO) | SCTP_SEEN(SCTP_COOKIE_ACK))

/* Flags of a flow that has to look at others of its association. */
#define SCTP_OF_MANY (CT_PATH | CT_ONE_WAY)

static __always_inline bool sctp_over(__u8 state)
{
	return state >= CT_SCTP_SHUT_COMPLETE;
}

/* Whose flow ends is counted once, though both ends may say so at a time: the flags are in the word of the state. */
static __always_inline bool sctp_claim_end(struct ct_entry *first)
{
	__u32 *word = (__u32 *)&first->state;
	int i;

	for (i = 0; i < 4; i++) {
		__u32 old = *(volatile __u32 *)word;

		if (old & CT_PATH << 16)
			return false;
		if (__sync_val_compare_and_swap(word, old, old | CT_PATH << 16) == old)
			return true;
	}
	return false;
}

/* The association enters a state. When that is its last, its endpoint has one flow less at once. */
__noinline int sctp_enter(const struct ct_key *first, __u32 state)
{
	struct ct_entry *entry, *other;
	struct ct_key reverse;

	if (!first)
		return 0;
	entry = ct_find(first);
	if (!entry)
		return 0;
	other = ct_lookup_reverse(&reverse, first, entry);
	entry->state = state;
	if (other)
		other->state = state;
	if (!sctp_over(state))
		return 0;
	if (sctp_claim_end(entry))
		endpoint_flow_ended(entry->endpoint_id, entry->flags & CT_PENDING);
	if (other)
		other->flags |= CT_PATH;
	sctp_forget(first, entry);
	count(EVENT_FLOW_CLOSED);
	return 0;
}

/* A handshake is through: these are the tags of the association now, to be remembered by the caller. */
__noinline int sctp_agree(const struct ct_key *first, __u32 endpoint_tag, __u32 client_tag)
{
	struct ct_entry *entry, *other;
	struct ct_key reverse;

	if (!first)
		return 0;
	entry = ct_find(first);
	if (!entry)
		return 0;
	other = ct_lookup_reverse(&reverse, first, entry);
	sctp_forget(first, entry);
	entry->tcp_ack = endpoint_tag;
	if (other)
		other->tcp_ack = client_tag;
	return 0;
}

/*
 * Packets come in by a path whose answers leave by another, which was taken first. When the client is silent there, its
 * answers come here from now on.
 */
__noinline int sctp_take_over(const struct ct_key *flow, struct ct_entry *entry)
{
	struct ct_entry *answers, *silent;
	struct ct_key reverse, other;

	if (!flow || !entry)
		return 0;
	ct_reverse_key(&reverse, flow, entry);
	answers = ct_lookup(&reverse);
	if (!answers || !(answers->flags & CT_REPLY) || answers->endpoint_id != entry->endpoint_id)
		return 0;
	ct_reverse_key(&other, &reverse, answers);
	silent = ct_lookup(&other);
	if (silent && silent->packets && now_ticks() - silent->seen < SCTP_SILENT_TICKS)
		return 0;
	answers->nsaddr = flow->daddr;
	answers->ndaddr = flow->saddr;
	answers->addr_delta = csum_negate(entry->addr_delta);
	/* The way out is another. */
	answers->generation--;
	answers->flags = (answers->flags & ~CT_PATH) | (entry->flags & CT_PATH);
	if (silent)
		silent->flags |= CT_ONE_WAY;
	entry->flags &= ~CT_ONE_WAY;
	return 0;
}

#define SCTP_GONE (-1)

/* A packet on another path of an association: its state, and the flow it began with. SCTP_GONE: there is none. */
__noinline int sctp_follow(const struct pkt *p, struct ct_entry *entry, struct ct_key *first)
{
	struct ct_sctp_assoc *assoc;
	struct ct_entry *began;

	if (!p || !entry || !first)
		return SCTP_GONE;
	assoc = sctp_find(p->tcp_seq, &p->key);
	if (!assoc)
		assoc = sctp_find(entry->tcp_ack, &p->key);
	else if (assoc->reply == !!(entry->flags & CT_REPLY))
		/* It may have begun anew on another path. */
		entry->tcp_ack = p->tcp_seq;
	if (!assoc)
		return SCTP_GONE;
	*first = assoc->first;
	began = ct_find(first);
	if (!began || began->endpoint_id != entry->endpoint_id)
		return SCTP_GONE;
	/*
	 * As long as one path is used the association is. Where it would pass for a sign of the client on its first path
	 * it is left to who takes the answers over.
	 */
	if ((entry->flags & (CT_ONE_WAY | CT_REPLY)) != CT_ONE_WAY && now_ticks() - began->seen > SCTP_TOUCH_TICKS)
		began->seen = now_ticks();
	return began->state;
}

/* Drops a packet that must not get any further. Its flow stays as it is. */
static __always_inline int sctp_refuse(const struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
				       __u32 reason)
{
	report(p, reason, entry->service_id, entry->endpoint_id, skb->ifindex);
	return CT_REFUSED;
}

/* Answers do not come through here: what the client sends is all there is to judge by. */
static __always_inline int sctp_one_way(const struct pkt *p, struct ct_entry *entry, __u32 seen)
{
	if (seen & SCTP_SEEN(SCTP_INIT)) {
		if (entry->state < CT_SCTP_SHUT)
			return CT_KEPT;
		ct_remove(&p->key, entry);
		return CT_GONE;
	}
	if (sctp_over(entry->state))
		return CT_KEPT;
	if (seen & SCTP_SEEN(SCTP_ABORT))
		sctp_enter(&p->key, CT_SCTP_ABORT);
	else if (seen & SCTP_SEEN(SCTP_SHUTDOWN_COMPLETE))
		sctp_enter(&p->key, CT_SCTP_SHUT_COMPLETE);
	else if (seen & SCTP_SEEN(SCTP_SHUTDOWN_ACK))
		entry->state = CT_SCTP_SHUT_ACK;
	else if (seen & SCTP_SEEN(SCTP_SHUTDOWN))
		entry->state = CT_SCTP_SHUT;
	else if (entry->state < CT_SCTP_EST) {
		entry->state = CT_SCTP_EST;
		return ct_confirm(p, entry, NULL);
	}
	return CT_KEPT;
}

/* A client asks for a tag. */
static __always_inline void sctp_begin(const struct ct_key *first, struct ct_entry *entry, __u32 tag)
{
	entry->tcp_ack = tag;
	sctp_remember_opening(first, tag, 1, (__u32)entry->nsport << 16 | entry->ndport);
}

/* Everything of SCTP but data of established associations. */
__noinline int sctp_advance(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry)
{
	struct ct_key reverse, first;
	struct ct_entry *other;
	__u32 seen, tag, asked;
	bool reply, known;
	__u64 offer = 0;
	int state, before;

	if (!p || !entry)
		return CT_KEPT;
	seen = sctp_chunks(skb, p);
	if (entry->special & CT_SPECIAL_DSR)
		return sctp_one_way(p, entry, seen);
	if (!seen)
		return sctp_refuse(skb, p, entry, DROP_SCTP);
	state = entry->state;
	tag = p->tcp_seq;
	if (state == CT_SCTP_EST && tag == entry->tcp_ack && !(entry->flags & SCTP_OF_MANY) &&
	    !(seen & SCTP_SEEN_CHANGES))
		return CT_KEPT;
	reply = entry->flags & CT_REPLY;
	other = ct_lookup_reverse(&reverse, &p->key, entry);
	first = reply ? reverse : p->key;
	if (entry->flags & CT_PATH && !sctp_over(state)) {
		state = sctp_follow(p, entry, &first);
		if (state == SCTP_GONE) {
			ct_remove(&p->key, entry);
			return CT_GONE;
		}
	}
	before = state;

	if (seen & SCTP_SEEN(SCTP_INIT)) {
		/* Alone, and to somebody whose tag is not known yet (RFC 9260 8.5.1 A). */
		asked = sctp_initiate_tag(skb, p);
		if (tag || !asked || seen != SCTP_SEEN(SCTP_INIT))
			return sctp_refuse(skb, p, entry, DROP_SCTP);
		if (sctp_over(state) || (!other && state == CT_SCTP_INIT)) {
			ct_remove(&p->key, entry);
			return CT_GONE;
		}
		/* Another attempt, perhaps with a new tag. */
		if (state == CT_SCTP_INIT && !reply)
			sctp_begin(&p->key, entry, asked);
		else if (state == CT_SCTP_INIT || !other || other->tcp_ack != asked)
			sctp_offer(&reverse, asked, 0);
		return CT_KEPT;
	}

	if (seen & SCTP_SEEN_REFLECTED)
		known = other && state != CT_SCTP_INIT && tag == other->tcp_ack;
	else if (state == CT_SCTP_INIT)
		known = reply && other && tag == other->tcp_ack;
	else
		known = tag == entry->tcp_ack;
	if (!tag)
		known = false;
	if (seen & (SCTP_SEEN(SCTP_INIT_ACK) | SCTP_SEEN(SCTP_COOKIE_ECHO) | SCTP_SEEN(SCTP_COOKIE_ACK)))
		offer = sctp_offered(&p->key, tag);
	if (!known && !offer)
		return sctp_refuse(skb, p, entry, DROP_SCTP_TAG);
	if (sctp_over(state))
		return CT_KEPT;
	if (!reply && entry->flags & CT_ONE_WAY)
		sctp_take_over(&p->key, entry);

	if (seen & SCTP_SEEN(SCTP_INIT_ACK)) {
		asked = sctp_initiate_tag(skb, p);
		if (!asked || seen != SCTP_SEEN(SCTP_INIT_ACK))
			return sctp_refuse(skb, p, entry, DROP_SCTP);
		if (known && other && state == CT_SCTP_INIT) {
			entry->tcp_ack = tag;
			other->tcp_ack = asked;
			state = CT_SCTP_INIT_ACK;
			sctp_remember_opening(&first, asked, 0, (__u32)first.dport << 16 | first.sport);
		} else if (!known || !other || other->tcp_ack != asked) {
			sctp_offer(&reverse, asked, tag);
		}
	} else if (seen & SCTP_SEEN(SCTP_COOKIE_ECHO)) {
		__u32 peer = offer;

		if (!known && !peer)
			return sctp_refuse(skb, p, entry, DROP_SCTP_TAG);
		/* The other side takes the cookie or not: it says so with these tags. */
		if (peer)
			sctp_offer(&reverse, peer, tag);
		if (state == CT_SCTP_INIT_ACK)
			state = CT_SCTP_COOKIE_ECHO;
	} else if (seen & SCTP_SEEN(SCTP_COOKIE_ACK)) {
		__u32 peer = offer;

		if (peer) {
			sctp_withdraw(&p->key, tag);
			sctp_withdraw(&reverse, peer);
		} else if (!known) {
			return sctp_refuse(skb, p, entry, DROP_SCTP_TAG);
		} else if (state >= CT_SCTP_EST || state == CT_SCTP_INIT || !other) {
			return CT_KEPT;
		} else {
			peer = other->tcp_ack;
		}
		/* One after the other: a call from a call would be too deep for the stack of older kernels. */
		sctp_agree(&first, reply ? peer : tag, reply ? tag : peer);
		sctp_remember(&first, reply ? peer : tag, reply ? tag : peer);
		entry->tcp_ack = tag;
		if (other)
			other->tcp_ack = peer;
		state = CT_SCTP_EST;
	} else if (seen & SCTP_SEEN(SCTP_ABORT)) {
		state = CT_SCTP_ABORT;
	} else if (seen & SCTP_SEEN(SCTP_SHUTDOWN_COMPLETE)) {
		if (state == CT_SCTP_SHUT_ACK)
			state = CT_SCTP_SHUT_COMPLETE;
	} else if (seen & SCTP_SEEN(SCTP_SHUTDOWN_ACK)) {
		if (state == CT_SCTP_EST || state == CT_SCTP_SHUT)
			state = CT_SCTP_SHUT_ACK;
	} else if (seen & SCTP_SEEN(SCTP_SHUTDOWN)) {
		if (state == CT_SCTP_EST)
			state = CT_SCTP_SHUT;
	} else if (seen & SCTP_SEEN(SCTP_HEARTBEAT) && state == CT_SCTP_EST && other && !(entry->flags & CT_PATH)) {
		if (!sctp_find(tag, &p->key))
			sctp_remember(&first, reply ? other->tcp_ack : tag, reply ? tag : other->tcp_ack);
	}
	if (state != before)
		sctp_enter(&first, state);
	entry->state = state;
	if (other)
		other->state = state;
	return state == CT_SCTP_EST ? ct_confirm(p, entry, other) : CT_KEPT;
}

static __always_inline int ct_sctp_advance(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry)
{
	if (likely(entry->state == CT_SCTP_EST && p->tcp_seq == entry->tcp_ack && !(entry->flags & SCTP_OF_MANY) &&
		   (p->icmp_type == SCTP_DATA || (p->icmp_type == SCTP_SACK && sctp_only_acknowledges(skb, p)))))
		return CT_KEPT;
	return sctp_advance(skb, p, entry);
}
