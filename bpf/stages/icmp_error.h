/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/csum.h"
#include "../include/parse.h"
#include "../include/verdict.h"
#include "conntrack.h"
#include "forward.h"
#include "tunnel_mtu.h"

/*
 * ICMP errors about translated packets: the quote is translated back, so that the sender of the original packet
 * recognises it (RFC 5508 4.2; path MTU discovery needs it), and the error goes to that sender.
 */

/* Eight bytes of the quoted L4 header: all that RFC 792 promises. */
struct quoted_l4 {
	__be16 sport;  /* ICMP: type and code */
	__be16 dport;  /* ICMP: checksum */
	__be16 third;  /* ICMP: identifier, TCP: upper half of the sequence number */
	__be16 fourth; /* UDP: checksum, TCP: lower half */
};

static __always_inline bool quoted_is_echo(__u8 proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* Key of the flow direction that answers the quoted packet. */
static __always_inline void quoted_key(struct ct_key *key, const struct quoted_l4 *l4)
{
	key->sport = quoted_is_echo(key->proto) ? l4->third : l4->dport;
	key->dport = quoted_is_echo(key->proto) ? l4->third : l4->sport;
}

/* The quoted packet is not of the flow: `entry` is there for the answers to its tuple. */
static __always_inline bool quote_is_foreign(const struct quoted_l4 *l4, __u8 proto, const struct ct_entry *entry)
{
	__u8 type = *(const __u8 *)&l4->sport;
	bool v4 = proto == IPPROTO_ICMP;

	if (!quoted_is_echo(proto))
		return false;
	if (type == (v4 ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST))
		return echo_is_foreign(false, entry);
	return type != (v4 ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY) || echo_is_foreign(true, entry);
}

/* Translates the quoted L4 header; its checksum is put right where the eight bytes contain it. */
static __always_inline void translate_quoted_l4(struct quoted_l4 *l4, const struct ct_entry *entry, __u8 proto,
						__u16 addresses)
{
	__be16 old[2] = { l4->sport, l4->dport };
	__be16 new[2] = { entry->ndport, entry->nsport };
	__u32 delta;

	if (quoted_is_echo(proto)) {
		delta = proto == IPPROTO_ICMPV6 ? addresses : 0;
		delta += (__u16)~l4->third + (__u32)entry->ndport;
		l4->third = entry->ndport;
		l4->dport = csum_apply(l4->dport, csum_fold(delta));
		return;
	}
	l4->sport = entry->ndport;
	l4->dport = entry->nsport;
	/* The client knows its segments by other numbers than the endpoint. */
	if (entry->special & CT_SPECIAL_PPV2 && entry->flags & CT_REPLY) {
		__u32 seq = ppv2_unshift((__u32)bpf_ntohs(l4->third) << 16 | bpf_ntohs(l4->fourth), entry);

		l4->third = bpf_htons(seq >> 16);
		l4->fourth = bpf_htons(seq);
	}
	if (proto == IPPROTO_UDP && l4->fourth) {
		delta = csum_delta(old, 4, new, 4);
		l4->fourth = csum_apply(l4->fourth, csum_fold(delta + addresses));
		if (!l4->fourth)
			l4->fourth = 0xffff;
	}
}

/* The checksum of a quoted TCP segment lies beyond the eight bytes; when it was quoted it is put right too. */
static __always_inline void translate_quoted_tcp_check(struct __sk_buff *skb, const struct pkt *p, __u32 l4_off,
						       const struct quoted_l4 *old, const struct quoted_l4 *new,
						       __u16 addresses)
{
	__sum16 check, changed;
	__be32 before, after;

	/* Behind the packet there may be padding. */
	if (l4_off + 16 + sizeof(check) > ETH_HLEN + p->l3_len ||
	    bpf_skb_load_bytes(skb, l4_off + 16, &check, sizeof(check)))
		return;
	changed = csum_apply(check, csum_fold((__u32)csum_delta(old, sizeof(*old), new, sizeof(*new)) + addresses));
	before = check;
	after = changed;
	bpf_skb_store_bytes(skb, l4_off + 16, &changed, sizeof(changed), 0);
	bpf_l4_csum_replace(skb, p->l4_off + 2, 0, csum_delta(&before, 4, &after, 4), 0);
}

/* Puts a changed part of the quote in place, and the ICMP checksum right. */
static __always_inline long store_quote(struct __sk_buff *skb, __u32 check_off, __u32 off, const void *old,
					const void *new, __u32 size)
{
	return bpf_skb_store_bytes(skb, off, new, size, 0) ||
	       bpf_l4_csum_replace(skb, check_off, 0, csum_delta(old, size, new, size), 0);
}

/* Sends the translated error to where the original packet came from. */
static __always_inline int send_error(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
				      const struct ip_addr *saddr, __u8 proto, bool egress)
{
	struct bpf_fib_lookup fib = { .ifindex = skb->ifindex };
	__u8 macs[2 * ETH_ALEN] = {};
	long rc;

	report(p, EVENT_ICMP_RELAYED, entry->service_id, entry->endpoint_id, skb->ifindex);
	/* This machine's own, and already on its way there. */
	if (egress && ip_equal(&entry->ndaddr, &p->key.daddr))
		return VERDICT_NEXT;
	fib_fill(&fib, saddr, &entry->ndaddr, proto, 0, 0);
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (rc == BPF_FIB_LKUP_RET_SUCCESS || rc == BPF_FIB_LKUP_RET_NO_NEIGH) {
		if (!egress && (p->ttl <= 1 || take_hop(skb, p)))
			return drop_packet(skb, p, entry, DROP_TTL_EXCEEDED);
		return bpf_redirect_neigh(fib.ifindex, NULL, 0, 0);
	}
	if (rc == BPF_FIB_LKUP_RET_NOT_FWDED ? entry->flags & CT_FROM_LOCAL
					     : proto == IPPROTO_ICMP && !ip_equal(saddr, &p->key.saddr)) {
		bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0);
		return bpf_redirect(LOOPBACK_IFINDEX, BPF_F_INGRESS);
	}
	return VERDICT_NEXT;
}

