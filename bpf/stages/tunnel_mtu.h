/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/parse.h"
#include "../maps/dataplane.h"
#include "../maps/lb.h"

/*
 * Path MTU of tunnels (RFC 2003 5.1, RFC 2473 7.2): a router behind this machine that cannot pass an outer packet on tells
 * this machine. What it says is remembered, and the client is told when it sends the next packet that is too large.
 */

/* After that the path may have become better (RFC 1191 6.3). */
#define TUNNEL_MTU_TICKS (600 * TICKS_PER_SECOND)
/* Less than any link has, but for forged messages (RFC 791 3.2, RFC 8200 5). */
#define TUNNEL_MTU_MIN_V4 576
#define TUNNEL_MTU_MIN_V6 1280

static __always_inline bool is_tunnel(__u8 proto)
{
	return proto == IPPROTO_IPIP || proto == IPPROTO_IPV6;
}

/* The packet is an ICMP error about a packet of a tunnel to `endpoint`. */
__noinline int learn_tunnel_mtu(struct __sk_buff *skb, const struct pkt *p, const struct ip_addr *endpoint)
{
	struct lb_tunnel_mtu learned = { .seen = now_ticks() };
	struct lb_tunnel_mtu *known;
	struct dp_control *control;
	__u32 least, zero = 0;
	struct ip_addr to;
	__u8 icmp[8];
	bool smaller;

	if (!p || !endpoint || bpf_skb_load_bytes(skb, p->l4_off, icmp, sizeof(icmp)))
		return 0;
	if (p->v4 ? icmp[0] != ICMP_UNREACHABLE || icmp[1] != 4 : icmp[0] != ICMP6_TOO_BIG)
		return 0;
	to = *endpoint;
	if (!bpf_map_lookup_elem(&lb_address, &to))
		return 0;
	least = p->v4 ? TUNNEL_MTU_MIN_V4 : TUNNEL_MTU_MIN_V6;
	learned.mtu = (__u32)icmp[6] << 8 | icmp[7];
	if (learned.mtu < least)
		learned.mtu = least;
	known = bpf_map_lookup_elem(&lb_tunnel_mtu, &to);
	smaller = !known || learned.mtu < known->mtu;
	bpf_map_update_elem(&lb_tunnel_mtu, &to, &learned, BPF_ANY);
	/* Open flows look their way out up with the next packet, as after a change of routes. */
	control = bpf_map_lookup_elem(&dp_control, &zero);
	if (control && smaller)
		__sync_fetch_and_add(&control->generation, 1);
	return 0;
}

/* The MTU towards an endpoint, when a router has said that it is less. */
static __always_inline __u32 tunnel_mtu(const struct ip_addr *endpoint, __u32 mtu)
{
	struct ip_addr to = *endpoint;
	struct lb_tunnel_mtu *learned = bpf_map_lookup_elem(&lb_tunnel_mtu, &to);

	return learned && learned->mtu < mtu && now_ticks() - learned->seen <= TUNNEL_MTU_TICKS ? learned->mtu : mtu;
}
