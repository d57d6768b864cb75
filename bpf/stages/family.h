/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../maps/fragment.h"

/*
 * Clients and endpoints of different families: each packet becomes one of the other family, by RFC 7915. Addresses and
 * ports are those of the flow; headers that have no equal are left out.
 */

/*
 * An IPv4 packet of at most this length may be fragmented on its way, a longer one may not (RFC 7915 5.1): path MTU
 * discovery of an IPv6 host ends at 1280.
 */
#define FAMILY_FRAGMENTABLE 1260

/*
 * What the kernel sums at a time (MAX_BPF_STACK before 6.12), and how often for the longest packet there is. Without
 * bpf_loop the verifier walks every round: there it is enough for a jumbo frame.
 */
#define SUM_CHUNK 512
#define SUM_CHUNKS (0x10000 / SUM_CHUNK)
#define SUM_CHUNKS_UNROLLED 18

/* Headers are exchanged, super-packets keep their segment size, and a checksum that was verified stays so. */
#define FAMILY_ROOM (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET)
/* BPF_F_ADJ_ROOM_DECAP_L3_IPV4 and _IPV6 (6.3), which headers of older kernels do not have. */
#define FAMILY_ROOM_IS_V4 (1ULL << 7)
#define FAMILY_ROOM_IS_V6 (1ULL << 8)

#define MAX_OPTIONS 40
#define OPTION_END 0
#define OPTION_NOP 1
#define IP_OPTION_LSRR 131
#define IP_OPTION_SSRR 137
#define TCP_OPTION_MSS 2

struct summing {
	struct __sk_buff *skb;
	__u32 off;
	__u32 length;
	__u32 sum;
};

/* Adds a chunk. 1: nothing is left, or could not be read. */
static long sum_chunk(__u32 i, struct summing *s)
{
	__u32 zero = 0, last, size = s->length < SUM_CHUNK ? s->length : SUM_CHUNK;
	struct frag_held *scratch = bpf_map_lookup_elem(&frag_scratch, &zero);

	barrier_var(size);
	if (!scratch || !size || size > SUM_CHUNK)
		return 1;
	/* An odd length is filled up with zeros (RFC 1071). */
	last = (size - 1) & (SUM_CHUNK - 4);
	*(__u32 *)(scratch->frame + last) = 0;
	if (bpf_skb_load_bytes(s->skb, s->off, scratch->frame, size))
		return 1;
	s->sum = bpf_csum_diff(NULL, 0, (__be32 *)scratch->frame, last + 4, s->sum);
	s->off += size;
	s->length -= size;
	return 0;
}

/* One's complement sum of a part of the packet that begins at an even offset; -1 when it is too long or not there. */
__noinline int sum_bytes(struct __sk_buff *skb, __u32 off, __u32 length)
{
	struct summing s = { .skb = skb, .off = off, .length = length };
	__u32 i;

	if (cfg_bpf_loop) {
		bpf_loop(SUM_CHUNKS, sum_chunk, &s, 0);
	} else {
		for (i = 0; i < SUM_CHUNKS_UNROLLED; i++) {
			if (sum_chunk(i, &s))
				break;
		}
	}
	return s.length ? -1 : csum_fold(s.sum);
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

		barrier_var(size);
		if (!size || size > sizeof(nothing))
			break;
		if (bpf_skb_store_bytes(skb, off, nothing, size, BPF_F_RECOMPUTE_CSUM))
			return -1;
		off += size;
		length -= size;
	}
	return length ? -1 : 0;
}

/* Where in `length` bytes of IP or TCP options at `off` the one of this kind is, or -1. Both are written alike. */
__noinline int find_option(struct __sk_buff *skb, __u32 off, __u32 length, __u32 kind)
{
	__u8 options[MAX_OPTIONS] = {};
	__u32 skip = 0;
	int i;

	barrier_var(length);
	if (!length || length > sizeof(options) || bpf_skb_load_bytes(skb, off, options, length))
		return -1;
	/* Byte by byte: an index that depends on what was read costs the verifier a hundred thousand instructions. */
	for (i = 0; i < MAX_OPTIONS - 3; i++) {
		if (skip) {
			skip--;
			continue;
		}
		if (options[i] == OPTION_END)
			return -1;
		if (options[i] == OPTION_NOP)
			continue;
		if (options[i + 1] < 2)
			return -1;
		if (options[i] == kind)
			return i;
		skip = options[i + 1] - 1;
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
	__u32 off, mss, told;
	struct ct_entry *other;
	struct ct_key reverse;
	__be16 value;
	int at;

	if (!p || !entry)
		return 0;
	off = p->l4_off + sizeof(struct tcphdr);
	other = ct_lookup_reverse(&reverse, &p->key, entry);
	if (!other)
		return 0;
	/* As seen from here: its own first packet looks again. */
	if (!other->mtu)
		resolve(skb, other, p->key.proto, entry->generation - 1);
	if (other->mtu >= IPV6_MIN_MTU)
		return 0;
	mss = other->mtu - sizeof(struct ipv6hdr) - sizeof(struct tcphdr);
	at = find_option(skb, off, p->l4_hlen - sizeof(struct tcphdr), TCP_OPTION_MSS);
	if (at < 0 || bpf_skb_load_bytes(skb, off + at + 2, &value, sizeof(value)) || bpf_ntohs(value) <= mss)
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

/* No pseudo header, so addresses do not matter (RFC 7915 4.5). Ports do: with others the CRC is to be made anew. */
static __always_inline long family_sctp(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	return entry->nsport != p->key.sport || entry->ndport != p->key.dport;
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
		return family_sctp(skb, p, entry);
	default:
		return family_echo(skb, p, entry);
	}
}

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
	ip->check = ~csum_fold(bpf_csum_diff(NULL, 0, (__be32 *)ip, sizeof(*ip), 0));
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
	failed = p->v4 ? family_to_v6(skb, p, entry, hops) : family_to_v4(skb, p, entry, hops);
	way = family_way(skb, way, egress, !p->v4);
	if (failed || family_ethernet(skb, entry, way, !p->v4))
		return drop_packet(skb, p, entry,
				   p->fragment					  ? DROP_FAMILY_FRAGMENT
				   : skb->gso_size && p->key.proto != IPPROTO_TCP ? DROP_FAMILY_GSO
										  : DROP_FAMILY);
	count(EVENT_FAMILY);
	return leave(entry, way, egress);
}
