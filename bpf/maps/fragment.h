/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/types.h"

/* Fragments: only the first one has the ports its flow is found by. */

struct frag_key {
	struct ip_addr saddr;
	struct ip_addr daddr;
	__u32 id;
	__u8 proto;
	__u8 pad[3];
};

enum frag_verdict {
	FRAG_WAITING, /* the first part has not come yet */
	FRAG_FLOW,    /* it has, and belongs to a flow of ours */
	FRAG_FOREIGN, /* it has, and does not */
};

/* What is known of a fragmented packet. */
struct frag_flow {
	__be16 sport;
	__be16 dport;
	__u32 seen; /* ticks of the first of its fragments */
	__u32 held; /* how many are kept */
	__u8 verdict;
	__u8 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct frag_key);
	__type(value, struct frag_flow);
} frag_flow SEC(".maps");

/* Fragments kept of one packet, and the longest frame kept: more is dropped. */
#define FRAG_HELD_MAX 48
#define FRAG_FRAME_MAX 2032

struct frag_held_key {
	struct frag_key packet;
	__u32 index;
};

struct frag_held {
	__u32 length;
	__u32 seen; /* ticks */
	__u8 frame[FRAG_FRAME_MAX];
};

/* What came before the first part. Bounded: the oldest give way. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct frag_held_key);
	__type(value, struct frag_held);
} frag_held SEC(".maps");

/* Where a frame is put together: too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct frag_held);
} frag_scratch SEC(".maps");
