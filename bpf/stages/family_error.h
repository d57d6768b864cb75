/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "family.h"
#include "family_kind.h"

/*
 * ICMP errors about packets that were translated between families (RFC 7915 4.2 and 5.2): what they say and what they
 * quote become the other family's. `p->key` is that of the flow direction that answers the quoted packet, `entry` its
 * entry.
 *
 * Checksums are carried over by their differences, so that a wrong one stays wrong.
 */

/* ICMP and what it quotes, up to the quoted L4 header. */
struct family_error6 {
	struct ipv6hdr ip;
	struct icmp_header icmp;
	struct ipv6hdr quoted;
};

struct family_error4 {
	struct iphdr ip;
	struct icmp_header icmp;
	struct iphdr quoted;
};

/* At least this much of the quoted L4 header is there, so that its checksum is or is not, but not in part. */
#define QUOTED_MIN 8
#define QUOTED_TCP_CHECK 18

/* The quoted echo: `length` is that of the whole message, which the pseudo header of ICMPv6 has. */
static __always_inline int quoted_echo(struct quoted_l4 *l4, const struct pkt *p, const struct ct_entry *entry,
				       __u32 length)
{
	__u16 pseudo = icmp6_pseudo(p->v4 ? &entry->nsaddr : &p->key.saddr, length);
	__u8 *type = (__u8 *)&l4->sport, old = *type;
	__u32 delta = p->v4 ? pseudo : csum_negate(pseudo);

	if (p->v4 ? old != ICMP_ECHO_REQUEST && old != ICMP_ECHO_REPLY
		  : old != ICMP6_ECHO_REQUEST && old != ICMP6_ECHO_REPLY)
		return -1;
	*type = other_family_echo(old);
	delta += bpf_htons(*type << 8) + (__u16)~bpf_htons(old << 8) + (__u32)entry->port_delta;
	l4->third = entry->nsport;
	l4->dport = csum_apply(l4->dport, csum_fold(delta));
	return 0;
}

/*
 * Translates the quoted L4 header in place. `lengths`: in the upper 16 bits how long the message was, in the lower ones how
 * much of it is quoted. The difference of its sum, or -1.
 */
__noinline int family_quoted_l4(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry, __u32 off,
				__u32 lengths)
{
	__u32 delta, changed = 0;
	struct quoted_l4 old, new;
	__sum16 check;

	if (!p || !entry || bpf_skb_load_bytes(skb, off, &old, sizeof(old)))
		return -1;
	/* The quoted packet and the answering direction differ by the same. */
	delta = (__u32)entry->addr_delta + entry->port_delta;
	new = old;
	if (quoted_is_echo(p->key.proto)) {
		if (quoted_echo(&new, p, entry, lengths >> 16))
			return -1;
	} else {
		new.sport = entry->ndport;
		new.dport = entry->nsport;
	}
	if (p->key.proto == IPPROTO_UDP && old.fourth) {
		new.fourth = csum_apply(old.fourth, csum_fold(delta));
		if (!new.fourth)
			new.fourth = 0xffff;
	}
	if (p->key.proto == IPPROTO_TCP && (lengths & 0xffff) >= QUOTED_TCP_CHECK &&
	    !bpf_skb_load_bytes(skb, off + 16, &check, sizeof(check))) {
		changed = (__u16)~check;
		check = csum_apply(check, csum_fold(delta));
		changed += check;
		if (bpf_skb_store_bytes(skb, off + 16, &check, sizeof(check), BPF_F_RECOMPUTE_CSUM))
			return -1;
	}
	if (bpf_skb_store_bytes(skb, off, &new, sizeof(new), BPF_F_RECOMPUTE_CSUM))
		return -1;
	return csum_fold(csum_fold(changed) + csum_delta(&old, sizeof(old), &new, sizeof(new)));
}

/* Type, code and the rest without the checksum. */
static __always_inline __u32 kind_sum(const struct icmp_header *icmp)
{
	__be32 words[2] = { 0, icmp->info };

	*(__u8 *)&words[0] = icmp->type;
	*((__u8 *)&words[0] + 1) = icmp->code;
	return csum_fold(bpf_csum_diff(NULL, 0, words, sizeof(words), 0));
}

/*
 * How much of the quoted L4 data is kept, of `there`: at most `most`, and nothing behind the quote (RFC 4884 extensions say
 * where it ends). Zero: too little.
 */
static __always_inline __u32 quote_kept(__u32 there, __u32 most, __u32 header, __u32 quote_length)
{
	if (quote_length) {
		if (quote_length < header + sizeof(struct tcphdr))
			return 0;
		if (most > quote_length - header)
			most = quote_length - header;
	}
	if (there > most)
		there = most;
	return there < QUOTED_MIN ? 0 : there;
}

