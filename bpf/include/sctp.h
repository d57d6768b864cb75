/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "parse.h"

/* Chunks and parameters of SCTP (RFC 9260 3). */

/* Types of chunks; SCTP_INIT is in parse.h. */
#define SCTP_DATA 0
#define SCTP_INIT_ACK 2
#define SCTP_SACK 3
#define SCTP_HEARTBEAT 4
#define SCTP_ABORT 6
#define SCTP_SHUTDOWN 7
#define SCTP_SHUTDOWN_ACK 8
#define SCTP_COOKIE_ECHO 10
#define SCTP_COOKIE_ACK 11
#define SCTP_SHUTDOWN_COMPLETE 14
#define SCTP_I_DATA 64 /* RFC 8260 */

/* Of ABORT and SHUTDOWN COMPLETE: the tag is the one of the packet it answers, not the receiver's. */
#define SCTP_FLAG_T 1

/* Types of parameters of INIT and INIT ACK. */
#define SCTP_PARAMETER_IPV4 5
#define SCTP_PARAMETER_IPV6 6
/* RFC 4820. Who does not know it skips it and says nothing. */
#define SCTP_PARAMETER_PAD 0x8005

struct sctp_chunk {
	__u8 type;
	__u8 flags;
	__be16 length; /* without padding */
};

/* The fixed part of INIT and INIT ACK. */
struct sctp_init {
	struct sctp_chunk chunk;
	__be32 tag;
	__be32 window;
	__be16 out_streams;
	__be16 in_streams;
	__be32 tsn;
};

struct sctp_parameter {
	__be16 type;
	__be16 length; /* without padding */
};

static __always_inline __u32 sctp_padded(__u32 length)
{
	return (length + 3) & ~3U;
}

/* Bytes of the packet from the SCTP header on. */
static __always_inline __u32 sctp_length(const struct pkt *p)
{
	return p->l3_len - (p->l4_off - ETH_HLEN);
}

/* Chunks looked at in one packet: control chunks come before data (RFC 9260 6.10), and few are bundled. */
#define SCTP_MAX_CHUNKS 8

/* Chunks of a packet, a bit for each type. */
#define SCTP_SEEN(type) (1U << (type))
#define SCTP_SEEN_OTHER (1U << 30)     /* a type of 30 or more */
#define SCTP_SEEN_REFLECTED (1U << 31) /* ABORT or SHUTDOWN COMPLETE with the T bit */

/* The chunks of the packet, or 0 when one does not fit it. Of a fragment only those that begin in it. */
__noinline int sctp_chunks(struct __sk_buff *skb, const struct pkt *p)
{
	__u32 off, end, seen = 0;
	int i;

	if (!p)
		return 0;
	off = p->l4_off + sizeof(struct sctp_header);
	end = ETH_HLEN + p->l3_len;
	for (i = 0; i < SCTP_MAX_CHUNKS; i++) {
		struct sctp_chunk chunk;
		__u32 length;

		if (bpf_skb_load_bytes(skb, off, &chunk, sizeof(chunk)))
			return 0;
		length = bpf_ntohs(chunk.length);
		if (length < sizeof(chunk) || (length > end - off && !p->fragment))
			return 0;
		seen |= chunk.type < 30 ? SCTP_SEEN(chunk.type) : SCTP_SEEN_OTHER;
		if ((chunk.type == SCTP_ABORT || chunk.type == SCTP_SHUTDOWN_COMPLETE) && chunk.flags & SCTP_FLAG_T)
			seen |= SCTP_SEEN_REFLECTED;
		/* Nothing that matters may follow these. */
		if (chunk.type == SCTP_DATA || chunk.type == SCTP_I_DATA || chunk.type == SCTP_ABORT)
			break;
		off += sctp_padded(length);
		if (off + sizeof(chunk) > end)
			break;
	}
	return seen;
}

/* The tag an INIT or INIT ACK, the packet's first chunk, asks for; 0: it is none. */
__noinline int sctp_initiate_tag(struct __sk_buff *skb, const struct pkt *p)
{
	struct sctp_init init;

	if (!p)
		return 0;
	if (sctp_length(p) < sizeof(struct sctp_header) + sizeof(init) ||
	    bpf_skb_load_bytes(skb, p->l4_off + sizeof(struct sctp_header), &init, sizeof(init)))
		return 0;
	return bpf_ntohs(init.chunk.length) < sizeof(init) ? 0 : bpf_ntohl(init.tag);
}

/* A packet that begins with a SACK has nothing else but data: what most answers are. */
__noinline int sctp_only_acknowledges(struct __sk_buff *skb, const struct pkt *p)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct sctp_chunk *chunk;
	__u32 off, length, left;

	if (!p)
		return 0;
	off = p->l4_off + sizeof(struct sctp_header);
	left = ETH_HLEN + p->l3_len - off;
	if (off > PARSE_PULL + ETH_HLEN)
		return 0;
	chunk = data + off;
	if ((void *)(chunk + 1) > end)
		return 0;
	length = bpf_ntohs(chunk->length);
	if (length < sizeof(*chunk) || length > left)
		return 0;
	length = sctp_padded(length);
	if (length + sizeof(*chunk) > left)
		return 1;
	if (length > PARSE_PULL)
		return 0;
	chunk = (void *)chunk + length;
	if ((void *)(chunk + 1) > end)
		return 0;
	left -= length;
	length = bpf_ntohs(chunk->length);
	return chunk->type == SCTP_DATA && length >= sizeof(*chunk) && length <= left;
}
