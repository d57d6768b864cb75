/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/csum.h"
#include "../include/parse.h"
#include "reply.h"
#include "reset.h"

/* What is done to the packets of a flow with a PROXY protocol header. */

struct ppv2_header {
	__be32 signature[3];
	__u8 command;
	__u8 family;
	__be16 length; /* of what follows */
	__be32 rest[9];
};

_Static_assert(sizeof(struct ppv2_header) == PPV2_LENGTH_V6, "the longer one");

#define PPV2_PROXY 0x21
#define PPV2_TCP4 0x11
#define PPV2_TCP6 0x21
#define PPV2_PREFIX 16

#define TCP_PSH 0x08
#define TCP_OPTION_SACK 5
#define TCP_OPTION_TIMESTAMPS 8
/* Two NOPs, kind and length of the timestamps that follow: RFC 7323 appendix A. */
#define TCP_TIMESTAMPS_PREFIX bpf_htonl(0x0101080a)
#define TCP_NOPS bpf_htonl(0x01010101)
#define SACK_MAX_BLOCKS 4

static __always_inline __u32 ppv2_size(const struct ct_entry *answers)
{
	return ip_is_v4(&answers->ndaddr) ? PPV2_LENGTH_V4 : PPV2_LENGTH_V6;
}

/* `client` and `service` as the client's packets have them. */
static __always_inline void ppv2_fill(struct ppv2_header *header, const struct ip_addr *client,
				      const struct ip_addr *service, __be16 sport, __be16 dport)
{
	__u32 ports = (__u32)dport << 16 | sport;

	header->signature[0] = bpf_htonl(0x0d0a0d0a);
	header->signature[1] = bpf_htonl(0x000d0a51);
	header->signature[2] = bpf_htonl(0x5549540a);
	header->command = PPV2_PROXY;
	if (ip_is_v4(client)) {
		header->family = PPV2_TCP4;
		header->length = bpf_htons(PPV2_LENGTH_V4 - PPV2_PREFIX);
		header->rest[0] = client->w[3];
		header->rest[1] = service->w[3];
		header->rest[2] = ports;
		return;
	}
	header->family = PPV2_TCP6;
	header->length = bpf_htons(PPV2_LENGTH_V6 - PPV2_PREFIX);
	__builtin_memcpy(header->rest, client, sizeof(*client));
	__builtin_memcpy(header->rest + 4, service, sizeof(*service));
	header->rest[8] = ports;
}

/* Writes the length the IP packet has now. */
static __always_inline long write_length(struct __sk_buff *skb, const struct pkt *p, __u32 l3_len)
{
	__be16 length = bpf_htons(p->v4 ? l3_len : l3_len - sizeof(struct ipv6hdr));

	if (!p->v4)
		return bpf_skb_store_bytes(skb, ETH_HLEN + 4, &length, sizeof(length), 0);
	return bpf_l3_csum_replace(skb, ETH_HLEN + 10, bpf_htons(p->l3_len), length, 2) ||
	       bpf_skb_store_bytes(skb, ETH_HLEN + 2, &length, sizeof(length), 0);
}

/* Replaces 32 bits of the TCP header. */
static __always_inline int replace_word(struct __sk_buff *skb, const struct pkt *p, __u32 at, __u32 value)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u32 l4_off = p->l4_off, delta;
	__be32 from, to = bpf_htonl(value);
	struct tcphdr *tcp;

	if (l4_off > PARSE_PULL + ETH_HLEN)
		return -1;
	tcp = data + bounded(l4_off, 0, PARSE_PULL + ETH_HLEN);
	if ((void *)(tcp + 1) > end)
		return -1;
	from = *(__be32 *)((void *)tcp + at);
	*(__be32 *)((void *)tcp + at) = to;
	if (!cfg_kern_ctx)
		return bpf_l4_csum_replace(skb, l4_off + 16, from, to, 4);
	if (checksum_state(skb) != CHECKSUM_PARTIAL) {
		delta = (__u16)~from + (__u16)(~from >> 16) + (__u16)to + (to >> 16);
		tcp->check = csum_apply(tcp->check, csum_fold(delta));
	}
	return 0;
}