/* Cuts the quote at `end`; the sum of what was behind it. */
static __always_inline int cut_quote(struct __sk_buff *skb, const struct pkt *p, __u32 end)
{
	__u32 length = ETH_HLEN + p->l3_len - end;
	int sum;

	if (!length)
		return 0;
	sum = sum_bytes(skb, end, length);
	return sum < 0 || bpf_skb_change_tail(skb, end, 0) ? -1 : sum;
}

static __always_inline long family_set_type(struct __sk_buff *skb, bool v4)
{
	__be16 proto = bpf_htons(v4 ? ETH_P_IP : ETH_P_IPV6);

	return bpf_skb_store_bytes(skb, 2 * ETH_ALEN, &proto, sizeof(proto), 0);
}

/* Makes the headers before the quoted L4 data, `size` bytes of them, `wanted` bytes of the other family's. */
static __always_inline long resize_headers(struct __sk_buff *skb, __u32 size, __u32 wanted, bool to_v4)
{
	int room = to_v4 ? wanted + FAMILY_OVERHEAD - size : wanted - FAMILY_OVERHEAD - size;

	return clear_headers(skb, ETH_HLEN, size) ||
	       bpf_skb_change_proto(skb, bpf_htons(to_v4 ? ETH_P_IP : ETH_P_IPV6), 0) ||
	       (room && bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_NET, FAMILY_ROOM)) || family_set_type(skb, to_v4);
}

__noinline int family_error_to_v6(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	struct family_error6 new = { .ip.version = 6, .quoted.version = 6 };
	__u32 quote_off, l4_off, length, kept, delta;
	struct iphdr outer, quoted;
	__u16 pseudo;
	int sum, tail;

	if (!p || !entry)
		return -1;
	quote_off = p->l4_off + sizeof(new.icmp);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &outer, sizeof(outer)) ||
	    bpf_skb_load_bytes(skb, p->l4_off, &new.icmp, sizeof(new.icmp)) ||
	    bpf_skb_load_bytes(skb, quote_off, &quoted, sizeof(quoted)))
		return -1;
	if (!header_is_sound(skb, &outer, p->l4_off - ETH_HLEN - sizeof(outer)))
		return -1;
	l4_off = quote_off + quoted.ihl * 4;
	length = bpf_ntohs(quoted.tot_len) - quoted.ihl * 4;
	if (length > 0xffff || l4_off > ETH_HLEN + p->l3_len)
		return -1;
	kept = quote_kept(ETH_HLEN + p->l3_len - l4_off, IPV6_MIN_MTU - sizeof(new), quoted.ihl * 4,
			  (bpf_ntohl(new.icmp.info) >> 16 & 0xff) * 4);
	delta = csum_negate(kind_sum(&new.icmp));
	if (!kept || error_kind_to_v6(&new.icmp, bpf_ntohs(quoted.tot_len), entry))
		return -1;
	delta += kind_sum(&new.icmp);
	tail = cut_quote(skb, p, l4_off + kept);
	/* Options of the quoted header. */
	sum = sum_bytes(skb, quote_off + sizeof(quoted), l4_off - quote_off - sizeof(quoted));
	if (tail < 0 || sum < 0)
		return -1;
	delta += (__u32)csum_negate(tail) + csum_negate(sum);
	sum = family_quoted_l4(skb, p, entry, l4_off, length << 16 | kept);
	if (sum < 0)
		return -1;
	delta += sum;
	new.quoted.priority = quoted.tos >> 4;
	new.quoted.flow_lbl[0] = quoted.tos << 4;
	new.quoted.payload_len = bpf_htons(length);
	new.quoted.nexthdr = other_family_proto(quoted.protocol);
	new.quoted.hop_limit = quoted.ttl;
	__builtin_memcpy(&new.quoted.saddr, &entry->ndaddr, 16);
	__builtin_memcpy(&new.quoted.daddr, &entry->nsaddr, 16);
	delta += csum_delta(&quoted, sizeof(quoted), &new.quoted, sizeof(new.quoted));
	length = sizeof(new.icmp) + sizeof(new.quoted) + kept;
	new.ip.priority = outer.tos >> 4;
	new.ip.flow_lbl[0] = outer.tos << 4;
	new.ip.payload_len = bpf_htons(length);
	new.ip.nexthdr = IPPROTO_ICMPV6;
	new.ip.hop_limit = p->ttl;
	/* Who complains has no address there: it is the service, or this machine (RFC 7915 4.1). */
	__builtin_memcpy(&new.ip.saddr, &entry->nsaddr, 16);
	__builtin_memcpy(&new.ip.daddr, &entry->ndaddr, 16);
	pseudo = icmp6_pseudo(&entry->nsaddr, length);
	new.icmp.check = csum_apply(new.icmp.check, csum_fold(delta + pseudo));
	return resize_headers(skb, l4_off - ETH_HLEN, sizeof(new), false) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN, &new, sizeof(new), BPF_F_RECOMPUTE_CSUM);
}

