/** One synthetic packet, complete with checksums. */
import { encodeBytes, ipAddress, ipFamily } from '@loxilb/sdk';
import { crc32c, internetChecksum, transportChecksum } from './checksums.js';
import { badParameter } from './errors.js';
import { TCP_FLAGS, type TraceBody } from './model.js';

export const PROTOCOL_NUMBER = { tcp: 6, udp: 17, sctp: 132, icmp: 1, icmp6: 58 } as const;
const ETHERTYPE = { 4: 0x0800, 6: 0x86dd } as const;
/** The kernel takes frames that fit a page with its own data before and behind them. */
const MAX_SIZE = 3000;
const DEFAULT_TTL = 64;
/** An interval of sequence numbers nobody uses; any is as good. */
const SEQUENCE = 1000;
const WINDOW = 64_240;
const SYN = 2;
const ACK = 16;
const MSS = { 4: 1460, 6: 1440 } as const;
const DONT_FRAGMENT = 0x4000;

export interface Macs {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

/** Throws `OBSERVE_PARAMETER` when the parts do not make a packet. */
export function buildPacket(body: TraceBody, macs: Macs): Uint8Array {
  const family = ipFamily(body.source);
  if (family !== ipFamily(body.destination)) {
    throw badParameter('destination', body.destination, 'an address of the same family as the source');
  }
  const addresses = Buffer.concat([addressBytes(body.source), addressBytes(body.destination)]);
  const headerLength = family === 4 ? 20 : 40;
  const protocol = ipProtocol(body.protocol, family);
  const segment = sized(segmentOf(body, family), body.size, headerLength);
  finish(segment, protocol, addresses, family);
  const header = family === 4 ? ipv4Header : ipv6Header;
  const ethernet = Buffer.concat([macs.destination, macs.source, be16(ETHERTYPE[family])]);
  return Buffer.concat([ethernet, header(addresses, protocol, segment.length, body.ttl ?? DEFAULT_TTL), segment]);
}

export function ipProtocol(protocol: TraceBody['protocol'], family: 4 | 6): number {
  return PROTOCOL_NUMBER[protocol === 'icmp' && family === 6 ? 'icmp6' : protocol];
}

/** Bits of the TCP header; a packet that begins a connection unless something else is said. */
export function tcpBits(flags: TraceBody['flags']): number {
  if (!flags || flags.length === 0) return SYN;
  return flags.reduce((bits, flag) => bits | (1 << TCP_FLAGS.indexOf(flag)), 0);
}

/** 4 or 16 bytes. */
function addressBytes(address: string): Uint8Array {
  const mapped = encodeBytes(ipAddress, address);
  return ipFamily(address) === 4 ? mapped.subarray(12) : mapped;
}

function segmentOf(body: TraceBody, family: 4 | 6): Uint8Array {
  switch (body.protocol) {
    case 'tcp':
      return tcpHeader(body, family);
    case 'udp':
      return Buffer.concat([ports(body), Buffer.alloc(4)]);
    case 'sctp':
      return Buffer.concat([ports(body), Buffer.alloc(8), sctpInit()]);
    case 'icmp':
      return Buffer.from([family === 4 ? 8 : 128, 0, 0, 0, ...be16(body.sourcePort ?? 1), 0, 1]);
  }
}

function tcpHeader(body: TraceBody, family: 4 | 6): Uint8Array {
  const bits = tcpBits(body.flags);
  // Nobody opens a connection without saying how large its segments may be.
  const options = bits & SYN ? [2, 4, ...be16(MSS[family])] : [];
  const header = Buffer.alloc(20 + options.length);
  header.set(ports(body), 0);
  header.writeUInt32BE(SEQUENCE, 4);
  header.writeUInt32BE(bits & ACK ? SEQUENCE : 0, 8);
  header.writeUInt8((header.length / 4) << 4, 12);
  header.writeUInt8(bits, 13);
  header.writeUInt16BE(WINDOW, 14);
  header.set(options, 20);
  return header;
}

/** RFC 9260 3.3.2, without parameters. */
function sctpInit(): Uint8Array {
  const chunk = Buffer.alloc(20);
  chunk.writeUInt8(1, 0);
  chunk.writeUInt16BE(20, 2);
  chunk.writeUInt32BE(SEQUENCE, 4);
  chunk.writeUInt32BE(65_535, 8);
  chunk.writeUInt16BE(10, 12);
  chunk.writeUInt16BE(10, 14);
  chunk.writeUInt32BE(SEQUENCE, 16);
  return chunk;
}

function sized(segment: Uint8Array, size: number | undefined, headerLength: number): Uint8Array {
  const smallest = segment.length + headerLength;
  if (size === undefined) return segment;
  if (size < smallest || size > MAX_SIZE) throw badParameter('size', size, `a number from ${smallest} to ${MAX_SIZE}`);
  return Buffer.concat([segment, Buffer.alloc(size - smallest)]);
}

/** Lengths and checksums, once the payload is there. */
function finish(segment: Uint8Array, protocol: number, addresses: Uint8Array, family: 4 | 6): void {
  const view = new DataView(segment.buffer, segment.byteOffset, segment.byteLength);
  const checksum = () => transportChecksum(addresses, protocol, segment);
  if (protocol === PROTOCOL_NUMBER.tcp) view.setUint16(16, checksum());
  else if (protocol === PROTOCOL_NUMBER.sctp) view.setUint32(8, crc32c(segment), true);
  else if (protocol === PROTOCOL_NUMBER.udp) {
    view.setUint16(4, segment.length);
    // 0 would mean that there is none.
    view.setUint16(6, checksum() || 0xffff);
  } else view.setUint16(2, family === 4 ? internetChecksum(segment) : checksum());
}

function ipv4Header(addresses: Uint8Array, protocol: number, length: number, ttl: number): Uint8Array {
  const header = Buffer.alloc(20);
  header.writeUInt8(0x45, 0);
  header.writeUInt16BE(20 + length, 2);
  header.writeUInt16BE(DONT_FRAGMENT, 6);
  header.writeUInt8(ttl, 8);
  header.writeUInt8(protocol, 9);
  header.set(addresses, 12);
  header.writeUInt16BE(internetChecksum(header), 10);
  return header;
}

function ipv6Header(addresses: Uint8Array, protocol: number, length: number, ttl: number): Uint8Array {
  const header = Buffer.alloc(40);
  header.writeUInt8(0x60, 0);
  header.writeUInt16BE(length, 4);
  header.writeUInt8(protocol, 6);
  header.writeUInt8(ttl, 7);
  header.set(addresses, 8);
  return header;
}

function ports({ sourcePort = 0, destinationPort = 0 }: TraceBody): Uint8Array {
  return Buffer.from([...be16(sourcePort), ...be16(destinationPort)]);
}

function be16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
