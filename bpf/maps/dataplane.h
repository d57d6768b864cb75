/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/types.h"

/*
 * Version of every pinned layout together. Raise it with any change of a key or value, and teach the daemon to migrate
 * or to refuse (core/dataplane/layout-version.ts).
 */
#define LAYOUT_VERSION 1

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
