/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "types.h"

/*
 * What a stage says about a packet. The numbers are those of tc, so a verdict can be returned as it is.
 * VERDICT_NEXT is right for tcx and for clsact: other programs and the kernel see the packet.
 */
#define VERDICT_NEXT (-1)
#define VERDICT_DROP TC_ACT_SHOT
/* Not a tc number: go on with the next stage. */
#define VERDICT_CONTINUE 1000
/* Nor this: answer that nobody is there. */
#define VERDICT_REFUSE 1001
/* Nor this: the packet may be of an association that is known by another path. */
#define VERDICT_PATH 1002

#define LOOPBACK_IFINDEX 1
