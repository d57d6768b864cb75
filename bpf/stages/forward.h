/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/csum.h"
#include "../include/event.h"
#include "../include/parse.h"
#include "../include/verdict.h"
#include "../maps/dataplane.h"
#include "../maps/lb.h"
#include "reply.h"
#include "tunnel_mtu.h"

/* The last stage: find the way out of a flow, translate the packet, send it. */

static __always_inline void fib_fill(struct bpf_fib_lookup *fib, const struct ip_addr *saddr,
				     const struct ip_addr *daddr, __u8 proto, __be16 sport, __be16 dport)
{
	if (ip_is_v4(daddr)) {
		fib->family = AF_INET;
		fib->ipv4_src = saddr->w[3];
		fib->ipv4_dst = daddr->w[3];
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, saddr, sizeof(fib->ipv6_src));
		__builtin_memcpy(fib->ipv6_dst, daddr, sizeof(fib->ipv6_dst));
	}
	fib->l4_protocol = proto;
	fib->sport = sport;
	fib->dport = dport;
	/* Any length but zero asks for the route's MTU, not only the device's; the packet is checked against it later. */
	fib->tot_len = 1;
}

static __always_inline __u32 intf_flags(__u32 ifindex)
{
	struct intf_key key = { .ifindex = ifindex };
	struct intf_value *value = bpf_map_lookup_elem(&intf_map, &key);

	return value ? value->flags : 0;
}

/* The route's next hop is the destination itself: the kernel writes a router's address over it. */
static __always_inline bool is_on_link(const struct bpf_fib_lookup *fib, const struct ip_addr *daddr)
{
	if (ip_is_v4(daddr))
		return fib->family == AF_INET && fib->ipv4_dst == daddr->w[3];
	return fib->ipv6_dst[0] == daddr->w[0] && fib->ipv6_dst[1] == daddr->w[1] && fib->ipv6_dst[2] == daddr->w[2] &&
	       fib->ipv6_dst[3] == daddr->w[3];
}

#define TUNNEL_OVERHEAD_V4 sizeof(struct iphdr)
#define TUNNEL_OVERHEAD_V6 sizeof(struct ipv6hdr)
/* What a packet gains when it becomes IPv6, and loses when it becomes IPv4. */
#define FAMILY_OVERHEAD (sizeof(struct ipv6hdr) - sizeof(struct iphdr))

/* The MTU as packets count that have not been made longer or shorter yet. */
static __always_inline __u32 mtu_before(__u32 mtu, const struct ct_entry *entry)
{
	bool to_v4 = ip_is_v4(&entry->ndaddr);
	__u32 overhead = 0;

	if (likely(!entry->special))
		return mtu;
	if (entry->special & CT_SPECIAL_FAMILY)
		return to_v4 ? mtu + FAMILY_OVERHEAD : mtu - FAMILY_OVERHEAD;
	if (entry->special & CT_SPECIAL_TUNNEL)
		overhead = to_v4 ? TUNNEL_OVERHEAD_V4 : TUNNEL_OVERHEAD_V6;
	return mtu > overhead ? mtu - overhead : mtu;
}

/*
 * Packets leave with an address of this machine as their source, which the kernel's IPv4 takes from no device but lo
 * (RFC 1812 5.3.7; the daemon lets it there).
 */
static __always_inline bool has_own_source(const struct ct_entry *entry)
{
	return ip_is_v4(&entry->ndaddr) && !(entry->special & CT_SPECIAL_DSR) &&
	       (entry->nat != CT_NAT_DNAT || entry->flags & (CT_REPLY | CT_FROM_LOCAL));
}

/* The address of lo: with any other the packet would be for another host. */
static __always_inline void clear_macs(struct ct_entry *entry)
{
	__builtin_memset(entry->dmac, 0, ETH_ALEN);
	__builtin_memset(entry->smac, 0, ETH_ALEN);
}

/* Leaves a translated packet to the kernel's own routing. */
__noinline int hand_to_stack(struct __sk_buff *skb, const struct ct_entry *entry)
{
	__u8 macs[2 * ETH_ALEN] = {};

	if (!entry || !has_own_source(entry))
		return VERDICT_NEXT;
	bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0);
	return bpf_redirect(LOOPBACK_IFINDEX, BPF_F_INGRESS);
}

