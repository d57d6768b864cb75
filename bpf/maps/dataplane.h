/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/types.h"

/*
 * Version of every pinned layout together. Raise it with any change of a key or value, and teach the daemon to migrate
 * or to refuse (core/dataplane/layout-version.ts).
 */
#define LAYOUT_VERSION 2

struct dp_control {
	__u32 layout_version;
	/* Raised when links, addresses, routes or neighbours change: cached ways out are then looked up again. */
	__u32 generation;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dp_control);
} dp_control SEC(".maps");

/* What the path knows of an interface (pin `intf_map`). */
struct intf_key {
	__u32 ifindex;
	__u16 ing_vid; /* VLAN id of the packet, 0 untagged */
	__u16 pad;
};

enum intf_flags {
	INTF_PEER = 1 << 0, /* veth whose peer lives in another namespace: bpf_redirect_peer works */
};

struct intf_value {
	__u32 port; /* number shown by `get port` */
	__u32 zone;
	__u32 bd;
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct intf_key);
	__type(value, struct intf_value);
} intf_map SEC(".maps");

/*
 * What `observe` shows: packets that were dropped, given to the kernel, or changed a flow's state. Written only while
 * somebody watches (dp_observe), one of `sample` events of each CPU.
 */
struct dp_observe {
	__u32 kinds;	  /* enum dp_observe_kinds, 0: nobody watches */
	__u32 sample;	  /* 0 as good as 1 */
	__u32 service_id; /* 0: all */
	__u32 lost;	  /* events there was no room for */
};

enum dp_observe_kinds {
	DP_OBSERVE_DROPS = 1 << 0,
	DP_OBSERVE_PASSES = 1 << 1,
	DP_OBSERVE_EVENTS = 1 << 2,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dp_observe);
} dp_observe SEC(".maps");

struct dp_event {
	__u64 time;   /* CLOCK_MONOTONIC, ns */
	__u32 reason; /* enum dp_counter */
	__u32 service_id;
	__u32 endpoint_id;
	__u32 ifindex; /* where the packet came in, 0: not known here */
	__u32 length;  /* L3 */
	__be16 sport;
	__be16 dport;
	struct ip_addr saddr;
	struct ip_addr daddr;
	__u8 proto;
	__u8 tcp_flags;
	__u8 pad[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 262144);
} dp_event SEC(".maps");

/* Drops by service: those of packets whose service is known. */
struct dp_service_drop_key {
	__u32 service_id;
	__u32 reason; /* enum dp_counter */
};

struct dp_service_drop {
	__u64 packets;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dp_service_drop_key);
	__type(value, struct dp_service_drop);
} dp_service_drop SEC(".maps");

/*
 * Decisions about one packet, in order: only programs loaded with cfg_trace write them. The entry's meaning depends on
 * its step; index 0 is how many there are.
 */
#define DP_TRACE_STEPS 64

struct dp_trace_step {
	__u32 step; /* enum dp_step */
	__u32 a;
	__u32 b;
	__u32 c;
	struct ip_addr addr;
};

enum dp_step {
	STEP_NONE,
	STEP_PARSED,	     /* a enum parse_result, b protocol, c TCP flags or ICMP type; addr source */
	STEP_FLOW_FOUND,     /* a state, b flags, c service; addr new destination */
	STEP_NO_FLOW,	     /* neither table has it */
	STEP_FLOW_STATE,     /* a state before, b state after */
	STEP_SERVICE_FOUND,  /* a service, b mode, c select */
	STEP_NO_SERVICE,     /* a port asked for, b mark */
	STEP_NOT_OPENING,    /* a packet that cannot begin a flow */
	STEP_SOURCE_REFUSED, /* a service; addr client */
	STEP_NO_ENDPOINT,    /* a service */
	STEP_ENDPOINT,	     /* a endpoint, b port, c slots to choose from; addr endpoint */
	STEP_FLOW_OPENED,    /* a kind of translation, b special, c new source port; addr new source */
	STEP_WAY,	     /* a enum ct_way, b interface, c MTU */
	STEP_SPECIAL,	     /* a enum ct_special */
	STEP_TTL_SPENT,	     /* a TTL */
	STEP_TOO_BIG,	     /* a length, b MTU */
	STEP_COUNTED,	     /* a enum dp_counter */
	STEP_ICMP_QUOTE,     /* a protocol quoted, b found; addr quoted destination */
	STEP_FRAGMENT,	     /* a 0 first, 1 later, 2 held; b IP id */
	STEP_VERDICT,	     /* a verdict */
	STEP_XDP,	     /* a enum dp_xdp_step */
};

/* What the XDP program does with a frame: it sends it, or leaves it to tc for one of these reasons. */
enum dp_xdp_step {
	XDP_STEP_SENT,
	XDP_STEP_DEVICE, /* not for this device, or nothing is known of the device */
	XDP_STEP_PARSE,	 /* no plain packet: a fragment, an ICMP error, options, or nothing of ours */
	XDP_STEP_NO_FLOW,
	XDP_STEP_STATE,	  /* the flow is not open, or the packet changes that */
	XDP_STEP_WAY,	  /* way out not known, no longer sure, not one for frames, or too small; TTL */
	XDP_STEP_SPECIAL, /* needs a treatment only tc has */
	XDP_STEP_OUT,	  /* the device it leaves by takes no frames */
	XDP_STEP_REWRITE, /* could not be rewritten: dropped */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DP_TRACE_STEPS);
	__type(key, __u32);
	__type(value, struct dp_trace_step);
} dp_trace SEC(".maps");

/* What the XDP program knows of a device; index ifindex. Devices with a higher one are left to tc. */
#define DP_XDP_DEVICES 4096

enum dp_xdp_flags {
	DP_XDP_IN = 1 << 0,  /* mac is the device's: frames for another are not ours */
	DP_XDP_OUT = 1 << 1, /* the driver takes frames redirected to it */
};

struct dp_xdp_device {
	__u8 mac[6];
	__u16 flags; /* enum dp_xdp_flags */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DP_XDP_DEVICES);
	__type(key, __u32);
	__type(value, struct dp_xdp_device);
} dp_xdp_device SEC(".maps");
