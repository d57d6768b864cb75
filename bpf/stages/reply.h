/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/csum.h"
#include "../include/event.h"
#include "../include/parse.h"
#include "../include/verdict.h"

/* Packets the balancer answers itself: the arriving packet is turned round in place. */

enum reply_reason {
	REPLY_TIME_EXCEEDED,
	REPLY_TOO_BIG,
	REPLY_PORT_UNREACHABLE,
};

#define REPLY_TTL 64
/* RFC 8200 5: every link takes this much. */
#define IPV6_MIN_MTU 1280
/*
 * What is quoted of the offending packet: its IP header and eight bytes (RFC 792), for TCP the header without options.
 * That much a receiver needs to find the connection, and a packet whose checksum the device has yet to finish cannot be
 * cut shorter than its checksum field.
 */
#define QUOTE_L4_TCP sizeof(struct tcphdr)
#define QUOTE_L4 8
/* With room for IP options and for the extension header of a fragment; what is longer is cut. */
#define QUOTE4_MAX (15 * 4 + QUOTE_L4_TCP)
#define QUOTE6_MAX (sizeof(struct ipv6hdr) + 24 + QUOTE_L4_TCP)

struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 check;
	__be32 info; /* MTU for too big (RFC 1191 in the low half), else 0 */
};

struct reply4 {
	struct iphdr ip;
	struct icmp_header icmp;
	__u8 quote[QUOTE4_MAX];
};

struct reply6 {
	struct ipv6hdr ip;
	struct icmp_header icmp;
	__u8 quote[QUOTE6_MAX];
};

static __always_inline int send_back(struct __sk_buff *skb)
{
	__u8 macs[2 * ETH_ALEN], swapped[2 * ETH_ALEN];

	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return VERDICT_DROP;
	__builtin_memcpy(swapped, macs + ETH_ALEN, ETH_ALEN);
	__builtin_memcpy(swapped + ETH_ALEN, macs, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0))
		return VERDICT_DROP;
	/* A packet on its way out was sent by this machine: the answer goes in. */
	return bpf_redirect(skb->ifindex, skb->ingress_ifindex ? 0 : BPF_F_INGRESS);
}

static __always_inline void icmp4_kind(struct icmp_header *icmp, __u32 reason, __u32 mtu)
{
	icmp->type = reason == REPLY_TIME_EXCEEDED ? ICMP_TIME_EXCEEDED : ICMP_UNREACHABLE;
	icmp->code = reason == REPLY_TOO_BIG ? 4 : reason == REPLY_PORT_UNREACHABLE ? 3 : 0;
	icmp->info = bpf_htonl(mtu);
}

static __always_inline void icmp6_kind(struct icmp_header *icmp, __u32 reason, __u32 mtu)
{
	icmp->type = reason == REPLY_TIME_EXCEEDED ? ICMP6_TIME_EXCEEDED
		     : reason == REPLY_TOO_BIG	   ? ICMP6_TOO_BIG
						   : ICMP6_UNREACHABLE;
	icmp->code = reason == REPLY_PORT_UNREACHABLE ? 4 : 0;
	/* No host goes below (RFC 8201 4). */
	if (reason == REPLY_TOO_BIG && mtu < IPV6_MIN_MTU)
		mtu = IPV6_MIN_MTU;
	icmp->info = bpf_htonl(mtu);
}

/*
 * What finishing an unfinished checksum will change in the quoted L4 header, as a difference for the checksum over the
 * quote: where the device or the kernel finishes it, the ICMP checksum has to be right for the result; where nobody does
 * (veth, virtual machines), nobody checks either.
 */
static __always_inline __u16 unfinished_quote(struct __sk_buff *skb, __u8 proto, const __u8 *l4, __u32 size)
{
	__u32 check_off = proto == IPPROTO_TCP ? 16 : 6;
	__u16 seed, finished;

	if (!cfg_kern_ctx || checksum_state(skb) != CHECKSUM_PARTIAL)
		return 0;
	seed = *(__u16 *)(l4 + check_off);
	finished = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)l4, size, 0));
	return csum_fold((__u16)~seed + (__u32)finished);
}

