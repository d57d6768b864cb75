/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "family_l4.h"

/*
 * Between families, most packets: TCP and UDP with nothing between their header and IP's, no fragment, and no sum over the
 * whole packet to be kept right. One helper, and all else is written where it is. What this does not take is left as it
 * is to family.h, which says why things are done as they are.
 */

/*
 * An IPv4 packet of at most this length may be fragmented on its way, a longer one may not (RFC 7915 5.1): path MTU
 * discovery of an IPv6 host ends at 1280.
 */
#define FAMILY_FRAGMENTABLE 1260

enum family_quick_result {
	FAMILY_QUICK_DONE,
	FAMILY_QUICK_NOT,    /* not one of these, and untouched */
	FAMILY_QUICK_FAILED, /* touched, and to be dropped */
};

static __always_inline bool family_is_quick(struct __sk_buff *skb, const struct pkt *p)
{
	if (!cfg_kern_ctx || p->fragment ||
	    p->l4_off != ETH_HLEN + (p->v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)))
		return false;
	if (p->key.proto != IPPROTO_TCP && (p->key.proto != IPPROTO_UDP || skb->gso_size))
		return false;
	return !has_packet_sum(skb);
}

/* Ports and checksum, which `l4` has room for. FAMILY_QUICK_NOT: a datagram without. */
static __always_inline int family_quick_l4(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
					   void *l4, void *end)
{
	__u32 state = checksum_state(skb);
	__u32 check_off = p->key.proto == IPPROTO_TCP ? CHECK_OFF_TCP : CHECK_OFF_UDP;
	__sum16 *check = l4 + check_off;

	if ((void *)(check + 1) > end || l4 + sizeof(struct udphdr) > end)
		return FAMILY_QUICK_NOT;
	if (check_off == CHECK_OFF_UDP && !*check && state != CHECKSUM_PARTIAL)
		return FAMILY_QUICK_NOT;
	write_ports(l4, p, entry);
	write_check(check, state, check_off, entry->addr_delta, entry->port_delta);
	return FAMILY_QUICK_DONE;
}

/* Where the new IP header goes. NULL: there is no room. */
static __always_inline void *family_quick_ethernet(struct __sk_buff *skb, const struct ct_entry *entry, bool macs,
						   bool v4)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;

	if (data + ETH_HLEN + (v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) > end)
		return NULL;
	if (macs)
		write_macs(eth, entry);
	eth->h_proto = bpf_htons(v4 ? ETH_P_IP : ETH_P_IPV6);
	return eth + 1;
}

/* RFC 7915 5.1. `hops`: how many the packet loses. */
__noinline int family_quick_to_v4(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry, __u32 hops,
				  __u32 macs)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct iphdr new = { .version = 4, .ihl = 5 };
	__u32 size, gso_size;
	struct ipv6hdr *old = data + ETH_HLEN;
	struct iphdr *ip;

	if (!p || !entry || !family_is_quick(skb, p) || (void *)(old + 1) > end)
		return FAMILY_QUICK_NOT;
	gso_size = skb->gso_size;
	size = p->l3_len - FAMILY_OVERHEAD;
	new.tos = old->priority << 4 | old->flow_lbl[0] >> 4;
	new.tot_len = bpf_htons(size > 0xffff ? 0 : size);
	new.ttl = p->ttl - hops;
	new.protocol = p->key.proto;
	if (family_quick_l4(skb, p, entry, old + 1, end))
		return FAMILY_QUICK_NOT;
	if ((gso_size ? gso_size + sizeof(new) + p->l4_hlen : size) > FAMILY_FRAGMENTABLE)
		new.frag_off = bpf_htons(IP_DF);
	new.id = bpf_get_prandom_u32();
	new.saddr = entry->nsaddr.w[3];
	new.daddr = entry->ndaddr.w[3];
	new.check = csum_header(&new);
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0))
		return FAMILY_QUICK_FAILED;
	ip = family_quick_ethernet(skb, entry, macs, true);
	if (!ip)
		return FAMILY_QUICK_FAILED;
	*ip = new;
	return FAMILY_QUICK_DONE;
}

/* RFC 7915 4.1. `hops`: how many the packet loses. */
__noinline int family_quick_to_v6(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry, __u32 hops,
				  __u32 macs)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct iphdr *old = data + ETH_HLEN;
	struct ipv6hdr *ip;
	__u32 size;
	__u8 tos;

	if (!p || !entry || !family_is_quick(skb, p) || (void *)(old + 1) > end)
		return FAMILY_QUICK_NOT;
	if (csum_sum_header(old) != 0xffff)
		return FAMILY_QUICK_NOT;
	tos = old->tos;
	if (family_quick_l4(skb, p, entry, old + 1, end))
		return FAMILY_QUICK_NOT;
	if (bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0))
		return FAMILY_QUICK_FAILED;
	ip = family_quick_ethernet(skb, entry, macs, false);
	if (!ip)
		return FAMILY_QUICK_FAILED;
	size = p->l3_len - sizeof(*old);
	*(csum_word *)ip = bpf_htonl(6U << 28 | (__u32)tos << 20);
	ip->payload_len = bpf_htons(size > 0xffff ? 0 : size);
	ip->nexthdr = p->key.proto;
	ip->hop_limit = p->ttl - hops;
	__builtin_memcpy(&ip->saddr, &entry->nsaddr, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, &entry->ndaddr, sizeof(ip->daddr));
	return FAMILY_QUICK_DONE;
}
