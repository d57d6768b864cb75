/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

static __always_inline int family_forward(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry, __u32 way,
					  __u32 egress)
{
	if (!p || !entry)
		return VERDICT_DROP;
	return drop_packet(skb, p, entry, DROP_REWRITE);
}

/* Translates an ICMP error about a packet of this flow, and sends it to who sent that packet. */
static __always_inline int family_icmp_error(struct __sk_buff *skb, const struct pkt *p, struct ct_entry *entry,
					     __u32 egress)
{
	return drop_packet(skb, p, entry, DROP_FAMILY);
}
