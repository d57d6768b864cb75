/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/types.h"

/* A packet's tuple as it arrives. One entry per direction. For ICMP echo the identifier is both ports. */
struct ct_key {
	struct ip_addr saddr;
	struct ip_addr daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 pad;
	__u16 zone;
};

enum ct_tcp_state {
	CT_TCP_CLOSED,
	CT_TCP_SYN_SENT,
	CT_TCP_SYN_ACK,
	CT_TCP_EST,
	CT_TCP_FINI,
	CT_TCP_CLOSED_WAIT,
	CT_TCP_ERR,
};

enum ct_udp_state {
	CT_UDP_CLOSED,
	CT_UDP_UNI,
	CT_UDP_EST,
};

enum ct_icmp_state {
	CT_ICMP_CLOSED,
	CT_ICMP_REQ_SENT,
	CT_ICMP_BIDIR,
	CT_ICMP_UNREACHABLE,
	CT_ICMP_TTL_EXCEEDED,
	CT_ICMP_REDIRECT,
};

/* By the chunk that took the association there; a flow is one of its paths. */
enum ct_sctp_state {
	CT_SCTP_CLOSED,
	CT_SCTP_INIT,
	CT_SCTP_INIT_ACK,
	CT_SCTP_COOKIE_ECHO,
	CT_SCTP_COOKIE_ECHO_RESP,
	CT_SCTP_PRE_EST,
	CT_SCTP_EST,
	CT_SCTP_SHUT,
	CT_SCTP_SHUT_ACK,
	CT_SCTP_SHUT_COMPLETE,
	CT_SCTP_ABORT,
	CT_SCTP_ERR,
};

enum ct_nat {
	CT_NAT_DNAT,	/* destination only */
	CT_NAT_FULL,	/* source too: onearm, fullnat */
	CT_NAT_HAIRPIN, /* the client is the endpoint: it sees the service as its peer */
	CT_NAT_DSR,	/* packets go to the endpoint as they are, answers do not come through here */
};

/*
 * What a packet of the flow needs besides new addresses, ports and MAC addresses. None of it is on the fast path: an
 * entry with any of these goes another way (stages/special.h).
 */
enum ct_special {
	CT_SPECIAL_DSR = 1 << 0,    /* addresses and ports stay: nsaddr is the tunnel's source, ndaddr the endpoint */
	CT_SPECIAL_TUNNEL = 1 << 1, /* with DSR: the packet goes inside another from nsaddr to ndaddr */
	CT_SPECIAL_FAMILY = 1 << 2, /* IPv6 becomes IPv4 or the other way round */
	CT_SPECIAL_PPV2 = 1 << 3,   /* the client's bytes begin with a header of ours: sequence numbers are shifted */
	CT_SPECIAL_SCTP = 1 << 4,   /* the checksum is a CRC, addresses are in chunks too */
	CT_SPECIAL_FORCED = 1 << 5, /* with DSR: in a tunnel wherever the endpoint is */
};

/*
 * What became of the header of a flow with CT_SPECIAL_PPV2. Sequence numbers of both entries are as the client counts, so
 * until CT_PPV2_ACKED the last acknowledgment of the answers' entry is where the header belongs: behind the client's SYN.
 */
enum ct_ppv2 {
	CT_PPV2_SENT = 1 << 0,	   /* the client's entry: it was put in */
	CT_PPV2_FOLLOWED = 1 << 1, /* the client's entry: its first bytes have gone after it */
	CT_PPV2_ACKED = 1 << 2,	   /* the endpoint has it: the answers' entry knows first */
	CT_PPV2_NO_ROOM = 1 << 3,  /* the answers' entry: it does not fit the endpoint's window yet */
	CT_PPV2_TWIN = 1 << 4,	   /* the client's entry: the copy of a reset is on its way round */
	CT_PPV2_REFUSED = 1 << 5,  /* the answers' entry: a reset was taken for a sign that it was lost */
};

enum ct_flags {
	CT_REPLY = 1 << 0,	/* this entry is the way back */
	CT_FROM_LOCAL = 1 << 1, /* the flow began on this machine, through lo */
	CT_FIN_SEEN = 1 << 2,	/* this direction has sent FIN */
	CT_PENDING = 1 << 3,	/* not confirmed by both sides yet */
	CT_EVICTABLE = 1 << 4,	/* lives in ct_new */
	CT_ONE_WAY = 1 << 5,	/* there is no entry for the other direction */
	CT_PATH = 1 << 6,	/* another path of an SCTP association: its first flow is the one that counts */
	CT_IDLE_TIMER = 1 << 7, /* ct_idle has a timer for the flow */
};

