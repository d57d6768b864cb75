// Generated from the C headers by scripts/generate-layout.mjs. Do not edit: run `npm run layout`.
import { type Codec, array, be16, ipAddress, u16, u32, u64, u8, struct } from '@loxilb/sdk';

/** C: enum lb_select */
export const LbSelect = {
  LB_SELECT_RR: 0,
  LB_SELECT_HASH: 1,
  LB_SELECT_PRIORITY: 2,
  LB_SELECT_PERSIST: 3,
  LB_SELECT_LC: 4,
} as const;

/** C: enum lb_mode */
export const LbMode = {
  LB_MODE_DEFAULT: 0,
  LB_MODE_ONEARM: 1,
  LB_MODE_FULLNAT: 2,
  LB_MODE_DSR: 3,
  LB_MODE_HOSTONEARM: 5,
} as const;

/** C: enum lb_service_flags */
export const LbServiceFlags = {
  LB_SERVICE_SOURCES: 1,
  LB_SERVICE_PPV2: 2,
  LB_SERVICE_MULTIHOME: 4,
} as const;

/** C: enum lb_control_flags */
export const LbControlFlags = {
  LB_HAS_RANGES: 1,
} as const;

/** C: enum lb_endpoint_flags */
export const LbEndpointFlags = {
  LB_EP_TUNNEL: 1,
  LB_EP_PORT_SHIFT: 2,
  LB_EP_CUT: 4,
  LB_EP_RESET: 8,
} as const;

/** C: struct lb_service_key */
export interface LbServiceKey {
  addr: string;
  port: number;
  proto: number;
  mark: number;
}
export const lbServiceKey: Codec<LbServiceKey> = struct(
  {
    addr: ipAddress,
    port: be16,
    proto: u8,
    mark: u32,
  },
  {
    size: 24,
    offsets: {
      addr: 0,
      port: 16,
      proto: 18,
      mark: 20,
    },
  },
);

/** C: struct lb_service */
export interface LbService {
  serviceId: number;
  slotBase: number;
  slotCount: number;
  affinityTicks: number;
  select: number;
  mode: number;
  flags: number;
  port: number;
}
export const lbService: Codec<LbService> = struct(
  {
    serviceId: u32,
    slotBase: u32,
    slotCount: u32,
    affinityTicks: u32,
    select: u8,
    mode: u8,
    flags: u16,
    port: be16,
  },
  {
    size: 24,
    offsets: {
      serviceId: 0,
      slotBase: 4,
      slotCount: 8,
      affinityTicks: 12,
      select: 16,
      mode: 17,
      flags: 18,
      port: 20,
    },
  },
);

/** C: struct lb_range_key */
export interface LbRangeKey {
  prefixlen: number;
  mark: number;
  addr: string;
  proto: number;
  port: number;
}
export const lbRangeKey: Codec<LbRangeKey> = struct(
  {
    prefixlen: u32,
    mark: u32,
    addr: ipAddress,
    proto: u8,
    port: be16,
  },
  {
    size: 28,
    offsets: {
      prefixlen: 0,
      mark: 4,
      addr: 8,
      proto: 24,
      port: 26,
    },
  },
);

/** C: struct lb_control */
export interface LbControl {
  flags: number;
}
export const lbControl: Codec<LbControl> = struct(
  {
    flags: u32,
  },
  {
    size: 4,
    offsets: {
      flags: 0,
    },
  },
);

/** C: struct lb_address */
export interface LbAddress {
  uses: number;
}
export const lbAddress: Codec<LbAddress> = struct(
  {
    uses: u32,
  },
  {
    size: 4,
    offsets: {
      uses: 0,
    },
  },
);

/** C: struct lb_tunnel_mtu */
export interface LbTunnelMtu {
  mtu: number;
  seen: number;
}
export const lbTunnelMtu: Codec<LbTunnelMtu> = struct(
  {
    mtu: u32,
    seen: u32,
  },
  {
    size: 8,
    offsets: {
      mtu: 0,
      seen: 4,
    },
  },
);

