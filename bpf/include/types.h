/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Types, constants and helpers every header of the packet path may use. */

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/types.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* linux/socket.h is not a UAPI header of its own on every distribution. */
#define AF_INET 2
#define AF_INET6 10

/*
 * An address of either family: IPv4 is IPv4-mapped IPv6, ::ffff:a.b.c.d (RFC 4291 2.5.5.2). Network byte order.
 */
struct ip_addr {
	__be32 w[4];
};

#define V4_MAPPED bpf_htonl(0x0000ffff)

static __always_inline bool ip_is_v4(const struct ip_addr *a)
{
	return a->w[2] == V4_MAPPED && !a->w[0] && !a->w[1];
}

static __always_inline bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

static __always_inline bool ip_is_zero(const struct ip_addr *a)
{
	return !(a->w[0] | a->w[1] | a->w[2] | a->w[3]);
}

/*
 * `n`, which has been seen to be from `low` to `high`: two constants. For the verifier, before a helper that takes a length:
 * compilers test a copy, or make one comparison of the two, and older kernels do not see what that says about `n`.
 */
static __always_inline __u32 bounded(__u32 n, const __u32 low, const __u32 high)
{
	asm volatile("if %[n] <= %[high] goto +1\n\t"
		     "%[n] = %[high]\n\t"
		     "if %[n] >= %[low] goto +1\n\t"
		     "%[n] = %[low]"
		     : [n] "+w"(n)
		     : [low] "i"(low), [high] "i"(high));
	return n;
}

/* Time in units of 2^20 ns (about 1.05 ms), 32 bits: wraps after 52 days, compare by subtraction only. */
#define TICK_SHIFT 20
#define TICKS_PER_SECOND (1000000000ULL >> TICK_SHIFT)

static __always_inline __u32 now_ticks(void)
{
	return bpf_ktime_get_coarse_ns() >> TICK_SHIFT;
}

/* The same clock for iterators, which may not use the coarse one; that lags by a jiffy at most. */
static __always_inline __u32 now_ticks_exact(void)
{
	return bpf_ktime_get_ns() >> TICK_SHIFT;
}