/* Looks the way out of `entry` up and remembers it. */
__noinline int resolve(struct __sk_buff *skb, struct ct_entry *entry, __u32 proto, __u32 generation)
{
	struct bpf_fib_lookup fib = { .ifindex = skb->ifindex };
	__u32 mtu = 0;
	long rc;

	if (!entry)
		return -1;
	count(EVENT_RESOLVED);
	fib_fill(&fib, &entry->nsaddr, &entry->ndaddr, proto, entry->nsport, entry->ndport);
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (entry->special & CT_SPECIAL_DSR && !(entry->special & CT_SPECIAL_FORCED)) {
		bool neighbour = rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH;

		neighbour = neighbour || is_on_link(&fib, &entry->ndaddr);
		entry->special = neighbour ? CT_SPECIAL_DSR : CT_SPECIAL_DSR | CT_SPECIAL_TUNNEL;
	}
	if (rc == BPF_FIB_LKUP_RET_SUCCESS)
		mtu = fib.mtu_result;
	/* Then the kernel does not tell what fits, but a device drops what does not. */
	else if (rc == BPF_FIB_LKUP_RET_NO_NEIGH)
		bpf_check_mtu(skb, fib.ifindex, &mtu, 0, 0);
	if (unlikely(entry->special & CT_SPECIAL_TUNNEL))
		mtu = tunnel_mtu(&entry->ndaddr, mtu);
	if (mtu)
		mtu = mtu_before(mtu, entry);
	entry->mtu = !mtu || mtu > 0xffff ? 0xffff : mtu;
	entry->oif = fib.ifindex;
	entry->resolved = now_ticks() >> RESOLVE_SHIFT;
	entry->generation = generation;
	switch (rc) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		__builtin_memcpy(entry->dmac, fib.dmac, ETH_ALEN);
		__builtin_memcpy(entry->smac, fib.smac, ETH_ALEN);
		entry->way = intf_flags(fib.ifindex) & INTF_PEER ? CT_WAY_PEER : CT_WAY_REDIRECT;
		return 0;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		/* The kernel resolves it with this packet; ask again with the next. */
		entry->way = CT_WAY_NEIGH;
		entry->generation = generation - 1;
		return 0;
	case BPF_FIB_LKUP_RET_NOT_FWDED:
		/*
		 * For this machine, or without a route: the kernel says the same of both. What the stack cannot route it drops,
		 * but a packet to the service's own address it would answer.
		 */
		if (entry->special & CT_SPECIAL_DSR && !ip_equal(&entry->nsaddr, &entry->ndaddr)) {
			entry->generation = generation - 1;
			return -1;
		}
		entry->way = entry->flags & CT_FROM_LOCAL && entry->flags & CT_REPLY ? CT_WAY_LOOPBACK : CT_WAY_LOCAL;
		clear_macs(entry);
		return 0;
	case BPF_FIB_LKUP_RET_BLACKHOLE:
	case BPF_FIB_LKUP_RET_UNREACHABLE:
	case BPF_FIB_LKUP_RET_PROHIBIT:
		entry->generation = generation - 1;
		return -1;
	default:
		entry->way = has_own_source(entry) ? CT_WAY_LOOPBACK : CT_WAY_STACK;
		clear_macs(entry);
		return 0;
	}
}

/* Both addresses lie together in the frame and in the entry: three words, not twelve bytes. */
static __always_inline void write_macs(struct ethhdr *eth, const struct ct_entry *entry)
{
	const __u32 *from = (const __u32 *)entry->dmac;
	__u32 *to = (__u32 *)eth;

	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
}

/* Writes the translated addresses. `routed` packets lose one hop. */
static __always_inline int write_addresses(void *data, void *end, const struct pkt *p, const struct ct_entry *entry,
					   bool routed)
{
	if (p->v4) {
		struct iphdr *ip = data + ETH_HLEN;
		__u32 delta = entry->addr_delta;

		if ((void *)(ip + 1) > end)
			return -1;
		ip->saddr = entry->nsaddr.w[3];
		ip->daddr = entry->ndaddr.w[3];
		if (routed) {
			/* One less in the low byte of the little endian word is 0xfffe more in one's complement. */
			ip->ttl--;
			delta += 0xfffe;
		}
		ip->check = csum_apply(ip->check, delta);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return -1;
		__builtin_memcpy(&ip->saddr, &entry->nsaddr, sizeof(ip->saddr));
		__builtin_memcpy(&ip->daddr, &entry->ndaddr, sizeof(ip->daddr));
		if (routed)
			ip->hop_limit--;
	}
	return 0;
}

/* One less in the high byte of the little endian word of next header and hop limit, in one's complement. */
#define HOP_LESS_V6 0xfeff

