// Generated from the C headers by scripts/generate-layout.mjs. Do not edit: run `npm run layout`.
import { type Codec, u16, u32, u64, struct } from '@loxilb/sdk';

/** C: enum intf_flags */
export const IntfFlags = {
  INTF_PEER: 1,
} as const;

/** C: enum dp_counter */
export const DpCounter = {
  DROP_NONE: 0,
  DROP_NO_ENDPOINT: 1,
  DROP_PORT_EXHAUSTED: 2,
  DROP_TTL_EXCEEDED: 3,
  DROP_TOO_BIG: 4,
  DROP_UNREACHABLE: 5,
  DROP_FLOW_INSERT: 6,
  DROP_REWRITE: 7,
  DROP_BAD_ENDPOINT: 8,
  PASS_FRAGMENT: 64,
  PASS_TRUNCATED: 65,
  PASS_NO_FLOW: 66,
  PASS_IP_OPTIONS: 67,
  EVENT_FLOW_CREATED: 128,
  EVENT_FLOW_CONFIRMED: 129,
  EVENT_FLOW_TABLE_FULL: 130,
  EVENT_PORT_TRANSLATED: 131,
  EVENT_ICMP_RELAYED: 132,
  EVENT_RST_IGNORED: 133,
  EVENT_RESOLVED: 134,
  EVENT_FLOW_EXPIRED: 135,
  DP_COUNTERS: 192,
} as const;

/** C: struct dp_control */
export interface DpControl {
  layoutVersion: number;
  generation: number;
}
export const dpControl: Codec<DpControl> = struct(
  {
    layoutVersion: u32,
    generation: u32,
  },
  {
    size: 8,
    offsets: {
      layoutVersion: 0,
      generation: 4,
    },
  },
);

/** C: struct intf_key */
export interface IntfKey {
  ifindex: number;
  ingVid: number;
}
export const intfKey: Codec<IntfKey> = struct(
  {
    ifindex: u32,
    ingVid: u16,
  },
  {
    size: 8,
    offsets: {
      ifindex: 0,
      ingVid: 4,
    },
  },
);

/** C: struct intf_value */
export interface IntfValue {
  port: number;
  zone: number;
  bd: number;
  flags: number;
}
export const intfValue: Codec<IntfValue> = struct(
  {
    port: u32,
    zone: u32,
    bd: u32,
    flags: u32,
  },
  {
    size: 16,
    offsets: {
      port: 0,
      zone: 4,
      bd: 8,
      flags: 12,
    },
  },
);

/** C: struct dp_counter_value */
export interface DpCounterValue {
  packets: bigint;
}
export const dpCounterValue: Codec<DpCounterValue> = struct(
  {
    packets: u64,
  },
  {
    size: 8,
    offsets: {
      packets: 0,
    },
  },
);