/* Where the next option of this kind is: offset in the upper, length in the lower 8 bits. 0: there is none. */
__noinline int find_tcp_option(struct __sk_buff *skb, __u32 from, __u32 end, __u32 kind)
{
	__u8 option[2];
	int i;

	for (i = 0; i < TCP_MAX_OPTIONS; i++) {
		if (from + sizeof(option) > end || bpf_skb_load_bytes(skb, from, option, sizeof(option)) ||
		    option[0] == TCP_OPTION_END)
			return 0;
		if (option[0] == TCP_OPTION_NOP) {
			from++;
			continue;
		}
		if (option[1] < 2 || from + option[1] > end)
			return 0;
		if (option[0] == kind)
			return from << 8 | option[1];
		from += option[1];
	}
	return 0;
}

/* A block's edge as the client counts. `ack` is what the segment acknowledges. */
static __always_inline __be32 shift_edge(__be32 edge, __u32 size, __u32 ack, bool left)
{
	__u32 number = bpf_ntohl(edge) - size;

	/* Nothing but the header is missing, which no TCP would say so: some read only blocks that leave something out. */
	return bpf_htonl(left && number == ack ? number + 1 : number);
}

/* Moves the blocks of one SACK option (RFC 2018) back by `size`. They may begin at any byte. */
static __always_inline long shift_blocks(struct __sk_buff *skb, __u32 l4_off, __u32 at, __u32 size, __u32 ack)
{
	__be32 old[2 * SACK_MAX_BLOCKS] = {}, new[2 * SACK_MAX_BLOCKS] = {};
	__u32 i, off = at >> 8, length = at & 0xff;
	__u16 delta;

	if (!length || length > sizeof(old))
		return -1;
	if (bpf_skb_load_bytes(skb, off, old, bounded(length, 1, sizeof(old))))
		return -1;
	for (i = 0; i < 2 * SACK_MAX_BLOCKS; i++)
		if (i < length / 4)
			new[i] = shift_edge(old[i], size, ack, !(i & 1));
	delta = csum_delta(old, sizeof(old), new, sizeof(new));
	/* At an odd place the bytes are in the other halves of the sum's words (RFC 1071 2B). */
	if ((off - l4_off) & 1)
		delta = delta << 8 | delta >> 8;
	return bpf_skb_store_bytes(skb, off, new, bounded(length, 1, sizeof(new)), 0) ||
	       bpf_l4_csum_replace(skb, l4_off + 16, 0, delta, 0);
}

/* Selective acknowledgments of the endpoint as the client counts. */
__noinline int ppv2_shift_sacks(struct __sk_buff *skb, __u32 l4_off, __u32 l4_hlen, __u32 size, __u32 ack)
{
	__u32 end = l4_off + l4_hlen, from = l4_off + sizeof(struct tcphdr);
	int i;

	/* No more than that fit. */
	for (i = 0; i < SACK_MAX_BLOCKS; i++) {
		int found = find_tcp_option(skb, from, end, TCP_OPTION_SACK);
		__u32 length = found & 0xff, off = (__u32)found >> 8;

		if (!found)
			return 0;
		from = off + length;
		length -= 2;
		/* Nobody understands a part of a block, so nobody reads this option. */
		if (length && !(length % 8) && shift_blocks(skb, l4_off, (off + 2) << 8 | length, size, ack))
			return -1;
	}
	return 0;
}

/* All options there are, or are worth to be looked at, are timestamps. */
static __always_inline bool has_plain_options(struct __sk_buff *skb, const struct pkt *p)
{
	__be32 prefix;

	if (likely(p->l4_hlen == sizeof(struct tcphdr)))
		return true;
	if (p->l4_hlen != sizeof(struct tcphdr) + 12)
		return false;
	return !bpf_skb_load_bytes(skb, p->l4_off + sizeof(struct tcphdr), &prefix, sizeof(prefix)) &&
	       prefix == TCP_TIMESTAMPS_PREFIX;
}

