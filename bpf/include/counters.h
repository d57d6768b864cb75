/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "trace.h"

/*
 * Everything the packet path counts by reason. Numbers are never reused; add at the end of a block.
 * 1..63 drops, 64..127 packets given to the kernel untouched although they looked like ours, 128..191 events.
 */
enum dp_counter {
	DROP_NONE = 0,
	DROP_NO_ENDPOINT = 1,	   /* service has no active endpoint; answered with RST or unreachable */
	DROP_PORT_EXHAUSTED = 2,   /* no free source port for the translated tuple */
	DROP_TTL_EXCEEDED = 3,	   /* answered with time exceeded */
	DROP_TOO_BIG = 4,	   /* larger than the path's MTU; answered with fragmentation needed */
	DROP_UNREACHABLE = 5,	   /* blackhole, unreachable or prohibit route */
	DROP_FLOW_INSERT = 6,	   /* flow table refused the entry */
	DROP_REWRITE = 7,	   /* packet could not be written */
	DROP_BAD_ENDPOINT = 8,	   /* slot names an endpoint that is gone */
	DROP_SOURCE = 9,	   /* client is not among the service's allowed sources */
	DROP_NOT_ON_LINK = 10,	   /* L2 DSR: the endpoint is behind a router */
	DROP_TUNNEL = 11,	   /* could not be encapsulated */
	DROP_FAMILY = 12,	   /* could not be made a packet of the other family (RFC 7915) */
	DROP_FAMILY_FRAGMENT = 13, /* fragment of a flow between families */
	DROP_FAMILY_GSO = 14,	   /* UDP super-packet of a flow between families */
	DROP_FRAGMENT = 15,	   /* fragment that could not be held, or was held for too long */
	DROP_PPV2 = 16,		   /* no room for the header; an endpoint's refusal of data that came before it */
	DROP_SCTP = 17,		   /* SCTP packet that breaks RFC 9260, or whose chunks could not be rewritten */
	DROP_SCTP_TAG = 18,	   /* verification tag of nobody */

	PASS_FRAGMENT = 64,   /* fragment: has no ports, or its rest has none */
	PASS_TRUNCATED = 65,  /* headers do not fit the packet */
	PASS_NO_FLOW = 66,    /* TCP to a service without SYN and without a flow */
	PASS_IP_OPTIONS = 67, /* more extension headers than we walk */

	EVENT_FLOW_CREATED = 128,
	EVENT_FLOW_CONFIRMED = 129,  /* moved from the half-open table to the flow table */
	EVENT_FLOW_TABLE_FULL = 130, /* could not be moved; stays half-open */
	EVENT_PORT_TRANSLATED = 131, /* source port changed because the tuple was taken */
	EVENT_ICMP_RELAYED = 132,    /* ICMP error translated and sent on */
	EVENT_RST_IGNORED = 133,     /* RST outside the window */
	EVENT_RESOLVED = 134,	     /* way out looked up */
	EVENT_FLOW_EXPIRED = 135,
	EVENT_FLOW_RESET = 136,	   /* both ends are told that it ended */
	EVENT_RESET_LOST = 137,	   /* they could not be: the ring was full */
	EVENT_FRAGMENT_HELD = 138, /* kept until the first part comes */
	EVENT_FRAGMENT_SENT = 139, /* fragment translated */
	EVENT_PPV2_SENT = 140,	   /* header put in */
	EVENT_PPV2_RESENT = 141,   /* header sent again because the endpoint has not got it */
	EVENT_SCTP_PATH = 142,	   /* another path of a known association */
	EVENT_TUNNELLED = 143,
	EVENT_FAMILY = 144,	 /* packet between families */
	EVENT_FLOW_CLOSED = 145, /* its ends have said so: it lingers for a few seconds only */

	DP_COUNTERS = 192,
};

struct dp_counter_value {
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DP_COUNTERS);
	__type(key, __u32);
	__type(value, struct dp_counter_value);
} dp_counter SEC(".maps");

static __always_inline void count(__u32 reason)
{
	struct dp_counter_value *value = bpf_map_lookup_elem(&dp_counter, &reason);

	if (value)
		value->packets++;
	step(STEP_COUNTED, reason, 0, 0);
}
