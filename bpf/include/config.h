/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "types.h"

/* What is on when nobody says otherwise: features of a kernel of this version (601 is 6.1). The daemon always does. */
#ifndef KERNEL
#define KERNEL 9999
#endif

/*
 * Options of the packet path, set by the daemon before the programs are loaded. They are constants to the verifier,
 * which removes the code of whatever is off.
 */
const volatile bool cfg_conntrack = true; /* flow table; everything stateful needs it */
const volatile bool cfg_lb = true;	  /* services */
const volatile bool cfg_ipv6 = true;	  /* IPv6 at all */
/* The kernel knows BPF_F_IPV6 of bpf_l4_csum_replace (6.16 and stable backports). */
const volatile bool cfg_csum_ipv6_flag = false;
/* Flows not yet confirmed that may be in ct_flow at a time; what is beyond begins in ct_new. */
const volatile __u32 cfg_half_open_flows = 16384;
/* Programs may look at the kernel's own packet structure (bpf_cast_to_kern_ctx, 6.2). */
const volatile bool cfg_kern_ctx = KERNEL >= 602;
/* The kernel has bpf_loop (5.17). */
const volatile bool cfg_bpf_loop = KERNEL >= 517;
/* Age, in units of 256 ticks, at which the cached way out of a flow is looked up again although nothing has changed. */
const volatile __u32 cfg_resolve_age = 2 * TICKS_PER_SECOND / 256;
/* Tell every decision: only in the private copy that `trace` runs a packet through. */
const volatile bool cfg_trace = false;