/* How packets of a flow leave. */
enum ct_way {
	CT_WAY_UNKNOWN,	 /* not looked up yet */
	CT_WAY_REDIRECT, /* cached MAC addresses, straight to the interface */
	CT_WAY_PEER,	 /* into the veth peer's namespace */
	CT_WAY_NEIGH,	 /* the kernel resolves the neighbour */
	CT_WAY_STACK,	 /* translated, then the kernel's own routing */
	CT_WAY_LOCAL,	 /* to a process of this machine */
	CT_WAY_LOOPBACK, /* the kernel's own routing or a process of this machine, from an address of this machine */
};

/*
 * The compiled flow: all that later packets need. The kernel puts 48 bytes before the key, so that key and entry end
 * with the third cache line of an element.
 */
struct ct_entry {
	__u64 packets;
	__u64 bytes; /* L3 length */
	struct ip_addr nsaddr;
	struct ip_addr ndaddr;
	__be16 nsport;
	__be16 ndport;
	__u8 dmac[6];
	__u8 smac[6];
	__u32 oif;
	/* One's complement differences, new minus old (RFC 1624). */
	__u16 addr_delta; /* addresses: IPv4 header and pseudo header */
	__u16 port_delta; /* ports or identifier */
	__u16 mtu;	  /* of the way out, 65535 = that or more */
	__u16 tcp_window; /* last window this direction offered, before scaling */
	__u8 state;
	__u8 way;
	__u8 flags;
	__u8 nat;
	__u16 generation; /* low bits of dp_control.generation when the way out was looked up */
	__u16 resolved;	  /* when it was, in units of 2^RESOLVE_SHIFT ticks */
	__u32 seen;	  /* ticks of the last packet */
	__u32 endpoint_id;
	__u32 service_id;
	/*
	 * Host byte order. During the handshake: the sequence number after this direction's own SYN. Afterwards: the last
	 * acknowledgment it sent.
	 */
	__u32 tcp_ack;
	__u8 tcp_wscale; /* shift of the windows this direction offers, 0 when not agreed */
	__u8 special;	 /* enum ct_special */
	__u8 ppv2;	 /* enum ct_ppv2 */
	__u8 ppv2_tick;	 /* with CT_SPECIAL_PPV2: when the header was last repeated, in odd units of 16 ticks */
};

#define RESOLVE_SHIFT 8

_Static_assert(sizeof(struct ct_key) == 40, "key is hashed whole: no padding");
_Static_assert(__builtin_offsetof(struct ct_entry, dmac) % 4 == 0 &&
		       __builtin_offsetof(struct ct_entry, smac) == __builtin_offsetof(struct ct_entry, dmac) + 6,
	       "both are copied as three words");
_Static_assert(48 + sizeof(struct ct_key) + sizeof(struct ct_entry) == 192, "an element is three cache lines");

/*
 * Confirmed flows, and as many others as cfg_half_open_flows allows. Never evicted: a full table leaves new flows in
 * ct_new. Sized by the daemon.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1048576);
	__type(key, struct ct_key);
	__type(value, struct ct_entry);
} ct_flow SEC(".maps");

/*
 * Flows not yet confirmed, when there are more of them than usual: a flood of spoofed packets evicts only its own kind.
 * Sized by the daemon.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct ct_key);
	__type(value, struct ct_entry);
} ct_new SEC(".maps");

/* Whether ct_new is worth a lookup: it is empty but for floods and a full ct_flow. At first nobody knows. */
enum ct_new_use {
	CT_NEW_USED,
	CT_NEW_CHECKED, /* a pass is looking whether it still is; an insertion makes it CT_NEW_USED again */
	CT_NEW_EMPTY,
};

/* Flows of ct_flow that are not confirmed are those that took a place and have not given it back. */
struct ct_half_open {
	__u32 taken;
	__u32 given_back;
	__u32 new_use;	/* enum ct_new_use */
	__u32 recount;	/* scratch of the pass: those it has met */
	__u32 at_begin; /* `taken` when the pass began */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_half_open);
} ct_half_open SEC(".maps");

static __always_inline struct ct_half_open *half_open(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ct_half_open, &zero);
}

/* What a walk over the tables found; index 0 ct_flow, 1 ct_new. The daemon zeroes it before a pass. */
struct ct_pass {
	__u32 seen;
	__u32 expired;
	__u32 now;	     /* ticks the pass began, set by the daemon; 0: each element asks the clock */
	__u16 closing_ticks; /* how long closed TCP flows linger, set by the daemon; 0: as long as others in passing */
	__u16 cut;	     /* set by the daemon: flows of endpoints with LB_EP_CUT end too */
	__u32 next; /* ticks until the first of the entries that stay is over; the daemon begins with the most */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct ct_pass);
} ct_pass SEC(".maps");

