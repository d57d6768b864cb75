/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "forward.h"

/*
 * Flows that need more than a translation. Each is a global function, so that the verifier looks at it once and the
 * fast path has one comparison for all of them.
 */

#include "dsr.h"
#include "sctp_forward.h"
#include "family.h"
#include "ppv2.h"

/* Sends a packet of a flow with `entry->special`. It has been counted, and fits the path. */
static __always_inline int forward_special(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u8 way,
					   const bool egress)
{
	__u8 special = entry->special;

	step(STEP_SPECIAL, special, 0, 0);
	if (special & CT_SPECIAL_DSR)
		return dsr_forward(skb, p, entry, way, egress);
	if (special & CT_SPECIAL_FAMILY)
		return cfg_ipv6 ? family_forward(skb, p, entry, way, egress) : VERDICT_DROP;
	if (special & CT_SPECIAL_PPV2 && p->fragment)
		return drop_packet(skb, p, entry, DROP_PPV2);
	if (special & CT_SPECIAL_PPV2)
		return ppv2_forward(skb, p, entry, way, egress);
	return sctp_forward(skb, p, entry, way, egress);
}
