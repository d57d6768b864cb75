/**
 * Flows with a PROXY protocol header in front of the client's bytes. Which numbers a segment has to have depends on all
 * before it, which tests of their own judge; here: what a damaged segment may never become.
 */
import { VERDICT } from '../harness.js';
import { ipText } from '../reference/address.js';
import { proxyHeader } from '../reference/proxy.js';
import { fold, RawPacket, sumOf, word } from '../reference/raw.js';
import { sameBytes } from '../reference/raw-translate.js';
import { type Direction, isLinkLocal } from './model.js';

export class ProxyJudge {
  private readonly out = new RawPacket();

  /** To the right peer, from the right address, with the client's bytes and nothing else but the header. */
  isSent(packet: RawPacket, direction: Direction, output: Uint8Array, length: number, verdict: number): boolean {
    const { out } = this;
    out.read(output, length);
    const { source, destination, sport, dport, macs } = direction;
    const { addresses: at, size } = out;
    // Addresses of one link are the kernel's to route, or not.
    const left = verdict === VERDICT.next && (isLinkLocal(source) || isLinkLocal(destination));
    if (out.protocol !== 6 || size !== packet.size || (verdict !== VERDICT.redirect && !left)) return false;
    if (!sameBytes(output, at, source, 0, size) || !sameBytes(output, at + size, destination, 0, size)) return false;
    if (out.sport !== sport || out.dport !== dport || out.ttl !== packet.ttl - (left ? 0 : 1)) return false;
    if (macs && !direction.reply && !left && !sameBytes(output, 0, macs, 0, 12)) return false;
    const header = this.headerOf(packet, direction);
    if (!direction.reply && this.isHeaderAlone(out, header)) return isRight(out) || !isRight(packet);
    if (isRight(packet) !== isRight(out)) return false;
    if (!direction.reply && isSyn(packet) && this.isWithoutData(packet, out)) return true;
    return this.keepsPayload(packet, out, header) && this.keepsNumbers(packet, out, header.length, direction.reply);
  }

  /** The endpoint says that it has not got the header: what says so is turned round and brings it. */
  isHeaderBack(packet: RawPacket, forward: Direction, output: Uint8Array, length: number): boolean {
    const { out } = this;
    out.read(output, length);
    const { addresses: at, size } = out;
    const { source, destination, sport, dport } = forward;
    if (out.protocol !== 6 || size !== source.length || out.sport !== sport || out.dport !== dport) return false;
    if (!sameBytes(output, at, source, 0, size) || !sameBytes(output, at + size, destination, 0, size)) return false;
    const header = proxyHeader(
      { address: ipText(forward.client), port: forward.clientPort },
      { address: ipText(forward.service.vip), port: forward.service.first },
    );
    return this.isHeaderAlone(out, header) && (isRight(out) || !isRight(packet));
  }

  private headerOf(packet: RawPacket, direction: Direction): Uint8Array {
    const { bytes, addresses: at, size, sport, dport } = packet;
    const ends = [ipText(bytes.slice(at, at + size)), ipText(bytes.slice(at + size, at + 2 * size))] as const;
    const [from, to] = direction.reply ? [ipText(direction.destination), ipText(direction.source)] : ends;
    return proxyHeader({ address: from, port: sport }, { address: to, port: dport });
  }

  /** What the client sent is left out where the header has to go first: it will come again. */
  private isHeaderAlone(out: RawPacket, header: Uint8Array): boolean {
    const at = payloadAt(out);
    return out.end - at === header.length && sameBytes(out.bytes, at, header, 0, header.length);
  }

  /** Data of a SYN would come before the header: it is left out, and the client sends it again (RFC 7413 4.2). */
  private isWithoutData(packet: RawPacket, out: RawPacket): boolean {
    const at = packet.transport + 4;
    return out.end === payloadAt(out) && sameBytes(out.bytes, out.transport + 4, packet.bytes, at, 12);
  }

  private keepsPayload(packet: RawPacket, out: RawPacket, header: Uint8Array): boolean {
    const given = payloadAt(packet);
    const sent = payloadAt(out);
    const [size, length] = [packet.end - given, out.end - sent];
    const added = length - size;
    if (added !== 0 && added !== header.length) return false;
    if (added !== 0 && !sameBytes(out.bytes, sent, header, 0, header.length)) return false;
    return sameBytes(out.bytes, sent + added, packet.bytes, given, size);
  }

  /** Moved by the header's length one way, and back the other way. */
  private keepsNumbers(packet: RawPacket, out: RawPacket, size: number, reply: boolean): boolean {
    const moved = (offset: number) =>
      (long(out.bytes, out.transport + offset) - long(packet.bytes, packet.transport + offset)) | 0;
    const [sequence, acknowledgment] = [moved(4), moved(8)];
    if (reply) return sequence === 0 && acknowledgment <= 0 && acknowledgment >= -size;
    return acknowledgment === 0 && (sequence === 0 || sequence === size);
  }
}

function long(bytes: Uint8Array, at: number): number {
  return word(bytes, at) * 0x10000 + word(bytes, at + 2);
}

function isSyn({ tcpFlags }: RawPacket): boolean {
  return (tcpFlags & 0x02) !== 0;
}

function payloadAt({ bytes, transport }: RawPacket): number {
  return transport + ((bytes[transport + 12] ?? 0) >> 4) * 4;
}

function isRight(packet: RawPacket): boolean {
  const { bytes, transport, end, addresses, size } = packet;
  const pseudo = sumOf(bytes, addresses, addresses + 2 * size) + 6 + end - transport;
  return fold(sumOf(bytes, transport, end) + pseudo) === 0xffff;
}
