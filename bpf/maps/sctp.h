/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "conntrack.h"

/*
 * Associations of SCTP. Each side of one has chosen a tag that all packets to it carry, whatever addresses they go
 * between (RFC 9260 8.5): by it and the ports a packet on a path nobody has seen before is known.
 */

/* A packet as it arrives. */
struct ct_sctp_assoc_key {
	__u32 tag; /* verification tag, host byte order */
	__be16 sport;
	__be16 dport;
};

struct ct_sctp_assoc {
	struct ct_key first; /* the client's direction of the flow the association began with */
	__u32 peer_tag;	     /* of packets the other way */
	__u8 reply;	     /* such packets come from the endpoint */
	__u8 pad[3];
};

/*
 * Established associations, one entry for each direction: they end with the flow they began with. One that is missing
 * is put back by the next heartbeat.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ct_sctp_assoc_key);
	__type(value, struct ct_sctp_assoc);
} ct_sctp_assoc SEC(".maps");

/*
 * The same of handshakes that are not through: sides with several addresses may answer from another than the one they
 * were spoken to. Each has one place, by a hash of its key, and who comes later takes it: a handshake that is forgotten
 * begins again (RFC 9260 5.1.4, T1-init), and any other table would take half as long as all else a new flow needs.
 *
 * Two that are written at once may be mixed up. That leads to no flow, or to one with another tag, which lets nothing in.
 */
struct ct_sctp_opening {
	struct ct_sctp_assoc_key key;
	struct ct_key first; /* the client's direction of its flow */
	__u32 reply;	     /* such packets come from the endpoint */
	__u32 pad;
};

#define CT_SCTP_OPENING_BITS 14

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << CT_SCTP_OPENING_BITS);
	__type(key, __u32);
	__type(value, struct ct_sctp_opening);
} ct_sctp_begun SEC(".maps");

/*
 * Tags a flow may have soon: somebody begins anew with a peer that may still have the old association (RFC 9260 5.2).
 * The old tags are good until the handshake is through.
 */
struct ct_sctp_offer_key {
	struct ct_key flow; /* the direction whose packets carry it */
	__u32 tag;
};

struct ct_sctp_offer {
	__u32 peer_tag; /* of packets the other way, 0: not known yet */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct ct_sctp_offer_key);
	__type(value, struct ct_sctp_offer);
} ct_sctp_offer SEC(".maps");
