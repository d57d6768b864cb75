// Generated from the C headers by scripts/generate-layout.mjs. Do not edit: run `npm run layout`.
import { type Codec, be16, bytes, ipAddress, u16, u32, u64, u8, struct } from '@loxilb/sdk';

/** C: enum intf_flags */
export const IntfFlags = {
  INTF_PEER: 1,
} as const;

/** C: enum dp_observe_kinds */
export const DpObserveKinds = {
  DP_OBSERVE_DROPS: 1,
  DP_OBSERVE_PASSES: 2,
  DP_OBSERVE_EVENTS: 4,
} as const;

/** C: enum dp_step */
export const DpStep = {
  STEP_NONE: 0,
  STEP_PARSED: 1,
  STEP_FLOW_FOUND: 2,
  STEP_NO_FLOW: 3,
  STEP_FLOW_STATE: 4,
  STEP_SERVICE_FOUND: 5,
  STEP_NO_SERVICE: 6,
  STEP_NOT_OPENING: 7,
  STEP_SOURCE_REFUSED: 8,
  STEP_NO_ENDPOINT: 9,
  STEP_ENDPOINT: 10,
  STEP_FLOW_OPENED: 11,
  STEP_WAY: 12,
  STEP_SPECIAL: 13,
  STEP_TTL_SPENT: 14,
  STEP_TOO_BIG: 15,
  STEP_COUNTED: 16,
  STEP_ICMP_QUOTE: 17,
  STEP_FRAGMENT: 18,
  STEP_VERDICT: 19,
  STEP_XDP: 20,
} as const;

/** C: enum dp_xdp_step */
export const DpXdpStep = {
  XDP_STEP_SENT: 0,
  XDP_STEP_DEVICE: 1,
  XDP_STEP_PARSE: 2,
  XDP_STEP_NO_FLOW: 3,
  XDP_STEP_STATE: 4,
  XDP_STEP_WAY: 5,
  XDP_STEP_SPECIAL: 6,
  XDP_STEP_OUT: 7,
  XDP_STEP_REWRITE: 8,
} as const;

/** C: enum dp_xdp_flags */
export const DpXdpFlags = {
  DP_XDP_IN: 1,
  DP_XDP_OUT: 2,
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
  DROP_SOURCE: 9,
  DROP_NOT_ON_LINK: 10,
  DROP_TUNNEL: 11,
  DROP_FAMILY: 12,
  DROP_FAMILY_FRAGMENT: 13,
  DROP_FAMILY_GSO: 14,
  DROP_FRAGMENT: 15,
  DROP_PPV2: 16,
  DROP_SCTP: 17,
  DROP_SCTP_TAG: 18,
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
  EVENT_FLOW_RESET: 136,
  EVENT_RESET_LOST: 137,
  EVENT_FRAGMENT_HELD: 138,
  EVENT_FRAGMENT_SENT: 139,
  EVENT_PPV2_SENT: 140,
  EVENT_PPV2_RESENT: 141,
  EVENT_SCTP_PATH: 142,
  EVENT_TUNNELLED: 143,
  EVENT_FAMILY: 144,
  EVENT_FLOW_CLOSED: 145,
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

/** C: struct dp_observe */
export interface DpObserve {
  kinds: number;
  sample: number;
  serviceId: number;
  lost: number;
}
export const dpObserve: Codec<DpObserve> = struct(
  {
    kinds: u32,
    sample: u32,
    serviceId: u32,
    lost: u32,
  },
  {
    size: 16,
    offsets: {
      kinds: 0,
      sample: 4,
      serviceId: 8,
      lost: 12,
    },
  },
);

/** C: struct dp_service_drop_key */
export interface DpServiceDropKey {
  serviceId: number;
  reason: number;
}
export const dpServiceDropKey: Codec<DpServiceDropKey> = struct(
  {
    serviceId: u32,
    reason: u32,
  },
  {
    size: 8,
    offsets: {
      serviceId: 0,
      reason: 4,
    },
  },
);

/** C: struct dp_service_drop */
export interface DpServiceDrop {
  packets: bigint;
}
export const dpServiceDrop: Codec<DpServiceDrop> = struct(
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

/** C: struct dp_trace_step */
export interface DpTraceStep {
  step: number;
  a: number;
  b: number;
  c: number;
  addr: string;
}
export const dpTraceStep: Codec<DpTraceStep> = struct(
  {
    step: u32,
    a: u32,
    b: u32,
    c: u32,
    addr: ipAddress,
  },
  {
    size: 32,
    offsets: {
      step: 0,
      a: 4,
      b: 8,
      c: 12,
      addr: 16,
    },
  },
);

/** C: struct dp_xdp_device */
export interface DpXdpDevice {
  mac: Uint8Array;
  flags: number;
}
export const dpXdpDevice: Codec<DpXdpDevice> = struct(
  {
    mac: bytes(6),
    flags: u16,
  },
  {
    size: 8,
    offsets: {
      mac: 0,
      flags: 6,
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

/** C: struct dp_event */
export interface DpEvent {
  time: bigint;
  reason: number;
  serviceId: number;
  endpointId: number;
  ifindex: number;
  length: number;
  sport: number;
  dport: number;
  saddr: string;
  daddr: string;
  proto: number;
  tcpFlags: number;
}
export const dpEvent: Codec<DpEvent> = struct(
  {
    time: u64,
    reason: u32,
    serviceId: u32,
    endpointId: u32,
    ifindex: u32,
    length: u32,
    sport: be16,
    dport: be16,
    saddr: ipAddress,
    daddr: ipAddress,
    proto: u8,
    tcpFlags: u8,
  },
  {
    size: 72,
    offsets: {
      time: 0,
      reason: 8,
      serviceId: 12,
      endpointId: 16,
      ifindex: 20,
      length: 24,
      sport: 28,
      dport: 30,
      saddr: 32,
      daddr: 48,
      proto: 64,
      tcpFlags: 65,
    },
  },
);
