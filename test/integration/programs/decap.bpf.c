/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a server of an L3-DSR service needs: takes the outer IP header off packets that come in IP or IPv6, carried by
 * either. Stands for ipip, sit and ip6tnl devices, which not every kernel has. For tc ingress.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Linux 6.3; headers may be older. */
#define DECAP_L3_IPV4 (1ULL << 7)
#define DECAP_L3_IPV6 (1ULL << 8)

static __always_inline int strip(struct __sk_buff *skb, int size, __u8 inner)
{
	__be16 proto = bpf_htons(inner == IPPROTO_IPIP ? ETH_P_IP : ETH_P_IPV6);
	__u64 family = inner == IPPROTO_IPIP ? DECAP_L3_IPV4 : DECAP_L3_IPV6;

	if (inner != IPPROTO_IPIP && inner != IPPROTO_IPV6)
		return TC_ACT_OK;
	if (bpf_skb_adjust_room(skb, -size, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | family))
		return TC_ACT_SHOT;
	bpf_skb_store_bytes(skb, offsetof(struct ethhdr, h_proto), &proto, sizeof(proto), 0);
	return TC_ACT_OK;
}

SEC("classifier") int decap(struct __sk_buff *skb)
{
	struct ipv6hdr ip6;
	struct iphdr ip;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.ihl != 5 ||
		    ip.frag_off & bpf_htons(0x3fff))
			return TC_ACT_OK;
		return strip(skb, sizeof(ip), ip.protocol);
	}
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || bpf_skb_load_bytes(skb, ETH_HLEN, &ip6, sizeof(ip6)))
		return TC_ACT_OK;
	return strip(skb, sizeof(ip6), ip6.nexthdr);
}

char _license[] SEC("license") = "GPL";