/* Bytes quoted of the packet, from its IP header on, in whole words. */
static __always_inline __u32 quote_length(const struct pkt *p, __u32 l4_size, __u32 max)
{
	__u32 length = p->l4_off - ETH_HLEN + l4_size;

	/* The last part of a packet may have less than a header. */
	if (length > p->l3_len)
		length = p->l3_len & ~3U;
	if (length > max)
		length = max;
	barrier_var(length);
	return length;
}

__noinline int reply_icmp4(struct __sk_buff *skb, const struct pkt *p, __u32 reason, __u32 mtu)
{
	struct reply4 reply = {};
	__u32 header = sizeof(reply.ip) + sizeof(reply.icmp);
	__u32 l4_size, quote_size;
	__u16 unfinished = 0;

	if (!p)
		return VERDICT_DROP;
	l4_size = p->key.proto == IPPROTO_TCP ? QUOTE_L4_TCP : QUOTE_L4;
	quote_size = quote_length(p, l4_size, QUOTE4_MAX);
	if (quote_size < sizeof(struct iphdr) || quote_size > QUOTE4_MAX)
		return VERDICT_DROP;
	quote_size = bounded(quote_size, sizeof(struct iphdr), QUOTE4_MAX);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, reply.quote, quote_size))
		return VERDICT_DROP;
	/* Checksums are left to devices by senders on this host, and those set no IP options. */
	if (likely(p->l4_off == ETH_HLEN + sizeof(struct iphdr)))
		unfinished = unfinished_quote(skb, p->key.proto, reply.quote + sizeof(struct iphdr), l4_size);
	if (bpf_skb_change_tail(skb, ETH_HLEN + quote_size, 0) || bpf_skb_adjust_room(skb, header, BPF_ADJ_ROOM_MAC, 0))
		return VERDICT_DROP;
	icmp4_kind(&reply.icmp, reason, mtu);
	reply.icmp.check =
		~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&reply.icmp, sizeof(reply.icmp) + quote_size, unfinished));
	reply.ip.version = 4;
	reply.ip.ihl = 5;
	reply.ip.tot_len = bpf_htons(header + quote_size);
	reply.ip.ttl = REPLY_TTL;
	reply.ip.protocol = IPPROTO_ICMP;
	reply.ip.saddr = p->key.daddr.w[3];
	reply.ip.daddr = p->key.saddr.w[3];
	reply.ip.check = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&reply.ip, sizeof(reply.ip), 0));
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &reply, header + quote_size, 0))
		return VERDICT_DROP;
	return send_back(skb);
}

__noinline int reply_icmp6(struct __sk_buff *skb, const struct pkt *p, __u32 reason, __u32 mtu)
{
	struct reply6 reply = {};
	__u32 header = sizeof(reply.ip) + sizeof(reply.icmp);
	__u32 l4_size, quote_size, sum = 0;
	__be32 pseudo[2];

	if (!p)
		return VERDICT_DROP;
	l4_size = p->key.proto == IPPROTO_TCP ? QUOTE_L4_TCP : QUOTE_L4;
	quote_size = quote_length(p, l4_size, QUOTE6_MAX);
	if (quote_size < sizeof(struct ipv6hdr) || quote_size > QUOTE6_MAX)
		return VERDICT_DROP;
	quote_size = bounded(quote_size, sizeof(struct ipv6hdr), QUOTE6_MAX);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, reply.quote, quote_size))
		return VERDICT_DROP;
	if (likely(p->l4_off == ETH_HLEN + sizeof(struct ipv6hdr)))
		sum = unfinished_quote(skb, p->key.proto, reply.quote + sizeof(struct ipv6hdr), l4_size);
	if (bpf_skb_change_tail(skb, ETH_HLEN + quote_size, 0) || bpf_skb_adjust_room(skb, header, BPF_ADJ_ROOM_MAC, 0))
		return VERDICT_DROP;
	icmp6_kind(&reply.icmp, reason, mtu);
	reply.ip.version = 6;
	reply.ip.payload_len = bpf_htons(sizeof(reply.icmp) + quote_size);
	reply.ip.nexthdr = IPPROTO_ICMPV6;
	reply.ip.hop_limit = REPLY_TTL;
	__builtin_memcpy(&reply.ip.saddr, &p->key.daddr, sizeof(reply.ip.saddr));
	__builtin_memcpy(&reply.ip.daddr, &p->key.saddr, sizeof(reply.ip.daddr));
	pseudo[0] = bpf_htonl(sizeof(reply.icmp) + quote_size);
	pseudo[1] = bpf_htonl(IPPROTO_ICMPV6);
	sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&reply.ip.saddr, 32, sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&reply.icmp, sizeof(reply.icmp) + quote_size, sum);
	reply.icmp.check = ~csum_fold(sum);
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &reply, header + quote_size, 0))
		return VERDICT_DROP;
	return send_back(skb);
}

