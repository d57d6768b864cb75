/** Packets as values. Addresses are text, numbers are plain, payloads are bytes; lengths and checksums are computed. */

export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;
export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;
export const TCP = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;

/** IPv6 extension headers that this reference walks: hop-by-hop, routing, fragment, destination options. */
export const EXTENSION = { hopByHop: 0, routing: 43, fragment: 44, destination: 60 } as const;

export interface Ipv4 {
  readonly version: 4;
  readonly source: string;
  readonly destination: string;
  readonly ttl: number;
  readonly tos: number;
  readonly identification: number;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  /** In units of 8 bytes. */
  readonly fragmentOffset: number;
  /** A multiple of 4 bytes, at most 40. */
  readonly options: Uint8Array;
}

export interface Ipv6 {
  readonly version: 6;
  readonly source: string;
  readonly destination: string;
  /** The hop limit, named as in IPv4 so that both are handled alike. */
  readonly ttl: number;
  readonly trafficClass: number;
  readonly flowLabel: number;
  readonly extensions: readonly Extension[];
}

export interface Extension {
  readonly type: number;
  /** All after the first two bytes (next header, length): 6 bytes and then multiples of 8. */
  readonly body: Uint8Array;
}

export interface Tcp {
  readonly kind: 'tcp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  /** A multiple of 4 bytes, at most 40. */
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

export interface Udp {
  readonly kind: 'udp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
  /** The checksum field is zero: "not computed", legal over IPv4 only. */
  readonly unsummed: boolean;
}

export interface IcmpEcho {
  readonly kind: 'echo';
  readonly reply: boolean;
  readonly identifier: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** Any ICMP message that quotes a packet. */
export interface IcmpError {
  readonly kind: 'error';
  readonly type: number;
  readonly code: number;
  /** The 32 bits between checksum and quotation: the MTU, a pointer, or zero. */
  readonly rest: number;
  readonly quote: Uint8Array;
}

/** Chunks in order, each padded to four bytes; the CRC is computed. */
export interface Sctp {
  readonly kind: 'sctp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Verification tag. */
  readonly tag: number;
  readonly chunks: readonly Chunk[];
}

export interface Chunk {
  readonly type: number;
  readonly flags: number;
  readonly value: Uint8Array;
}

/** Anything else, also what a non-first fragment carries. */
export interface Opaque {
  readonly kind: 'opaque';
  readonly protocol: number;
  readonly payload: Uint8Array;
}

export type Ip = Ipv4 | Ipv6;
export type Transport = Tcp | Udp | IcmpEcho | IcmpError | Sctp | Opaque;

export interface Packet {
  readonly ethernet: { readonly source: string; readonly destination: string };
  readonly ip: Ip;
  readonly transport: Transport;
  /** Bytes of the frame after the IP packet. */
  readonly trailer: Uint8Array;
}

export const NO_BYTES = new Uint8Array(0);

type Defaults<T, K extends keyof T> = Pick<T, K> & Partial<T>;

export function ipHeader(
  fields: { source: string; destination: string } & Partial<Omit<Ipv4, 'version'> & Omit<Ipv6, 'version'>>,
): Ip {
  const { source, destination, ttl = 64 } = fields;
  if (source.includes(':')) {
    const { trafficClass = 0, flowLabel = 0, extensions = [] } = fields;
    return { version: 6, source, destination, ttl, trafficClass, flowLabel, extensions };
  }
  const { tos = 0, identification = 0x4321, dontFragment = true, moreFragments = false } = fields;
  const { fragmentOffset = 0, options = NO_BYTES } = fields;
  return {
    version: 4,
    source,
    destination,
    ttl,
    tos,
    identification,
    dontFragment,
    moreFragments,
    fragmentOffset,
    options,
  };
}

export function tcp(fields: Defaults<Tcp, 'sourcePort' | 'destinationPort' | 'flags'>): Tcp {
  const rest = { sequence: 1000, acknowledgment: 0, window: 64240, urgent: 0, options: NO_BYTES, payload: NO_BYTES };
  return { kind: 'tcp', ...rest, ...fields };
}

export function udp(fields: Defaults<Udp, 'sourcePort' | 'destinationPort'>): Udp {
  return { kind: 'udp', payload: text('datagram'), unsummed: false, ...fields };
}

export function echo(fields: Defaults<IcmpEcho, 'identifier'>): IcmpEcho {
  return { kind: 'echo', reply: false, sequence: 1, payload: text('abcdefghijklmnop'), ...fields };
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

/** TCP options, each already padded so that they may be concatenated freely. */
export const TCP_OPTION = {
  mss: (size: number) => Uint8Array.of(2, 4, size >> 8, size & 255),
  windowScale: (shift: number) => Uint8Array.of(1, 3, 3, shift),
  sackPermitted: Uint8Array.of(1, 1, 4, 2),
  timestamps: (value: number, reply: number) => {
    const option = new DataView(new ArrayBuffer(12));
    option.setUint32(0, 0x0101080a);
    option.setUint32(4, value);
    option.setUint32(8, reply);
    return new Uint8Array(option.buffer);
  },
} as const;

export function joinBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
