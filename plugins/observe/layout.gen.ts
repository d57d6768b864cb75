// Generated from the C headers by scripts/generate-layout.mjs. Do not edit: run `npm run layout`.
import { type Codec, array, be16, bytes, ipAddress, u16, u32, u64, u8, struct } from '@loxilb/sdk';

/** C: enum ct_tcp_state */
export const CtTcpState = {
  CT_TCP_CLOSED: 0,
  CT_TCP_SYN_SENT: 1,
  CT_TCP_SYN_ACK: 2,
  CT_TCP_EST: 3,
  CT_TCP_FINI: 4,
  CT_TCP_CLOSED_WAIT: 5,
  CT_TCP_ERR: 6,
} as const;

/** C: enum ct_udp_state */
export const CtUdpState = {
  CT_UDP_CLOSED: 0,
  CT_UDP_UNI: 1,
  CT_UDP_EST: 2,
} as const;

/** C: enum ct_icmp_state */
export const CtIcmpState = {
  CT_ICMP_CLOSED: 0,
  CT_ICMP_REQ_SENT: 1,
  CT_ICMP_BIDIR: 2,
  CT_ICMP_UNREACHABLE: 3,
  CT_ICMP_TTL_EXCEEDED: 4,
  CT_ICMP_REDIRECT: 5,
} as const;

/** C: enum ct_sctp_state */
export const CtSctpState = {
  CT_SCTP_CLOSED: 0,
  CT_SCTP_INIT: 1,
  CT_SCTP_INIT_ACK: 2,
  CT_SCTP_COOKIE_ECHO: 3,
  CT_SCTP_COOKIE_ECHO_RESP: 4,
  CT_SCTP_PRE_EST: 5,
  CT_SCTP_EST: 6,
  CT_SCTP_SHUT: 7,
  CT_SCTP_SHUT_ACK: 8,
  CT_SCTP_SHUT_COMPLETE: 9,
  CT_SCTP_ABORT: 10,
  CT_SCTP_ERR: 11,
} as const;

/** C: enum ct_nat */
export const CtNat = {
  CT_NAT_DNAT: 0,
  CT_NAT_FULL: 1,
  CT_NAT_HAIRPIN: 2,
  CT_NAT_DSR: 3,
} as const;

/** C: enum ct_special */
export const CtSpecial = {
  CT_SPECIAL_DSR: 1,
  CT_SPECIAL_TUNNEL: 2,
  CT_SPECIAL_FAMILY: 4,
  CT_SPECIAL_PPV2: 8,
  CT_SPECIAL_SCTP: 16,
  CT_SPECIAL_FORCED: 32,
} as const;

/** C: enum ct_ppv2 */
export const CtPpv2 = {
  CT_PPV2_SENT: 1,
  CT_PPV2_FOLLOWED: 2,
  CT_PPV2_ACKED: 4,
  CT_PPV2_NO_ROOM: 8,
  CT_PPV2_TWIN: 16,
  CT_PPV2_REFUSED: 32,
} as const;

/** C: enum ct_flags */
export const CtFlags = {
  CT_REPLY: 1,
  CT_FROM_LOCAL: 2,
  CT_FIN_SEEN: 4,
  CT_PENDING: 8,
  CT_EVICTABLE: 16,
  CT_ONE_WAY: 32,
  CT_PATH: 64,
  CT_IDLE_TIMER: 128,
} as const;

/** C: enum ct_way */
export const CtWay = {
  CT_WAY_UNKNOWN: 0,
  CT_WAY_REDIRECT: 1,
  CT_WAY_PEER: 2,
  CT_WAY_NEIGH: 3,
  CT_WAY_STACK: 4,
  CT_WAY_LOCAL: 5,
  CT_WAY_LOOPBACK: 6,
} as const;

/** C: enum ct_new_use */
export const CtNewUse = {
  CT_NEW_USED: 0,
  CT_NEW_CHECKED: 1,
  CT_NEW_EMPTY: 2,
} as const;

