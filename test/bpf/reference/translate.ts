/** The expectation model: what a packet must look like after the balancer changed it. */
import { ipBytes } from './address.js';
import { be16 } from './build.js';
import { adjustChecksum, internetChecksum } from './checksum.js';
import { type IcmpError, type Ip, joinBytes, type Packet, PROTOCOL, type Transport } from './packet.js';
import { parseIpHeader } from './parse.js';

/** For ICMP echo the port is the identifier. */
export interface Peer {
  readonly address: string;
  readonly port: number;
}

export interface Hop {
  readonly source: string;
  readonly destination: string;
}

export interface Change {
  readonly source?: Peer | undefined;
  readonly destination?: Peer | undefined;
  /** New MAC addresses; absent where the kernel or the peer device will set them. */
  readonly hop?: Hop | undefined;
  /** How much less TTL. */
  readonly hops?: number;
}

export function translate(packet: Packet, change: Change): Packet {
  const { source, destination } = change;
  const ip = readdress(packet.ip, source?.address, destination?.address, change.hops ?? 0);
  return {
    ...packet,
    ethernet: change.hop ?? packet.ethernet,
    ip,
    transport: report(packet.transport, source, destination),
  };
}

function readdress(ip: Ip, source: string | undefined, destination: string | undefined, hops: number): Ip {
  return { ...ip, source: source ?? ip.source, destination: destination ?? ip.destination, ttl: ip.ttl - hops };
}

function report(transport: Transport, source: Peer | undefined, destination: Peer | undefined): Transport {
  switch (transport.kind) {
    case 'tcp':
    case 'udp':
    case 'sctp':
      return {
        ...transport,
        sourcePort: source?.port ?? transport.sourcePort,
        destinationPort: destination?.port ?? transport.destinationPort,
      };
    case 'echo':
      return { ...transport, identifier: (transport.reply ? destination : source)?.port ?? transport.identifier };
    default:
      return transport;
  }
}

export interface ErrorChange {
  readonly source?: string | undefined;
  readonly destination?: string | undefined;
  /** Of the quoted packet. */
  readonly quoted: { readonly source?: Peer | undefined; readonly destination?: Peer | undefined };
  readonly hop?: Hop | undefined;
  readonly hops?: number;
}

/** An ICMP error on its way through: its own addresses and those of the packet it quotes change. */
export function translateError(packet: Packet, change: ErrorChange): Packet {
  if (packet.transport.kind !== 'error') throw new Error('not an ICMP error');
  const transport: IcmpError = { ...packet.transport, quote: translateQuote(packet.transport.quote, change.quoted) };
  const ip = readdress(packet.ip, change.source, change.destination, change.hops ?? 0);
  return { ...packet, ethernet: change.hop ?? packet.ethernet, ip, transport };
}

/** Where the checksum of a transport header lies, and whether it covers the addresses. */
const CHECKSUM_AT: Record<number, { offset: number; pseudo: boolean }> = {
  [PROTOCOL.tcp]: { offset: 16, pseudo: true },
  [PROTOCOL.udp]: { offset: 6, pseudo: true },
  [PROTOCOL.icmp]: { offset: 2, pseudo: false },
  [PROTOCOL.icmpv6]: { offset: 2, pseudo: true },
};

/** A quotation may be cut short anywhere after eight bytes of transport header, so its checksum is adjusted. */
function translateQuote(
  quote: Uint8Array,
  change: { source?: Peer | undefined; destination?: Peer | undefined },
): Uint8Array {
  const { ip, protocol, offset } = parseIpHeader(quote);
  const out = quote.slice();
  const addressAt = ip.version === 4 ? 12 : 8;
  const addressSize = ip.version === 4 ? 4 : 16;
  if (change.source) out.set(ipBytes(change.source.address), addressAt);
  if (change.destination) out.set(ipBytes(change.destination.address), addressAt + addressSize);
  if (ip.version === 4) {
    out.set([0, 0], 10);
    out.set(be16(internetChecksum(out.subarray(0, offset))), 10);
  }
  writePorts(out, offset, protocol, change);
  const sum = CHECKSUM_AT[protocol];
  if (!sum || out.length < offset + sum.offset + 2) return out;
  const at = offset + sum.offset;
  const before = ((quote[at] ?? 0) << 8) | (quote[at + 1] ?? 0);
  if (before === 0 && protocol === PROTOCOL.udp) return out;
  const addresses = (bytes: Uint8Array) => bytes.subarray(addressAt, addressAt + 2 * addressSize);
  const covered = (bytes: Uint8Array) =>
    joinBytes(
      sum.pseudo ? addresses(bytes) : new Uint8Array(0),
      bytes.subarray(offset, at),
      bytes.subarray(at + 2, offset + 8),
    );
  const after = adjustChecksum(before, covered(quote), covered(out));
  out.set(be16(after === 0 && protocol === PROTOCOL.udp ? 0xffff : after), at);
  return out;
}

function writePorts(
  out: Uint8Array,
  at: number,
  protocol: number,
  change: { source?: Peer | undefined; destination?: Peer | undefined },
): void {
  if (protocol === PROTOCOL.tcp || protocol === PROTOCOL.udp || protocol === PROTOCOL.sctp) {
    if (change.source) out.set(be16(change.source.port), at);
    if (change.destination) out.set(be16(change.destination.port), at + 2);
    return;
  }
  const reply = out[at] === 0 || out[at] === 129;
  const peer = reply ? change.destination : change.source;
  if (peer) out.set(be16(peer.port), at + 4);
}
