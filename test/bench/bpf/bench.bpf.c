/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * BPF_PROG_TEST_RUN repeats a program on one and the same packet, which the packet path rewrites. bench_packet makes the
 * packet anew each time and then jumps into the program under test, or into bench_empty to learn its own cost.
 *
 * A packet that became longer, shorter or one of another family has to become what it was before it can be made anew,
 * which the empty program's does not cost. For such packets a stopwatch runs from the jump to the beginning of the next
 * run, and stands while the packet is restored.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAME_WORDS 12 /* 96 bytes: all headers of IPv6 and TCP */
#define FRAME_BYTES (FRAME_WORDS * 8)
#define PORTS_SHIFT 15 /* ports one address gives, as a power of two */
#define FIRST_PORT 1024

enum target {
	TARGET_EMPTY,
	TARGET_REAL,
	TARGETS,
};

enum order {
	ORDER_HOT,    /* always flow 0 */
	ORDER_RANDOM, /* each of the flows once, in random order, again and again */
	ORDER_RISING, /* flow after flow from `next` on, never one twice */
};

struct bench_config {
	__u64 frame[FRAME_WORDS];
	__u32 target;
	__u32 order;
	__u32 flow_mask; /* ORDER_RANDOM: number of flows - 1, which is a power of two */
	__u32 next;
	/* Byte offset of the port that tells flows apart and of the last four bytes of its address. */
	__u16 port_offset;
	__u16 addr_offset;
	__u32 addr_base; /* host byte order; flow n has address base + n / 2^15 */
	__u32 send_to;	 /* interface of bench_send */
	__u32 mark;	 /* of packets for tc */
	__u32 timed;	 /* use the stopwatch */
	__u32 laps;	 /* runs it has measured */
	__u64 started;	 /* 0: it stands */
	__u64 spent;	 /* ns of all laps */
	__be16 check;	 /* of the IPv4 header while the address is addr_base */
	__u16 pad[3];
};

/* A longer lap was interrupted. */
#define LONGEST_LAP 100000

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_config);
} bench_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} bench_target SEC(".maps");

/* The same for bench_frame: one array holds programs of one kind. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, TARGETS);
	__type(key, __u32);
	__type(value, __u32);
} bench_frame_target SEC(".maps");

/* Frames that arrived at a sink. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} bench_arrived SEC(".maps");

static __always_inline __u32 choose_flow(struct bench_config *config)
{
	__u32 flow;

	if (config->order == ORDER_HOT)
		return 0;
	flow = config->next++;
	/* An odd factor permutes the numbers below a power of two. */
	return config->order == ORDER_RANDOM ? (flow * 0x9e3779b1) & config->flow_mask : flow;
}

/* Checksum of the IPv4 header when `base` has become `address`; all in host byte order (RFC 1624). */
static __always_inline __u16 header_check(__u16 check, __u32 base, __u32 address)
{
	__u32 sum = (__u16)~check + (__u16)~base + (__u16)(~base >> 16) + (__u16)address + (address >> 16);

	sum = (sum & 0xffff) + (sum >> 16);
	return ~((sum & 0xffff) + (sum >> 16));
}

/* Writes the flow's port and address into the frame; a map value may be indexed by a variable, a packet only at a price. */
static __always_inline void mark_frame(struct bench_config *config, __u32 flow)
{
	__u32 address = config->addr_base + (flow >> PORTS_SHIFT);
	void *frame = config->frame;

	*(__be16 *)(frame + (config->port_offset & 0x3f)) = bpf_htons(FIRST_PORT + (flow & ((1 << PORTS_SHIFT) - 1)));
	*(__be32 *)(frame + (config->addr_offset & 0x3f)) = bpf_htonl(address);
	if (*(__be16 *)(frame + 12) == bpf_htons(0x0800))
		*(__be16 *)(frame + 24) = bpf_htons(header_check(bpf_ntohs(config->check), config->addr_base, address));
}

static __always_inline void stop_watch(struct bench_config *config)
{
	__u64 lap;

	if (!config->timed || !config->started)
		return;
	lap = bpf_ktime_get_ns() - config->started;
	if (lap > LONGEST_LAP)
		return;
	config->spent += lap;
	config->laps++;
}

static __always_inline void start_watch(struct bench_config *config)
{
	if (config->timed)
		config->started = bpf_ktime_get_ns();
}

/* Gives the packet the family and length it had. */
static __always_inline long restore(struct __sk_buff *skb, const struct bench_config *config)
{
	__be16 proto = *(const __be16 *)((const void *)config->frame + 12);

	if (skb->protocol != proto && bpf_skb_change_proto(skb, proto, 0))
		return -1;
	if (skb->len > FRAME_BYTES)
		return bpf_skb_adjust_room(skb, -(int)(skb->len - FRAME_BYTES), BPF_ADJ_ROOM_MAC, 0);
	return skb->len < FRAME_BYTES && bpf_skb_change_tail(skb, FRAME_BYTES, 0);
}

SEC("tc")
int bench_packet(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct bench_config *config = bpf_map_lookup_elem(&bench_config, &zero);
	__u64 *data;

	if (!config)
		return TC_ACT_SHOT;
	stop_watch(config);
	if (restore(skb, config))
		return TC_ACT_SHOT;
	data = (void *)(long)skb->data;
	if ((void *)data + FRAME_BYTES > (void *)(long)skb->data_end)
		return TC_ACT_SHOT;
	skb->mark = config->mark;
	mark_frame(config, choose_flow(config));
#pragma unroll
	for (int i = 0; i < FRAME_WORDS; i++)
		data[i] = config->frame[i];
	start_watch(config);
	bpf_tail_call(skb, &bench_target, config->target);
	return TC_ACT_SHOT;
}

SEC("tc")
int bench_empty(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}

/* 0, or -1: the frame is not what it should be. */
static __always_inline int make_frame(struct xdp_md *ctx, struct bench_config **found)
{
	long grown = (long)ctx->data_end - (long)ctx->data - FRAME_BYTES;
	__u32 zero = 0;
	struct bench_config *config = bpf_map_lookup_elem(&bench_config, &zero);
	__u64 *data;

	if (!config)
		return -1;
	stop_watch(config);
	/* The last run has put it into a tunnel. */
	if (grown > 0 && bpf_xdp_adjust_head(ctx, grown))
		return -1;
	data = (void *)(long)ctx->data;
	if ((void *)data + FRAME_BYTES > (void *)(long)ctx->data_end)
		return -1;
	mark_frame(config, choose_flow(config));
#pragma unroll
	for (int i = 0; i < FRAME_WORDS; i++)
		data[i] = config->frame[i];
	start_watch(config);
	*found = config;
	return 0;
}

/* bench_packet for XDP programs. */
SEC("xdp.frags")
int bench_frame(struct xdp_md *ctx)
{
	struct bench_config *config;

	if (!make_frame(ctx, &config))
		bpf_tail_call(ctx, &bench_frame_target, config->target);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int bench_empty_frame(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* Sends the frames, for live runs: each really leaves by the interface. */
SEC("xdp.frags")
int bench_send(struct xdp_md *ctx)
{
	struct bench_config *config;

	return make_frame(ctx, &config) ? XDP_ABORTED : bpf_redirect(config->send_to, 0);
}

static __always_inline void arrived(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&bench_arrived, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
}

SEC("xdp.frags")
int bench_sink_frame(struct xdp_md *ctx)
{
	arrived();
	return XDP_DROP;
}

SEC("tc")
int bench_sink(struct __sk_buff *skb)
{
	arrived();
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
