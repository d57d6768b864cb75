/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include <bpf/bpf_core_read.h>

#include "config.h"

/* Internet checksum arithmetic, RFC 1071 and RFC 1624 (HC' = ~(~HC + ~m + m')). */

#ifndef BPF_F_IPV6
#define BPF_F_IPV6 (1ULL << 7)
#endif

static __always_inline __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Difference new minus old of byte strings whose lengths are multiples of four, folded to 16 bits. */
static __always_inline __u16 csum_delta(const void *old, __u32 old_len, const void *new, __u32 new_len)
{
	return csum_fold(bpf_csum_diff((__be32 *)old, old_len, (__be32 *)new, new_len, 0));
}

/* The difference the other way round; none stays none. */
static __always_inline __u16 csum_negate(__u16 delta)
{
	return delta ? ~delta : 0;
}

static __always_inline __sum16 csum_apply(__sum16 check, __u32 delta)
{
	return ~csum_fold((__u16)~check + delta);
}

/* The same of a sum of few 32 bit words. */
static __always_inline __u16 csum_fold_words(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return csum_fold((sum & 0xffff) + (sum >> 16));
}

/* Words of something that is written by its fields. */
typedef __u32 __attribute__((may_alias)) csum_word;

/* The sum of an IPv4 header without options: 0xffff when its checksum is right. */
static __always_inline __u16 csum_sum_header(const struct iphdr *ip)
{
	const csum_word *words = (const csum_word *)ip;

	return csum_fold_words((__u64)words[0] + words[1] + words[2] + words[3] + words[4]);
}

/* The checksum of an IPv4 header without options, in which it is zero. */
static __always_inline __sum16 csum_header(const struct iphdr *ip)
{
	return ~csum_sum_header(ip);
}

/* Of the kernel's struct sk_buff, found by BTF at load. */
struct sk_buff___csum {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

#define CHECKSUM_COMPLETE 2
#define CHECKSUM_PARTIAL 3

/* What the L4 checksum in the packet is. Only with cfg_kern_ctx. */
static __always_inline __u32 checksum_state(struct __sk_buff *skb)
{
	struct sk_buff___csum *packet = bpf_cast_to_kern_ctx(skb);

	return BPF_CORE_READ_BITFIELD(packet, ip_summed);
}

/* What is changed in the packet without the help of the kernel has to be changed in its sum over all of it, too. */
static __always_inline bool has_packet_sum(struct __sk_buff *skb)
{
	return !cfg_kern_ctx || checksum_state(skb) == CHECKSUM_COMPLETE;
}

/*
 * The L4 checksum after addresses and ports changed by these differences. A partial one is the sum of the pseudo header
 * alone, not complemented, and the device adds the rest.
 */
static __always_inline __sum16 csum_translate(__sum16 check, __u32 state, __u32 addresses, __u32 ports)
{
	if (state == CHECKSUM_PARTIAL)
		return csum_fold((__u16)check + addresses);
	return csum_apply(check, addresses + ports);
}

/*
 * Applies a difference of addresses to an L4 checksum whose pseudo header contains them. The helper knows whether the
 * checksum is complete or still to be finished by the device, and keeps skb->csum right.
 */
static __always_inline long csum_replace_addresses(struct __sk_buff *skb, __u32 off, __u16 delta, __u64 flags, bool v4)
{
	long err;

	if (v4)
		return bpf_l4_csum_replace(skb, off, 0, delta, flags | BPF_F_PSEUDO_HDR);
	if (cfg_csum_ipv6_flag)
		return bpf_l4_csum_replace(skb, off, 0, delta, flags | BPF_F_PSEUDO_HDR | BPF_F_IPV6);
	err = bpf_l4_csum_replace(skb, off, 0, delta, flags | BPF_F_PSEUDO_HDR);
	/*
	 * Older kernels take the address change out of skb->csum as if an IPv4 header checksum made up for it; there is
	 * none in IPv6, so put it back.
	 */
	bpf_csum_update(skb, delta);
	return err;
}
