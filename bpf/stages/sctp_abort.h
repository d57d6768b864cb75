/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/crc32c.h"
#include "../include/sctp.h"

/* Answers to SCTP packets that are nobody's (RFC 9260 8.4): the packet is cut to its headers and turned round. */

struct sctp_abort {
	struct sctp_header header;
	struct sctp_chunk chunk;
};

/*
 * Whether there is a checksum. None yet in packets of a kernel that leaves it to the device, and none at all where both
 * ends have agreed on that (RFC 9653): zero stays zero.
 */
static __always_inline bool sctp_has_crc(struct __sk_buff *skb, __le32 check)
{
	return check && !(cfg_kern_ctx && checksum_state(skb) == CHECKSUM_PARTIAL);
}

/* Turns the IP header round, with its new length. */
static __always_inline long sctp_turn_ip(struct __sk_buff *skb, const struct pkt *p, __u32 l4_size)
{
	__u32 length = p->l4_off - ETH_HLEN + l4_size;

	if (p->v4) {
		struct iphdr old, new;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &old, sizeof(old)))
			return -1;
		new = old;
		new.tot_len = bpf_htons(length);
		new.ttl = REPLY_TTL;
		new.saddr = old.daddr;
		new.daddr = old.saddr;
		new.check = csum_apply(old.check, csum_delta(&old, sizeof(old), &new, sizeof(new)));
		return bpf_skb_store_bytes(skb, ETH_HLEN, &new, sizeof(new), BPF_F_RECOMPUTE_CSUM);
	} else {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
			return -1;
		ip.payload_len = bpf_htons(length - sizeof(ip));
		ip.hop_limit = REPLY_TTL;
		__builtin_memcpy(&ip.saddr, &p->key.daddr, sizeof(ip.saddr));
		__builtin_memcpy(&ip.daddr, &p->key.saddr, sizeof(ip.daddr));
		return bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM);
	}
}

/* Refuses an association, or says that there is none. */
__noinline int reply_sctp_abort(struct __sk_buff *skb, const struct pkt *p)
{
	struct sctp_abort abort = {};
	struct sctp_header old;
	__u32 tag;

	/* ABORT is never answered, nor is what cannot be said to whom. */
	if (!p || p->fragment || p->icmp_type == SCTP_ABORT || p->icmp_type == SCTP_SHUTDOWN_COMPLETE ||
	    bpf_skb_load_bytes(skb, p->l4_off, &old, sizeof(old)))
		return VERDICT_DROP;
	tag = p->tcp_seq;
	abort.chunk.type = SCTP_ABORT;
	abort.chunk.flags = SCTP_FLAG_T;
	if (p->icmp_type == SCTP_INIT) {
		tag = sctp_initiate_tag(skb, p);
		abort.chunk.flags = 0;
	}
	if (!tag)
		return VERDICT_DROP;
	abort.chunk.length = bpf_htons(sizeof(abort.chunk));
	abort.header.source = old.dest;
	abort.header.dest = old.source;
	abort.header.tag = bpf_htonl(tag);
	if (sctp_has_crc(skb, old.check)) {
		struct crc32c_block block = {};

		__builtin_memcpy(&block, &abort, sizeof(abort));
		abort.header.check = ~(__u32)crc32c_words(&block, sizeof(abort) / 4, ~0U);
	}
	if (bpf_skb_change_tail(skb, p->l4_off + sizeof(abort), 0) ||
	    bpf_skb_store_bytes(skb, p->l4_off, &abort, sizeof(abort), BPF_F_RECOMPUTE_CSUM) ||
	    sctp_turn_ip(skb, p, sizeof(abort)))
		return VERDICT_DROP;
	return send_back(skb);
}
