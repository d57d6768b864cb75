/** What RFC 7915 makes of a packet for the other family. Written from the RFC; shares nothing with the product. */
import { ipBytes } from './address.js';
import { be16, be32 } from './build.js';
import { adjustChecksum, internetChecksum, pseudoHeader } from './checksum.js';
import {
  EXTENSION,
  type IcmpError,
  type Ip,
  ipHeader,
  joinBytes,
  type Packet,
  PROTOCOL,
  type Transport,
} from './packet.js';
import { parseIpHeader } from './parse.js';
import type { Hop, Peer } from './translate.js';

export interface FamilyChange {
  /** Of the new family. For echoes the port of who asks is the identifier. */
  readonly source: Peer;
  readonly destination: Peer;
  readonly hop?: Hop | undefined;
  readonly hops?: number;
}

/** 5.1: an IPv4 packet of this length or less may be fragmented on its way. */
const FRAGMENTABLE = 1260;

export function translateFamily(packet: Packet, change: FamilyChange): Packet {
  const transport = otherTransport(packet.transport, change);
  const length = transportLength(transport);
  return {
    ...packet,
    ethernet: change.hop ?? packet.ethernet,
    ip: otherHeader(packet.ip, change, length, change.hops ?? 0),
    transport,
  };
}

function otherHeader(ip: Ip, change: FamilyChange, length: number, hops: number): Ip {
  const addresses = { source: change.source.address, destination: change.destination.address };
  const ttl = ip.ttl - hops;
  if (ip.version === 4) return ipHeader({ ...addresses, ttl, trafficClass: ip.tos });
  const atomic = ip.extensions.find((extension) => extension.type === EXTENSION.fragment);
  const header = ipHeader({ ...addresses, ttl, tos: ip.trafficClass, identification: 0 });
  if (header.version !== 4) throw new Error('the change is not to the other family');
  // 5.1.1: the low 16 bits of the identification.
  if (atomic) return { ...header, dontFragment: false, identification: word(atomic.body, 4) };
  return { ...header, dontFragment: 20 + length > FRAGMENTABLE };
}

function otherTransport(transport: Transport, { source, destination }: FamilyChange): Transport {
  switch (transport.kind) {
    case 'tcp':
      return { ...transport, sourcePort: source.port, destinationPort: destination.port };
    case 'udp':
      // 4.5: there is no datagram without a checksum over IPv6.
      return { ...transport, sourcePort: source.port, destinationPort: destination.port, unsummed: false };
    case 'echo':
      return { ...transport, identifier: (transport.reply ? destination : source).port };
    default:
      return transport;
  }
}

function transportLength(transport: Transport): number {
  switch (transport.kind) {
    case 'tcp':
      return 20 + transport.options.length + transport.payload.length;
    case 'error':
      return 8 + transport.quote.length;
    case 'opaque':
      return transport.payload.length;
    case 'sctp':
      return transport.chunks.reduce((sum, { value }) => sum + 4 + 4 * Math.ceil(value.length / 4), 12);
    default:
      return 8 + transport.payload.length;
  }
}

interface Kind {
  readonly type: number;
  readonly code: number;
  readonly rest: number;
}

export interface FamilyErrorChange {
  /** Of the error itself. */
  readonly source: string;
  readonly destination: string;
  /** Of the quoted packet, in the new family. */
  readonly quoted: { readonly source: Peer; readonly destination: Peer };
  readonly hops?: number;
  /** MTU of the way of the new error's family, and of the one the quoted packet took, where these are less. */
  readonly mtu?: number;
}

/** The error in the other family; undefined where RFC 7915 says to drop it silently. */
export function translateFamilyError(packet: Packet, change: FamilyErrorChange): Packet | undefined {
  const { transport, ip } = packet;
  if (transport.kind !== 'error') throw new Error('not an ICMP error');
  const quote = visibleQuote(ip.version, transport);
  const kind = ip.version === 4 ? kindToV6(transport, quotedLength(quote)) : kindToV4(transport);
  if (!kind) return undefined;
  const most = ip.version === 4 ? 1280 - 48 : 0xffff;
  const error: IcmpError = { kind: 'error', ...kind, quote: otherQuote(quote, change.quoted).slice(0, most) };
  const peers = {
    source: { address: change.source, port: 0 },
    destination: { address: change.destination, port: 0 },
  };
  const header = otherHeader(ip, peers, transportLength(error), change.hops ?? 0);
  return { ...packet, ip: header, transport: error };
}

function quotedLength(quote: Uint8Array): number {
  return word(quote, 2);
}

/** RFC 4884: what is behind the length is about the error, not the packet. It has no place after translation. */
function visibleQuote(version: 4 | 6, { type, rest, quote }: IcmpError): Uint8Array {
  const words = version === 4 ? (rest >>> 16) & 255 : type === 1 || type === 3 ? rest >>> 24 : 0;
  return words === 0 ? quote : quote.slice(0, words * (version === 4 ? 4 : 8));
}

