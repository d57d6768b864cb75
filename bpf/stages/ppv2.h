/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "ppv2_packet.h"

/*
 * PROXY protocol, version 2: the endpoint's byte stream begins with a header that names the client (haproxy.org,
 * proxy-protocol.txt, section 2.2).
 *
 * The header has the sequence numbers behind the client's SYN, and all that the client sends moves behind it; answers
 * move back. It goes in with the acknowledgment that ends the handshake, so that an endpoint that has not got it says so
 * by what any TCP does: it repeats its SYN, or acknowledges the client's SYN and no more. Whatever of the client's
 * begins where the header belongs brings it again until it is acknowledged.
 */

/* A sequence number of the endpoint's frame as the client counts. Inside the header is before the client's first byte. */
static __always_inline __u32 ppv2_unshift(__u32 number, const struct ct_entry *answers)
{
	__u32 size = ppv2_size(answers), first = answers->tcp_ack;

	/* Nothing is moved during the handshake, when `first` is the endpoint's own number. */
	if (answers->state < CT_TCP_EST)
		return number;
	if (answers->ppv2 & CT_PPV2_ACKED)
		return number - size;
	if ((__s32)(number - first) <= 0)
		return number;
	return number - first < size ? first : number - size;
}

/*
 * An endpoint with SYN cookies knows nothing of a connection but what the segment behind the SYN says. When the header is
 * lost, it refuses the data that came after. The client repeats that, and then the header goes first: this time only.
 */
static __always_inline bool refuses_data(const struct pkt *p, struct ct_entry *entry)
{
	struct ct_key reverse;
	struct ct_entry *client;

	if ((p->tcp_flags & (TCP_RST | TCP_ACK)) != TCP_RST || entry->ppv2 & CT_PPV2_ACKED ||
	    entry->state > CT_TCP_FINI)
		return false;
	client = ct_lookup_reverse(&reverse, &p->key, entry);
	if (!client)
		return false;
	if (!(client->ppv2 & CT_PPV2_SENT))
		return entry->ppv2 & CT_PPV2_REFUSED;
	if (!(client->ppv2 & CT_PPV2_FOLLOWED) || entry->ppv2 & CT_PPV2_REFUSED)
		return false;
	entry->ppv2 |= CT_PPV2_REFUSED;
	client->ppv2 &= ~(CT_PPV2_SENT | CT_PPV2_FOLLOWED);
	return true;
}

/*
 * Makes an answer's acknowledgment number count as the client does, and sees whether the endpoint has the header.
 * VERDICT_CONTINUE, or what to do with the packet.
 */
__noinline int ppv2_normalize(struct __sk_buff *skb, struct pkt *p, struct ct_entry *entry)
{
	__u32 ahead;

	if (!p || !entry || !(entry->flags & CT_REPLY) || p->tcp_flags & TCP_SYN || entry->state < CT_TCP_EST)
		return VERDICT_CONTINUE;
	if (p->tcp_flags & TCP_RST && refuses_data(p, entry)) {
		count(EVENT_RST_IGNORED);
		return drop_packet(skb, p, entry, DROP_PPV2);
	}
	if (!(p->tcp_flags & TCP_ACK))
		return VERDICT_CONTINUE;
	ahead = p->tcp_ack - entry->tcp_ack;
	p->tcp_ack = ppv2_unshift(p->tcp_ack, entry);
	if ((__s32)ahead >= (__s32)ppv2_size(entry))
		entry->ppv2 |= CT_PPV2_ACKED;
	return VERDICT_CONTINUE;
}

/* Has a copy of the packet come through the program once more. */
static __always_inline long ppv2_again(struct __sk_buff *skb, bool egress)
{
	/* Nothing leaves while it is only looked at. */
	if (cfg_trace)
		return 0;
	return bpf_clone_redirect(skb, skb->ifindex, egress ? 0 : BPF_F_INGRESS);
}

/* The header is not repeated twice in the same moment. 0 is never. */
static __always_inline __u8 ppv2_now(void)
{
	return now_ticks() >> 4 | 1;
}

static __always_inline void ppv2_count(const struct __sk_buff *skb, const struct pkt *p, struct ct_entry *client)
{
	__u32 reason = client->ppv2 & CT_PPV2_SENT ? EVENT_PPV2_RESENT : EVENT_PPV2_SENT;

	client->ppv2 |= CT_PPV2_SENT;
	report(p, reason, client->service_id, client->endpoint_id, skb->ifindex);
}

static __always_inline __u32 payload_length(const struct pkt *p)
{
	return p->l3_len - (p->l4_off - ETH_HLEN) - p->l4_hlen;
}

enum ppv2_step {
	PPV2_FAILED = -1,
	PPV2_SEND,     /* the packet is as it shall be */
	PPV2_SHIFT,    /* and its sequence number moves behind the header */
	PPV2_ANSWERED, /* it is on its way back already */
};

