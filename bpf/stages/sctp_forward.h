/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "sctp_addresses.h"

/*
 * Translates SCTP packets. Their checksum covers the ports but no address, and is a CRC: it is changed by what changes,
 * so that one that is wrong stays wrong.
 */

/* Writes the ports. Negative: not possible; 1: the packet has a checksum. */
static __always_inline int sctp_write_ports(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u32 before, after, check, l4_off = p->l4_off;
	struct sctp_header *header;
	bool has_crc;

	if (l4_off > PARSE_PULL + ETH_HLEN)
		return -1;
	header = data + l4_off;
	if ((void *)(header + 1) > end)
		return -1;
	check = header->check;
	has_crc = sctp_has_crc(skb, check);
	before = *(csum_word *)header;
	after = (__u32)entry->ndport << 16 | entry->nsport;
	if (before == after)
		return has_crc;
	/* The rest of the packet, and with it how long it is, is in other fragments. */
	if (has_crc && p->fragment)
		return -1;
	*(csum_word *)header = after;
	if (has_crc)
		header->check = check ^ crc32c_advance(before ^ after, sctp_length(p));
	if (has_packet_sum(skb))
		bpf_csum_update(skb, csum_fold_words((__u64)after + (__u32)~before + header->check + (__u32)~check));
	return has_crc;
}

/* Writes addresses and MAC addresses; `routed` packets lose one hop. */
static __always_inline int sctp_write_addresses(struct __sk_buff *skb, const struct pkt *p,
						const struct ct_entry *entry, bool routed, bool macs)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (p->v4) {
		struct iphdr *ip = data + ETH_HLEN;
		__u32 delta = entry->addr_delta;

		if ((void *)(ip + 1) > end)
			return -1;
		ip->saddr = entry->nsaddr.w[3];
		ip->daddr = entry->ndaddr.w[3];
		if (routed) {
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
	if (macs)
		write_macs(data, entry);
	/* No checksum makes up for the addresses of IPv6; the helper knows whether it matters. */
	if (!p->v4 && has_packet_sum(skb))
		bpf_csum_update(skb, entry->addr_delta);
	return 0;
}

/* The addresses inside are those of a side that shall not be seen. */
static __always_inline bool sctp_hides_addresses(const struct pkt *p, const struct ct_entry *entry)
{
	if (p->icmp_type != SCTP_INIT && p->icmp_type != SCTP_INIT_ACK)
		return false;
	return entry->flags & CT_REPLY || entry->nat != CT_NAT_DNAT;
}

/*
 * All of the packet but IP and Ethernet addresses. Returns 0, or why it is dropped. Inline, for what is called below it is
 * as deep as the stack allows.
 */
static __always_inline int sctp_translate(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry)
{
	int has_crc, more;

	if (unlikely(p->fragment == FRAGMENT_LATER))
		return 0;
	has_crc = sctp_write_ports(skb, p, entry);
	if (has_crc < 0)
		return p->fragment ? DROP_FRAGMENT : DROP_REWRITE;
	if (!sctp_hides_addresses(p, entry))
		return 0;
	more = sctp_edit_addresses(skb, p, entry, has_crc);
	return more < 0 || p->l3_len + more > entry->mtu ? DROP_SCTP : 0;
}

__noinline int sctp_forward(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u32 way, __u32 egress)
{
	bool stays;
	int reason;

	if (!p || !entry)
		return VERDICT_DROP;
	/* An answer of a local endpoint: same destination, the kernel's route stands. */
	stays = egress && ip_equal(&entry->ndaddr, &p->key.daddr);
	reason = sctp_translate(skb, p, entry);
	if (reason)
		return drop_packet(skb, p, entry, reason);
	if (sctp_write_addresses(skb, p, entry, !stays && way <= CT_WAY_NEIGH, !stays && way_writes_macs(way)))
		return drop_packet(skb, p, entry, DROP_REWRITE);
	return stays ? VERDICT_NEXT : leave(entry, way, egress);
}
