/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "config.h"
#include "counters.h"
#include "../maps/conntrack.h"

/*
 * The only packet parser. Everything else works on struct pkt. Frames start with an Ethernet header; tagged frames are
 * the business of the VLAN device above and are not parsed.
 */

#define IP_MF 0x2000
#define IP_OFFSET 0x1fff
#define IP_DF 0x4000

/* Longest headers looked at: Ethernet, IPv6 with extension headers, TCP with options. */
#define PARSE_PULL 192
/* Extension headers walked before giving up (RFC 8200 orders at most seven). */
#define PARSE_MAX_EXTENSIONS 6

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Chunk types of SCTP (RFC 9260 3.2) the first chunk of a packet is looked at for. */
#define SCTP_INIT 1

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO_REQUEST 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP6_UNREACHABLE 1
#define ICMP6_TOO_BIG 2
#define ICMP6_TIME_EXCEEDED 3
#define ICMP6_PARAMETER_PROBLEM 4
#define ICMP6_ECHO_REQUEST 128
#define ICMP6_ECHO_REPLY 129

struct pkt {
	struct ct_key key;
	__u32 l3_len;  /* bytes from the IP header on, without Ethernet padding */
	__u32 tcp_seq; /* host byte order, as are ack and window; SCTP: verification tag */
	__u32 tcp_ack;
	__u32 frag_id; /* of a fragment */
	__u16 tcp_window;
	__u16 l4_off; /* from the start of the frame */
	__u16 l4_hlen;
	__u8 tcp_flags;
	__u8 icmp_type; /* SCTP: type of the first chunk */
	__u8 ttl;
	__u8 fragment; /* enum fragment_kind */
	bool v4;
	bool df;	 /* may not be fragmented on its way */
	bool opens_flow; /* a packet that may begin a flow */
};

enum fragment_kind {
	FRAGMENT_NONE,
	FRAGMENT_FIRST, /* has the L4 header */
	FRAGMENT_LATER, /* l4_off is where its payload begins; ports are not known */
};

enum parse_result {
	PARSE_FLOW,	  /* struct pkt is complete */
	PARSE_FRAGMENT,	  /* and `fragment` says which; a later one has no ports */
	PARSE_ICMP_ERROR, /* an ICMP error: addresses and l4_off are set */
	PARSE_NOT_OURS,
	PARSE_SHORT,	 /* headers beyond the linear part of the packet, or cut off */
	PARSE_TRUNCATED, /* not ours: headers do not fit the packet */
	PARSE_OPTIONS,	 /* not ours: more extension headers than are walked */
};

/* RFC 9260 3.1. The checksum is a CRC32c, least significant byte first. */
struct sctp_header {
	__be16 source;
	__be16 dest;
	__be32 tag;
	__le32 check;
};

static __always_inline void v4_to_ip(struct ip_addr *out, __be32 address)
{
	out->w[0] = 0;
	out->w[1] = 0;
	out->w[2] = V4_MAPPED;
	out->w[3] = address;
}

static __always_inline int parse_l4(struct pkt *p, void *data, void *end)
{
	void *l4 = data + p->l4_off;

	if (p->key.proto == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end)
			return PARSE_SHORT;
		p->key.sport = tcp->source;
		p->key.dport = tcp->dest;
		p->l4_hlen = tcp->doff * 4;
		if (p->l4_hlen < sizeof(*tcp) || p->l4_off - ETH_HLEN + p->l4_hlen > p->l3_len)
			goto truncated;
		p->tcp_flags = ((__u8 *)tcp)[13];
		p->tcp_seq = bpf_ntohl(tcp->seq);
		p->tcp_ack = bpf_ntohl(tcp->ack_seq);
		p->tcp_window = bpf_ntohs(tcp->window);
		p->opens_flow = (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
		return PARSE_FLOW;
	}
	if (p->key.proto == IPPROTO_UDP) {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end)
			return PARSE_SHORT;
		if (p->l4_off - ETH_HLEN + sizeof(*udp) > p->l3_len)
			goto truncated;
		p->key.sport = udp->source;
		p->key.dport = udp->dest;
		p->l4_hlen = sizeof(*udp);
		p->opens_flow = true;
		return PARSE_FLOW;
	}
	if (p->key.proto == IPPROTO_SCTP) {
		struct sctp_header *sctp = l4;

		/* With the header of the first chunk, without which there is no packet (RFC 9260 3). */
		if (l4 + sizeof(*sctp) + 4 > end)
			return PARSE_SHORT;
		if (p->l4_off - ETH_HLEN + sizeof(*sctp) + 4 > p->l3_len)
			goto truncated;
		p->key.sport = sctp->source;
		p->key.dport = sctp->dest;
		p->l4_hlen = sizeof(*sctp);
		p->tcp_seq = bpf_ntohl(sctp->tag);
		p->icmp_type = *(__u8 *)(sctp + 1);
		p->opens_flow = p->icmp_type == SCTP_INIT;
		return PARSE_FLOW;
	}
	if (p->key.proto == IPPROTO_ICMP || p->key.proto == IPPROTO_ICMPV6) {
		__u8 *icmp = l4;
		__u8 type;

		if (l4 + 8 > end)
			return PARSE_SHORT;
		if (p->l4_off - ETH_HLEN + 8 > p->l3_len)
			goto truncated;
		/* Each family has its own ICMP; the other's number is just an unknown protocol there. */
		if ((p->key.proto == IPPROTO_ICMP) != p->v4)
			return PARSE_NOT_OURS;
		type = icmp[0];
		p->icmp_type = type;
		p->l4_hlen = 8;
		if (p->v4 ? type == ICMP_ECHO_REQUEST || type == ICMP_ECHO_REPLY
			  : type == ICMP6_ECHO_REQUEST || type == ICMP6_ECHO_REPLY) {
			p->key.sport = *(__be16 *)(icmp + 4);
			p->key.dport = p->key.sport;
			p->opens_flow = type == ICMP_ECHO_REQUEST || type == ICMP6_ECHO_REQUEST;
			return PARSE_FLOW;
		}
		if (p->v4 ? type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM
			  : type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER_PROBLEM)
			return PARSE_ICMP_ERROR;
	}
	return PARSE_NOT_OURS;