/** C: struct lb_source_key */
export interface LbSourceKey {
  prefixlen: number;
  serviceId: number;
  addr: string;
}
export const lbSourceKey: Codec<LbSourceKey> = struct(
  {
    prefixlen: u32,
    serviceId: u32,
    addr: ipAddress,
  },
  {
    size: 24,
    offsets: {
      prefixlen: 0,
      serviceId: 4,
      addr: 8,
    },
  },
);

/** C: struct lb_source */
export interface LbSource {
  allow: number;
}
export const lbSource: Codec<LbSource> = struct(
  {
    allow: u32,
  },
  {
    size: 4,
    offsets: {
      allow: 0,
    },
  },
);

/** C: struct lb_sctp_vips */
export interface LbSctpVips {
  count: number;
  addr: string[];
}
export const lbSctpVips: Codec<LbSctpVips> = struct(
  {
    count: u32,
    addr: array(ipAddress, 8),
  },
  {
    size: 144,
    offsets: {
      count: 0,
      addr: 16,
    },
  },
);

/** C: struct lb_service_state */
export interface LbServiceState {
  cursor: number;
  idleTicks: number;
  alive: number;
  reset: number;
}
export const lbServiceState: Codec<LbServiceState> = struct(
  {
    cursor: u32,
    idleTicks: u32,
    alive: u32,
    reset: u32,
  },
  {
    size: 16,
    offsets: {
      cursor: 0,
      idleTicks: 4,
      alive: 8,
      reset: 12,
    },
  },
);

/** C: struct lb_slot */
export interface LbSlot {
  endpointId: number;
}
export const lbSlot: Codec<LbSlot> = struct(
  {
    endpointId: u32,
  },
  {
    size: 4,
    offsets: {
      endpointId: 0,
    },
  },
);

/** C: struct lb_endpoint */
export interface LbEndpoint {
  addr: string;
  source: string;
  self: string;
  port: number;
  active: number;
  flags: number;
  serviceId: number;
  weight: number;
  ports: number;
}
export const lbEndpoint: Codec<LbEndpoint> = struct(
  {
    addr: ipAddress,
    source: ipAddress,
    self: ipAddress,
    port: be16,
    active: u8,
    flags: u8,
    serviceId: u32,
    weight: u32,
    ports: u16,
  },
  {
    size: 64,
    offsets: {
      addr: 0,
      source: 16,
      self: 32,
      port: 48,
      active: 50,
      flags: 51,
      serviceId: 52,
      weight: 56,
      ports: 60,
    },
  },
);

/** C: struct lb_endpoint_flows */
export interface LbEndpointFlows {
  active: number;
  pending: number;
  recount: number;
}
export const lbEndpointFlows: Codec<LbEndpointFlows> = struct(
  {
    active: u32,
    pending: u32,
    recount: u32,
  },
  {
    size: 16,
    offsets: {
      active: 0,
      pending: 4,
      recount: 8,
    },
  },
);

/** C: struct lb_endpoint_stats */
export interface LbEndpointStats {
  packets: bigint;
  bytes: bigint;
  flows: bigint;
}
export const lbEndpointStats: Codec<LbEndpointStats> = struct(
  {
    packets: u64,
    bytes: u64,
    flows: u64,
  },
  {
    size: 24,
    offsets: {
      packets: 0,
      bytes: 8,
      flows: 16,
    },
  },
);

/** C: struct lb_affinity_key */
export interface LbAffinityKey {
  client: string;
  serviceId: number;
}
export const lbAffinityKey: Codec<LbAffinityKey> = struct(
  {
    client: ipAddress,
    serviceId: u32,
  },
  {
    size: 20,
    offsets: {
      client: 0,
      serviceId: 16,
    },
  },
);

/** C: struct lb_affinity */
export interface LbAffinity {
  endpointId: number;
  seen: number;
}
export const lbAffinity: Codec<LbAffinity> = struct(
  {
    endpointId: u32,
    seen: u32,
  },
  {
    size: 8,
    offsets: {
      endpointId: 0,
      seen: 4,
    },
  },
);

/** C: struct lb_recount_args */
export interface LbRecountArgs {
  from: number;
  to: number;
}
export const lbRecountArgs: Codec<LbRecountArgs> = struct(
  {
    from: u32,
    to: u32,
  },
  {
    size: 8,
    offsets: {
      from: 0,
      to: 4,
    },
  },
);
