import { encodeBytes, ipAddress, ipFamily } from '@loxilb/sdk';
import { type Ports, protocolNumber, type Transport, writeTransport } from './transport.js';

/** Bytes of a frame of the packet part; enough for all headers of IPv6 and TCP. */
export const FRAME_BYTES = 96;

const ETHERNET = 14;
const DONT_FRAGMENT = 0x4000;
const MORE_FRAGMENTS = 0x2000;

export interface FrameSpec {
  readonly sourceMac: string;
  readonly targetMac: string;
  readonly source: string;
  readonly target: string;
  readonly ports: Ports;
  readonly transport: Transport;
  /** One of two parts of a packet, IPv4 only. A later part has nothing of its transport header. */
  readonly part?: 'first' | 'later';
}

/** Where the parts that tell flows apart are in a frame: the last word of `address`, and the client's port. */
export function flowOffsets(
  family: 4 | 6,
  protocol: Transport['protocol'],
  from: 'client' | 'server',
  address: 'source' | 'target',
): { address: number; port: number } {
  const transport = ETHERNET + (family === 4 ? 20 : 40);
  const lastWord = family === 4 ? { source: 12, target: 16 } : { source: 20, target: 36 };
  const port = protocol === 'icmp' ? 4 : from === 'client' ? 0 : 2;
  return { address: ETHERNET + lastWord[address], port: transport + port };
}

/** Last four bytes of an address, as flows count them up. */
export function lastWord(address: string): number {
  return Buffer.from(encodeBytes(ipAddress, address)).readUInt32BE(12);
}

/** The address `count` further on. */
export function addressAfter(address: string, count: number): string {
  const bytes = Buffer.from(encodeBytes(ipAddress, address));
  bytes.writeUInt32BE(bytes.readUInt32BE(12) + count, 12);
  return ipAddress.decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
}

/** An Ethernet frame, padded to its size. The checksum of the IPv4 header is right. */
export function buildFrame(spec: FrameSpec): Buffer {
  const family = ipFamily(spec.source);
  const frame = Buffer.alloc(FRAME_BYTES);
  macBytes(spec.targetMac).copy(frame, 0);
  macBytes(spec.sourceMac).copy(frame, 6);
  frame.writeUInt16BE(family === 4 ? 0x0800 : 0x86dd, 12);
  const at = ETHERNET + (family === 4 ? 20 : 40);
  let end = writeTransport(frame, at, spec.transport, spec.ports, family);
  // All parts but the last have a multiple of eight bytes.
  if (spec.part) end = at + 56;
  if (family === 4) writeIpv4(frame, spec, end);
  else writeIpv6(frame, spec, end);
  return frame;
}

function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

function writeIpv4(frame: Buffer, spec: FrameSpec, end: number): void {
  frame[ETHERNET] = 0x45;
  frame.writeUInt16BE(end - ETHERNET, ETHERNET + 2);
  if (spec.part) frame.writeUInt16BE(7, ETHERNET + 4); // identification
  frame.writeUInt16BE(fragmentField(spec), ETHERNET + 6);
  frame[ETHERNET + 8] = 64;
  frame[ETHERNET + 9] = protocolNumber(spec.transport.protocol, 4);
  frame.set(encodeBytes(ipAddress, spec.source).subarray(12), ETHERNET + 12);
  frame.set(encodeBytes(ipAddress, spec.target).subarray(12), ETHERNET + 16);
  frame.writeUInt16BE(headerChecksum(frame.subarray(ETHERNET, ETHERNET + 20)), ETHERNET + 10);
}

function fragmentField({ part }: FrameSpec): number {
  if (!part) return DONT_FRAGMENT;
  return part === 'first' ? MORE_FRAGMENTS : 56 / 8;
}

function writeIpv6(frame: Buffer, spec: FrameSpec, end: number): void {
  frame[ETHERNET] = 0x60;
  frame.writeUInt16BE(end - ETHERNET - 40, ETHERNET + 4);
  frame[ETHERNET + 6] = protocolNumber(spec.transport.protocol, 6);
  frame[ETHERNET + 7] = 64;
  frame.set(encodeBytes(ipAddress, spec.source), ETHERNET + 8);
  frame.set(encodeBytes(ipAddress, spec.target), ETHERNET + 24);
}

/** RFC 1071. */
function headerChecksum(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
