/** What a packet becomes, written over its bytes (raw.ts). Wrong checksums stay as wrong as they were. */

import { adjust, checksumOffset, fold, Kind, Part, type RawPacket, setWord, sumOf, word } from './raw.js';
import { crc32c } from './sctp.js';

/** One direction of a flow: what its packets get. Addresses in network order, 4 or 16 bytes. */
export interface RawChange {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly sport: number;
  readonly dport: number;
  /** Destination and source; undefined: the kernel will write them. */
  readonly macs?: Uint8Array | undefined;
}

export function copy(bytes: Uint8Array, to: Uint8Array, at: number): void {
  for (let index = 0; index < bytes.length; index++) to[at + index] = bytes[index] ?? 0;
}

/** The packet itself, in `out`. */
export function copyRaw(packet: RawPacket, out: Uint8Array): number {
  for (let at = 0; at < packet.length; at++) out[at] = packet.bytes[at] ?? 0;
  return packet.length;
}

/** A hop less, and the header sum of IPv4 right for it. */
export function takeHop(packet: RawPacket, out: Uint8Array): void {
  if (packet.six) {
    out[21] = packet.ttl - 1;
    return;
  }
  const before = word(out, 22);
  out[22] = packet.ttl - 1;
  setWord(out, 24, adjust(word(out, 24), before, word(out, 22)));
}

/** Writes addresses, and returns the sums of old and new ones. */
function readdress(out: Uint8Array, at: number, source: Uint8Array, destination: Uint8Array): [number, number] {
  const size = source.length;
  const old = sumOf(out, at, at + 2 * size);
  copy(source, out, at);
  copy(destination, out, at + size);
  return [old, sumOf(out, at, at + 2 * size)];
}

/** The translated packet in `out`; its length is that of the packet. */
export function translateRaw(packet: RawPacket, change: RawChange, hops: number, out: Uint8Array): number {
  const length = copyRaw(packet, out);
  const { transport, protocol, six } = packet;
  const [oldAddresses, newAddresses] = readdress(out, packet.addresses, change.source, change.destination);
  if (!six) setWord(out, 24, adjust(word(out, 24), oldAddresses, newAddresses));
  if (hops > 0) takeHop(packet, out);
  if (change.macs) copy(change.macs, out, 0);
  if (packet.part === Part.later) return length;
  const echo = protocol === 1 || protocol === 58;
  const ports = transport + (echo ? 4 : 0);
  const portsEnd = ports + (echo ? 2 : 4);
  const oldPorts = sumOf(out, ports, portsEnd);
  setWord(out, ports, change.sport);
  if (!echo) setWord(out, ports + 2, change.dport);
  const newPorts = sumOf(out, ports, portsEnd);
  if (protocol === 132) {
    recheck(packet, out);
    return length;
  }
  const at = transport + checksumOffset(protocol);
  const pseudo = protocol !== 1;
  adjustAt(out, at, protocol, (pseudo ? oldAddresses : 0) + oldPorts, (pseudo ? newAddresses : 0) + newPorts);
  return length;
}

/**
 * SCTP's CRC32c covers ports, but not addresses. It is linear: an error in it stays the same bits (RFC 9260 6.8 wants
 * such packets discarded by who checks them).
 */
function recheck(packet: RawPacket, out: Uint8Array): void {
  const { transport, end } = packet;
  const at = transport + 8;
  const error = crcOf(packet.bytes, transport, end) ^ crcAt(packet.bytes, at);
  new DataView(out.buffer, out.byteOffset).setUint32(at, crcOf(out, transport, end) ^ error, true);
}

function crcAt(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}

/** The CRC with its own field taken for zero. */
function crcOf(bytes: Uint8Array, from: number, to: number): number {
  const zeroed = bytes.slice(from, to);
  zeroed.fill(0, 8, 12);
  return crc32c(zeroed);
}

/** A checksum after that; UDP's zero says that there is none. */
export function adjustAt(out: Uint8Array, at: number, protocol: number, old: number, fresh: number): void {
  const check = word(out, at);
  if (protocol === 17 && check === 0) return;
  const adjusted = adjust(check, fold(old), fold(fresh));
  setWord(out, at, protocol === 17 && adjusted === 0 ? 0xffff : adjusted);
}

/** A quoted packet: where its parts are. */
export class RawQuote {
  addresses = 0;
  size = 0;
  transport = 0;
  protocol = 0;
  sport = 0;
  dport = 0;
  echo = false;

  /** False when the error quotes too little to know whom it is about. */
  read(packet: RawPacket): boolean {
    // Padding behind the IP packet is no part of the quote.
    const { bytes, end } = packet;
    const at = packet.transport + 8;
    if (packet.kind !== Kind.error || at + (packet.six ? 40 : 20) > end) return false;
    if (!(packet.six ? this.readIpv6(bytes, at, end) : this.readIpv4(bytes, at))) return false;
    if (this.transport + 8 > end) return false;
    this.echo = this.protocol === 1 || this.protocol === 58;
    this.sport = word(bytes, this.transport + (this.echo ? 4 : 0));
    this.dport = this.echo ? this.sport : word(bytes, this.transport + 2);
    return true;
  }