__noinline int icmp4_error(struct __sk_buff *skb, struct pkt *p, __u32 egress)
{
	struct quoted_l4 old_l4, new_l4;
	struct ct_key key = {};
	struct iphdr old, new;
	struct ip_addr saddr;
	struct ct_entry *entry;
	__be32 outer_old[2], outer_new[2];
	__u32 icmp_off, quote_off, l4_off;
	__u16 addresses;

	if (!p)
		return VERDICT_NEXT;
	icmp_off = p->l4_off;
	quote_off = icmp_off + 8;
	saddr = p->key.saddr;
	if (bpf_skb_load_bytes(skb, quote_off, &old, sizeof(old)))
		return VERDICT_NEXT;
	l4_off = quote_off + old.ihl * 4;
	/* Only who sent the quoted packet is told about it. */
	if (old.version != 4 || old.ihl < 5 || old.frag_off & bpf_htons(IP_OFFSET) || old.saddr != p->key.daddr.w[3] ||
	    l4_off + sizeof(old_l4) > ETH_HLEN + p->l3_len || bpf_skb_load_bytes(skb, l4_off, &old_l4, sizeof(old_l4)))
		return VERDICT_NEXT;
	v4_to_ip(&key.saddr, old.daddr);
	v4_to_ip(&key.daddr, old.saddr);
	key.proto = old.protocol;
	quoted_key(&key, &old_l4);
	entry = ct_lookup(&key);
	step_with(STEP_ICMP_QUOTE, key.proto, !!entry, 0, &key.saddr);
	if (!entry) {
		if (is_tunnel(key.proto))
			learn_tunnel_mtu(skb, p, &key.saddr);
		return VERDICT_NEXT;
	}
	if (quote_is_foreign(&old_l4, key.proto, entry))
		return VERDICT_NEXT;
	if (entry->special & (CT_SPECIAL_DSR | CT_SPECIAL_FAMILY)) {
		p->key = key;
		return VERDICT_CONTINUE;
	}
	new = old;
	new.saddr = entry->ndaddr.w[3];
	new.daddr = entry->nsaddr.w[3];
	addresses = csum_delta(&old.saddr, 8, &new.saddr, 8);
	new.check = csum_apply(old.check, addresses);
	new_l4 = old_l4;
	translate_quoted_l4(&new_l4, entry, key.proto, addresses);
	if (store_quote(skb, icmp_off + 2, quote_off, &old, &new, sizeof(new)) ||
	    store_quote(skb, icmp_off + 2, l4_off, &old_l4, &new_l4, sizeof(new_l4)))
		return VERDICT_DROP;
	if (key.proto == IPPROTO_TCP)
		translate_quoted_tcp_check(skb, p, l4_off, &old_l4, &new_l4, addresses);
	/* An endpoint that complains itself is the service to its client; a router in between stays who it is. */
	outer_old[0] = p->key.saddr.w[3];
	outer_old[1] = p->key.daddr.w[3];
	if (old.daddr == p->key.saddr.w[3])
		saddr = entry->nsaddr;
	outer_new[0] = saddr.w[3];
	outer_new[1] = entry->ndaddr.w[3];
	if (bpf_l3_csum_replace(skb, ETH_HLEN + 10, 0, csum_delta(outer_old, 8, outer_new, 8), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + 12, outer_new, sizeof(outer_new), 0))
		return VERDICT_DROP;
	return send_error(skb, p, entry, &saddr, IPPROTO_ICMP, egress);
}

