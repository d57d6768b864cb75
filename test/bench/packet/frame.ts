import { encodeBytes, ipAddress, ipFamily } from '@loxilb/sdk';

/** Bytes of a frame of the packet part; enough for all headers of IPv6 and TCP. */
export const FRAME_BYTES = 96;

export const SYN = 0x02;
export const SYN_ACK = 0x12;
export const ACK = 0x10;

const ETHERNET = 14;
const TCP = 6;

export interface FrameSpec {
  readonly sourceMac: string;
  readonly targetMac: string;
  readonly source: string;
  readonly target: string;
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly protocol: 'tcp' | 'udp';
  readonly tcpFlags?: number;
  readonly sequence?: number;
  readonly acknowledgment?: number;
}

/** Where the parts that tell flows apart are in a frame. */
export function flowOffsets(family: 4 | 6, side: 'source' | 'target'): { address: number; port: number } {
  const header = family === 4 ? 20 : 40;
  const lastWord = family === 4 ? { source: 12, target: 16 } : { source: 20, target: 36 };
  return { address: ETHERNET + lastWord[side], port: ETHERNET + header + (side === 'source' ? 0 : 2) };
}

/**
 * An Ethernet frame. Only the IPv4 header has a right checksum: the packet path changes checksums by differences and
 * never sums a payload up.
 */
export function buildFrame(spec: FrameSpec): Buffer {
  const family = ipFamily(spec.source);
  const frame = Buffer.alloc(FRAME_BYTES);
  macBytes(spec.targetMac).copy(frame, 0);
  macBytes(spec.sourceMac).copy(frame, 6);
  frame.writeUInt16BE(family === 4 ? 0x0800 : 0x86dd, 12);
  const transport = family === 4 ? writeIpv4(frame, spec) : writeIpv6(frame, spec);
  if (spec.protocol === 'tcp') writeTcp(frame, transport, spec);
  else writeUdp(frame, transport, spec);
  return frame;
}

function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

function protocolNumber(spec: FrameSpec): number {
  return spec.protocol === 'tcp' ? TCP : 17;
}

function writeIpv4(frame: Buffer, spec: FrameSpec): number {
  frame[ETHERNET] = 0x45;
  frame.writeUInt16BE(FRAME_BYTES - ETHERNET, ETHERNET + 2);
  frame.writeUInt16BE(0x4000, ETHERNET + 6); // don't fragment
  frame[ETHERNET + 8] = 64;
  frame[ETHERNET + 9] = protocolNumber(spec);
  frame.set(encodeBytes(ipAddress, spec.source).subarray(12), ETHERNET + 12);
  frame.set(encodeBytes(ipAddress, spec.target).subarray(12), ETHERNET + 16);
  frame.writeUInt16BE(headerChecksum(frame.subarray(ETHERNET, ETHERNET + 20)), ETHERNET + 10);
  return ETHERNET + 20;
}

function writeIpv6(frame: Buffer, spec: FrameSpec): number {
  frame[ETHERNET] = 0x60;
  frame.writeUInt16BE(FRAME_BYTES - ETHERNET - 40, ETHERNET + 4);
  frame[ETHERNET + 6] = protocolNumber(spec);
  frame[ETHERNET + 7] = 64;
  frame.set(encodeBytes(ipAddress, spec.source), ETHERNET + 8);
  frame.set(encodeBytes(ipAddress, spec.target), ETHERNET + 24);
  return ETHERNET + 40;
}

function writeTcp(frame: Buffer, at: number, spec: FrameSpec): void {
  frame.writeUInt16BE(spec.sourcePort, at);
  frame.writeUInt16BE(spec.targetPort, at + 2);
  frame.writeUInt32BE(spec.sequence ?? 0, at + 4);
  frame.writeUInt32BE(spec.acknowledgment ?? 0, at + 8);
  frame[at + 12] = 5 << 4;
  frame[at + 13] = spec.tcpFlags ?? ACK;
  frame.writeUInt16BE(64_000, at + 14);
  frame.writeUInt16BE(0x1234, at + 16);
}

function writeUdp(frame: Buffer, at: number, spec: FrameSpec): void {
  frame.writeUInt16BE(spec.sourcePort, at);
  frame.writeUInt16BE(spec.targetPort, at + 2);
  frame.writeUInt16BE(FRAME_BYTES - at, at + 4);
  frame.writeUInt16BE(0x1234, at + 6);
}

/** RFC 1071. */
function headerChecksum(header: Buffer): number {
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