  private readIpv4(bytes: Uint8Array, at: number): boolean {
    const header = ((bytes[at] ?? 0) & 15) * 4;
    this.addresses = at + 12;
    this.size = 4;
    this.protocol = bytes[at + 9] ?? 0;
    this.transport = at + header;
    return (bytes[at] ?? 0) >> 4 === 4 && header >= 20 && (word(bytes, at + 6) & 0x1fff) === 0;
  }

  private readIpv6(bytes: Uint8Array, at: number, length: number): boolean {
    this.addresses = at + 8;
    this.size = 16;
    let next = bytes[at + 6] ?? 0;
    let offset = at + 40;
    while ((next === 0 || next === 43 || next === 60) && offset + 8 <= length) {
      next = bytes[offset] ?? 0;
      offset += ((bytes[offset + 1] ?? 0) + 1) * 8;
    }
    this.protocol = next;
    this.transport = offset;
    return (bytes[at] ?? 0) >> 4 === 6;
  }
}

/**
 * An ICMP error about a translated packet. `answer` is the direction of the flow that answers the quoted packet: the
 * quote is turned back by it, and the error goes where it goes.
 */
export function translateErrorRaw(
  packet: RawPacket,
  quote: RawQuote,
  answer: RawChange,
  hops: number,
  out: Uint8Array,
): number {
  const length = copyRaw(packet, out);
  const { size, transport, addresses, echo, protocol } = quote;
  const quoteAt = packet.transport + 8;
  const { end } = packet;
  const even = end - ((end - quoteAt) % 2);
  const oldQuote = sumOf(out, quoteAt, even);
  const fromEndpoint = sameBytes(packet.bytes, packet.addresses, packet.bytes, addresses + size, size);
  const [oldAddresses, newAddresses] = readdress(out, addresses, answer.destination, answer.source);
  if (!packet.six) setWord(out, quoteAt + 10, adjust(word(out, quoteAt + 10), oldAddresses, newAddresses));
  const ports = transport + (echo ? 4 : 0);
  const portsEnd = ports + (echo ? 2 : 4);
  const oldPorts = sumOf(out, ports, portsEnd);
  setWord(out, ports, answer.dport);
  if (!echo) setWord(out, ports + 2, answer.sport);
  const newPorts = sumOf(out, ports, portsEnd);
  const check = transport + checksumOffset(protocol);
  const summed = protocol === 6 || protocol === 17 || echo;
  const pseudo = protocol !== 1;
  if (summed && check + 2 <= end)
    adjustAt(out, check, protocol, (pseudo ? oldAddresses : 0) + oldPorts, (pseudo ? newAddresses : 0) + newPorts);
  const newQuote = sumOf(out, quoteAt, even);
  const source = fromEndpoint ? answer.source : packet.bytes.subarray(packet.addresses, packet.addresses + size);
  const [oldOuter, newOuter] = readdress(out, packet.addresses, source, answer.destination);
  const icmp = packet.transport + 2;
  if (packet.six) setWord(out, icmp, adjust(word(out, icmp), fold(oldQuote + oldOuter), fold(newQuote + newOuter)));
  else {
    setWord(out, icmp, adjust(word(out, icmp), oldQuote, newQuote));
    setWord(out, 24, adjust(word(out, 24), oldOuter, newOuter));
  }
  if (hops > 0) takeHop(packet, out);
  return length;
}

export interface RawTunnel {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly macs: Uint8Array;
}

/** The packet with a hop less inside another; `identification` where the outer one may be fragmented. */
export function encapsulateRaw(packet: RawPacket, tunnel: RawTunnel, identification: number, out: Uint8Array): number {
  const six = tunnel.source.length === 16;
  const header = six ? 40 : 20;
  copyRaw(packet, out);
  takeHop(packet, out);
  out.copyWithin(14 + header, 14, packet.length);
  copy(tunnel.macs, out, 0);
  setWord(out, 12, six ? 0x86dd : 0x0800);
  const inner = packet.end - 14;
  const protocol = packet.six ? 41 : 4;
  if (six) {
    out.set([0x60 | (packet.trafficClass >> 4), (packet.trafficClass << 4) & 255, 0, 0], 14);
    setWord(out, 18, inner);
    out[20] = protocol;
    out[21] = 64;
    copy(tunnel.source, out, 22);
    copy(tunnel.destination, out, 38);
    return packet.length + header;
  }
  const { dontFragment } = packet;
  out.set([0x45, packet.trafficClass], 14);
  setWord(out, 16, inner + 20);
  setWord(out, 18, dontFragment ? 0 : identification);
  setWord(out, 20, dontFragment ? 0x4000 : 0);
  out.set([64, protocol, 0, 0], 22);
  copy(tunnel.source, out, 26);
  copy(tunnel.destination, out, 30);
  setWord(out, 24, 0xffff - sumOf(out, 14, 34));
  return packet.length + header;
}

export function sameBytes(a: Uint8Array, at: number, b: Uint8Array, bt: number, size: number): boolean {
  for (let index = 0; index < size; index++) if (a[at + index] !== b[bt + index]) return false;
  return true;
}