/*
 * A TCP flow that was ended while it was open: both ends have to be told (the daemon sends the resets). Sequence
 * numbers are what each side expects next, in host byte order, as that side counts.
 */
struct ct_reset_event {
	struct ct_key key;     /* the client's packets as they arrive */
	struct ip_addr nsaddr; /* and as the endpoint sees them */
	struct ip_addr ndaddr;
	__be16 nsport;
	__be16 ndport;
	__u32 client_seq;
	__u32 endpoint_seq;
	__u32 service_id;
	__u32 special; /* of the client's entry */
	__u8 reason;   /* enum ct_reset_reason */
	__u8 one_way;  /* DSR: what the endpoint expects is not known */
	__u8 pad[6];
};

enum ct_reset_reason {
	CT_RESET_IDLE = 1,
	CT_RESET_CUT = 2,
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4194304);
} ct_reset SEC(".maps");

/*
 * Flows that are to end to the second: established ones of services with an idle time of their own. The key is that of
 * the client's direction. The timer looks whether the flow was idle all the time, and goes on for the rest otherwise.
 */
struct ct_idle {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1048576);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ct_key);
	__type(value, struct ct_idle);
} ct_idle SEC(".maps");

/* ICMP has another number in the other family; all else is the same (RFC 7915 4.1). */
static __always_inline __u8 other_family_proto(__u8 proto)
{
	return proto == IPPROTO_ICMP ? IPPROTO_ICMPV6 : proto == IPPROTO_ICMPV6 ? IPPROTO_ICMP : proto;
}

/* Key of the other direction. An entry with CT_ONE_WAY has none. */
static __always_inline void ct_reverse_key(struct ct_key *reverse, const struct ct_key *key,
					   const struct ct_entry *entry)
{
	reverse->saddr = entry->ndaddr;
	reverse->daddr = entry->nsaddr;
	reverse->sport = entry->ndport;
	reverse->dport = entry->nsport;
	reverse->proto = unlikely(entry->special & CT_SPECIAL_FAMILY) ? other_family_proto(key->proto) : key->proto;
	reverse->pad = 0;
	reverse->zone = key->zone;
}

static __always_inline struct ct_entry *ct_lookup_new(const struct ct_key *key)
{
	struct ct_half_open *count = half_open();

	return count && count->new_use != CT_NEW_EMPTY ? bpf_map_lookup_elem(&ct_new, key) : NULL;
}

static __always_inline struct ct_entry *ct_lookup(const struct ct_key *key)
{
	struct ct_entry *entry = bpf_map_lookup_elem(&ct_flow, key);

	return likely(entry) ? entry : ct_lookup_new(key);
}

/* The other direction's entry, and its key; NULL when there is none. */
static __always_inline struct ct_entry *ct_lookup_reverse(struct ct_key *reverse, const struct ct_key *key,
							  const struct ct_entry *entry)
{
	ct_reverse_key(reverse, key, entry);
	return entry->flags & CT_ONE_WAY ? NULL : ct_lookup(reverse);
}

/*
 * Linux before 6.2 takes keys of maps, and values for them, from the stack, a map or the packet. What a function that is
 * verified by itself has been given a pointer to is none of these: the following copy such keys. Functions of their own,
 * so that the copies are on nobody else's stack.
 */
static __noinline struct ct_entry *ct_find(const struct ct_key *key)
{
	struct ct_key own = *key;

	return ct_lookup(&own);
}

/* `entry` itself has to be on the stack. */
static __noinline long ct_insert(const struct ct_key *key, const struct ct_entry *entry)
{
	struct ct_key own = *key;

	if (entry->flags & CT_EVICTABLE)
		return bpf_map_update_elem(&ct_new, &own, entry, BPF_ANY);
	return bpf_map_update_elem(&ct_flow, &own, entry, BPF_ANY);
}

__noinline int ct_delete(const struct ct_key *key, __u32 evictable)
{
	struct ct_key own;

	if (!key)
		return 0;
	own = *key;
	return evictable ? bpf_map_delete_elem(&ct_new, &own) : bpf_map_delete_elem(&ct_flow, &own);
}

/* Copies an entry of ct_new to ct_flow. Not 0: there is no room, or it was evicted this moment. */
__noinline int ct_keep(const struct ct_key *key)
{
	struct ct_entry *entry;
	struct ct_key own;

	if (!key)
		return -1;
	own = *key;
	entry = bpf_map_lookup_elem(&ct_new, &own);
	return entry ? bpf_map_update_elem(&ct_flow, &own, entry, BPF_ANY) : -1;
}
