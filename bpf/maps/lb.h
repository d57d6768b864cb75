/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/types.h"

/* A service: VIP, port, protocol (IPPROTO_*; ICMP services have port 0) and firewall mark (0 = any packet). */
struct lb_service_key {
	struct ip_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
	__u32 mark;
};

enum lb_select {
	LB_SELECT_RR = 0,
	LB_SELECT_HASH = 1,
	LB_SELECT_PRIORITY = 2,
	LB_SELECT_PERSIST = 3,
	LB_SELECT_LC = 4,
};

/*
 * Slots slot_base .. slot_base + slot_count - 1 of lb_slot are the service's active endpoints, in the order and number
 * its selection wants (a Maglev table, an exact weighted sequence, a plain list). A change builds a new run of slots
 * and then writes this value: packets see the old set or the new one.
 */
struct lb_service {
	__u32 service_id;
	__u32 slot_base;
	__u32 slot_count;
	__u32 affinity_ticks; /* persist: idle time after which a client is forgotten */
	__u8 select;
	__u8 mode;   /* enum lb_mode */
	__u16 flags; /* enum lb_service_flags */
	__be16 port; /* first port of the service */
	__u16 pad;
};

/* As on the wire. */
enum lb_mode {
	LB_MODE_DEFAULT = 0,
	LB_MODE_ONEARM = 1,
	LB_MODE_FULLNAT = 2,
	LB_MODE_DSR = 3,
	LB_MODE_HOSTONEARM = 5,
};

enum lb_service_flags {
	LB_SERVICE_SOURCES = 1 << 0,   /* only clients in lb_source may use it */
	LB_SERVICE_PPV2 = 1 << 1,      /* endpoints are told the client in a PROXY protocol header */
	LB_SERVICE_MULTIHOME = 1 << 2, /* SCTP: lb_sctp_vips has its addresses */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_service_key);
	__type(value, struct lb_service);
} lb_service SEC(".maps");

/*
 * Services of a range of ports: one entry per aligned block of ports, thirty at most for any range. Matched when there is
 * no service of the very port, and only while LB_HAS_RANGES is set. Bits of `prefixlen` count from `mark` on.
 */
struct lb_range_key {
	__u32 prefixlen;
	__u32 mark;
	struct ip_addr addr;
	__u8 proto;
	__u8 pad;
	__be16 port;
};

#define LB_RANGE_FIXED_BITS ((4 + 16 + 2) * 8)

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_range_key);
	__type(value, struct lb_service);
} lb_range SEC(".maps");

enum lb_control_flags {
	LB_HAS_RANGES = 1 << 0, /* lb_range is not empty */
};

/* What the packet path need not look for. */
struct lb_control {
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_control);
} lb_control SEC(".maps");

/*
 * Addresses of services and of endpoints. What is neither is never held up: fragments between others that come out of
 * order go on as they came.
 */
struct lb_address {
	__u32 uses; /* rules that name it */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ip_addr);
	__type(value, struct lb_address);
} lb_address SEC(".maps");

/* Of a copy, as ct_find() does. */
static __noinline bool lb_has_address(const struct ip_addr *addr)
{
	struct ip_addr own = *addr;

	return bpf_map_lookup_elem(&lb_address, &own) != NULL;
}

/* How large a tunnel's packets may be on their way to an endpoint: what routers said, by the endpoint's address. */
struct lb_tunnel_mtu {
	__u32 mtu;
	__u32 seen; /* ticks */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct ip_addr);
	__type(value, struct lb_tunnel_mtu);
} lb_tunnel_mtu SEC(".maps");

/* Prefixes that may use a service with LB_SERVICE_SOURCES. Bits of `prefixlen` count from `service_id` on. */
struct lb_source_key {
	__u32 prefixlen;
	__u32 service_id;
	struct ip_addr addr;
};

struct lb_source {
	__u32 allow; /* 1 */
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_source_key);
	__type(value, struct lb_source);
} lb_source SEC(".maps");

/* Addresses of an SCTP service with several: the first is its own. Index service_id. */
#define LB_SCTP_MAX_VIPS 8

struct lb_sctp_vips {
	__u32 count;
	__u32 pad[3];
	struct ip_addr addr[LB_SCTP_MAX_VIPS];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct lb_sctp_vips);
} lb_sctp_vips SEC(".maps");

/* State of a service that outlives changes of its value; index service_id. */
struct lb_service_state {
	__u32 cursor;	  /* next slot of rr and priority */
	__u32 idle_ticks; /* idle time of established flows */
	__u32 alive;	  /* 0: flows of this id are ended by the next pass */
	__u32 reset;	  /* 1: idle_ticks was asked for, TCP flows end to the second with a reset to both ends */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct lb_service_state);
} lb_svc_state SEC(".maps");

struct lb_slot {
	__u32 endpoint_id;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2097152);
	__type(key, __u32);
	__type(value, struct lb_slot);
} lb_slot SEC(".maps");

/* An endpoint of one service, for life; index endpoint_id, 0 is never used. */
struct lb_endpoint {
	struct ip_addr addr;
	struct ip_addr source; /* address the endpoint sees as client, zero: the client's own */
	struct ip_addr self;   /* this machine's address towards the endpoint: source of flows that begin here */
	__be16 port;
	__u8 active;
	__u8 flags; /* enum lb_endpoint_flags */
	__u32 service_id;
	__u32 weight;
	__u16 ports; /* ports from `port` on, 0 as good as 1; which of them a flow gets, the flags say */
	__u16 pad;
};

enum lb_endpoint_flags {
	LB_EP_TUNNEL = 1 << 0,	   /* DSR: always inside a tunnel, even when the endpoint is a neighbour */
	LB_EP_PORT_SHIFT = 1 << 1, /* the n-th port of the service is the n-th of the endpoint */
	LB_EP_CUT = 1 << 2,	   /* a pass with `cut` ends its flows */
	LB_EP_RESET = 1 << 3,	   /* and tells both ends of each */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct lb_endpoint);
} lb_endpoint SEC(".maps");

/* Live flows per endpoint; index endpoint_id. */
struct lb_endpoint_flows {
	__u32 active;  /* confirmed: exact */
	__u32 pending; /* not confirmed: evictions from ct_new are found by the next pass */
	__u32 recount; /* scratch of the pass */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct lb_endpoint_flows);
} lb_ep_flows SEC(".maps");

/* Both directions together; bytes are L3 lengths. Never reset while the endpoint lives. */
struct lb_endpoint_stats {
	__u64 packets;
	__u64 bytes;
	__u64 flows;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct lb_endpoint_stats);
} lb_ep_stats SEC(".maps");

/* persist: which endpoint a client of a service has. */
struct lb_affinity_key {
	struct ip_addr client;
	__u32 service_id;
};

struct lb_affinity {
	__u32 endpoint_id;
	__u32 seen; /* ticks */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct lb_affinity_key);
	__type(value, struct lb_affinity);
} lb_affinity SEC(".maps");