#define CHECK_OFF_TCP 16
#define CHECK_OFF_UDP 6
#define CHECK_OFF_ICMP 2

/* Writes the translated ports or identifier. Returns the offset of the checksum in the L4 header. */
static __always_inline __u32 write_ports(void *l4, const struct pkt *p, const struct ct_entry *entry)
{
	if (p->key.proto != IPPROTO_TCP && p->key.proto != IPPROTO_UDP) {
		*(__be16 *)(l4 + 4) = entry->nsport;
		return CHECK_OFF_ICMP;
	}
	*(__be16 *)l4 = entry->nsport;
	*(__be16 *)(l4 + 2) = entry->ndport;
	return p->key.proto == IPPROTO_TCP ? CHECK_OFF_TCP : CHECK_OFF_UDP;
}

/* The part of the address change the L4 checksum contains: ICMPv4 has no pseudo header. */
static __always_inline __u16 pseudo_delta(const struct pkt *p, const struct ct_entry *entry, __u32 check_off)
{
	return check_off == CHECK_OFF_ICMP && p->v4 ? 0 : entry->addr_delta;
}

/* A checksum with the change of addresses and ports in it. */
static __always_inline void write_check(__sum16 *check, __u32 state, __u32 check_off, __u16 addresses, __u16 ports)
{
	bool udp = check_off == CHECK_OFF_UDP;

	/* A UDP checksum of zero says that there is none. */
	if (udp && !*check && state != CHECKSUM_PARTIAL)
		return;
	*check = csum_translate(*check, state, addresses, ports);
	if (udp && !*check)
		*check = 0xffff;
}

/*
 * Writes the translated addresses, ports and MAC addresses. `routed` packets lose one hop. A fragment that is not the
 * first has no ports, and no checksum but IPv4's.
 */
static __always_inline int rewrite(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
				   bool routed, bool macs)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u32 check_off, l4_off = p->l4_off;
	__u16 addresses, ports;
	__u64 flags = 0;
	void *l4;

	/* Read once: a second time the verifier does not know that it is the same. */
	barrier_var(l4_off);
	if (l4_off > PARSE_PULL + ETH_HLEN || write_addresses(data, end, p, entry, routed))
		return -1;
	l4 = data + l4_off;
	if (macs)
		write_macs(data, entry);
	if (unlikely(p->fragment == FRAGMENT_LATER))
		return 0;
	if (l4 + 8 > end)
		return -1;
	check_off = write_ports(l4, p, entry);
	addresses = pseudo_delta(p, entry, check_off);
	ports = entry->port_delta;
	if (cfg_kern_ctx) {
		__u32 state = checksum_state(skb);
		__sum16 *check = l4 + check_off;

		if ((void *)(check + 1) > end)
			return -1;
		write_check(check, state, check_off, addresses, ports);
		/* The sum over the whole packet: what IPv4's header makes up for in itself is not made up for in L4. */
		if (unlikely(state == CHECKSUM_COMPLETE) && (p->v4 || routed))
			bpf_csum_update(skb, p->v4 ? csum_negate(addresses) : HOP_LESS_V6);
		return 0;
	}
	if (check_off == CHECK_OFF_UDP)
		flags = BPF_F_MARK_MANGLED_0;
	/* Last, because the helpers invalidate the pointers above. */
	if (!p->v4 && routed)
		bpf_csum_update(skb, HOP_LESS_V6);
	if (addresses && csum_replace_addresses(skb, l4_off + check_off, addresses, flags, p->v4))
		return -1;
	if (ports && bpf_l4_csum_replace(skb, l4_off + check_off, 0, ports, flags))
		return -1;
	return 0;
}

static __always_inline void count_endpoint(__u32 endpoint_id, __u32 bytes)
{
	struct lb_endpoint_stats *stats = bpf_map_lookup_elem(&lb_ep_stats, &endpoint_id);

	if (stats) {
		stats->packets++;
		stats->bytes += bytes;
	}
}

static __always_inline void count_flow_packet(const struct pkt *p, struct ct_entry *entry, __u32 now)
{
	entry->packets++;
	entry->bytes += p->l3_len;
	entry->seen = now;
	count_endpoint(entry->endpoint_id, p->l3_len);
}

/* Segments of a super-packet that differ in size, as the kernel says it. */
#define GSO_BY_FRAGS 0xffff

