/** A frame in one line. */
import { ipAddress } from '@loxilb/sdk';
import { hostPort, protocolName, tcpFlagNames } from './labels.js';
import type { TracedPacket } from './model.js';
import { PROTOCOL_NUMBER } from './packet.js';

const ETHERNET = 14;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const IN_IPV4 = 4;
const IN_IPV6 = 41;
const FRAGMENT_IPV6 = 44;
/** Request and reply of both families. */
const ECHO = new Set([0, 8, 128, 129]);

export function describePacket(frame: Uint8Array): TracedPacket {
  return {
    hex: Buffer.from(frame).toString('hex'),
    summary: summarize(frame),
    destinationMac: macText(frame.subarray(0, 6)),
    sourceMac: macText(frame.subarray(6, 12)),
  };
}

function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Whatever a program may have left: what is cut off is said to be. */
function summarize(frame: Uint8Array): string {
  if (frame.length < ETHERNET) return `${frame.length} bytes that are no frame`;
  const type = new DataView(frame.buffer, frame.byteOffset, frame.byteLength).getUint16(12);
  const packet = frame.subarray(ETHERNET);
  if (type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6)
    return `Ethernet type 0x${type.toString(16).padStart(4, '0')}`;
  return summarizeIp(packet, type === ETHERTYPE_IPV4 ? 4 : 6);
}

function summarizeIp(packet: Uint8Array, family: 4 | 6): string {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  if (packet.length < (family === 4 ? 20 : 40)) return `IPv${family}, cut off`;
  const source = addressAt(packet, family === 4 ? 12 : 8, family);
  const destination = addressAt(packet, family === 4 ? 16 : 24, family);
  const protocol = view.getUint8(family === 4 ? 9 : 6);
  const body = packet.subarray(family === 4 ? (view.getUint8(0) & 15) * 4 : 40);
  const ttl = family === 4 ? `TTL ${view.getUint8(8)}` : `hop limit ${view.getUint8(7)}`;
  const length = family === 4 ? view.getUint16(2) : view.getUint16(4) + 40;
  const tail = `${length} bytes, ${ttl}`;
  if (protocol === IN_IPV4 || protocol === IN_IPV6) {
    const inner = summarizeIp(body, protocol === IN_IPV4 ? 4 : 6);
    return `${source} > ${destination} ${protocolName(protocol)}, ${tail} [${inner}]`;
  }
  return `${summarizeTransport(body, protocol, source, destination)}, ${tail}`;
}

function summarizeTransport(body: Uint8Array, protocol: number, source: string, destination: string): string {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const name = protocolName(protocol).toUpperCase();
  if (protocol === FRAGMENT_IPV6) return `${source} > ${destination} fragment`;
  if (body.length < 8) return `${source} > ${destination} ${name}`;
  if (protocol === PROTOCOL_NUMBER.icmp || protocol === PROTOCOL_NUMBER.icmp6) {
    const [type, code] = [view.getUint8(0), view.getUint8(1)];
    const id = ECHO.has(type) ? ` id ${view.getUint16(4)}` : '';
    return `${source} > ${destination} ${name} type ${type} code ${code}${id}`;
  }
  const flags = protocol === PROTOCOL_NUMBER.tcp && body.length > 13 ? ` ${tcpFlagNames(view.getUint8(13))}` : '';
  const from = hostPort(source, view.getUint16(0), protocol);
  return `${from} > ${hostPort(destination, view.getUint16(2), protocol)} ${name}${flags}`;
}

function addressAt(packet: Uint8Array, offset: number, family: 4 | 6): string {
  if (family === 4) return [...packet.subarray(offset, offset + 4)].join('.');
  return ipAddress.decode(new DataView(packet.buffer, packet.byteOffset, packet.byteLength), offset);
}