truncated:
	return PARSE_TRUNCATED;
}

static __always_inline int parse_fragment(struct pkt *p, void *data, void *end, bool first)
{
	int result;

	if (!first) {
		p->fragment = FRAGMENT_LATER;
		return PARSE_FRAGMENT;
	}
	p->fragment = FRAGMENT_FIRST;
	result = parse_l4(p, data, end);
	return result == PARSE_FLOW ? PARSE_FRAGMENT : result;
}

static __always_inline int parse_ipv4(struct pkt *p, void *data, void *end, __u32 frame_len)
{
	struct iphdr *ip = data + ETH_HLEN;
	__u32 hlen;

	if ((void *)(ip + 1) > end)
		return PARSE_SHORT;
	hlen = ip->ihl * 4;
	p->l3_len = bpf_ntohs(ip->tot_len);
	/* Super-packets over 64 KiB have a length of zero (BIG TCP). */
	if (unlikely(!p->l3_len && frame_len > 0xffff))
		p->l3_len = frame_len - ETH_HLEN;
	if (ip->version != 4 || hlen < sizeof(*ip) || p->l3_len < hlen)
		goto truncated;
	v4_to_ip(&p->key.saddr, ip->saddr);
	v4_to_ip(&p->key.daddr, ip->daddr);
	p->key.proto = ip->protocol;
	p->ttl = ip->ttl;
	p->df = ip->frag_off & bpf_htons(IP_DF);
	p->v4 = true;
	p->l4_off = ETH_HLEN + hlen;
	if (unlikely(ip->frag_off & bpf_htons(IP_MF | IP_OFFSET))) {
		p->frag_id = ip->id;
		return parse_fragment(p, data, end, !(ip->frag_off & bpf_htons(IP_OFFSET)));
	}
	return parse_l4(p, data, end);

truncated:
	return PARSE_TRUNCATED;
}

/* RFC 8200 4.5. */
struct fragment_header {
	__u8 next;
	__u8 reserved;
	__be16 offset; /* in units of eight bytes in the upper 13 bits, more fragments in the lowest */
	__be32 id;
};

#define FRAGMENT6_OFFSET 0xfff8
#define FRAGMENT6_MORE 0x0001

static __always_inline bool is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_DSTOPTS || next == IPPROTO_ROUTING;
}

