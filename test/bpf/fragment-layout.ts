/** Codecs of bpf/maps/fragment.h, which no part of the daemon reads; layout.test.ts compares them with the object. */
import { be16, bytes, type Codec, type CodecValue, ipAddress, struct, u8, u32 } from '@loxilb/sdk';

/** `id` as on the wire: IPv4 has two bytes of it and two of zero. */
const fragKeyFields = { saddr: ipAddress, daddr: ipAddress, id: bytes(4), proto: u8 };

export const fragKey = struct(fragKeyFields, { size: 40, offsets: { saddr: 0, daddr: 16, id: 32, proto: 36 } });
export type FragKey = CodecValue<typeof fragKey>;

export const fragFlow = struct(
  { sport: be16, dport: be16, seen: u32, held: u32, verdict: u8 },
  { size: 16, offsets: { sport: 0, dport: 2, seen: 4, held: 8, verdict: 12 } },
);

export const fragHeldKey = struct(
  { packet: fragKey as Codec<FragKey>, index: u32 },
  { size: 44, offsets: { packet: 0, index: 40 } },
);

export const FRAME_MAX = 2032;

export const fragHeld = struct(
  { length: u32, seen: u32, frame: bytes(FRAME_MAX) },
  { size: 8 + FRAME_MAX, offsets: { length: 0, seen: 4, frame: 8 } },
);

export const FragVerdict = { FRAG_WAITING: 0, FRAG_FLOW: 1, FRAG_FOREIGN: 2 } as const;
