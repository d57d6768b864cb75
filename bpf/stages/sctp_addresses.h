/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "../include/crc32c.h"
#include "../include/sctp.h"
#include "../maps/lb.h"

/*
 * Addresses inside INIT and INIT ACK (RFC 9260 3.3.2.1): each side lists those it can be reached at, and the other talks
 * to all of them. They must be the service's where the side itself is hidden. The State Cookie is not looked into.
 *
 * What is there is written over, one address by one of its kind; what is left over becomes padding, what is missing is
 * put at the end. The checksum follows by what changes.
 */

/* Parameters looked at: what has more is refused, for an address might get through. */
#define SCTP_MAX_PARAMETERS 48

struct sctp_edit {
	__u32 at;     /* next parameter, from the start of the frame */
	__u32 end;    /* of the chunk, likewise */
	__u32 length; /* of the SCTP packet */
	__u32 crc;    /* the checksum as it becomes */
	__u32 used;   /* addresses of the service that are in the chunk or must not be, a bit for each */
	__u16 l4_off;
	__u8 v4; /* addresses of this family may be added */
	__u8 v6;
};

/* A parameter with an address. */
struct sctp_address {
	struct sctp_parameter parameter;
	__be32 w[4];
};

_Static_assert(sizeof(struct sctp_address) == sizeof(struct crc32c_block), "goes into the checksum at a time");

#define SCTP_NO_VIP (-1)

static __always_inline __u32 sctp_address_size(bool v4)
{
	return sizeof(struct sctp_parameter) + (v4 ? 4 : 16);
}

/* Bytes the parameter of one of the service's addresses takes; 0: it has not so many. */
__noinline int sctp_vip_size(__u32 service_id, __u32 index)
{
	struct lb_sctp_vips *vips = bpf_map_lookup_elem(&lb_sctp_vips, &service_id);

	if (!vips || index >= LB_SCTP_MAX_VIPS || index >= vips->count)
		return 0;
	return sctp_address_size(ip_is_v4(&vips->addr[index]));
}

/* Whether one of the service's addresses is this one. */
__noinline int sctp_vip_is(__u32 service_id, __u32 index, const struct ip_addr *addr)
{
	struct lb_sctp_vips *vips = bpf_map_lookup_elem(&lb_sctp_vips, &service_id);

	if (!vips || !addr || index >= LB_SCTP_MAX_VIPS || index >= vips->count)
		return 0;
	return ip_equal(&vips->addr[index], addr);
}

/* The next address of the service of this family that is not in the chunk yet, or SCTP_NO_VIP. */
__noinline int sctp_next_vip(struct sctp_edit *edit, __u32 service_id, __u32 v4)
{
	/* Looked up here: a call more would be beyond the stack. */
	struct lb_sctp_vips *vips = bpf_map_lookup_elem(&lb_sctp_vips, &service_id);
	__u32 i;

	if (!edit || !vips)
		return SCTP_NO_VIP;
	for (i = 0; i < LB_SCTP_MAX_VIPS && i < vips->count; i++) {
		if (edit->used & 1U << i || ip_is_v4(&vips->addr[i]) != !!v4)
			continue;
		edit->used |= 1U << i;
		return i;
	}
	return SCTP_NO_VIP;
}

/* Leaves out the address the packet is sent from: it need not be listed. All, when none of them is. */
static __always_inline void sctp_leave_out(struct sctp_edit *edit, const struct ip_addr *source, __u32 service_id)
{
	__u32 i, used = 0;

	for (i = 0; i < LB_SCTP_MAX_VIPS; i++)
		used |= (__u32)sctp_vip_is(service_id, i, source) << i;
	edit->used = used ? used : ~0U;
}

/* Parameter with one of the service's addresses, or SCTP_NO_VIP: padding. */
__noinline int sctp_fill(struct sctp_address *to, __u32 service_id, int index, __u32 v4)
{
	struct lb_sctp_vips *vips = bpf_map_lookup_elem(&lb_sctp_vips, &service_id);
	struct ip_addr *addr;

	if (!to)
		return 0;
	__builtin_memset(to, 0, sizeof(*to));
	to->parameter.type = bpf_htons(SCTP_PARAMETER_PAD);
	to->parameter.length = bpf_htons(sctp_address_size(v4));
	if (!vips || index < 0 || index >= LB_SCTP_MAX_VIPS)
		return 0;
	addr = &vips->addr[index];
	to->parameter.type = bpf_htons(v4 ? SCTP_PARAMETER_IPV4 : SCTP_PARAMETER_IPV6);
	if (v4) {
		to->w[0] = addr->w[3];
		return 0;
	}
	to->w[0] = addr->w[0];
	to->w[1] = addr->w[1];
	to->w[2] = addr->w[2];
	to->w[3] = addr->w[3];
	return 0;
}

