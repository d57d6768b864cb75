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
	__u8 mode; /* as on the wire: 0 default, 1 onearm, 2 fullnat */
	__u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct lb_service_key);
	__type(value, struct lb_service);
} lb_service SEC(".maps");

/* State of a service that outlives changes of its value; index service_id. */
struct lb_service_state {
	__u32 cursor;	  /* next slot of rr and priority */
	__u32 idle_ticks; /* idle time of established flows */
	__u32 alive;	  /* 0: flows of this id are ended by the next pass */
	__u32 pad;
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
	__u8 pad;
	__u32 service_id;
	__u32 weight;
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