/** 4.2 */
function kindToV6({ type, code, rest }: Kind, length: number): Kind | undefined {
  if (type === 11) return { type: 3, code, rest: 0 };
  if (type === 12) {
    const pointer = POINTER_TO_V6[rest >>> 24];
    return (code === 0 || code === 2) && pointer !== undefined ? { type: 4, code: 0, rest: pointer } : undefined;
  }
  if (type !== 3) return undefined;
  if (code === 2) return { type: 4, code: 1, rest: 6 };
  if (code === 4) return { type: 2, code: 0, rest: Math.max(1280, (rest & 0xffff || plateau(length)) + 20) };
  if (code === 3) return { type: 1, code: 4, rest: 0 };
  if ([9, 10, 13, 15].includes(code)) return { type: 1, code: 1, rest: 0 };
  return [0, 1, 5, 6, 7, 8, 11, 12].includes(code) ? { type: 1, code: 0, rest: 0 } : undefined;
}

/** RFC 1191 7.1, those RFC 7915 lets in. */
function plateau(length: number): number {
  return [65535, 32000, 17914, 8166, 4352, 2002, 1492].find((one) => one < length) ?? 1280;
}

/** Figure 3 */
const POINTER_TO_V6: Readonly<Record<number, number>> = {
  0: 0,
  1: 1,
  2: 4,
  3: 4,
  8: 7,
  9: 6,
  12: 8,
  13: 8,
  14: 8,
  15: 8,
  16: 24,
  17: 24,
  18: 24,
  19: 24,
};

/** 5.2 */
function kindToV4({ type, code, rest }: Kind): Kind | undefined {
  switch (type) {
    case 1: {
      const codes: Record<number, number> = { 0: 1, 1: 10, 2: 1, 3: 1, 4: 3 };
      const other = codes[code];
      return other === undefined ? undefined : { type: 3, code: other, rest: 0 };
    }
    case 2:
      return { type: 3, code: 4, rest: rest - 20 };
    case 3:
      return { type: 11, code, rest: 0 };
    case 4: {
      if (code === 1) return { type: 3, code: 2, rest: 0 };
      const pointer = pointerToV4(rest);
      return code === 0 && pointer !== undefined ? { type: 12, code: 0, rest: pointer * 0x1000000 } : undefined;
    }
    default:
      return undefined;
  }
}

/** Figure 6 */
function pointerToV4(pointer: number): number | undefined {
  if (pointer >= 8 && pointer < 24) return 12;
  if (pointer >= 24 && pointer < 40) return 16;
  const fields: Record<number, number> = { 0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8 };
  return fields[pointer];
}

const ECHO = { 8: 128, 0: 129, 128: 8, 129: 0 } as Readonly<Record<number, number>>;
const CHECKSUM_AT: Readonly<Record<number, number>> = { 6: 16, 17: 6, 1: 2, 58: 2 };

/** The quoted packet in the other family, as far as it is quoted. */
function otherQuote(quote: Uint8Array, { source, destination }: FamilyErrorChange['quoted']): Uint8Array {
  const { ip, protocol, offset, length } = parseIpHeader(quote);
  const newProtocol = protocol === PROTOCOL.icmp ? PROTOCOL.icmpv6 : protocol === PROTOCOL.icmpv6 ? 1 : protocol;
  const whole = length - offset;
  const before = quote.slice(offset);
  const after = before.slice();
  if (protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) {
    const type = ECHO[before[0] ?? 0] ?? 0;
    after[0] = type;
    after.set(be16((type === 0 || type === 129 ? destination : source).port), 4);
  } else {
    after.set([...be16(source.port), ...be16(destination.port)]);
  }
  const at = CHECKSUM_AT[protocol];
  const old = at === undefined ? 0 : word(before, at);
  if (at !== undefined && before.length >= at + 2 && !(protocol === PROTOCOL.udp && old === 0)) {
    const covered = (bytes: Uint8Array, from: string, to: string, number: number) =>
      joinBytes(
        number === PROTOCOL.icmp ? new Uint8Array(40) : pad(pseudoHeader(ipBytes(from), ipBytes(to), number, whole)),
        bytes.slice(0, at),
        bytes.slice(at + 2, 20 + (before.length % 2)),
      );
    const sum = adjustChecksum(
      old,
      covered(before, ip.source, ip.destination, protocol),
      covered(after, source.address, destination.address, newProtocol),
    );
    after.set(be16(sum === 0 && protocol === PROTOCOL.udp ? 0xffff : sum), at);
  }
  return joinBytes(quotedHeader(ip, source.address, destination.address, newProtocol, whole), after);
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
}

/** Pseudo headers of both families as long as each other, for adjustChecksum; zeros add nothing. */
function pad(bytes: Uint8Array): Uint8Array {
  return joinBytes(bytes, new Uint8Array(40 - bytes.length));
}

function quotedHeader(ip: Ip, source: string, destination: string, protocol: number, length: number): Uint8Array {
  const addresses = joinBytes(ipBytes(source), ipBytes(destination));
  if (ip.version === 4) {
    return joinBytes(be32(0x60000000 + ip.tos * 0x100000), be16(length), Uint8Array.of(protocol, ip.ttl), addresses);
  }
  const header = joinBytes(
    Uint8Array.of(0x45, ip.trafficClass),
    be16(20 + length),
    be16(0),
    be16(20 + length > FRAGMENTABLE ? 0x4000 : 0),
    Uint8Array.of(ip.ttl, protocol, 0, 0),
    addresses,
  );
  header.set(be16(internetChecksum(header)), 10);
  return header;
}