static __always_inline long sctp_load_address(struct __sk_buff *skb, __u32 off, struct sctp_address *to, bool v4)
{
	__builtin_memset(to, 0, sizeof(*to));
	return v4 ? bpf_skb_load_bytes(skb, off, to, 8) : bpf_skb_load_bytes(skb, off, to, sizeof(*to));
}

static __always_inline long sctp_store_address(struct __sk_buff *skb, __u32 off, struct sctp_address *from, bool v4)
{
	return v4 ? bpf_skb_store_bytes(skb, off, from, 8, BPF_F_RECOMPUTE_CSUM)
		  : bpf_skb_store_bytes(skb, off, from, sizeof(*from), BPF_F_RECOMPUTE_CSUM);
}

/* Puts another address, or padding, in the place of one. */
__noinline int sctp_replace_address(struct __sk_buff *skb, struct sctp_edit *edit, __u32 service_id, __u32 off,
				    __u32 v4)
{
	struct sctp_address old, new;
	__u32 count, rest, i;

	if (!edit)
		return -1;
	count = sctp_address_size(v4) / 4;
	if (sctp_load_address(skb, off, &old, v4))
		return -1;
	sctp_fill(&new, service_id, sctp_next_vip(edit, service_id, v4), v4);
	if (sctp_store_address(skb, off, &new, v4))
		return -1;
	for (i = 0; i < sizeof(old) / 4; i++)
		((__u32 *)&old)[i] ^= ((__u32 *)&new)[i];
	rest = edit->length - (off - edit->l4_off) - count * 4;
	edit->crc ^= crc32c_advance(crc32c_words((struct crc32c_block *)&old, count, 0), rest);
	return 0;
}

/* Looks at the next parameter. 1: there was none, negative: the chunk is not what it says. */
__noinline int sctp_edit_parameter(struct __sk_buff *skb, struct sctp_edit *edit, __u32 service_id)
{
	struct sctp_parameter parameter;
	__u32 off, type, length;
	bool v4;

	if (!edit)
		return -1;
	off = edit->at;
	if (off + sizeof(parameter) > edit->end)
		return 1;
	if (bpf_skb_load_bytes(skb, off, &parameter, sizeof(parameter)))
		return -1;
	type = bpf_ntohs(parameter.type);
	length = bpf_ntohs(parameter.length);
	if (length < sizeof(parameter) || off + length > edit->end)
		return -1;
	edit->at = off + sctp_padded(length);
	if (type != SCTP_PARAMETER_IPV4 && type != SCTP_PARAMETER_IPV6)
		return 0;
	v4 = type == SCTP_PARAMETER_IPV4;
	if (length != sctp_address_size(v4))
		return -1;
	if (v4)
		edit->v4 = 1;
	else
		edit->v6 = 1;
	return sctp_replace_address(skb, edit, service_id, off, v4);
}

/* Bytes of the addresses that are still to be put at the end. */
__noinline int sctp_missing(const struct sctp_edit *edit, __u32 service_id)
{
	__u32 i, size = 0;

	if (!edit)
		return 0;
	for (i = 0; i < LB_SCTP_MAX_VIPS; i++) {
		__u32 one = sctp_vip_size(service_id, i);

		if (edit->used & 1U << i || !(one == sctp_address_size(true) ? edit->v4 : edit->v6))
			continue;
		size += one;
	}
	return size;
}

/* Puts the next address at the end, where room has been made. 1: there was none. */
__noinline int sctp_append_address(struct __sk_buff *skb, struct sctp_edit *edit, __u32 service_id)
{
	struct sctp_address new;
	int vip = SCTP_NO_VIP;
	bool v4 = true;
	__u32 size;

	if (!edit)
		return -1;
	if (edit->v4)
		vip = sctp_next_vip(edit, service_id, true);
	if (vip < 0 && edit->v6) {
		v4 = false;
		vip = sctp_next_vip(edit, service_id, false);
	}
	if (vip < 0)
		return 1;
	size = sctp_address_size(v4);
	sctp_fill(&new, service_id, vip, v4);
	if (sctp_store_address(skb, edit->at, &new, v4))
		return -1;
	/* The register behind the packet is the complement of its checksum. */
	edit->crc = ~(__u32)crc32c_words((struct crc32c_block *)&new, size / 4, ~edit->crc);
	edit->at += size;
	edit->length += size;
	return 0;
}

