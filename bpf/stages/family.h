/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "family_quick.h"

/*
 * Clients and endpoints of different families: each packet becomes one of the other family, by RFC 7915. Addresses and
 * ports are those of the flow; headers that have no equal are left out.
 */

/* Headers are exchanged, super-packets keep their segment size, and a checksum that was verified stays so. */
#define FAMILY_ROOM (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET)
/* BPF_F_ADJ_ROOM_DECAP_L3_IPV4 and _IPV6 (6.3), which headers of older kernels do not have. */
#define FAMILY_ROOM_IS_V4 (1ULL << 7)
#define FAMILY_ROOM_IS_V6 (1ULL << 8)

/*
 * Makes the base header one of the other family: its length and what the kernel takes the packet for. Older kernels
 * refuse super-packets of UDP, although these know no family: there, room is made and taken.
 */
static __always_inline long family_resize(struct __sk_buff *skb, bool to_v4, bool datagrams)
{
	if (!bpf_skb_change_proto(skb, bpf_htons(to_v4 ? ETH_P_IP : ETH_P_IPV6), 0))
		return 0;
	if (!datagrams)
		return -1;
	if (to_v4)
		return bpf_skb_adjust_room(skb, -(int)FAMILY_OVERHEAD, BPF_ADJ_ROOM_MAC,
					   FAMILY_ROOM | FAMILY_ROOM_IS_V4);
	/* Only taking room tells the kernel another family. */
	return bpf_skb_adjust_room(skb, FAMILY_OVERHEAD + 4, BPF_ADJ_ROOM_MAC, FAMILY_ROOM) ||
	       bpf_skb_adjust_room(skb, -4, BPF_ADJ_ROOM_MAC, FAMILY_ROOM | FAMILY_ROOM_IS_V6);
}

static __always_inline void finish_v4(struct iphdr *ip)
{
	ip->check = 0;
	ip->check = csum_header(ip);
}

/* RFC 7915 5.1.1, also for a packet in one fragment. Its header is the last before the payload. */
static __always_inline long fragment_to_v4(struct __sk_buff *skb, const struct pkt *p, struct iphdr *ip)
{
	__be16 offset;

	if (bpf_skb_load_bytes(skb, p->l4_off - sizeof(struct fragment_header) + 2, &offset, sizeof(offset)))
		return -1;
	ip->id = bpf_htons(bpf_ntohl(p->frag_id));
	ip->frag_off = bpf_htons(bpf_ntohs(offset) >> 3);
	if (offset & bpf_htons(FRAGMENT6_MORE))
		ip->frag_off |= bpf_htons(IP_MF);
	return 0;
}

/* RFC 7915 5.1. `hops`: how many the packet loses. */
__noinline int family_to_v4(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry, __u32 hops)
{
	__u32 extra, size, gso_size = skb->gso_size;
	struct iphdr new = { .version = 4, .ihl = 5 };
	struct ipv6hdr old;
	bool datagrams;

	if (!p || !entry || bpf_skb_load_bytes(skb, ETH_HLEN, &old, sizeof(old)))
		return -1;
	extra = p->l4_off - ETH_HLEN - sizeof(old);
	size = p->l3_len - extra - FAMILY_OVERHEAD;
	datagrams = gso_size && p->key.proto == IPPROTO_UDP;
	new.tos = old.priority << 4 | old.flow_lbl[0] >> 4;
	new.tot_len = bpf_htons(size > 0xffff ? 0 : size);
	new.id = bpf_get_prandom_u32();
	if ((gso_size ? gso_size + sizeof(new) + p->l4_hlen : size) > FAMILY_FRAGMENTABLE)
		new.frag_off = bpf_htons(IP_DF);
	if (unlikely(extra)) {
		int found = skip_extensions(skb, ETH_HLEN + sizeof(old), old.nexthdr);

		if (found < 0 || (found >> 16 == IPPROTO_FRAGMENT && fragment_to_v4(skb, p, &new)))
			return -1;
	}
	new.ttl = p->ttl - hops;
	new.protocol = other_family_proto(p->key.proto);
	new.saddr = entry->nsaddr.w[3];
	new.daddr = entry->ndaddr.w[3];
	finish_v4(&new);
	if (family_l4(skb, p, entry) || clear_headers(skb, ETH_HLEN, sizeof(old) + extra))
		return -1;
	if (unlikely(extra) && bpf_skb_adjust_room(skb, -(int)extra, BPF_ADJ_ROOM_NET, FAMILY_ROOM))
		return -1;
	return family_resize(skb, true, datagrams) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN, &new, sizeof(new), BPF_F_RECOMPUTE_CSUM);
}