/** C: enum ct_reset_reason */
export const CtResetReason = {
  CT_RESET_IDLE: 1,
  CT_RESET_CUT: 2,
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

/** C: struct ct_key */
export interface CtKey {
  saddr: string;
  daddr: string;
  sport: number;
  dport: number;
  proto: number;
  zone: number;
}
export const ctKey: Codec<CtKey> = struct(
  {
    saddr: ipAddress,
    daddr: ipAddress,
    sport: be16,
    dport: be16,
    proto: u8,
    zone: u16,
  },
  {
    size: 40,
    offsets: {
      saddr: 0,
      daddr: 16,
      sport: 32,
      dport: 34,
      proto: 36,
      zone: 38,
    },
  },
);

/** C: struct ct_entry */
export interface CtEntry {
  packets: bigint;
  bytes: bigint;
  nsaddr: string;
  ndaddr: string;
  nsport: number;
  ndport: number;
  dmac: Uint8Array;
  smac: Uint8Array;
  oif: number;
  addrDelta: number;
  portDelta: number;
  mtu: number;
  tcpWindow: number;
  state: number;
  way: number;
  flags: number;
  nat: number;
  generation: number;
  resolved: number;
  seen: number;
  endpointId: number;
  serviceId: number;
  tcpAck: number;
  tcpWscale: number;
  special: number;
  ppv2: number;
  ppv2Tick: number;
}
export const ctEntry: Codec<CtEntry> = struct(
  {
    packets: u64,
    bytes: u64,
    nsaddr: ipAddress,
    ndaddr: ipAddress,
    nsport: be16,
    ndport: be16,
    dmac: bytes(6),
    smac: bytes(6),
    oif: u32,
    addrDelta: u16,
    portDelta: u16,
    mtu: u16,
    tcpWindow: u16,
    state: u8,
    way: u8,
    flags: u8,
    nat: u8,
    generation: u16,
    resolved: u16,
    seen: u32,
    endpointId: u32,
    serviceId: u32,
    tcpAck: u32,
    tcpWscale: u8,
    special: u8,
    ppv2: u8,
    ppv2Tick: u8,
  },
  {
    size: 104,
    offsets: {
      packets: 0,
      bytes: 8,
      nsaddr: 16,
      ndaddr: 32,
      nsport: 48,
      ndport: 50,
      dmac: 52,
      smac: 58,
      oif: 64,
      addrDelta: 68,
      portDelta: 70,
      mtu: 72,
      tcpWindow: 74,
      state: 76,
      way: 77,
      flags: 78,
      nat: 79,
      generation: 80,
      resolved: 82,
      seen: 84,
      endpointId: 88,
      serviceId: 92,
      tcpAck: 96,
      tcpWscale: 100,
      special: 101,
      ppv2: 102,
      ppv2Tick: 103,
    },
  },
);

/** C: struct ct_half_open */
export interface CtHalfOpen {
  taken: number;
  givenBack: number;
  newUse: number;
  recount: number;
  atBegin: number;
}
export const ctHalfOpen: Codec<CtHalfOpen> = struct(
  {
    taken: u32,
    givenBack: u32,
    newUse: u32,
    recount: u32,
    atBegin: u32,
  },
  {
    size: 24,
    offsets: {
      taken: 0,
      givenBack: 4,
      newUse: 8,
      recount: 12,
      atBegin: 16,
    },
  },
);

/** C: struct ct_pass */
export interface CtPass {
  seen: number;
  expired: number;
  now: number;
  closingTicks: number;
  cut: number;
  next: number;
}
export const ctPass: Codec<CtPass> = struct(
  {
    seen: u32,
    expired: u32,
    now: u32,
    closingTicks: u16,
    cut: u16,
    next: u32,
  },
  {
    size: 20,
    offsets: {
      seen: 0,
      expired: 4,
      now: 8,
      closingTicks: 12,
      cut: 14,
      next: 16,
    },
  },
);

/** C: struct ct_idle */
export interface CtIdle {
  timer: Uint8Array;
}
export const ctIdle: Codec<CtIdle> = struct(
  {
    timer: bytes(16),
  },
  {
    size: 16,
    offsets: {
      timer: 0,
    },
  },
);

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

/** C: struct ct_sctp_assoc_key */
export interface CtSctpAssocKey {
  tag: number;
  sport: number;
  dport: number;
}
export const ctSctpAssocKey: Codec<CtSctpAssocKey> = struct(
  {
    tag: u32,
    sport: be16,
    dport: be16,
  },
  {
    size: 8,
    offsets: {
      tag: 0,
      sport: 4,
      dport: 6,
    },
  },
);

/** C: struct ct_sctp_assoc */
export interface CtSctpAssoc {
  first: CtKey;
  peerTag: number;
  reply: number;
}
export const ctSctpAssoc: Codec<CtSctpAssoc> = struct(
  {
    first: ctKey,
    peerTag: u32,
    reply: u8,
  },
  {
    size: 48,
    offsets: {
      first: 0,
      peerTag: 40,
      reply: 44,
    },
  },
);

/** C: struct ct_sctp_opening */
export interface CtSctpOpening {
  key: CtSctpAssocKey;
  first: CtKey;
  reply: number;
}
export const ctSctpOpening: Codec<CtSctpOpening> = struct(
  {
    key: ctSctpAssocKey,
    first: ctKey,
    reply: u32,
  },
  {
    size: 56,
    offsets: {
      key: 0,
      first: 8,
      reply: 48,
    },
  },
);

/** C: struct ct_sctp_offer_key */
export interface CtSctpOfferKey {
  flow: CtKey;
  tag: number;
}
export const ctSctpOfferKey: Codec<CtSctpOfferKey> = struct(
  {
    flow: ctKey,
    tag: u32,
  },
  {
    size: 44,
    offsets: {
      flow: 0,
      tag: 40,
    },
  },
);

/** C: struct ct_sctp_offer */
export interface CtSctpOffer {
  peerTag: number;
}
export const ctSctpOffer: Codec<CtSctpOffer> = struct(
  {
    peerTag: u32,
  },
  {
    size: 4,
    offsets: {
      peerTag: 0,
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

/** C: struct ct_reset_event */
export interface CtResetEvent {
  key: CtKey;
  nsaddr: string;
  ndaddr: string;
  nsport: number;
  ndport: number;
  clientSeq: number;
  endpointSeq: number;
  serviceId: number;
  special: number;
  reason: number;
  oneWay: number;
}
export const ctResetEvent: Codec<CtResetEvent> = struct(
  {
    key: ctKey,
    nsaddr: ipAddress,
    ndaddr: ipAddress,
    nsport: be16,
    ndport: be16,
    clientSeq: u32,
    endpointSeq: u32,
    serviceId: u32,
    special: u32,
    reason: u8,
    oneWay: u8,
  },
  {
    size: 100,
    offsets: {
      key: 0,
      nsaddr: 40,
      ndaddr: 56,
      nsport: 72,
      ndport: 74,
      clientSeq: 76,
      endpointSeq: 80,
      serviceId: 84,
      special: 88,
      reason: 92,
      oneWay: 93,
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