/* A reset while it is not known whether the endpoint has the header: only one with the very number it expects counts. */
static __always_inline int ppv2_reset(struct __sk_buff *skb, struct ct_entry *entry, bool egress)
{
	if (!(entry->ppv2 & CT_PPV2_SENT))
		return PPV2_SEND;
	if (entry->ppv2 & CT_PPV2_TWIN) {
		entry->ppv2 &= ~CT_PPV2_TWIN;
		return PPV2_SHIFT;
	}
	entry->ppv2 |= CT_PPV2_TWIN;
	if (ppv2_again(skb, egress))
		entry->ppv2 &= ~CT_PPV2_TWIN;
	return PPV2_SEND;
}

/*
 * Data of the client's where the header belongs. The first time behind a header it just goes after it; otherwise the
 * header goes first, and the data comes by once more.
 */
static __always_inline int ppv2_precede(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry,
					const struct ct_entry *other, bool egress)
{
	__u8 sent = entry->ppv2 & (CT_PPV2_SENT | CT_PPV2_FOLLOWED), now = ppv2_now();
	/* A probe that repeats the SYN's number brings a byte that is none of the stream. */
	bool first = p->tcp_seq == other->tcp_ack;

	if (first && (sent == CT_PPV2_SENT || (sent && entry->ppv2_tick == now))) {
		entry->ppv2 |= CT_PPV2_FOLLOWED;
		return PPV2_SHIFT;
	}
	/* Longer than its header can say (BIG TCP): the client repeats the beginning alone. */
	if (p->l3_len > 0xffff)
		return PPV2_FAILED;
	entry->ppv2_tick = now;
	ppv2_count(skb, p, entry);
	if (first) {
		entry->ppv2 &= ~CT_PPV2_FOLLOWED;
		/* Without the copy the client has to send it again. */
		ppv2_again(skb, egress);
	}
	return ppv2_make(skb, p, entry, other, false) ? PPV2_FAILED : PPV2_SEND;
}

/* Of the client's, and the endpoint is not known to have the header. */
__noinline int ppv2_open(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u32 egress)
{
	struct ct_key reverse;
	struct ct_entry *other;
	bool brings;

	if (!p || !entry)
		return PPV2_FAILED;
	other = ct_lookup_reverse(&reverse, &p->key, entry);
	if (!other)
		return p->tcp_flags & TCP_RST ? PPV2_SEND : PPV2_FAILED;
	if (other->ppv2 & CT_PPV2_ACKED) {
		entry->ppv2 |= CT_PPV2_ACKED;
		return PPV2_SHIFT;
	}
	if (p->tcp_flags & TCP_RST)
		return ppv2_reset(skb, entry, egress);
	brings = payload_length(p) || p->tcp_flags & TCP_FIN;
	/* Not the end of a handshake that the endpoint would know of; and no room for what would have to be first. */
	if (entry->state < CT_TCP_EST || (!(entry->ppv2 & CT_PPV2_SENT) && other->ppv2 & CT_PPV2_NO_ROOM))
		return brings ? PPV2_FAILED : PPV2_SEND;
	if ((__s32)(p->tcp_seq - other->tcp_ack) > 0)
		return PPV2_SHIFT;
	if (brings)
		return ppv2_precede(skb, p, entry, other, egress);
	if (p->tcp_seq != other->tcp_ack && replace_word(skb, p, 4, other->tcp_ack))
		return PPV2_FAILED;
	ppv2_count(skb, p, entry);
	return ppv2_attach(skb, p) ? PPV2_FAILED : PPV2_SEND;
}

/*
 * The endpoint says again that it has the client's SYN and nothing more: what it has got since was behind the header, or
 * there was no room for it. Its answer comes back to it as the header; the client learns the window by the next.
 */
__noinline int ppv2_return(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry)
{
	struct ct_key reverse;
	struct ct_entry *other;
	__u8 now = ppv2_now();

	if (!p || !entry)
		return PPV2_FAILED;
	other = ct_lookup_reverse(&reverse, &p->key, entry);
	if (!other)
		return PPV2_SEND;
	if (other->ppv2 & CT_PPV2_SENT && other->ppv2_tick == now)
		return PPV2_SEND;
	other->ppv2_tick = now;
	ppv2_count(skb, p, other);
	return ppv2_make(skb, p, other, entry, true) || return_address(skb, p) ? PPV2_FAILED : PPV2_ANSWERED;
}

static __always_inline bool wants_header(const struct pkt *p, const struct ct_entry *entry)
{
	return !(entry->ppv2 & (CT_PPV2_ACKED | CT_PPV2_NO_ROOM)) && p->tcp_ack == entry->tcp_ack &&
	       !payload_length(p) && !(p->tcp_flags & (TCP_FIN | TCP_RST)) && entry->state <= CT_TCP_FINI;
}