/* Answers with an ICMP error; the packet itself is dropped. ICMP is answered too, but never an error. */
__noinline int reply_icmp_error(struct __sk_buff *skb, const struct pkt *p, __u32 reason, __u32 mtu)
{
	if (!p)
		return VERDICT_DROP;
	/* Of an IPv4 packet in parts the first alone is answered (RFC 1122 3.2.2). */
	if (p->v4)
		return p->fragment == FRAGMENT_LATER ? VERDICT_DROP : reply_icmp4(skb, p, reason, mtu);
	if (!cfg_ipv6)
		return VERDICT_DROP;
	return reply_icmp6(skb, p, reason, mtu);
}

struct tcp_words {
	__be16 source;
	__be16 dest;
	__be32 seq;
	__be32 ack;
	__u8 doff;
	__u8 flags;
	__be16 window;
};

/* The packet goes back to its sender as a new one. Addresses change places: no checksum sees a difference. */
static __always_inline long return_address(struct __sk_buff *skb, const struct pkt *p)
{
	__be32 addresses[2] = { p->key.daddr.w[3], p->key.saddr.w[3] };
	__u8 ttl = REPLY_TTL;

	if (p->v4)
		return bpf_l3_csum_replace(skb, ETH_HLEN + 10, p->ttl, REPLY_TTL, 2) ||
		       bpf_skb_store_bytes(skb, ETH_HLEN + 8, &ttl, sizeof(ttl), 0) ||
		       bpf_skb_store_bytes(skb, ETH_HLEN + 12, addresses, sizeof(addresses), 0);
	return bpf_skb_store_bytes(skb, ETH_HLEN + 7, &ttl, sizeof(ttl), 0) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN + 8, &p->key.daddr, 16, 0) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN + 24, &p->key.saddr, 16, 0);
}

/*
 * Answers a SYN with RST|ACK (RFC 9293 3.10.7.1). Length and options stay, which a reset may have, so that only fields
 * change whose checksum difference is known.
 */
__noinline int reply_tcp_reset(struct __sk_buff *skb, const struct pkt *p)
{
	struct tcp_words old, new = {};
	__u32 l4_off;

	if (!p)
		return VERDICT_DROP;
	l4_off = p->l4_off;
	if (l4_off > PARSE_PULL + ETH_HLEN)
		return VERDICT_DROP;
	if (bpf_skb_load_bytes(skb, l4_off, &old, sizeof(old)))
		return VERDICT_DROP;
	new.source = old.dest;
	new.dest = old.source;
	new.ack = bpf_htonl(p->tcp_seq + 1 + (p->l3_len - (l4_off - ETH_HLEN) - p->l4_hlen));
	new.doff = old.doff & 0xf0;
	new.flags = TCP_RST | TCP_ACK;
	if (bpf_skb_store_bytes(skb, l4_off, &new, sizeof(new), 0) ||
	    bpf_l4_csum_replace(skb, l4_off + 16, 0, csum_delta(&old, sizeof(old), &new, sizeof(new)), 0))
		return VERDICT_DROP;
	if (return_address(skb, p))
		return VERDICT_DROP;
	return send_back(skb);
}

#include "sctp_abort.h"

/* A service without an active endpoint refuses at once. */
static __always_inline int reply_refused(struct __sk_buff *skb, const struct pkt *p)
{
	/* A reset made of the first part of a packet would be the first part of a packet. */
	if (p->key.proto == IPPROTO_TCP)
		return p->fragment ? VERDICT_DROP : reply_tcp_reset(skb, p);
	if (p->key.proto == IPPROTO_SCTP)
		return p->fragment ? VERDICT_DROP : reply_sctp_abort(skb, p);
	return reply_icmp_error(skb, p, REPLY_PORT_UNREACHABLE, 0);
}
