/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* Makes an answer's acknowledgment number count as the client does: without the header the endpoint has got from us. */
static __always_inline void ppv2_normalize(struct pkt *p, const struct ct_entry *entry)
{
}

static __always_inline int ppv2_forward(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u32 way,
					__u32 egress)
{
	if (!p || !entry)
		return VERDICT_DROP;
	return drop_packet(skb, p, entry, DROP_REWRITE);
}