/* A packet larger than the path takes; super-packets count by their segments. */
static __always_inline bool too_big(const struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	__u32 gso_size;

	if (likely(p->l3_len <= entry->mtu))
		return false;
	gso_size = skb->gso_size;
	/* SCTP's super-packets are made of packets that fit their path. */
	if (gso_size == GSO_BY_FRAGS)
		return false;
	return !gso_size || gso_size + p->l4_off - ETH_HLEN + p->l4_hlen > entry->mtu;
}

static __always_inline bool way_writes_macs(__u8 way)
{
	return way == CT_WAY_REDIRECT || way == CT_WAY_PEER || way == CT_WAY_LOOPBACK;
}

/* Hands a packet that is as it shall leave to its way out. */
static __always_inline int leave(const struct ct_entry *entry, __u8 way, const bool egress)
{
	switch (way) {
	case CT_WAY_PEER:
		/* Only a packet on its way in can change the namespace. */
		return egress ? bpf_redirect(entry->oif, 0) : bpf_redirect_peer(entry->oif, 0);
	case CT_WAY_REDIRECT:
		return bpf_redirect(entry->oif, 0);
	case CT_WAY_NEIGH:
		return bpf_redirect_neigh(entry->oif, NULL, 0, 0);
	case CT_WAY_LOOPBACK:
		return bpf_redirect(LOOPBACK_IFINDEX, BPF_F_INGRESS);
	default:
		return VERDICT_NEXT;
	}
}

static __always_inline int drop_packet(const struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
				       __u32 reason)
{
	report(p, reason, entry->service_id, entry->endpoint_id, skb->ifindex);
	return VERDICT_DROP;
}

#include "special.h"

/*
 * Sends a packet of an existing flow. On the egress hook the kernel has already routed the packet, so a way that
 * leaves through the same interface is simply gone on with.
 */
static __always_inline int forward(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry,
				   const bool egress)
{
	__u32 zero = 0, now = now_ticks();
	struct dp_control *control = bpf_map_lookup_elem(&dp_control, &zero);
	bool routed;
	__u8 way;

	if (!control)
		return VERDICT_NEXT;
	if (egress && ip_equal(&entry->ndaddr, &p->key.daddr) && !entry->special) {
		/* An answer of a local endpoint: same destination, the kernel's route stands. */
		count_flow_packet(p, entry, now);
		return rewrite(skb, p, entry, false, false) ? VERDICT_DROP : VERDICT_NEXT;
	}
	if (unlikely(entry->generation != (__u16)control->generation ||
		     (__u16)((now >> RESOLVE_SHIFT) - entry->resolved) > cfg_resolve_age)) {
		bool aged = entry->generation == (__u16)control->generation && entry->way == CT_WAY_REDIRECT;

		if (resolve(skb, entry, p->key.proto, control->generation))
			return drop_packet(skb, p, entry, DROP_UNREACHABLE);
		way = entry->way;
		/* Let the kernel send one packet itself now and then: that keeps the neighbour entry confirmed. */
		if (aged && way == CT_WAY_REDIRECT && !egress)
			way = CT_WAY_NEIGH;
	} else {
		way = entry->way;
	}
	routed = way <= CT_WAY_NEIGH;
	step(STEP_WAY, way, entry->oif, entry->mtu);
	if (routed) {
		if (unlikely(p->ttl <= 1) && entry->special != CT_SPECIAL_DSR) {
			step(STEP_TTL_SPENT, p->ttl, 0, 0);
			drop_packet(skb, p, entry, DROP_TTL_EXCEEDED);
			return reply_icmp_error(skb, p, REPLY_TIME_EXCEEDED, 0);
		}
		if (unlikely(too_big(skb, p, entry)))
			goto big;
	}
	count_flow_packet(p, entry, now);
	if (unlikely(entry->special))
		return forward_special(skb, p, entry, way, egress);
	if (unlikely(rewrite(skb, p, entry, routed, way_writes_macs(way))))
		goto bad;
	return leave(entry, way, egress);

big:
	step(STEP_TOO_BIG, p->l3_len, entry->mtu, 0);
	if (p->df || entry->special) {
		drop_packet(skb, p, entry, DROP_TOO_BIG);
		return reply_icmp_error(skb, p, REPLY_TOO_BIG, entry->mtu);
	}
	/* The kernel fragments what may be fragmented. */
	count_flow_packet(p, entry, now);
	if (!rewrite(skb, p, entry, false, false))
		return hand_to_stack(skb, entry);
bad:
	return drop_packet(skb, p, entry, DROP_REWRITE);
}
