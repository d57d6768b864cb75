/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Direct server return: the packet reaches the endpoint as the client sent it, and the endpoint, which has the service's
 * address too, answers the client itself. A neighbour gets it by its MAC address (L2-DSR); any other inside a packet
 * from this machine (L3-DSR: RFC 2003 IP in IP, RFC 2473 for the others).
 */

#define TUNNEL_TTL 64

static __always_inline void fill_ethernet(struct ethhdr *eth, const struct ct_entry *entry, __be16 proto)
{
	__builtin_memcpy(eth->h_dest, entry->dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, entry->smac, ETH_ALEN);
	eth->h_proto = proto;
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
	header.check = csum_header(&header);
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

static __always_inline __u8 traffic_class(struct __sk_buff *skb, bool v4)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u8 *ip = data + ETH_HLEN;

	if ((void *)ip + sizeof(struct iphdr) > end)
		return 0;
	return v4 ? ip[1] : ip[0] << 4 | ip[1] >> 4;
}

/* Takes a hop off the packet that goes inside (RFC 2003 3.1). */
static __always_inline long take_hop(struct __sk_buff *skb, const struct pkt *p)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip6 = data + ETH_HLEN;
	struct iphdr *ip = data + ETH_HLEN;

	if (p->v4) {
		if ((void *)(ip + 1) > end)
			return -1;
		ip->ttl--;
		ip->check = csum_apply(ip->check, 0xfffe);
		return 0;
	}
	if ((void *)(ip6 + 1) > end)
		return -1;
	ip6->hop_limit--;
	if (has_packet_sum(skb))
		bpf_csum_update(skb, HOP_LESS_V6);
	return 0;
}

/* Makes room for an outer header behind the Ethernet header, and writes both. Super-packets keep their segment size. */
static __always_inline long push(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
				 bool outer_v4, __u8 class)
{
	__u32 size = outer_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	__u64 flags = outer_v4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
	void *data, *end;

	if (bpf_skb_adjust_room(skb, size, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | flags))
		return -1;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + ETH_HLEN + sizeof(struct ipv6hdr) > end)
		return -1;
	fill_ethernet(data, entry, bpf_htons(outer_v4 ? ETH_P_IP : ETH_P_IPV6));
	if (outer_v4)
		fill_outer_v4(data + ETH_HLEN, p, entry, class);
	else
		fill_outer_v6(data + ETH_HLEN, p, entry, class);
	return 0;
}

static __always_inline int dsr_tunnel(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
				      __u8 way, bool egress)
{
	bool outer_v4 = ip_is_v4(&entry->ndaddr);
	__u8 class = traffic_class(skb, p->v4);

	/* The endpoint is this machine: what is in the packet already is for it. */
	if (way == CT_WAY_LOCAL)
		return VERDICT_NEXT;
	if (ip_is_zero(&entry->nsaddr) || ip_is_v4(&entry->nsaddr) != outer_v4 || p->ttl <= 1)
		return drop_packet(skb, p, entry, DROP_TUNNEL);
	if (take_hop(skb, p) || push(skb, p, entry, outer_v4, class))
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
