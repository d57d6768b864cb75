/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/counters.h"
#include "../maps/conntrack.h"
#include "../maps/lb.h"

/*
 * Flows that are ended while they are open. The packet path cannot send what no packet gave rise to: it hands both
 * ends' sequence numbers to the daemon, which sends the resets.
 */

/* Bytes of a PROXY protocol header of version 2 with addresses (section 2.2 of its specification). */
#define PPV2_LENGTH_V4 28
#define PPV2_LENGTH_V6 52

static __always_inline __u32 ppv2_length(const struct ct_key *key)
{
	return ip_is_v4(&key->saddr) ? PPV2_LENGTH_V4 : PPV2_LENGTH_V6;
}

static __always_inline bool tcp_is_open(const struct ct_key *key, const struct ct_entry *entry)
{
	return key->proto == IPPROTO_TCP && (entry->state == CT_TCP_EST || entry->state == CT_TCP_FINI);
}

/* `key` and `entry` are the client's direction, `other` the answers (NULL for DSR). */
__noinline int announce_reset(const struct ct_key *key, const struct ct_entry *entry, const struct ct_entry *other,
			      __u32 reason)
{
	struct ct_reset_event *event;

	if (!key || !entry)
		return 0;
	event = bpf_ringbuf_reserve(&ct_reset, sizeof(*event), 0);
	if (!event) {
		count(EVENT_RESET_LOST);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->key = *key;
	event->nsaddr = entry->nsaddr;
	event->ndaddr = entry->ndaddr;
	event->nsport = entry->nsport;
	event->ndport = entry->ndport;
	event->service_id = entry->service_id;
	event->special = entry->special;
	event->reason = reason;
	event->client_seq = entry->tcp_ack;
	if (other) {
		/* Entries count as the client does; the endpoint may have got our header before. */
		event->endpoint_seq = other->tcp_ack;
		if (entry->special & CT_SPECIAL_PPV2 && other->ppv2 & CT_PPV2_ACKED)
			event->endpoint_seq += ppv2_length(key);
	} else {
		event->one_way = 1;
	}
	bpf_ringbuf_submit(event, 0);
	count(EVENT_FLOW_RESET);
	return 0;
}