/* Makes the packet longer: what its IP header says. */
static __always_inline long sctp_grow_ip(struct __sk_buff *skb, const struct pkt *p, __u32 more)
{
	__be16 old, new;
	__u32 off = ETH_HLEN + (p->v4 ? 2 : 4);

	if (bpf_skb_load_bytes(skb, off, &old, sizeof(old)))
		return -1;
	new = bpf_htons(bpf_ntohs(old) + more);
	if (p->v4 && bpf_l3_csum_replace(skb, ETH_HLEN + 10, old, new, 2))
		return -1;
	return bpf_skb_store_bytes(skb, off, &new, sizeof(new), p->v4 ? 0 : BPF_F_RECOMPUTE_CSUM);
}

/* Puts the addresses that are missing at the end of the chunk, which is the end of the packet. */
__noinline int sctp_append(struct __sk_buff *skb, const struct pkt *p, struct sctp_edit *edit, __u32 service_id)
{
	struct sctp_address head = {};
	struct sctp_chunk *chunk = (struct sctp_chunk *)&head;
	__u32 more, length, before, i;

	if (!p || !edit)
		return -1;
	more = sctp_missing(edit, service_id);
	if (!more)
		return 0;
	/* Nothing else may be in such a packet (RFC 9260 3), and the chunk's padding is part of it. */
	if (edit->at != ETH_HLEN + p->l3_len || p->l3_len + more > 0xffff ||
	    bpf_skb_change_tail(skb, edit->at + more, 0))
		return -1;
	for (i = 0; i < LB_SCTP_MAX_VIPS; i++) {
		int result = sctp_append_address(skb, edit, service_id);

		if (result < 0)
			return -1;
		if (result)
			break;
	}
	if (bpf_skb_load_bytes(skb, edit->l4_off + sizeof(struct sctp_header), &head, sizeof(*chunk)))
		return -1;
	length = edit->length - sizeof(struct sctp_header);
	before = *(__u32 *)chunk;
	chunk->length = bpf_htons(length);
	if (bpf_skb_store_bytes(skb, edit->l4_off + sizeof(struct sctp_header), chunk, sizeof(*chunk),
				BPF_F_RECOMPUTE_CSUM))
		return -1;
	*(__u32 *)chunk ^= before;
	edit->crc ^= crc32c_advance(*(__u32 *)chunk, edit->length - sizeof(struct sctp_header));
	return sctp_grow_ip(skb, p, more);
}

/*
 * Makes the addresses of an INIT or INIT ACK those of the service, or none where this machine stands for the client
 * with another. Returns by how much the packet has become longer, or a negative number when it cannot be done.
 */
__noinline int sctp_edit_addresses(struct __sk_buff *skb, const struct pkt *p, const struct ct_entry *entry,
				   __u32 has_crc)
{
	struct sctp_edit edit = {};
	struct sctp_init init;
	__u32 i, service_id;
	__le32 check;
	int result = 0;

	if (!p || !entry || p->fragment)
		return -1;
	edit.l4_off = p->l4_off;
	edit.length = sctp_length(p);
	edit.at = p->l4_off + sizeof(struct sctp_header);
	if (edit.length < sizeof(struct sctp_header) + sizeof(init) ||
	    bpf_skb_load_bytes(skb, edit.at, &init, sizeof(init)) ||
	    bpf_skb_load_bytes(skb, p->l4_off + 8, &check, sizeof(check)))
		return -1;
	edit.end = edit.at + bpf_ntohs(init.chunk.length);
	edit.at += sizeof(init);
	edit.crc = check;
	if (edit.end < edit.at || edit.end > ETH_HLEN + p->l3_len)
		return -1;
	service_id = entry->service_id;
	edit.v4 = p->v4;
	edit.v6 = !p->v4;
	sctp_leave_out(&edit, &entry->nsaddr, service_id);
	for (i = 0; i < SCTP_MAX_PARAMETERS; i++) {
		result = sctp_edit_parameter(skb, &edit, service_id);
		if (result)
			break;
	}
	if (result != 1)
		return -1;
	/* What becomes a packet of the other family is not made longer besides. */
	if (!(entry->special & CT_SPECIAL_FAMILY) && sctp_append(skb, p, &edit, service_id))
		return -1;
	if (has_crc && bpf_skb_store_bytes(skb, p->l4_off + 8, &edit.crc, sizeof(edit.crc), BPF_F_RECOMPUTE_CSUM))
		return -1;
	return edit.length - sctp_length(p);
}
