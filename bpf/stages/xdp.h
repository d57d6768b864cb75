/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "conntrack.h"
#include "dsr.h"
#include "forward.h"

/*
 * The fast path in the driver, before the kernel has made a packet of the frame: open flows whose way out is known, by
 * the same entries as tc's. Everything else - first packets, handshakes, ends, errors, what needs the kernel's help - is
 * passed on, and tc_ingress does it.
 */

/* Leaves the frame to tc. */
static __always_inline int xdp_pass(enum dp_xdp_step why)
{
	step(STEP_XDP, why, 0, 0);
	return XDP_PASS;
}

static __always_inline struct dp_xdp_device *xdp_device(__u32 ifindex, __u16 flags)
{
	struct dp_xdp_device *device = bpf_map_lookup_elem(&dp_xdp_device, &ifindex);

	return device && device->flags & flags ? device : NULL;
}

static __always_inline bool is_for_device(const struct ethhdr *eth, const struct dp_xdp_device *device)
{
	const __u16 *to = (const __u16 *)eth->h_dest, *own = (const __u16 *)device->mac;

	return to[0] == own[0] && to[1] == own[1] && to[2] == own[2];
}

/* The state machine has nothing to do with this packet. */
static __always_inline bool changes_nothing(const struct pkt *p, const struct ct_entry *entry)
{
	if (p->key.proto == IPPROTO_TCP)
		return entry->state == CT_TCP_EST && !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST));
	if (p->key.proto == IPPROTO_UDP)
		return entry->state == CT_UDP_EST;
	return p->key.proto != IPPROTO_SCTP && entry->state == CT_ICMP_BIDIR && !echo_is_foreign(p->opens_flow, entry);
}

/* The way out is known, and one a frame can take. */
static __always_inline bool xdp_can_leave(const struct pkt *p, const struct ct_entry *entry, __u32 now)
{
	__u32 zero = 0;
	struct dp_control *control = bpf_map_lookup_elem(&dp_control, &zero);

	return control && entry->generation == (__u16)control->generation &&
	       (__u16)((now >> RESOLVE_SHIFT) - entry->resolved) <= cfg_resolve_age &&
	       (entry->way == CT_WAY_REDIRECT || entry->way == CT_WAY_PEER) && p->l3_len <= entry->mtu && p->ttl > 1;
}

static __always_inline int xdp_translate(struct xdp_md *ctx, const struct pkt *p, const struct ct_entry *entry)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u32 check_off, l4_off = p->l4_off;
	__sum16 *check;
	void *l4;

	barrier_var(l4_off);
	if (l4_off > PARSE_PULL + ETH_HLEN)
		return -1;
	l4 = data + l4_off;
	if (write_addresses(data, end, p, entry, true) || l4 + 8 > end)
		return -1;
	write_macs(data, entry);
	check_off = write_ports(l4, p, entry);
	check = l4 + check_off;
	if ((void *)(check + 1) > end)
		return -1;
	write_check(check, 0, check_off, pseudo_delta(p, entry, check_off), entry->port_delta);
	return 0;
}

static __always_inline int xdp_neighbour(struct xdp_md *ctx, const struct ct_entry *entry)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	if (data + ETH_HLEN > end)
		return -1;
	write_macs(data, entry);
	return 0;
}

/* Ethernet and outer IP header, in the place in front of the inner packet. */
static __always_inline int xdp_tunnel(struct xdp_md *ctx, const struct pkt *p, const struct ct_entry *entry)
{
	bool outer_v4 = ip_is_v4(&entry->ndaddr);
	__u32 size = outer_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u8 *inner = data + ETH_HLEN;
	struct ethhdr *eth;
	__u8 class;

	/* The frame may be no longer than a small IPv4 packet. */
	if (ip_is_zero(&entry->nsaddr) || (void *)inner + sizeof(struct iphdr) > end)
		return -1;
	if (p->v4) {
		struct iphdr *ip = data + ETH_HLEN;

		class = ip->tos;
		ip->ttl--;
		ip->check = csum_apply(ip->check, 0xfffe);
	} else {
		class = inner[0] << 4 | inner[1] >> 4;
		inner[7]--;
	}
	if (bpf_xdp_adjust_head(ctx, -(int)size))
		return -1;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	if ((void *)(eth + 1) > end)
		return -1;
	write_macs(eth, entry);
	if (outer_v4) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return -1;
		eth->h_proto = bpf_htons(ETH_P_IP);
		fill_outer_v4(ip, p, entry, class);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return -1;
		eth->h_proto = bpf_htons(ETH_P_IPV6);
		fill_outer_v6(ip, p, entry, class);
	}
	return 0;
}

/* Sends a packet of an open flow, or passes it on. */
static __always_inline int xdp_forward(struct xdp_md *ctx, const struct pkt *p, struct ct_entry *entry)
{
	__u32 now = now_ticks();
	int err;

	step_with(STEP_FLOW_FOUND, entry->state, entry->flags, entry->service_id, &entry->ndaddr);
	if (!changes_nothing(p, entry))
		return xdp_pass(XDP_STEP_STATE);
	if (!xdp_can_leave(p, entry, now))
		return xdp_pass(XDP_STEP_WAY);
	if (unlikely(entry->special & ~(CT_SPECIAL_DSR | CT_SPECIAL_TUNNEL | CT_SPECIAL_FORCED)))
		return xdp_pass(XDP_STEP_SPECIAL);
	if (entry->oif != ctx->ingress_ifindex && !xdp_device(entry->oif, DP_XDP_OUT))
		return xdp_pass(XDP_STEP_OUT);
	step(STEP_WAY, entry->way, entry->oif, entry->mtu);
	if (p->key.proto == IPPROTO_TCP)
		ct_tcp_track(p, entry);
	count_flow_packet(p, entry, now);
	if (likely(!entry->special))
		err = xdp_translate(ctx, p, entry);
	else if (entry->special & CT_SPECIAL_TUNNEL)
		err = xdp_tunnel(ctx, p, entry);
	else
		err = xdp_neighbour(ctx, entry);
	if (unlikely(err)) {
		step(STEP_XDP, XDP_STEP_REWRITE, 0, 0);
		report(p, DROP_REWRITE, entry->service_id, entry->endpoint_id, ctx->ingress_ifindex);
		return XDP_DROP;
	}
	if (entry->special & CT_SPECIAL_TUNNEL)
		count(EVENT_TUNNELLED);
	step(STEP_XDP, XDP_STEP_SENT, 0, 0);
	return entry->oif == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(entry->oif, 0);
}