__noinline int icmp6_error(struct __sk_buff *skb, struct pkt *p, __u32 egress)
{
	struct quoted_l4 old_l4, new_l4;
	struct ct_key key = {};
	struct ip_addr changed[2];
	struct ipv6hdr old;
	struct ct_entry *entry;
	__u32 icmp_off, quote_off, l4_off;
	__u16 addresses;

	if (!p)
		return VERDICT_NEXT;
	icmp_off = p->l4_off;
	quote_off = icmp_off + 8;
	if (bpf_skb_load_bytes(skb, quote_off, &old, sizeof(old)))
		return VERDICT_NEXT;
	if (old.version != 6)
		return VERDICT_NEXT;
	l4_off = quote_off + sizeof(old);
	key.proto = old.nexthdr;
	if (is_extension(key.proto)) {
		int found = skip_extensions(skb, l4_off, key.proto);

		if (found < 0)
			return VERDICT_NEXT;
		key.proto = found >> 16;
		l4_off = found & 0xffff;
	}
	/* What is quoted ends with the packet: behind it there may be padding. */
	if (l4_off + sizeof(old_l4) > ETH_HLEN + p->l3_len || bpf_skb_load_bytes(skb, l4_off, &old_l4, sizeof(old_l4)))
		return VERDICT_NEXT;
	__builtin_memcpy(&key.saddr, &old.daddr, 16);
	__builtin_memcpy(&key.daddr, &old.saddr, 16);
	if (!ip_equal(&key.daddr, &p->key.daddr))
		return VERDICT_NEXT;
	quoted_key(&key, &old_l4);
	entry = ct_lookup(&key);
	step_with(STEP_ICMP_QUOTE, key.proto, !!entry, 0, &key.saddr);
	if (!entry) {
		if (is_tunnel(key.proto))
			learn_tunnel_mtu(skb, p, &key.saddr);
		return VERDICT_NEXT;
	}
	if (quote_is_foreign(&old_l4, key.proto, entry))
		return VERDICT_NEXT;
	if (entry->special & (CT_SPECIAL_DSR | CT_SPECIAL_FAMILY)) {
		p->key = key;
		return VERDICT_CONTINUE;
	}
	changed[0] = entry->ndaddr;
	changed[1] = entry->nsaddr;
	addresses = csum_delta(&old.saddr, 32, changed, 32);
	new_l4 = old_l4;
	translate_quoted_l4(&new_l4, entry, key.proto, addresses);
	if (store_quote(skb, icmp_off + 2, quote_off + 8, &old.saddr, changed, sizeof(changed)) ||
	    store_quote(skb, icmp_off + 2, l4_off, &old_l4, &new_l4, sizeof(new_l4)))
		return VERDICT_DROP;
	if (key.proto == IPPROTO_TCP)
		translate_quoted_tcp_check(skb, p, l4_off, &old_l4, &new_l4, addresses);
	/* The same place for the outer addresses: the stack is short. */
	changed[0] = ip_equal(&key.saddr, &p->key.saddr) ? entry->nsaddr : p->key.saddr;
	changed[1] = entry->ndaddr;
	if (csum_replace_addresses(skb, icmp_off + 2, csum_delta(&p->key.saddr, 32, changed, 32), 0, false) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + 8, changed, sizeof(changed), 0))
		return VERDICT_DROP;
	return send_error(skb, p, entry, &changed[0], IPPROTO_ICMPV6, egress);
}

#include "family_error.h"

/*
 * The error belongs to a flow whose packets are not just translated: `p->key` is the key of its direction that answers
 * the quoted packet. A function of its own, because the stack of a call chain is short.
 */
static __always_inline int special_icmp_error(struct __sk_buff *skb, struct pkt *p, const bool egress)
{
	struct ct_entry *entry = ct_lookup(&p->key);

	if (!entry)
		return VERDICT_NEXT;
	if (cfg_ipv6 && entry->special & CT_SPECIAL_FAMILY)
		return family_icmp_error(skb, p, entry, egress);
	report(p, EVENT_ICMP_RELAYED, entry->service_id, entry->endpoint_id, skb->ifindex);
	/* About what the endpoint sent to the client past this machine: it is the endpoint's to know. */
	return dsr_forward(skb, p, entry, entry->way, egress);
}

static __always_inline int stage_icmp_error(struct __sk_buff *skb, struct pkt *p, const bool egress)
{
	int verdict = VERDICT_NEXT;

	if (p->v4)
		verdict = icmp4_error(skb, p, egress);
	else if (cfg_ipv6)
		verdict = icmp6_error(skb, p, egress);
	return verdict == VERDICT_CONTINUE ? special_icmp_error(skb, p, egress) : verdict;
}
