/** What RFC 7915 makes of a packet, written over its bytes (raw.ts). */
import { checksumOffset, fold, Part, type RawPacket, setWord, sumOf, word } from './raw.js';
import { adjustAt, copy, type RawChange } from './raw-translate.js';

const FRAGMENTABLE = 1260;
const ICMP = 1;
const ICMPV6 = 58;
const UDP = 17;
const SCTP = 132;

/** ICMP has another number in the other family. */
export function otherProtocol(protocol: number): number {
  return protocol === ICMP ? ICMPV6 : protocol === ICMPV6 ? ICMP : protocol;
}

/**
 * The packet in the other family, in `out`; 0 when there is none. `identification` is the translator's choice for a
 * packet that may be fragmented, and may be read from what it made.
 */
export function crossRaw(
  packet: RawPacket,
  change: RawChange,
  hops: number,
  identification: number,
  out: Uint8Array,
): number {
  const { part, protocol, bytes } = packet;
  const icmp = protocol === ICMP || protocol === ICMPV6;
  // ICMPv6's sum covers the length of the whole message, which no fragment tells.
  if (part !== Part.whole && icmp) return 0;
  // A header whose own sum is wrong must not become one that has none.
  if (!packet.six && sumOf(bytes, 14, 14 + ((bytes[14] ?? 0) & 15) * 4) !== 0xffff) return 0;
  const at = packet.six ? writeIpv4(packet, change, hops, identification, out) : writeIpv6(packet, change, hops, out);
  for (let index = packet.transport; index < packet.length; index++)
    out[at + index - packet.transport] = bytes[index] ?? 0;
  if (change.macs) copy(change.macs, out, 0);
  setWord(out, 12, packet.six ? 0x0800 : 0x86dd);
  if (part !== Part.later && !writeTransport(packet, change, at, out)) return 0;
  return at + packet.length - packet.transport;
}

function writeIpv4(
  packet: RawPacket,
  change: RawChange,
  hops: number,
  identification: number,
  out: Uint8Array,
): number {
  const { transport, end, bytes } = packet;
  const total = 20 + end - transport;
  out.set([0x45, packet.trafficClass], 14);
  setWord(out, 16, total);
  setWord(out, 18, packet.fragmentHeader ? word(bytes, packet.identification + 2) : identification);
  if (packet.fragmentHeader) {
    const field = word(bytes, packet.identification - 2);
    setWord(out, 20, (field >> 3) | (field & 1 ? 0x2000 : 0));
  } else setWord(out, 20, total > FRAGMENTABLE ? 0x4000 : 0);
  out.set([packet.ttl - hops, otherProtocol(packet.protocol), 0, 0], 22);
  copy(change.source, out, 26);
  copy(change.destination, out, 30);
  setWord(out, 24, 0xffff - sumOf(out, 14, 34));
  return 34;
}

function writeIpv6(packet: RawPacket, change: RawChange, hops: number, out: Uint8Array): number {
  const { transport, end, bytes, trafficClass } = packet;
  const split = packet.part !== Part.whole;
  const next = otherProtocol(packet.protocol);
  out.set([0x60 | (trafficClass >> 4), (trafficClass << 4) & 255, 0, 0], 14);
  setWord(out, 18, end - transport + (split ? 8 : 0));
  out.set([split ? 44 : next, packet.ttl - hops], 20);
  copy(change.source, out, 22);
  copy(change.destination, out, 38);
  if (!split) return 54;
  const field = word(bytes, 20);
  out.set([next, 0], 54);
  setWord(out, 56, ((field & 0x1fff) << 3) | (field & 0x2000 ? 1 : 0));
  setWord(out, 58, 0);
  setWord(out, 60, word(bytes, 18));
  return 62;
}

/** False: the packet cannot be translated. */
function writeTransport(packet: RawPacket, change: RawChange, at: number, out: Uint8Array): boolean {
  const { bytes, protocol, addresses, size, transport, end } = packet;
  const old = sumOf(bytes, addresses, addresses + 2 * size);
  const fresh = fold(
    sumOf(change.source, 0, change.source.length) + sumOf(change.destination, 0, change.source.length),
  );
  if (protocol === ICMP || protocol === ICMPV6) {
    const pseudo = fold((packet.six ? old : fresh) + ICMPV6 + end - transport);
    const before = sumOf(out, at, at + 2) + sumOf(out, at + 4, at + 6);
    const type = bytes[transport] ?? 0;
    out[at] = packet.six ? (type === 128 ? 8 : 0) : type === 8 ? 128 : 129;
    setWord(out, at + 4, change.sport);
    const after = sumOf(out, at, at + 2) + sumOf(out, at + 4, at + 6);
    adjustAt(out, at + 2, protocol, before + (packet.six ? pseudo : 0), after + (packet.six ? 0 : pseudo));
    return true;
  }
  const ports = sumOf(out, at, at + 4);
  setWord(out, at, change.sport);
  setWord(out, at + 2, change.dport);
  const changed = sumOf(out, at, at + 4);
  // With other ports the CRC would have to be made anew.
  if (protocol === SCTP) return ports === changed;
  const check = at + checksumOffset(protocol);
  if (protocol === UDP && word(out, check) === 0) return sumDatagram(packet, fresh, at, out);
  adjustAt(out, check, protocol, old + ports, fresh + changed);
  return true;
}

/** 4.5: over IPv6 no datagram is without a checksum. */
function sumDatagram(packet: RawPacket, addresses: number, at: number, out: Uint8Array): boolean {
  const length = word(out, at + 4);
  if (packet.six || packet.part !== Part.whole || length < 8 || length > packet.end - packet.transport) return false;
  const sum = 0xffff - fold(sumOf(out, at, at + length) + addresses + UDP + length);
  setWord(out, at + 6, sum === 0 ? 0xffff : sum);
  return true;
}
