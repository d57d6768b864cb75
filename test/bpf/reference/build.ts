import { ipBytes, macBytes } from './address.js';
import { internetChecksum, pseudoHeader } from './checksum.js';
import {
  ETHERTYPE,
  type Ip,
  type Ipv4,
  type Ipv6,
  joinBytes,
  type Packet,
  PROTOCOL,
  type Tcp,
  type Transport,
} from './packet.js';
import { sctpBytes } from './sctp.js';

/** The frame as bytes, every length and checksum computed from scratch. */
export function buildFrame(packet: Packet): Uint8Array {
  const { ethernet, ip, transport, trailer } = packet;
  const type = ip.version === 4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6;
  return joinBytes(
    macBytes(ethernet.destination),
    macBytes(ethernet.source),
    be16(type),
    buildIp(ip, transport),
    trailer,
  );
}

export function buildIp(ip: Ip, transport: Transport): Uint8Array {
  const segment = buildTransport(ip, transport);
  const protocol = protocolNumber(ip.version, transport);
  return ip.version === 4 ? buildIpv4(ip, protocol, segment) : buildIpv6(ip, protocol, segment);
}

export function protocolNumber(version: 4 | 6, transport: Transport): number {
  switch (transport.kind) {
    case 'tcp':
      return PROTOCOL.tcp;
    case 'udp':
      return PROTOCOL.udp;
    case 'echo':
    case 'error':
      return version === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
    case 'sctp':
      return PROTOCOL.sctp;
    case 'opaque':
      return transport.protocol;
  }
}

function buildIpv4(ip: Ipv4, protocol: number, segment: Uint8Array): Uint8Array {
  const headerLength = 20 + ip.options.length;
  const fragment = (ip.dontFragment ? 0x4000 : 0) | (ip.moreFragments ? 0x2000 : 0) | ip.fragmentOffset;
  const header = joinBytes(
    Uint8Array.of(0x40 | (headerLength / 4), ip.tos),
    be16(headerLength + segment.length),
    be16(ip.identification),
    be16(fragment),
    Uint8Array.of(ip.ttl, protocol, 0, 0),
    ipBytes(ip.source),
    ipBytes(ip.destination),
    ip.options,
  );
  header.set(be16(internetChecksum(header)), 10);
  return joinBytes(header, segment);
}

function buildIpv6(ip: Ipv6, protocol: number, segment: Uint8Array): Uint8Array {
  const next = [...ip.extensions.map((extension) => extension.type), protocol];
  const extensions = ip.extensions.map(({ type, body }, index) => {
    // The second byte of a fragment header is reserved, in the others it is the length in 8-byte units less one.
    const length = type === 44 ? 0 : (body.length + 2) / 8 - 1;
    return joinBytes(Uint8Array.of(next[index + 1] ?? protocol, length), body);
  });
  const payload = joinBytes(...extensions, segment);
  return joinBytes(
    be32(0x60000000 + ip.trafficClass * 0x100000 + ip.flowLabel),
    be16(payload.length),
    Uint8Array.of(next[0] ?? protocol, ip.ttl),
    ipBytes(ip.source),
    ipBytes(ip.destination),
    payload,
  );
}

function buildTransport(ip: Ip, transport: Transport): Uint8Array {
  switch (transport.kind) {
    case 'tcp':
      return withChecksum(ip, PROTOCOL.tcp, tcpBytes(transport), 16);
    case 'udp': {
      const { sourcePort, destinationPort, payload } = transport;
      const bytes = joinBytes(be16(sourcePort), be16(destinationPort), be16(8 + payload.length), be16(0), payload);
      return transport.unsummed ? bytes : withChecksum(ip, PROTOCOL.udp, bytes, 6);
    }
    case 'echo': {
      const type = ip.version === 4 ? (transport.reply ? 0 : 8) : transport.reply ? 129 : 128;
      const { identifier, sequence, payload } = transport;
      return icmp(ip, joinBytes(Uint8Array.of(type, 0, 0, 0), be16(identifier), be16(sequence), payload));
    }
    case 'error':
      return icmp(
        ip,
        joinBytes(Uint8Array.of(transport.type, transport.code, 0, 0), be32(transport.rest), transport.quote),
      );
    case 'sctp':
      return sctpBytes(transport);
    case 'opaque':
      return transport.payload;
  }
}

function tcpBytes(segment: Tcp): Uint8Array {
  return joinBytes(
    be16(segment.sourcePort),
    be16(segment.destinationPort),
    be32(segment.sequence),
    be32(segment.acknowledgment),
    Uint8Array.of(((20 + segment.options.length) / 4) << 4, segment.flags),
    be16(segment.window),
    be16(0),
    be16(segment.urgent),
    segment.options,
    segment.payload,
  );
}

/** ICMP sums itself only, ICMPv6 the pseudo header too. */
function icmp(ip: Ip, bytes: Uint8Array): Uint8Array {
  if (ip.version === 6) return withChecksum(ip, PROTOCOL.icmpv6, bytes, 2);
  bytes.set(be16(internetChecksum(bytes)), 2);
  return bytes;
}

function withChecksum(ip: Ip, protocol: number, bytes: Uint8Array, offset: number): Uint8Array {
  const pseudo = pseudoHeader(ipBytes(ip.source), ipBytes(ip.destination), protocol, bytes.length);
  const sum = internetChecksum(joinBytes(pseudo, bytes));
  bytes.set(be16(sum === 0 && protocol === PROTOCOL.udp ? 0xffff : sum), offset);
  return bytes;
}

export function be16(value: number): Uint8Array {
  return Uint8Array.of((value >> 8) & 255, value & 255);
}

export function be32(value: number): Uint8Array {
  return Uint8Array.of((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}
