/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Marks IPv4 packets with the last number of their source address, as a firewall in front of the balancer would. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define SOURCE_LAST (ETH_HLEN + 15)

SEC("classifier") int mark(struct __sk_buff *skb)
{
	__u8 last;

	if (skb->protocol == bpf_htons(ETH_P_IP) && !bpf_skb_load_bytes(skb, SOURCE_LAST, &last, sizeof(last)))
		skb->mark = last;
	return -1; /* the next program decides */
}

char _license[] SEC("license") = "GPL";