/* What there is may be all for a while: some receivers wait for more without PSH. */
static __always_inline long set_push(struct __sk_buff *skb, const struct pkt *p)
{
	__u32 off = p->l4_off + 12;
	__u8 old[4], new[4];

	if (bpf_skb_load_bytes(skb, off, old, sizeof(old)))
		return -1;
	__builtin_memcpy(new, old, sizeof(new));
	new[1] |= TCP_PSH;
	return bpf_skb_store_bytes(skb, off, new, sizeof(new), 0) ||
	       bpf_l4_csum_replace(skb, p->l4_off + 16, 0, csum_delta(old, 4, new, 4), 0);
}

/* Puts the header behind an acknowledgment without data. */
__noinline int ppv2_attach(struct __sk_buff *skb, const struct pkt *p)
{
	struct ppv2_header header = {};
	__u32 size, end;
	__be16 length;

	if (!p)
		return -1;
	end = p->l4_off + p->l4_hlen;
	size = ppv2_length(&p->key);
	ppv2_fill(&header, &p->key.saddr, &p->key.daddr, p->key.sport, p->key.dport);
	/* Ethernet pads short frames: that goes first. */
	if (bpf_skb_change_tail(skb, end, 0) || bpf_skb_change_tail(skb, end + size, 0) ||
	    bpf_skb_store_bytes(skb, end, &header, bounded(size, PPV2_LENGTH_V4, PPV2_LENGTH_V6), 0) ||
	    write_length(skb, p, p->l3_len + size) || set_push(skb, p))
		return -1;
	length = bpf_htons(size);
	return bpf_l4_csum_replace(skb, p->l4_off + 16, 0, csum_delta(NULL, 0, &header, sizeof(header)), 0) ||
	       bpf_l4_csum_replace(skb, p->l4_off + 16, 0, length, BPF_F_PSEUDO_HDR);
}

/* Sum of the pseudo header of `length` bytes of TCP. Mapping IPv4 adds a word of ones to each address, which is none. */
static __always_inline __u32 pseudo_sum(const struct pkt *p, __u32 length)
{
	__be32 rest = bpf_htonl(IPPROTO_TCP << 16 | length);

	return bpf_csum_diff(NULL, 0, (__be32 *)&p->key.saddr, 32, bpf_csum_diff(NULL, 0, &rest, sizeof(rest), 0));
}

/*
 * Makes the checksum of a segment from nothing: `sum` of what it covers but the pseudo header. The field is given the
 * value it has where the device finishes it, and the helper, who knows whether one does, makes the rest of it.
 */
static __always_inline long write_checksum(struct __sk_buff *skb, const struct pkt *p, __u32 length, __u32 sum)
{
	__u16 pseudo = csum_fold(pseudo_sum(p, length));
	__u32 off = p->l4_off + 16;

	return bpf_skb_store_bytes(skb, off, &pseudo, sizeof(pseudo), 0) ||
	       bpf_l4_csum_replace(skb, off, 0, csum_fold(csum_fold(sum) + 2 * pseudo), 0);
}

/* A segment of nothing but the header. The options are timestamps or nothing. */
struct ppv2_segment {
	struct tcp_words tcp;
	__sum16 check;
	__be16 urgent;
	__be32 options[3];
	struct ppv2_header header;
};

#define PPV2_SEGMENT_TCP __builtin_offsetof(struct ppv2_segment, header)

/* The timestamps of the packet: a segment without them is refused by some (RFC 7323 3.2). `back`: as its receiver has them. */
static __always_inline void ppv2_timestamps(struct __sk_buff *skb, const struct pkt *p, __be32 *options, bool back)
{
	__u32 end = p->l4_off + p->l4_hlen;
	int found = find_tcp_option(skb, p->l4_off + sizeof(struct tcphdr), end, TCP_OPTION_TIMESTAMPS);
	__be32 value[2];

	options[0] = options[1] = options[2] = TCP_NOPS;
	if ((found & 0xff) != 10 || bpf_skb_load_bytes(skb, ((__u32)found >> 8) + 2, value, sizeof(value)))
		return;
	options[0] = TCP_TIMESTAMPS_PREFIX;
	options[1] = back ? value[1] : value[0];
	options[2] = back ? value[0] : value[1];
}

