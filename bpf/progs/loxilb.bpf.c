/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet path. An overlay on the kernel: what is not ours goes on untouched.
 *
 *   parse -> flow lookup -> [established: advance state] -> translate and send
 *                        -> [none: service -> endpoint -> both directions compiled]
 */
#include "../include/types.h"
#include "../include/config.h"
#include "../include/counters.h"
#include "../include/parse.h"
#include "../include/verdict.h"
#include "../maps/conntrack.h"
#include "../maps/dataplane.h"
#include "../maps/lb.h"
#include "../stages/conntrack.h"
#include "../stages/expire.h"
#include "../stages/forward.h"
#include "../stages/fragment.h"
#include "../stages/icmp_error.h"
#include "../stages/lb.h"
#include "../stages/reply.h"
#include "../stages/xdp.h"

/* The packet's flow, opened if need be. NULL: `verdict` says what to do with the packet. */
static __always_inline struct ct_entry *find_flow(struct __sk_buff *skb, struct pkt *p, int *verdict)
{
	struct ct_entry *entry = ct_lookup(&p->key);

	/* A part of a packet does not open or change a flow: its first part has. */
	if (unlikely(p->fragment == FRAGMENT_LATER)) {
		*verdict = VERDICT_NEXT;
		return entry;
	}
	if (likely(entry)) {
		__u8 before = entry->state;

		step_with(STEP_FLOW_FOUND, before, entry->flags, entry->service_id, &entry->ndaddr);
		/* Answers count as the client does from here on. */
		if (unlikely(entry->special & CT_SPECIAL_PPV2) && entry->flags & CT_REPLY) {
			*verdict = ppv2_normalize(skb, p, entry);
			if (*verdict != VERDICT_CONTINUE)
				return NULL;
		}
		entry = ct_advance(skb, p, entry);
		if (cfg_trace && entry)
			step(STEP_FLOW_STATE, before, entry->state, 0);
	} else {
		step(STEP_NO_FLOW, 0, 0, 0);
	}
	if (likely(entry))
		return entry;
	*verdict = cfg_lb ? lb_open_flow(skb, p) : VERDICT_NEXT;
	if (*verdict == VERDICT_REFUSE)
		*verdict = reply_refused(skb, p);
	if (*verdict == VERDICT_PATH)
		return sctp_find_path(skb, p, verdict);
	if (*verdict != VERDICT_CONTINUE)
		return NULL;
	*verdict = VERDICT_DROP;
	return ct_lookup(&p->key);
}

static __always_inline int process(struct __sk_buff *skb, const bool egress)
{
	struct pkt p = {};
	struct ct_entry *entry;
	int verdict;

	verdict = parse(skb, &p);
	step_with(STEP_PARSED, verdict, p.key.proto, p.key.proto == IPPROTO_TCP ? p.tcp_flags : p.icmp_type,
		  &p.key.saddr);
	switch (verdict) {
	case PARSE_FLOW:
		break;
	case PARSE_FRAGMENT:
		verdict = frag_arrive(skb, &p, egress);
		if (verdict != VERDICT_CONTINUE)
			return verdict;
		break;
	case PARSE_ICMP_ERROR:
		return stage_icmp_error(skb, &p, egress);
	case PARSE_TRUNCATED:
		report(&p, PASS_TRUNCATED, 0, 0, skb->ifindex);
		return VERDICT_NEXT;
	case PARSE_OPTIONS:
		report(&p, PASS_IP_OPTIONS, 0, 0, skb->ifindex);
		return VERDICT_NEXT;
	default:
		return VERDICT_NEXT;
	}
	entry = find_flow(skb, &p, &verdict);
	if (unlikely(p.fragment == FRAGMENT_FIRST))
		frag_remember(&p, entry ? FRAG_FLOW : FRAG_FOREIGN, skb->ifindex);
	return likely(entry) ? forward(skb, &p, entry, egress) : verdict;
}

static __always_inline int decided(int verdict)
{
	step(STEP_VERDICT, verdict, 0, 0);
	return verdict;
}

SEC("tc")
int tc_ingress(struct __sk_buff *skb)
{
	/* For another host, for all hosts, or for a VLAN device above: not for us to route. */
	if (!cfg_conntrack || skb->pkt_type != 0 || skb->vlan_present)
		return VERDICT_NEXT;
	return decided(process(skb, false));
}

