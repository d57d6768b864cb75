/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/parse.h"
#include "../maps/conntrack.h"
#include "../include/event.h"
#include "../maps/lb.h"
#include "idle.h"
#include "table.h"

/*
 * State machines of flows, and where their entries are.
 *
 * What is off the fast path is in global functions: the verifier looks at each of them once, whatever calls them, and
 * their pointer arguments have to be checked for it.
 */

/* What became of the entry a packet was looked up with. */
enum ct_advance_result {
	CT_KEPT,
	CT_MOVED,   /* it is in ct_flow now */
	CT_GONE,    /* the packet is the first of a new flow */
	CT_REFUSED, /* the packet is nobody's: it is dropped, and the entry stays */
};

/* One-way UDP counts as a flow of its own after this many packets, and as established after twice that. */
#define CT_UDP_UNI_PACKETS 4
#define CT_UDP_EST_PACKETS 8

/*
 * Both sides have confirmed the flow. One that began in ct_new is moved to the table that is never evicted, and the old
 * entries must not be touched any more; when the table is full it stays where it is and goes on working.
 */
static __always_inline int ct_confirm(const struct pkt *p, struct ct_entry *entry, struct ct_entry *other)
{
	__u8 evictable = entry->flags & CT_EVICTABLE;
	struct ct_key reverse;

	if ((!other && !(entry->flags & CT_ONE_WAY)) || !(entry->flags & CT_PENDING))
		return CT_KEPT;
	entry->flags &= ~(CT_PENDING | CT_EVICTABLE);
	if (other)
		other->flags &= ~(CT_PENDING | CT_EVICTABLE);
	/* Before the entries are copied, for they tell of it. */
	if (p->key.proto == IPPROTO_TCP)
		watch_idle(&p->key, entry, other);
	if (evictable) {
		ct_reverse_key(&reverse, &p->key, entry);
		if (ct_keep(&p->key))
			goto full;
		if (other && ct_keep(&reverse)) {
			ct_delete(&p->key, false);
			goto full;
		}
	} else {
		ct_release();
	}
	if (!(entry->flags & CT_PATH))
		endpoint_flow_confirmed(entry->endpoint_id);
	report(p, EVENT_FLOW_CONFIRMED, entry->service_id, entry->endpoint_id, 0);
	if (!evictable)
		return CT_KEPT;
	ct_delete(&p->key, true);
	if (other)
		bpf_map_delete_elem(&ct_new, &reverse);
	return CT_MOVED;

full:
	entry->flags |= CT_PENDING | CT_EVICTABLE;
	if (other)
		other->flags |= CT_PENDING | CT_EVICTABLE;
	report(p, EVENT_FLOW_TABLE_FULL, entry->service_id, entry->endpoint_id, 0);
	return CT_KEPT;
}

#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_WSCALE 3
#define TCP_MAX_WSCALE 14
#define TCP_NO_WSCALE 0xff
/* A segment of a link with jumbo frames. */
#define TCP_MAX_SYN_DATA 9000
#define TCP_MAX_OPTIONS 40

