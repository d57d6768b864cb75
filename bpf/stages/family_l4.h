/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/csum.h"
#include "../include/parse.h"
#include "../maps/fragment.h"

/* Between families: what is behind the IP header, and the sums over it. Included by family.h. */

/* What the kernel sums at a time (MAX_BPF_STACK before 6.12), and how often for the longest packet there is. */
#define SUM_CHUNK 512
#define SUM_CHUNKS (0x10000 / SUM_CHUNK)

#define MAX_OPTIONS 40
#define OPTION_END 0
#define OPTION_NOP 1
#define IP_OPTION_LSRR 131
#define IP_OPTION_SSRR 137
#define TCP_OPTION_MSS 2

/* One's complement sum of a part of the packet that begins at an even offset; -1 when it is too long or not there. */
__noinline int sum_bytes(struct __sk_buff *skb, __u32 off, __u32 length)
{
	struct frag_held *scratch;
	__u32 i, last, zero = 0, sum = 0;

	scratch = bpf_map_lookup_elem(&frag_scratch, &zero);
	if (!scratch)
		return -1;
	for (i = 0; i < SUM_CHUNKS; i++) {
		if (length < SUM_CHUNK)
			break;
		if (bpf_skb_load_bytes(skb, off, scratch->frame, SUM_CHUNK))
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)scratch->frame, SUM_CHUNK, sum);
		off += SUM_CHUNK;
		length -= SUM_CHUNK;
	}
	if (!length)
		return csum_fold(sum);
	if (length >= SUM_CHUNK)
		return -1;
	/* An odd length is filled up with zeros (RFC 1071). */
	length = bounded(length, 1, SUM_CHUNK - 1);
	last = (length - 1) & (SUM_CHUNK - 4);
	*(__u32 *)(scratch->frame + last) = 0;
	if (bpf_skb_load_bytes(skb, off, scratch->frame, length))
		return -1;
	return csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)scratch->frame, last + 4, sum));
}

/* Whether the IPv4 header's sum is right: it is gone afterwards, and nobody else could find out. */
static __always_inline bool header_is_sound(struct __sk_buff *skb, const struct iphdr *ip, __u32 options)
{
	__u32 sum = bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0);
	int more = 0;

	if (unlikely(options)) {
		more = sum_bytes(skb, ETH_HLEN + sizeof(*ip), options);
		if (more < 0)
			return false;
	}
	return csum_fold((__u32)csum_fold(sum) + more) == 0xffff;
}

static const __u8 nothing[PARSE_PULL] = {};

/*
 * Zeroes headers that are to be taken out. Whether the kernel then takes them out of the sum over the whole packet
 * (CHECKSUM_COMPLETE) depends on its version: of zeros it makes no difference.
 */
__noinline int clear_headers(struct __sk_buff *skb, __u32 off, __u32 length)
{
	int i;

	for (i = 0; i < 3; i++) {
		__u32 size = length < sizeof(nothing) ? length : sizeof(nothing);

		if (!size)
			break;
		if (bpf_skb_store_bytes(skb, off, nothing, bounded(size, 1, sizeof(nothing)), BPF_F_RECOMPUTE_CSUM))
			return -1;
		off += size;
		length -= size;
	}
	return length ? -1 : 0;
}

/*
 * Where in `length` bytes of IP or TCP options at `off` the one of this kind is, or -1. Both are written alike. Each is
 * fetched by itself: the verifier need not know where in the options it is, and walks the loop in a straight line.
 */
__noinline int find_option(struct __sk_buff *skb, __u32 off, __u32 length, __u32 kind)
{
	__u32 at = 0;
	int i;

	for (i = 0; i < MAX_OPTIONS; i++) {
		__u8 option[2];

		if (at + sizeof(option) > length || bpf_skb_load_bytes(skb, off + at, option, sizeof(option)))
			return -1;
		if (option[0] == kind)
			return at;
		if (option[0] == OPTION_END)
			return -1;
		at += option[0] == OPTION_NOP ? 1 : option[1] < 2 ? length : option[1];
	}
	return -1;
}

/* The packet is to visit other hosts first: its destination is not where it is going (RFC 7915 4.1). */
static __always_inline bool has_source_route(struct __sk_buff *skb, __u32 length)
{
	__u32 off = ETH_HLEN + sizeof(struct iphdr);
	int at = find_option(skb, off, length, IP_OPTION_LSRR);
	__u8 option[3];

	if (at < 0)
		at = find_option(skb, off, length, IP_OPTION_SSRR);
	/* The third byte points behind the last host when all have been visited. */
	return at >= 0 && (bpf_skb_load_bytes(skb, off + at, option, sizeof(option)) || option[2] <= option[1]);
}

/*
 * An IPv6 host sends 1280 bytes whatever it is told. Where the way out takes less, a smaller segment size in the handshake
 * keeps its packets below that.
 */
__noinline int family_clamp_mss(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	__u32 off, length, mss, told;
	struct ct_entry *other;
	struct ct_key reverse;
	__be16 value;
	int at;

	if (!p || !entry)
		return 0;
	off = p->l4_off + sizeof(struct tcphdr);
	length = p->l4_hlen - sizeof(struct tcphdr);
	other = ct_lookup_reverse(&reverse, &p->key, entry);
	if (!other)
		return 0;
	/* As seen from here: its own first packet looks again. */
	if (!other->mtu)
		resolve(skb, other, p->key.proto, entry->generation - 1);
	if (other->mtu >= IPV6_MIN_MTU)
		return 0;
	mss = other->mtu - sizeof(struct ipv6hdr) - sizeof(struct tcphdr);
	at = find_option(skb, off, length, TCP_OPTION_MSS);
	if (at < 0 || at + 4 > length || bpf_skb_load_bytes(skb, off + at + 2, &value, sizeof(value)) ||
	    bpf_ntohs(value) <= mss)
		return 0;
	told = value;
	value = bpf_htons(mss);
	mss = value;
	/* At an odd offset each byte is the other half of a word. */
	if (at & 1) {
		told = bpf_ntohs(told);
		mss = bpf_ntohs(mss);
	}
	bpf_l4_csum_replace(skb, p->l4_off + 16, told, mss, sizeof(value));
	bpf_skb_store_bytes(skb, off + at + 2, &value, sizeof(value), 0);
	return 0;
}