/* The driver's fast path for what tc_ingress would do the same way. */
static __always_inline int process_frame(struct xdp_md *ctx)
{
	struct dp_xdp_device *device = xdp_device(ctx->ingress_ifindex, DP_XDP_IN);
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct ct_entry *entry;
	struct pkt p = {};

	if (!cfg_conntrack || !device || (void *)(eth + 1) > end || !is_for_device(eth, device))
		return xdp_pass(XDP_STEP_DEVICE);
	if (parse_protocol(NULL, &p, data, end, bpf_xdp_get_buff_len(ctx), *(__be16 *)(data + 12)) != PARSE_FLOW)
		return xdp_pass(XDP_STEP_PARSE);
	entry = bpf_map_lookup_elem(&ct_flow, &p.key);
	return entry ? xdp_forward(ctx, &p, entry) : xdp_pass(XDP_STEP_NO_FLOW);
}

/* Loaded only where it is attached. */
SEC("xdp.frags")
int xdp_ingress(struct xdp_md *ctx)
{
	return process_frame(ctx);
}

/*
 * The same for generic mode, which forgets where a frame begins when the program takes frames in several buffers (seen
 * in 6.18): tc would then look for the Ethernet header in the wrong place.
 */
SEC("xdp")
int xdp_generic(struct xdp_md *ctx)
{
	return process_frame(ctx);
}

/* Only what begins on this machine: answers of local endpoints, and local clients whose VIP is not on lo. */
SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	if (!cfg_conntrack || skb->ingress_ifindex || skb->ifindex == LOOPBACK_IFINDEX)
		return VERDICT_NEXT;
	return decided(process(skb, true));
}

SEC("iter/bpf_map_elem")
int ct_walk(struct bpf_iter__bpf_map_elem *ctx)
{
	return walk_flow(ctx, 0);
}

SEC("iter/bpf_map_elem")
int ct_walk_new(struct bpf_iter__bpf_map_elem *ctx)
{
	return walk_flow(ctx, 1);
}

/* Before a walk: what comes into ct_new from here on is known to the end of the pass. */
SEC("syscall")
int ct_pass_begin(void *args)
{
	struct ct_half_open *count = half_open();

	if (count) {
		count->recount = 0;
		count->at_begin = count->taken;
		__sync_val_compare_and_swap(&count->new_use, CT_NEW_USED, CT_NEW_CHECKED);
	}
	return 0;
}

/* The walk has met nothing in ct_new, and nothing has come since: nobody need look there. */
static __always_inline void retire_new(struct ct_half_open *count)
{
	__u32 fresh = 1;
	struct ct_pass *pass = bpf_map_lookup_elem(&ct_pass, &fresh);

	if (pass && pass->seen == pass->expired)
		__sync_val_compare_and_swap(&count->new_use, CT_NEW_CHECKED, CT_NEW_EMPTY);
}

/*
 * There cannot be more than the walk has met and have come since it began; those that came in behind it are not met. A
 * flow whose place was given back twice makes it less than none.
 */
static __always_inline void recount_half_open(struct ct_half_open *count)
{
	__u32 taken = count->taken;
	__u32 most = count->recount + (taken - count->at_begin);

	if (taken - count->given_back > most)
		count->given_back = taken - most;
}

/* Endpoint ids [from, to), at most LB_RECOUNT_MAX of them. */
struct lb_recount_args {
	__u32 from;
	__u32 to;
};

#define LB_RECOUNT_MAX 4096

/* After a walk over both tables: the flows it found are the pending ones, whatever was evicted meanwhile. */
SEC("syscall")
int lb_recount(struct lb_recount_args *args)
{
	__u32 i, id = args->from, to = args->to;
	struct ct_half_open *count = half_open();

	if (!id && count) {
		recount_half_open(count);
		retire_new(count);
	}

	for (i = 0; i < LB_RECOUNT_MAX; i++, id++) {
		struct lb_endpoint_flows *flows;

		if (id >= to)
			break;
		flows = bpf_map_lookup_elem(&lb_ep_flows, &id);
		if (!flows)
			break;
		flows->pending = flows->recount;
		flows->recount = 0;
	}
	/* Where it stopped: the caller goes on from there until nothing moves. */
	args->from = id;
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
