/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "family.h"
#include "reply.h"

/* What an ICMP error says, in the other family's words: the tables of RFC 7915 4.2 and 5.2. */

/* Which field of the header is meant: RFC 7915 figures 3 and 6. Negative: one that the other has not. */
static __always_inline int pointer_to_v6(__u32 pointer)
{
	switch (pointer) {
	case 0: /* version */
	case 1: /* traffic class */
		return pointer;
	case 2:
	case 3:
		return 4; /* length */
	case 8:
		return 7; /* hop limit */
	case 9:
		return 6; /* protocol */
	default:
		return pointer < 12 || pointer > 19 ? -1 : pointer < 16 ? 8 : 24;
	}
}

static __always_inline int pointer_to_v4(__u32 pointer)
{
	switch (pointer) {
	case 0:
	case 1:
		return pointer;
	case 4:
	case 5:
		return 2;
	case 6:
		return 9;
	case 7:
		return 8;
	default:
		return pointer < 8 || pointer > 39 ? -1 : pointer < 24 ? 12 : 16;
	}
}

/* What routers that do not tell their MTU probably have (RFC 1191 7.1): the next below the length that was too much. */
static __always_inline __u32 mtu_plateau(__u32 length)
{
	return length > 32000	? 32000
	       : length > 17914 ? 17914
	       : length > 8166	? 8166
	       : length > 4352	? 4352
	       : length > 2002	? 2002
	       : length > 1492	? 1492
				: IPV6_MIN_MTU;
}

/* `entry->mtu` counts in packets of the error's family; zero: not known yet. */
static __always_inline __u32 mtu_to_v6(__u32 mtu, __u32 quoted_length, const struct ct_entry *entry)
{
	if (!mtu)
		mtu = mtu_plateau(quoted_length);
	if (entry->mtu && mtu > entry->mtu)
		mtu = entry->mtu;
	mtu += FAMILY_OVERHEAD;
	return mtu < IPV6_MIN_MTU ? IPV6_MIN_MTU : mtu;
}

/* RFC 791 3.2: no link has less. */
#define IPV4_MIN_MTU 68

static __always_inline __u32 mtu_to_v4(__u32 mtu, const struct ct_entry *entry)
{
	if (mtu > 0xffff)
		mtu = 0xffff;
	if (entry->mtu && mtu > entry->mtu)
		mtu = entry->mtu;
	return mtu < IPV4_MIN_MTU + FAMILY_OVERHEAD ? IPV4_MIN_MTU : mtu - FAMILY_OVERHEAD;
}

static __always_inline int unreachable_to_v6(struct icmp_header *icmp)
{
	switch (icmp->code) {
	case 3: /* port */
		icmp->code = 4;
		break;
	case 9: /* prohibited */
	case 10:
	case 13:
	case 15:
		icmp->code = 1;
		break;
	case 0: /* no way there */
	case 1:
	case 5:
	case 6:
	case 7:
	case 8:
	case 11:
	case 12:
		icmp->code = 0;
		break;
	default:
		return -1;
	}
	icmp->type = ICMP6_UNREACHABLE;
	icmp->info = 0;
	return 0;
}

/* Type, code, MTU or pointer in IPv6's words. -1: there are none, and the error is not passed on. */
static __always_inline int error_kind_to_v6(struct icmp_header *icmp, __u32 quoted_length, const struct ct_entry *entry)
{
	__u32 info = bpf_ntohl(icmp->info);
	int pointer;

	switch (icmp->type) {
	case ICMP_UNREACHABLE:
		if (icmp->code == 4) {
			icmp->type = ICMP6_TOO_BIG;
			icmp->code = 0;
			icmp->info = bpf_htonl(mtu_to_v6(info & 0xffff, quoted_length, entry));
			return 0;
		}
		if (icmp->code == 2) {
			/* The protocol is a field of the header. */
			icmp->type = ICMP6_PARAMETER_PROBLEM;
			icmp->code = 1;
			icmp->info = bpf_htonl(6);
			return 0;
		}
		return unreachable_to_v6(icmp);
	case ICMP_TIME_EXCEEDED:
		icmp->type = ICMP6_TIME_EXCEEDED;
		icmp->info = 0;
		return 0;
	case ICMP_PARAMETER_PROBLEM:
		pointer = pointer_to_v6(info >> 24);
		if ((icmp->code != 0 && icmp->code != 2) || pointer < 0)
			return -1;
		icmp->type = ICMP6_PARAMETER_PROBLEM;
		icmp->code = 0;
		icmp->info = bpf_htonl(pointer);
		return 0;
	default:
		return -1;
	}
}

static __always_inline int error_kind_to_v4(struct icmp_header *icmp, const struct ct_entry *entry)
{
	__u32 info = bpf_ntohl(icmp->info);
	int pointer;

	icmp->info = 0;
	switch (icmp->type) {
	case ICMP6_UNREACHABLE:
		if (icmp->code > 4)
			return -1;
		icmp->type = ICMP_UNREACHABLE;
		/* Port, prohibited, and host for all else. */
		icmp->code = icmp->code == 4 ? 3 : icmp->code == 1 ? 10 : 1;
		return 0;
	case ICMP6_TOO_BIG:
		icmp->type = ICMP_UNREACHABLE;
		icmp->code = 4;
		icmp->info = bpf_htonl(mtu_to_v4(info, entry));
		return 0;
	case ICMP6_TIME_EXCEEDED:
		icmp->type = ICMP_TIME_EXCEEDED;
		return 0;
	case ICMP6_PARAMETER_PROBLEM:
		if (icmp->code == 1) {
			icmp->type = ICMP_UNREACHABLE;
			icmp->code = 2;
			return 0;
		}
		pointer = pointer_to_v4(info);
		if (icmp->code || pointer < 0)
			return -1;
		icmp->type = ICMP_PARAMETER_PROBLEM;
		icmp->info = bpf_htonl((__u32)pointer << 24);
		return 0;
	default:
		return -1;
	}
}
