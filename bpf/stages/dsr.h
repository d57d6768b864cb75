/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Direct server return: the packet reaches the endpoint as the client sent it, and the endpoint, which has the service's
 * address too, answers the client itself. A neighbour gets it by its MAC address (L2-DSR); any other inside a packet
 * from this machine (L3-DSR: RFC 2003 IP in IP, RFC 2473 for the others).
 */

#define TUNNEL_TTL 64

static __always_inline __u8 traffic_class(struct __sk_buff *skb, bool v4)
{
	__u8 bytes[2];

	if (bpf_skb_load_bytes(skb, ETH_HLEN, bytes, sizeof(bytes)))
		return 0;
	return v4 ? bytes[1] : bytes[0] << 4 | bytes[1] >> 4;
}

static __always_inline void fill_ethernet(struct ethhdr *eth, const struct ct_entry *entry, __be16 proto)
{
	__builtin_memcpy(eth->h_dest, entry->dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, entry->smac, ETH_ALEN);
	eth->h_proto = proto;
}

/* Makes room for an outer header behind the Ethernet header, and writes both. Super-packets keep their segment size. */
static __always_inline long push(struct __sk_buff *skb, const struct ct_entry *entry, __be16 proto, const void *header,
				 __u32 size, __u64 family)
{
	struct ethhdr eth;

	fill_ethernet(&eth, entry, proto);
	return bpf_skb_adjust_room(skb, size, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | family) ||
	       bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) || bpf_skb_store_bytes(skb, ETH_HLEN, header, size, 0);
}

static __always_inline void fill_outer_v4(struct iphdr *ip, const struct pkt *p, const struct ct_entry *entry,
					  __u8 class)
{
	struct iphdr header = { .version = 4, .ihl = 5, .ttl = TUNNEL_TTL, .tos = class };
	__u32 length = p->l3_len + sizeof(header);

	/* BIG TCP: longer than the field can say. */
	header.tot_len = bpf_htons(length > 0xffff ? 0 : length);
	/* Identifies fragments only: none are made where DF is set (RFC 6864). */
	header.id = p->df ? 0 : bpf_get_prandom_u32();
	header.frag_off = p->df ? bpf_htons(IP_DF) : 0;
	header.protocol = p->v4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	header.saddr = entry->nsaddr.w[3];
	header.daddr = entry->ndaddr.w[3];
	header.check = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)&header, sizeof(header), 0));
	*ip = header;
}

static __always_inline void fill_outer_v6(struct ipv6hdr *ip, const struct pkt *p, const struct ct_entry *entry,
					  __u8 class)
{
	struct ipv6hdr header = { .version = 6, .hop_limit = TUNNEL_TTL };

	header.priority = class >> 4;
	header.flow_lbl[0] = class << 4;
	header.payload_len = bpf_htons(p->l3_len > 0xffff ? 0 : p->l3_len);
	header.nexthdr = p->v4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	__builtin_memcpy(&header.saddr, &entry->nsaddr, sizeof(header.saddr));
	__builtin_memcpy(&header.daddr, &entry->ndaddr, sizeof(header.daddr));
	*ip = header;
}

static __always_inline long push_v4(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	struct iphdr ip;

	fill_outer_v4(&ip, p, entry, traffic_class(skb, p->v4));
	return push(skb, entry, bpf_htons(ETH_P_IP), &ip, sizeof(ip), BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);
}

static __always_inline long push_v6(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	struct ipv6hdr ip;

	fill_outer_v6(&ip, p, entry, traffic_class(skb, p->v4));
	return push(skb, entry, bpf_htons(ETH_P_IPV6), &ip, sizeof(ip), BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
}

/* Takes a hop off the packet that goes inside (RFC 2003 3.1). */
static __always_inline long take_hop(struct __sk_buff *skb, const struct pkt *p)
{
	__u8 ttl = p->ttl - 1;

	if (!p->v4)
		return bpf_skb_store_bytes(skb, ETH_HLEN + 7, &ttl, sizeof(ttl), BPF_F_RECOMPUTE_CSUM);
	return bpf_l3_csum_replace(skb, ETH_HLEN + 10, p->ttl, ttl, 2) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN + 8, &ttl, sizeof(ttl), 0);
}

static __always_inline int dsr_tunnel(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
				      __u8 way, bool egress)
{
	bool outer_v4 = ip_is_v4(&entry->ndaddr);

	/* The endpoint is this machine: what is in the packet already is for it. */
	if (way == CT_WAY_LOCAL)
		return VERDICT_NEXT;
	if (ip_is_zero(&entry->nsaddr) || ip_is_v4(&entry->nsaddr) != outer_v4 || p->ttl <= 1 || take_hop(skb, p))
		return drop_packet(skb, p, entry, DROP_TUNNEL);
	if (outer_v4 ? push_v4(skb, p, entry) : push_v6(skb, p, entry))
		return drop_packet(skb, p, entry, DROP_TUNNEL);
	count(EVENT_TUNNELLED);
	return leave(entry, way, egress);
}

static __always_inline int dsr_neighbour(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
					 __u8 way, bool egress)
{
	struct bpf_redir_neigh next = { .nh_family = p->v4 ? AF_INET : AF_INET6 };
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	switch (way) {
	case CT_WAY_REDIRECT:
	case CT_WAY_PEER:
		if (data + ETH_HLEN > end)
			return drop_packet(skb, p, entry, DROP_REWRITE);
		write_macs(data, entry);
		return leave(entry, way, egress);
	case CT_WAY_NEIGH:
		/* The packet's own destination would lead back here. */
		__builtin_memcpy(next.ipv6_nh, &entry->ndaddr, sizeof(next.ipv6_nh));
		if (p->v4)
			next.ipv4_nh = entry->ndaddr.w[3];
		return bpf_redirect_neigh(entry->oif, &next, sizeof(next), 0);
	case CT_WAY_LOCAL:
	case CT_WAY_LOOPBACK:
		return VERDICT_NEXT;
	default:
		return drop_packet(skb, p, entry, DROP_NOT_ON_LINK);
	}
}

__noinline int dsr_forward(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u32 way, __u32 egress)
{
	if (!p || !entry)
		return VERDICT_DROP;
	if (entry->special & CT_SPECIAL_TUNNEL)
		return dsr_tunnel(skb, p, entry, way, egress);
	return dsr_neighbour(skb, p, entry, way, egress);
}
