// Generated from the C headers by scripts/generate-layout.mjs. Do not edit: run `npm run layout`.
import { type Codec, be16, bytes, ipAddress, u16, u32, u64, u8, struct } from '@loxilb/sdk';

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