__noinline int family_error_to_v4(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	struct family_error4 new = { .ip = { .version = 4, .ihl = 5 }, .quoted = { .version = 4, .ihl = 5 } };
	__u32 quote_off, l4_off, length, kept, delta;
	struct ipv6hdr outer, quoted;
	__u16 pseudo;
	int sum, tail;

	if (!p || !entry)
		return -1;
	quote_off = p->l4_off + sizeof(new.icmp);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &outer, sizeof(outer)) ||
	    bpf_skb_load_bytes(skb, p->l4_off, &new.icmp, sizeof(new.icmp)) ||
	    bpf_skb_load_bytes(skb, quote_off, &quoted, sizeof(quoted)))
		return -1;
	sum = skip_extensions(skb, quote_off + sizeof(quoted), quoted.nexthdr);
	if (sum < 0)
		return -1;
	l4_off = sum & 0xffff;
	length = bpf_ntohs(quoted.payload_len) - (l4_off - quote_off - sizeof(quoted));
	if (length > 0xffff || l4_off > ETH_HLEN + p->l3_len)
		return -1;
	kept = new.icmp.type == ICMP6_UNREACHABLE || new.icmp.type == ICMP6_TIME_EXCEEDED
		       ? bpf_ntohl(new.icmp.info) >> 24
		       : 0;
	kept = quote_kept(ETH_HLEN + p->l3_len - l4_off, 0xffff, l4_off - quote_off, kept * 8);
	delta = csum_negate(kind_sum(&new.icmp));
	if (!kept || error_kind_to_v4(&new.icmp, entry))
		return -1;
	delta += kind_sum(&new.icmp);
	tail = cut_quote(skb, p, l4_off + kept);
	sum = sum_bytes(skb, quote_off + sizeof(quoted), l4_off - quote_off - sizeof(quoted));
	if (tail < 0 || sum < 0)
		return -1;
	delta += (__u32)csum_negate(tail) + csum_negate(sum);
	sum = family_quoted_l4(skb, p, entry, l4_off, length << 16 | kept);
	if (sum < 0)
		return -1;
	delta += sum;
	new.quoted.tos = quoted.priority << 4 | quoted.flow_lbl[0] >> 4;
	length += sizeof(new.quoted);
	new.quoted.tot_len = bpf_htons(length > 0xffff ? 0xffff : length);
	new.quoted.frag_off = length > FAMILY_FRAGMENTABLE ? bpf_htons(IP_DF) : 0;
	new.quoted.ttl = quoted.hop_limit;
	new.quoted.protocol = p->key.proto == IPPROTO_ICMPV6 ? IPPROTO_ICMP : p->key.proto;
	new.quoted.saddr = entry->ndaddr.w[3];
	new.quoted.daddr = entry->nsaddr.w[3];
	finish_v4(&new.quoted);
	delta += csum_delta(&quoted, sizeof(quoted), &new.quoted, sizeof(new.quoted));
	pseudo = icmp6_pseudo((const struct ip_addr *)&outer.saddr, p->l3_len - (p->l4_off - ETH_HLEN));
	new.icmp.check = csum_apply(new.icmp.check, csum_fold(delta + csum_negate(pseudo)));
	length = sizeof(new) + kept;
	new.ip.tos = outer.priority << 4 | outer.flow_lbl[0] >> 4;
	new.ip.tot_len = bpf_htons(length);
	new.ip.id = bpf_get_prandom_u32();
	new.ip.frag_off = length > FAMILY_FRAGMENTABLE ? bpf_htons(IP_DF) : 0;
	new.ip.ttl = p->ttl;
	new.ip.protocol = IPPROTO_ICMP;
	new.ip.saddr = entry->nsaddr.w[3];
	new.ip.daddr = entry->ndaddr.w[3];
	finish_v4(&new.ip);
	return resize_headers(skb, l4_off - ETH_HLEN, sizeof(new), true) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN, &new, sizeof(new), BPF_F_RECOMPUTE_CSUM);
}

__noinline int family_error_send(struct __sk_buff *skb, struct pkt *p, const struct ct_entry *entry, __u32 egress)
{
	if (!p || !entry)
		return VERDICT_DROP;
	p->v4 = !p->v4;
	return send_error(skb, p, entry, &entry->nsaddr, p->v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, egress);
}

/* What has no meaning in the other family is dropped and counted; nobody is told. */
static __always_inline int family_icmp_error(struct __sk_buff *skb, struct pkt *p, struct ct_entry *entry,
					     const bool egress)
{
	if (p->fragment)
		return drop_packet(skb, p, entry, DROP_FAMILY_FRAGMENT);
	if (p->v4 ? family_error_to_v6(skb, p, entry) : family_error_to_v4(skb, p, entry))
		return drop_packet(skb, p, entry, DROP_FAMILY);
	return family_error_send(skb, p, entry, egress);
}