/* ICMPv6 sums source, destination, length and protocol besides itself, ICMP does not. */
static __always_inline __u16 icmp6_pseudo(const struct ip_addr *pair, __u32 length)
{
	__be32 rest[2] = { bpf_htonl(length), bpf_htonl(IPPROTO_ICMPV6) };
	__u32 sum = bpf_csum_diff(NULL, 0, rest, sizeof(rest), 0);

	return csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)pair, 2 * sizeof(*pair), sum));
}

static __always_inline __u8 other_family_echo(__u8 type)
{
	switch (type) {
	case ICMP_ECHO_REQUEST:
		return ICMP6_ECHO_REQUEST;
	case ICMP_ECHO_REPLY:
		return ICMP6_ECHO_REPLY;
	case ICMP6_ECHO_REQUEST:
		return ICMP_ECHO_REQUEST;
	default:
		return ICMP_ECHO_REPLY;
	}
}

/* Exchanges type and identifier of an echo, and leaves the code. */
static __always_inline long family_echo(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	__u32 off = p->l4_off, length = p->l3_len - (off - ETH_HLEN);
	__u16 pseudo = icmp6_pseudo(p->v4 ? &entry->nsaddr : &p->key.saddr, length);
	__u8 type = other_family_echo(p->icmp_type);
	/* The type is the high byte of its word. */
	__u32 content = bpf_htons(type << 8) + (__u16)~bpf_htons(p->icmp_type << 8) + (__u32)entry->port_delta;

	return bpf_l4_csum_replace(skb, off + 2, 0, p->v4 ? pseudo : csum_negate(pseudo), BPF_F_PSEUDO_HDR) ||
	       bpf_l4_csum_replace(skb, off + 2, 0, csum_fold(content), 0) ||
	       bpf_skb_store_bytes(skb, off, &type, sizeof(type), 0) ||
	       bpf_skb_store_bytes(skb, off + 4, &entry->nsport, sizeof(entry->nsport), 0);
}

/* UDP over IPv6 has to have a checksum: that of a datagram without is made (RFC 7915 4.5, RFC 6146 3.4). */
__noinline int family_sum_datagram(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	struct udphdr udp;
	__u32 length;
	__sum16 check;
	int sum;

	if (!p || !entry || bpf_skb_load_bytes(skb, p->l4_off, &udp, sizeof(udp)))
		return -1;
	length = bpf_ntohs(udp.len);
	if (length < sizeof(udp) || length > p->l3_len - (p->l4_off - ETH_HLEN))
		return -1;
	sum = sum_bytes(skb, p->l4_off, length);
	if (sum < 0)
		return -1;
	/* ICMPv6's pseudo header, but for the protocol. */
	check = csum_apply(0xffff, (__u32)sum + icmp6_pseudo(&entry->nsaddr, length) +
					   (__u16)~bpf_htons(IPPROTO_ICMPV6) + bpf_htons(IPPROTO_UDP));
	if (!check)
		check = 0xffff;
	return bpf_skb_store_bytes(skb, p->l4_off + 6, &check, sizeof(check), BPF_F_RECOMPUTE_CSUM);
}

static __always_inline long family_udp(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	__u32 off = p->l4_off;
	__sum16 check;

	if (bpf_skb_load_bytes(skb, off + 6, &check, sizeof(check)))
		return -1;
	if (!check) {
		/*
		 * Over IPv6 such a datagram is discarded (RFC 8200 8.1): it must not become one that is not. Of a
		 * fragmented one too little is here.
		 */
		if (!p->v4 || p->fragment)
			return -1;
		return bpf_skb_store_bytes(skb, off, &entry->nsport, 4, BPF_F_RECOMPUTE_CSUM) ||
		       family_sum_datagram(skb, p, entry);
	}
	return bpf_l4_csum_replace(skb, off + 6, 0, entry->addr_delta, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0) ||
	       bpf_l4_csum_replace(skb, off + 6, 0, entry->port_delta, BPF_F_MARK_MANGLED_0) ||
	       bpf_skb_store_bytes(skb, off, &entry->nsport, 4, 0);
}

static __always_inline long family_tcp(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	__u32 off = p->l4_off;

	return bpf_l4_csum_replace(skb, off + 16, 0, entry->addr_delta, BPF_F_PSEUDO_HDR) ||
	       bpf_l4_csum_replace(skb, off + 16, 0, entry->port_delta, 0) ||
	       bpf_skb_store_bytes(skb, off, &entry->nsport, 4, 0);
}

/*
 * Ports or identifier, and the checksum, in the packet as it still is. The difference of the mapped addresses is that of
 * the pseudo headers across families too: what makes an address mapped sums up to nothing.
 */
static __always_inline long family_l4(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	if (unlikely(p->fragment == FRAGMENT_LATER))
		return 0;
	switch (p->key.proto) {
	case IPPROTO_TCP:
		return family_tcp(skb, p, entry);
	case IPPROTO_UDP:
		return family_udp(skb, p, entry);
	case IPPROTO_SCTP:
		/* Done before: no pseudo header, so addresses do not matter (RFC 7915 4.5). */
		return 0;
	default:
		return family_echo(skb, p, entry);
	}
}