/*
 * Turns the packet into a segment of the client's that is the header and nothing else: its own, or with `back` an answer
 * of the endpoint's, which the client's then is sent in return of.
 */
__noinline int ppv2_make(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *client,
			 const struct ct_entry *answers, __u32 back)
{
	struct ppv2_segment segment = {};
	__u32 size, length, l4_off;

	if (!p || !client || !answers)
		return -1;
	l4_off = p->l4_off;
	size = ppv2_size(answers);
	length = PPV2_SEGMENT_TCP + size;
	segment.tcp.source = back ? p->key.dport : p->key.sport;
	segment.tcp.dest = back ? p->key.sport : p->key.dport;
	segment.tcp.seq = bpf_htonl(answers->tcp_ack);
	segment.tcp.ack = bpf_htonl(client->tcp_ack);
	segment.tcp.doff = PPV2_SEGMENT_TCP / 4 << 4;
	segment.tcp.flags = TCP_ACK | TCP_PSH;
	segment.tcp.window = bpf_htons(client->tcp_window);
	ppv2_timestamps(skb, p, segment.options, back);
	ppv2_fill(&segment.header, &answers->ndaddr, &answers->nsaddr, answers->ndport, answers->nsport);
	/* Shorter first: only growing makes the kernel forget a sum over the whole packet. */
	if (bpf_skb_change_tail(skb, l4_off + sizeof(struct tcphdr), 0) ||
	    bpf_skb_change_tail(skb, l4_off + length, 0) || bpf_skb_store_bytes(skb, l4_off, &segment, length, 0) ||
	    write_length(skb, p, l4_off - ETH_HLEN + length))
		return -1;
	return write_checksum(skb, p, length, bpf_csum_diff(NULL, 0, (__be32 *)&segment, sizeof(segment), 0));
}

/* Whether the segment's checksum is right, where that can be known: it is written anew when the data is cut off. */
__noinline int segment_is_sound(struct __sk_buff *skb, const struct pkt *p)
{
	__be32 tail[2] = { bpf_htonl(IPPROTO_TCP), 0 };
	__u32 length, sum;
	int bytes;

	if (!p)
		return 0;
	if (!cfg_kern_ctx || checksum_state(skb) == CHECKSUM_PARTIAL)
		return 1;
	length = p->l3_len - (p->l4_off - ETH_HLEN);
	bytes = sum_bytes(skb, p->l4_off, length);
	tail[1] = bpf_htonl(length);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&p->key.saddr, 32, 0);
	sum = csum_fold(bpf_csum_diff(NULL, 0, tail, sizeof(tail), sum));
	return bytes >= 0 && csum_fold(sum + (__u32)bytes) == 0xffff;
}

/* A SYN may carry data (RFC 7413), which would go before the header. Without it the client sends it again. */
__noinline int ppv2_strip_syn(struct __sk_buff *skb, const struct pkt *p)
{
	__be32 words[15] = {};
	__u32 length;

	if (!p)
		return -1;
	length = p->l4_hlen;
	if (length < sizeof(struct tcphdr) || length > sizeof(words))
		return -1;
	if (!segment_is_sound(skb, p))
		return -1;
	/* Longer by one, and the kernel forgets a sum over the whole packet. */
	if (bpf_skb_change_tail(skb, skb->len + 1, 0) || bpf_skb_change_tail(skb, p->l4_off + length, 0) ||
	    write_length(skb, p, p->l4_off - ETH_HLEN + length) ||
	    bpf_skb_load_bytes(skb, p->l4_off, words, bounded(length, sizeof(struct tcphdr), sizeof(words))))
		return -1;
	words[4] &= bpf_htonl(0xffff);
	return write_checksum(skb, p, length, bpf_csum_diff(NULL, 0, words, sizeof(words), 0));
}