/* Walks extension headers from `off` on: the protocol behind them in the upper, its offset in the lower 16 bits, or -1. */
__noinline int skip_extensions(struct __sk_buff *skb, __u32 off, __u32 next)
{
	__u32 limit = off + PARSE_PULL;
	int i;

	for (i = 0; i < PARSE_MAX_EXTENSIONS; i++) {
		__u8 extension[4];

		if (!is_extension(next))
			return next << 16 | off;
		if (bpf_skb_load_bytes(skb, off, extension, sizeof(extension)))
			return -1;
		/* With segments left, checksum and service are about another destination (RFC 8200 8.1). */
		if (next == IPPROTO_ROUTING && extension[3])
			return -1;
		next = extension[0];
		off += (extension[1] + 1) * 8;
		if (off > limit)
			return -1;
	}
	return -1;
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct pkt *p, void *data, void *end, __u32 frame_len)
{
	struct ipv6hdr *ip = data + ETH_HLEN;
	__u32 off = ETH_HLEN + sizeof(*ip);
	__u8 next;

	if ((void *)(ip + 1) > end)
		return PARSE_SHORT;
	if (ip->version != 6)
		goto truncated;
	__builtin_memcpy(&p->key.saddr, &ip->saddr, sizeof(p->key.saddr));
	__builtin_memcpy(&p->key.daddr, &ip->daddr, sizeof(p->key.daddr));
	/* A mapped address never is on the wire; it would pass for IPv4 here (RFC 4942 2.2). */
	if (unlikely(ip_is_v4(&p->key.saddr) || ip_is_v4(&p->key.daddr)))
		return PARSE_NOT_OURS;
	p->l3_len = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (unlikely(!ip->payload_len && frame_len > 0xffff))
		p->l3_len = frame_len - ETH_HLEN;
	p->ttl = ip->hop_limit;
	p->df = true;
	p->v4 = false;
	next = ip->nexthdr;
	if (unlikely(is_extension(next))) {
		int found = skb ? skip_extensions(skb, off, next) : -1;

		if (found < 0) {
			return PARSE_OPTIONS;
		}
		next = found >> 16;
		off = found & 0xffff;
	}
	if (off > PARSE_PULL) {
		return PARSE_OPTIONS;
	}
	if (unlikely(next == IPPROTO_FRAGMENT)) {
		struct fragment_header *fragment = data + off;

		if ((void *)(fragment + 1) > end)
			return PARSE_SHORT;
		if (off - ETH_HLEN + sizeof(*fragment) > p->l3_len)
			goto truncated;
		p->key.proto = fragment->next;
		p->l4_off = off + sizeof(*fragment);
		p->frag_id = fragment->id;
		/* Nothing before it and nothing after it is a whole packet (RFC 6946). */
		if (fragment->offset & bpf_htons(FRAGMENT6_OFFSET | FRAGMENT6_MORE))
			return parse_fragment(p, data, end, !(fragment->offset & bpf_htons(FRAGMENT6_OFFSET)));
		return parse_l4(p, data, end);
	}
	p->key.proto = next;
	p->l4_off = off;
	return parse_l4(p, data, end);

truncated:
	return PARSE_TRUNCATED;
}

/* By the EtherType. `skb` NULL (XDP): extension headers are for others to walk. */
static __always_inline int parse_protocol(struct __sk_buff *skb, struct pkt *p, void *data, void *end, __u32 frame_len,
					  __be16 protocol)
{
	int result;

	if (protocol == bpf_htons(ETH_P_IP))
		result = parse_ipv4(p, data, end, frame_len);
	else if (cfg_ipv6 && protocol == bpf_htons(ETH_P_IPV6))
		result = parse_ipv6(skb, p, data, end, frame_len);
	else
		return PARSE_NOT_OURS;
	if (unlikely(result == PARSE_SHORT))
		return frame_len > (__u32)(end - data) ? PARSE_SHORT : PARSE_NOT_OURS;
	/* The header may not claim more than there is; padding after the end is fine. */
	return unlikely(p->l3_len + ETH_HLEN > frame_len) ? PARSE_NOT_OURS : result;
}

/*
 * `p` must be zeroed. Packets that are not parsed are not ours: the kernel gets them untouched. PARSE_SHORT: part of the
 * headers is not in reach yet.
 */
static __always_inline int parse_frame(struct __sk_buff *skb, struct pkt *p)
{
	/* The kernel's copy of the EtherType: the header's is packed, and would be read byte by byte. */
	return parse_protocol(skb, p, (void *)(long)skb->data, (void *)(long)skb->data_end, skb->len, skb->protocol);
}

/*
 * Drivers may leave headers in page fragments: brings them into reach and parses again. Not done beforehand: most
 * packets have their headers in reach and their payload in fragments, and pulling copies.
 */
__noinline int parse_pulled(struct __sk_buff *skb, struct pkt *p)
{
	int result;

	if (!p || bpf_skb_pull_data(skb, skb->len < PARSE_PULL ? skb->len : PARSE_PULL))
		return PARSE_NOT_OURS;
	result = parse_frame(skb, p);
	return result == PARSE_SHORT ? PARSE_TRUNCATED : result;
}

static __always_inline int parse(struct __sk_buff *skb, struct pkt *p)
{
	int result = parse_frame(skb, p);

	return unlikely(result == PARSE_SHORT) ? parse_pulled(skb, p) : result;
}