/* RFC 7915 4.1. `hops`: how many the packet loses. */
__noinline int family_to_v6(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry, __u32 hops)
{
	struct {
		struct ipv6hdr ip;
		struct fragment_header fragment;
	} new = { .ip.version = 6 };
	__u32 extra, size, wanted = sizeof(new.ip);
	struct iphdr old;
	bool datagrams;
	int room;

	if (!p || !entry || bpf_skb_load_bytes(skb, ETH_HLEN, &old, sizeof(old)))
		return -1;
	extra = p->l4_off - ETH_HLEN - sizeof(old);
	size = p->l3_len - extra - sizeof(old);
	datagrams = skb->gso_size && p->key.proto == IPPROTO_UDP;
	new.ip.nexthdr = other_family_proto(p->key.proto);
	if (unlikely(p->fragment)) {
		wanted = sizeof(new);
		size += sizeof(new.fragment);
		new.fragment.next = new.ip.nexthdr;
		new.fragment.offset = bpf_htons(bpf_ntohs(old.frag_off) << 3 & FRAGMENT6_OFFSET);
		if (old.frag_off & bpf_htons(IP_MF))
			new.fragment.offset |= bpf_htons(FRAGMENT6_MORE);
		new.fragment.id = bpf_htonl(bpf_ntohs(old.id));
		new.ip.nexthdr = IPPROTO_FRAGMENT;
	}
	new.ip.priority = old.tos >> 4;
	new.ip.flow_lbl[0] = old.tos << 4;
	new.ip.payload_len = bpf_htons(size > 0xffff ? 0 : size);
	new.ip.hop_limit = p->ttl - hops;
	__builtin_memcpy(&new.ip.saddr, &entry->nsaddr, sizeof(new.ip.saddr));
	__builtin_memcpy(&new.ip.daddr, &entry->ndaddr, sizeof(new.ip.daddr));
	if (!header_is_sound(skb, &old, extra))
		return -1;
	if (unlikely(extra) && (has_source_route(skb, extra) || clear_headers(skb, ETH_HLEN + sizeof(old), extra)))
		return -1;
	if (family_l4(skb, p, entry))
		return -1;
	room = wanted - sizeof(new.ip) - extra;
	if (unlikely(room) && bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_NET, FAMILY_ROOM))
		return -1;
	return family_resize(skb, false, datagrams) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN, &new, wanted, BPF_F_RECOMPUTE_CSUM);
}

/* ICMPv6's checksum needs the length of the whole message, which a fragment does not tell (RFC 7915 1.2). */
static __always_inline bool fragment_is_ours(const struct pkt *p)
{
	return p->key.proto != IPPROTO_ICMP && p->key.proto != IPPROTO_ICMPV6;
}

/* With its header, which only a fragment has. */
static __always_inline bool fragment_fits(const struct pkt *p, const struct ct_entry *entry)
{
	return !p->v4 || p->l3_len + sizeof(struct fragment_header) <= entry->mtu;
}

/*
 * The way for a packet that is another family's now. Where the kernel has chosen a route for it already, on its way out or
 * through lo, it must not go on with that one. And a source of this machine's is taken on lo only, in IPv4.
 */
static __always_inline __u8 family_way(const struct __sk_buff *skb, __u8 way, bool egress, bool v4)
{
	bool routed = egress || skb->ifindex == LOOPBACK_IFINDEX;

	if (way == CT_WAY_LOCAL)
		return routed || v4 ? CT_WAY_LOOPBACK : way;
	return routed && (way == CT_WAY_STACK || way == CT_WAY_UNKNOWN) ? CT_WAY_NEIGH : way;
}

static __always_inline long family_ethernet(struct __sk_buff *skb, const struct ct_entry *entry, __u8 way, bool v4)
{
	__be16 proto = bpf_htons(v4 ? ETH_P_IP : ETH_P_IPV6);
	struct ethhdr eth;

	if (!way_writes_macs(way))
		return bpf_skb_store_bytes(skb, 2 * ETH_ALEN, &proto, sizeof(proto), 0);
	fill_ethernet(&eth, entry, proto);
	return bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
}

__noinline int family_forward(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u32 way,
			      __u32 egress)
{
	__u32 hops = way <= CT_WAY_NEIGH;
	int failed;

	if (!p || !entry)
		return VERDICT_DROP;
	if (unlikely(p->fragment)) {
		bool fits = !hops || fragment_fits(p, entry);

		/* Only the first part may be complained about (RFC 1812 4.3.2.7). */
		if (!fragment_is_ours(p) || (!fits && p->fragment == FRAGMENT_LATER))
			return drop_packet(skb, p, entry, DROP_FAMILY_FRAGMENT);
		if (!fits)
			return reply_icmp_error(skb, p, REPLY_TOO_BIG, entry->mtu - sizeof(struct fragment_header));
	}
	if (p->v4 && p->tcp_flags & TCP_SYN)
		family_clamp_mss(skb, p, entry);
	if (p->key.proto == IPPROTO_SCTP) {
		/* While it is still the packet it was: its sum is of another kind than all others. */
		failed = sctp_translate(skb, p, entry);
		if (failed)
			return drop_packet(skb, p, entry, failed);
	}
	way = family_way(skb, way, egress, !p->v4);
	failed = p->v4 ? family_quick_to_v6(skb, p, entry, hops, way_writes_macs(way))
		       : family_quick_to_v4(skb, p, entry, hops, way_writes_macs(way));
	if (unlikely(failed == FAMILY_QUICK_NOT))
		failed = (p->v4 ? family_to_v6(skb, p, entry, hops) : family_to_v4(skb, p, entry, hops)) ||
			 family_ethernet(skb, entry, way, !p->v4);
	if (failed)
		return drop_packet(skb, p, entry,
				   p->fragment					  ? DROP_FAMILY_FRAGMENT
				   : skb->gso_size && p->key.proto != IPPROTO_TCP ? DROP_FAMILY_GSO
										  : DROP_FAMILY);
	count(EVENT_FAMILY);
	return leave(entry, way, egress);
}
