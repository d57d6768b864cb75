import { ipBytes, ipText, macText } from './address.js';
import { onesSum, pseudoHeader } from './checksum.js';
import {
  type Chunk,
  ETHERTYPE,
  EXTENSION,
  type Extension,
  type Ip,
  joinBytes,
  type Packet,
  PROTOCOL,
  type Transport,
} from './packet.js';
import { chunkBytes, crc32c } from './sctp.js';

/** What is wrong with a frame; the message names the field. */
export class InvalidPacket extends Error {}

function require(condition: boolean, reason: string): asserts condition {
  if (!condition) throw new InvalidPacket(reason);
}

/** Parses and validates: lengths that agree, fields in range, every checksum right. Throws InvalidPacket. */
export function parseFrame(frame: Uint8Array): Packet {
  require(frame.length >= 14, 'frame shorter than its Ethernet header');
  const type = view(frame).getUint16(12);
  const ethernet = { destination: macText(frame.subarray(0, 6)), source: macText(frame.subarray(6, 12)) };
  require(type === ETHERTYPE.ipv4 || type === ETHERTYPE.ipv6, `EtherType ${type} is not IP`);
  const { ip, transport, length } = parseIp(frame.subarray(14));
  require(ip.version === (type === ETHERTYPE.ipv4 ? 4 : 6), 'IP version differs from EtherType');
  return { ethernet, ip, transport, trailer: frame.slice(14 + length) };
}

interface ParsedIp {
  readonly ip: Ip;
  readonly transport: Transport;
  /** Bytes the IP packet takes. */
  readonly length: number;
}

export function parseIp(bytes: Uint8Array): ParsedIp {
  const { ip, protocol, offset, length } = parseIpHeader(bytes);
  require(length <= bytes.length, 'IP length beyond the frame');
  const segment = bytes.slice(offset, length);
  return { ip, transport: parseTransport(ip, protocol, segment), length };
}

interface ParsedHeader {
  readonly ip: Ip;
  readonly protocol: number;
  /** Where the transport header starts. */
  readonly offset: number;
  /** Total length by the header. */
  readonly length: number;
}

/** The header alone, of a packet that may be cut short behind it. */
export function parseIpHeader(bytes: Uint8Array): ParsedHeader {
  require(bytes.length >= 1, 'no IP header');
  const version = (bytes[0] ?? 0) >> 4;
  require(version === 4 || version === 6, `IP version ${version}`);
  return version === 4 ? parseIpv4(bytes) : parseIpv6(bytes);
}

function parseIpv4(bytes: Uint8Array): ParsedHeader {
  require(bytes.length >= 20, 'IPv4 header cut short');
  const header = view(bytes);
  const headerLength = ((bytes[0] ?? 0) & 15) * 4;
  const length = header.getUint16(2);
  const fragment = header.getUint16(6);
  require(headerLength >= 20, 'IPv4 header length below 20');
  require(headerLength <= bytes.length, 'IPv4 header length beyond the packet');
  require(length >= headerLength, 'IPv4 total length below its header');
  require((fragment & 0x8000) === 0, 'IPv4 reserved flag set');
  require(onesSum(bytes.subarray(0, headerLength)) === 0xffff, 'IPv4 header checksum');
  const ip: Ip = {
    version: 4,
    source: ipText(bytes.subarray(12, 16)),
    destination: ipText(bytes.subarray(16, 20)),
    ttl: header.getUint8(8),
    tos: header.getUint8(1),
    identification: header.getUint16(4),
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: fragment & 0x1fff,
    options: bytes.slice(20, headerLength),
  };
  return { ip, protocol: header.getUint8(9), offset: headerLength, length };
}

const WALKED: readonly number[] = Object.values(EXTENSION);

function parseIpv6(bytes: Uint8Array): ParsedHeader {
  require(bytes.length >= 40, 'IPv6 header cut short');
  const header = view(bytes);
  const first = header.getUint32(0);
  const extensions: Extension[] = [];
  let next = header.getUint8(6);
  let offset = 40;
  while (WALKED.includes(next)) {
    require(bytes.length >= offset + 8, 'IPv6 extension header cut short');
    const size = next === EXTENSION.fragment ? 8 : (header.getUint8(offset + 1) + 1) * 8;
    require(bytes.length >= offset + size, 'IPv6 extension header length beyond the packet');
    extensions.push({ type: next, body: bytes.slice(offset + 2, offset + size) });
    next = header.getUint8(offset);
    offset += size;
    if (fragmentOffset(extensions) !== 0) break;
  }
  const ip: Ip = {
    version: 6,
    source: ipText(bytes.subarray(8, 24)),
    destination: ipText(bytes.subarray(24, 40)),
    ttl: header.getUint8(7),
    trafficClass: (first >>> 20) & 255,
    flowLabel: first & 0xfffff,
    extensions,
  };
  const length = 40 + header.getUint16(4);
  require(length >= offset, 'IPv6 payload length below its extension headers');
  return { ip, protocol: next, offset, length };
}

function fragmentOffset(extensions: readonly Extension[]): number {
  const fragment = extensions.find((extension) => extension.type === EXTENSION.fragment);
  return fragment ? view(fragment.body).getUint16(0) >> 3 : 0;
}