/* Window scale of a SYN (RFC 7323) whose `length` bytes of options are at `off`, or TCP_NO_WSCALE. */
__noinline int tcp_wscale(struct __sk_buff *skb, __u32 off, __u32 length)
{
	__u8 options[TCP_MAX_OPTIONS] = {};
	__u32 at = 0;
	int i;

	if (length < 4 || length > sizeof(options))
		return TCP_NO_WSCALE;
	if (bpf_skb_load_bytes(skb, off, options, bounded(length, 4, sizeof(options))))
		return TCP_NO_WSCALE;
	for (i = 0; i < 16; i++) {
		__u8 kind, size;

		if (at > TCP_MAX_OPTIONS - 3 || at + 2 >= length)
			return TCP_NO_WSCALE;
		kind = options[at];
		if (kind == TCP_OPTION_END)
			return TCP_NO_WSCALE;
		if (kind == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		size = options[at + 1];
		if (size < 2)
			return TCP_NO_WSCALE;
		if (kind == TCP_OPTION_WSCALE) {
			__u8 scale = options[at + 2];

			return scale > TCP_MAX_WSCALE ? TCP_MAX_WSCALE : scale;
		}
		at += size;
	}
	return TCP_NO_WSCALE;
}

static __always_inline __u8 syn_wscale(struct __sk_buff *skb, const struct pkt *p)
{
	return tcp_wscale(skb, p->l4_off + sizeof(struct tcphdr), p->l4_hlen - sizeof(struct tcphdr));
}

/* What a SYN tells of its direction. */
static __always_inline void remember_syn(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry)
{
	entry->tcp_ack = p->tcp_seq + 1;
	entry->tcp_wscale = syn_wscale(skb, p);
	entry->tcp_window = p->tcp_window;
}

/* The segment acknowledges the SYN of `other`, and at most the data that may have come with it (RFC 7413). */
static __always_inline bool answers_syn(const struct pkt *p, const struct ct_entry *other)
{
	return other && p->tcp_ack - other->tcp_ack <= TCP_MAX_SYN_DATA;
}

/* The segment lies in the window that `other`, the opposite direction, last offered. */
static __always_inline bool in_window(const struct pkt *p, const struct ct_entry *other)
{
	return other && p->tcp_seq - other->tcp_ack <= other->tcp_window << (other->tcp_wscale & 0xf);
}

/*
 * A reset ends the flow only when it could come from the peer (RFC 5961 3): in the window the other side last offered,
 * or, during the handshake, exactly where the answer to it has to be.
 */
static __always_inline bool reset_is_valid(const struct pkt *p, const struct ct_entry *entry,
					   const struct ct_entry *other)
{
	if (!other)
		return false;
	if (entry->state == CT_TCP_SYN_SENT) {
		if (entry->flags & CT_REPLY)
			return p->tcp_flags & TCP_ACK && answers_syn(p, other);
		return p->tcp_seq == entry->tcp_ack;
	}
	if (entry->state == CT_TCP_SYN_ACK)
		return p->tcp_seq == entry->tcp_ack;
	return in_window(p, other);
}

static __always_inline bool ct_tcp_over(__u8 state)
{
	return state == CT_TCP_CLOSED || state == CT_TCP_CLOSED_WAIT || state == CT_TCP_ERR;
}

/* A window as later segments would have to say it. Windows of SYNs are not scaled (RFC 7323 2.2). */
static __always_inline __u16 unscale(__u32 window, __u8 wscale)
{
	/* Rounded up: an acknowledgment of the whole first window must not look like one of more. */
	return (window + (1U << wscale) - 1) >> wscale;
}

/* Windows are scaled only when both sides offered it. `other` is the client's direction. */
static __always_inline void agree_wscale(struct ct_entry *entry, __u8 offered, struct ct_entry *other)
{
	bool agreed = offered != TCP_NO_WSCALE && other->tcp_wscale != TCP_NO_WSCALE;

	entry->tcp_wscale = agreed ? offered : 0;
	other->tcp_wscale = agreed ? other->tcp_wscale & 0xf : 0;
	entry->tcp_window = unscale(entry->tcp_window, entry->tcp_wscale & 0xf);
	other->tcp_window = unscale(other->tcp_window, other->tcp_wscale & 0xf);
}

/*
 * Remembers what this direction acknowledged and offered. An acknowledgment of more than was ever offered is forged:
 * it must not move the window a reset is judged by.
 */
static __always_inline void ct_tcp_track(const struct pkt *p, struct ct_entry *entry)
{
	if (likely(p->tcp_flags & TCP_ACK && p->tcp_ack - entry->tcp_ack <= entry->tcp_window
										    << (entry->tcp_wscale & 0xf))) {
		entry->tcp_ack = p->tcp_ack;
		entry->tcp_window = p->tcp_window;
	}
}

/*
 * The flow is over before it was established: in every later state the fields hold what was acknowledged, which is at
 * most the SYNs.
 */
static __always_inline void end_handshake(struct ct_entry *entry, struct ct_entry *other)
{
	__u32 own = entry->tcp_ack;

	if (!other || (entry->state != CT_TCP_SYN_SENT && entry->state != CT_TCP_SYN_ACK))
		return;
	entry->tcp_ack = other->tcp_ack;
	other->tcp_ack = own;
}

/*
 * Flows whose answers do not come through here: what the client sends is all there is to judge by. A wrong guess costs
 * nothing, as the next packet hashes to the same endpoint.
 */
__noinline int ct_one_way_advance(const struct pkt *p, struct ct_entry *entry)
{
	__u8 state;

	if (!p || !entry)
		return CT_KEPT;
	state = entry->state;
	if (p->key.proto != IPPROTO_TCP) {
		/* Nobody answers here: as established as it gets, once it is more than a few packets. */
		if (entry->packets + 1 <= CT_UDP_EST_PACKETS || state == CT_UDP_EST)
			return CT_KEPT;
		entry->state = CT_UDP_EST;
		return ct_confirm(p, entry, NULL);
	}
	if (p->opens_flow) {
		if (state != CT_TCP_CLOSED_WAIT)
			return CT_KEPT;
		ct_remove(&p->key, entry);
		return CT_GONE;
	}
	if (p->tcp_flags & TCP_ACK)
		entry->tcp_ack = p->tcp_ack;
	if (p->tcp_flags & (TCP_RST | TCP_FIN)) {
		entry->state = CT_TCP_CLOSED_WAIT;
		if (state != CT_TCP_CLOSED_WAIT)
			count(EVENT_FLOW_CLOSED);
	} else if (p->tcp_flags & TCP_ACK && state == CT_TCP_SYN_SENT) {
		entry->state = CT_TCP_EST;
	}
	return entry->state == CT_TCP_EST ? ct_confirm(p, entry, NULL) : CT_KEPT;
}

/*
 * Everything of TCP but plain segments of established flows.
 */
__noinline int ct_tcp_advance(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry)
{
	struct ct_key reverse;
	struct ct_entry *other;
	bool confirmed = false;
	bool reply;
	__u8 state, before;

	if (!p || !entry)
		return CT_KEPT;
	reply = entry->flags & CT_REPLY;
	state = entry->state;
	other = ct_lookup_reverse(&reverse, &p->key, entry);
	if (p->tcp_flags & TCP_RST) {
		if (reset_is_valid(p, entry, other)) {
			end_handshake(entry, other);
			state = CT_TCP_CLOSED_WAIT;
		} else {
			report(p, EVENT_RST_IGNORED, entry->service_id, entry->endpoint_id, skb->ifindex);
		}
	} else if (p->tcp_flags & TCP_SYN) {
		if (p->opens_flow && !reply) {
			/* A half closed flow too: its client is gone, or it would not begin anew. */
			if (ct_tcp_over(state) || state == CT_TCP_FINI || (!other && state == CT_TCP_SYN_SENT)) {
				ct_remove(&p->key, entry);
				return CT_GONE;
			}
			/* Another attempt of the client, perhaps with a new sequence number. */
			if (state == CT_TCP_SYN_SENT)
				remember_syn(skb, p, entry);
		} else if (reply && (ct_tcp_over(state) || state == CT_TCP_FINI)) {
			/* The endpoint answers a client that talks to it directly, from a port it used for the service before. */
			ct_remove(&p->key, entry);
			return CT_GONE;
		} else if (reply && p->tcp_flags & TCP_ACK && answers_syn(p, other) &&
			   (state == CT_TCP_SYN_SENT || state == CT_TCP_SYN_ACK)) {
			entry->tcp_ack = p->tcp_seq + 1;
			entry->tcp_window = p->tcp_window;
			if (state == CT_TCP_SYN_SENT)
				agree_wscale(entry, syn_wscale(skb, p), other);
			else
				entry->tcp_window = unscale(p->tcp_window, entry->tcp_wscale);
			state = CT_TCP_SYN_ACK;
		}
	} else {
		if (p->tcp_flags & TCP_ACK && state == CT_TCP_SYN_ACK && !reply) {
			/* Only who has seen the server's sequence number is a client (early data may be acknowledged too). */
			if (other && p->tcp_ack - other->tcp_ack <= 0xffff) {
				/* From here on the fields hold what was acknowledged: the server has, our SYN. */
				other->tcp_ack = entry->tcp_ack;
				entry->tcp_ack = p->tcp_ack;
				entry->tcp_window = p->tcp_window;
				state = CT_TCP_EST;
				confirmed = true;
			}
		} else if (state == CT_TCP_EST || state == CT_TCP_FINI) {
			ct_tcp_track(p, entry);
		}
		if (p->tcp_flags & TCP_FIN && (state == CT_TCP_EST || state == CT_TCP_FINI) && in_window(p, other)) {
			entry->flags |= CT_FIN_SEEN;
			state = other && other->flags & CT_FIN_SEEN ? CT_TCP_CLOSED_WAIT : CT_TCP_FINI;
		}
	}
	before = entry->state;
	entry->state = state;
	if (other)
		other->state = state;
	/* Once both entries say so, for a pass that looks after it was counted. */
	if (state == CT_TCP_CLOSED_WAIT && before != state)
		count(EVENT_FLOW_CLOSED);
	return confirmed ? ct_confirm(p, entry, other) : CT_KEPT;
}

/* UDP and ICMP: both directions seen, or enough of one. */
__noinline int ct_datagram_advance(const struct pkt *p, struct ct_entry *entry)
{
	struct ct_key reverse;
	struct ct_entry *other;
	bool reply, udp;
	__u8 state;

	if (!p || !entry)
		return CT_KEPT;
	udp = p->key.proto == IPPROTO_UDP;
	/* An endpoint that pings itself through a service has one entry for both directions. */
	reply = udp ? entry->flags & CT_REPLY : !p->opens_flow;
	state = entry->state;
	if (udp) {
		if (reply || entry->packets + 1 > CT_UDP_EST_PACKETS)
			state = CT_UDP_EST;
		else if (entry->packets + 1 > CT_UDP_UNI_PACKETS)
			state = CT_UDP_UNI;
	} else if (reply) {
		state = CT_ICMP_BIDIR;
	}
	if (state == entry->state)
		return CT_KEPT;
	other = ct_lookup_reverse(&reverse, &p->key, entry);
	entry->state = state;
	if (other)
		other->state = state;
	return udp && state == CT_UDP_EST ? ct_confirm(p, entry, other) : CT_KEPT;
}

#include "sctp.h"

/*
 * Requests and answers of ICMP share their tuples, for there is but one identifier. What goes the other way than the
 * flow's entry of its tuple is of another conversation: an endpoint that pings its client's address, the answer to a
 * ping of the service's own address. An endpoint that is its own client has one entry for both ways, and direct server
 * return has one for whatever comes.
 */
static __always_inline bool echo_is_foreign(bool request, const struct ct_entry *entry)
{
	return request == !!(entry->flags & CT_REPLY) && entry->nat != CT_NAT_HAIRPIN && entry->nat != CT_NAT_DSR;
}

/*
 * Moves the flow's state on with this packet. Returns the entry to forward with, or NULL when the packet has to be
 * treated as the first of a new flow.
 */
static __always_inline struct ct_entry *ct_advance(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry)
{
	int result;

	if (p->key.proto == IPPROTO_TCP) {
		if (likely(entry->state == CT_TCP_EST && !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)))) {
			ct_tcp_track(p, entry);
			return entry;
		}
		result = entry->flags & CT_ONE_WAY ? ct_one_way_advance(p, entry) : ct_tcp_advance(skb, p, entry);
	} else if (unlikely(p->key.proto == IPPROTO_SCTP)) {
		result = ct_sctp_advance(skb, p, entry);
	} else {
		if (likely(p->key.proto == IPPROTO_UDP)) {
			if (likely(entry->state == CT_UDP_EST))
				return entry;
		} else {
			/* An echo reply of a local endpoint to a local client has the tuple of the request. */
			if (!p->opens_flow && (entry->flags & (CT_FROM_LOCAL | CT_REPLY)) == CT_FROM_LOCAL)
				return NULL;
			if (unlikely(echo_is_foreign(p->opens_flow, entry)))
				return NULL;
			if (likely(entry->state == CT_ICMP_BIDIR))
				return entry;
		}
		result = entry->flags & CT_ONE_WAY ? ct_one_way_advance(p, entry) : ct_datagram_advance(p, entry);
	}
	if (likely(result == CT_KEPT))
		return entry;
	return result == CT_MOVED ? bpf_map_lookup_elem(&ct_flow, &p->key) : NULL;
}