static __always_inline int ppv2_answer(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry)
{
	__u32 size = ppv2_size(entry);

	if (p->tcp_flags & TCP_SYN) {
		/* The window of a SYN is not scaled. */
		if (entry->state < CT_TCP_EST)
			entry->ppv2 = p->tcp_window < size ? CT_PPV2_NO_ROOM : 0;
		return PPV2_SEND;
	}
	if (!(p->tcp_flags & TCP_ACK) || entry->state < CT_TCP_EST)
		return PPV2_SEND;
	if (unlikely(!(entry->ppv2 & CT_PPV2_ACKED))) {
		if ((__u32)p->tcp_window << (entry->tcp_wscale & 0xf) >= size)
			entry->ppv2 &= ~CT_PPV2_NO_ROOM;
		if (wants_header(p, entry)) {
			int next = ppv2_return(skb, p, entry);

			if (next != PPV2_SEND)
				return next;
		}
	}
	if (replace_word(skb, p, 8, p->tcp_ack))
		return PPV2_FAILED;
	if (likely(has_plain_options(skb, p)))
		return PPV2_SEND;
	return ppv2_shift_sacks(skb, p->l4_off, p->l4_hlen, size, p->tcp_ack) ? PPV2_FAILED : PPV2_SEND;
}

static __always_inline int ppv2_request(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, bool egress)
{
	int next;

	if (p->tcp_flags & TCP_SYN)
		return payload_length(p) && ppv2_strip_syn(skb, p) ? PPV2_FAILED : PPV2_SEND;
	next = likely(entry->ppv2 & CT_PPV2_ACKED) ? PPV2_SHIFT : ppv2_open(skb, p, entry, egress);
	if (next != PPV2_SHIFT)
		return next;
	return replace_word(skb, p, 4, p->tcp_seq + ppv2_length(&p->key)) ? PPV2_FAILED : PPV2_SEND;
}

/* Everything but addresses and ports. VERDICT_CONTINUE, or what becomes of the packet. */
__noinline int ppv2_prepare(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u32 egress)
{
	int next;

	if (!p || !entry)
		return VERDICT_DROP;
	next = entry->flags & CT_REPLY ? ppv2_answer(skb, p, entry) : ppv2_request(skb, p, entry, egress);
	if (next == PPV2_FAILED)
		return drop_packet(skb, p, entry, DROP_PPV2);
	return next == PPV2_ANSWERED ? send_back(skb) : VERDICT_CONTINUE;
}

__noinline int ppv2_send(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u32 way, __u32 egress)
{
	if (!p || !entry)
		return VERDICT_DROP;
	if (egress && ip_equal(&entry->ndaddr, &p->key.daddr))
		return rewrite(skb, p, entry, false, false) ? VERDICT_DROP : VERDICT_NEXT;
	if (rewrite(skb, p, entry, way <= CT_WAY_NEIGH, way_writes_macs(way)))
		return drop_packet(skb, p, entry, DROP_REWRITE);
	return leave(entry, way, egress);
}

/* The packet is not one of these, and untouched: no verdict. */
#define PPV2_NOT_QUICK 0x100

/* The endpoint is known to have the header: one number moves in most packets, and that is all. */
static __always_inline bool ppv2_is_quick(const struct pkt *p, const struct ct_entry *entry)
{
	return entry->ppv2 & CT_PPV2_ACKED && entry->state >= CT_TCP_EST &&
	       (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK;
}

/* What ppv2_prepare and ppv2_send do with such a packet on its way in, in one call. */
__noinline int ppv2_quick(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u32 way)
{
	bool failed;

	if (!p || !entry)
		return VERDICT_DROP;
	if (entry->flags & CT_REPLY) {
		if (!has_plain_options(skb, p))
			return PPV2_NOT_QUICK;
		failed = replace_word(skb, p, 8, p->tcp_ack);
	} else {
		failed = replace_word(skb, p, 4, p->tcp_seq + ppv2_length(&p->key));
	}
	if (failed)
		return drop_packet(skb, p, entry, DROP_PPV2);
	if (rewrite(skb, p, entry, way <= CT_WAY_NEIGH, way_writes_macs(way)))
		return drop_packet(skb, p, entry, DROP_REWRITE);
	return leave(entry, way, false);
}

static __always_inline int ppv2_forward(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u8 way,
					const bool egress)
{
	int verdict;

	if (likely(!egress && ppv2_is_quick(p, entry))) {
		verdict = ppv2_quick(skb, p, entry, way);
		if (likely(verdict != PPV2_NOT_QUICK))
			return verdict;
	}
	verdict = ppv2_prepare(skb, p, entry, egress);
	return verdict == VERDICT_CONTINUE ? ppv2_send(skb, p, entry, way, egress) : verdict;
}