/** Any fragment: its transport checksum covers bytes that are elsewhere. */
export function isFragment(ip: Ip): boolean {
  if (ip.version === 4) return ip.moreFragments || ip.fragmentOffset !== 0;
  const fragment = ip.extensions.find((extension) => extension.type === EXTENSION.fragment);
  return fragment !== undefined && (view(fragment.body).getUint16(0) & 0xfff9) !== 0;
}

function parseTransport(ip: Ip, protocol: number, segment: Uint8Array): Transport {
  const opaque: Transport = { kind: 'opaque', protocol, payload: segment };
  if (isFragment(ip)) return opaque;
  switch (protocol) {
    case PROTOCOL.tcp:
      return parseTcp(ip, segment);
    case PROTOCOL.udp:
      return parseUdp(ip, segment);
    case PROTOCOL.sctp:
      return parseSctp(segment);
    case ip.version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6:
      return parseIcmp(ip, segment) ?? opaque;
    default:
      return opaque;
  }
}

function parseTcp(ip: Ip, segment: Uint8Array): Transport {
  require(segment.length >= 20, 'TCP header cut short');
  const header = view(segment);
  const headerLength = (header.getUint8(12) >> 4) * 4;
  require(headerLength >= 20, 'TCP data offset below 5');
  require(headerLength <= segment.length, 'TCP data offset beyond the segment');
  require(header.getUint8(12) % 16 === 0, 'TCP reserved bits set');
  require(residue(ip, PROTOCOL.tcp, segment) === 0xffff, 'TCP checksum');
  require(header.getUint16(16) !== 0xffff, 'TCP checksum 0xffff, which no sender computes');
  return {
    kind: 'tcp',
    sourcePort: header.getUint16(0),
    destinationPort: header.getUint16(2),
    sequence: header.getUint32(4),
    acknowledgment: header.getUint32(8),
    flags: header.getUint8(13),
    window: header.getUint16(14),
    urgent: header.getUint16(18),
    options: segment.slice(20, headerLength),
    payload: segment.slice(headerLength),
  };
}

function parseUdp(ip: Ip, segment: Uint8Array): Transport {
  require(segment.length >= 8, 'UDP header cut short');
  const header = view(segment);
  require(header.getUint16(4) === segment.length, 'UDP length differs from the packet');
  const unsummed = header.getUint16(6) === 0;
  require(!(unsummed && ip.version === 6), 'UDP checksum zero over IPv6');
  require(unsummed || residue(ip, PROTOCOL.udp, segment) === 0xffff, 'UDP checksum');
  const ports = { sourcePort: header.getUint16(0), destinationPort: header.getUint16(2) };
  return { kind: 'udp', ...ports, payload: segment.slice(8), unsummed };
}

function parseSctp(segment: Uint8Array): Transport {
  require(segment.length >= 16, 'SCTP packet without a chunk');
  const header = view(segment);
  const unsummed = segment.slice();
  unsummed.fill(0, 8, 12);
  require(header.getUint32(8, true) === crc32c(unsummed), 'SCTP checksum');
  const ports = { sourcePort: header.getUint16(0), destinationPort: header.getUint16(2) };
  return { kind: 'sctp', ...ports, tag: header.getUint32(4), chunks: parseChunks(segment.subarray(12)) };
}

function parseChunks(bytes: Uint8Array): Chunk[] {
  const chunks: Chunk[] = [];
  let at = 0;
  while (at < bytes.length) {
    require(at + 4 <= bytes.length, 'SCTP chunk header cut short');
    const length = view(bytes).getUint16(at + 2);
    require(length >= 4, 'SCTP chunk length below 4');
    const chunk = { type: bytes[at] ?? 0, flags: bytes[at + 1] ?? 0, value: bytes.slice(at + 4, at + length) };
    const size = chunkBytes(chunk).length;
    require(at + size <= bytes.length, 'SCTP chunk length beyond the packet');
    require(bytes.subarray(at + length, at + size).every((byte) => byte === 0), 'SCTP padding not zero');
    chunks.push(chunk);
    at += size;
  }
  return chunks;
}

const QUOTING = { 4: [3, 4, 5, 11, 12], 6: [1, 2, 3, 4] } as const;

function parseIcmp(ip: Ip, segment: Uint8Array): Transport | undefined {
  require(segment.length >= 8, 'ICMP header cut short');
  const header = view(segment);
  const sum = ip.version === 4 ? onesSum(segment) : residue(ip, PROTOCOL.icmpv6, segment);
  require(sum === 0xffff, 'ICMP checksum');
  const type = header.getUint8(0);
  const code = header.getUint8(1);
  const echoTypes = ip.version === 4 ? [8, 0] : [128, 129];
  if (echoTypes.includes(type) && code === 0) {
    const identifier = header.getUint16(4);
    return {
      kind: 'echo',
      reply: type === echoTypes[1],
      identifier,
      sequence: header.getUint16(6),
      payload: segment.slice(8),
    };
  }
  if ((QUOTING[ip.version] as readonly number[]).includes(type)) {
    return { kind: 'error', type, code, rest: header.getUint32(4), quote: segment.slice(8) };
  }
  return undefined;
}

/** The sum of pseudo header and segment: 0xffff when the checksum in it is right. */
function residue(ip: Ip, protocol: number, segment: Uint8Array): number {
  const source = ipBytes(ip.source);
  const destination = ipBytes(ip.destination);
  return onesSum(joinBytes(pseudoHeader(source, destination, protocol, segment.length), segment));
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
