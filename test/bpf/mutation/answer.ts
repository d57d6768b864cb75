/** What the programs answer packets with themselves. */
import type { Packet } from '../reference/packet.js';
import { InvalidPacket, parseFrame } from '../reference/parse.js';
import { Kind, RawPacket } from '../reference/raw.js';
import { sameBytes } from '../reference/raw-translate.js';
import { CHUNK } from '../reference/sctp.js';

const SCTP = 132;

const outgoing = new RawPacket();

/** An ICMP error or a reset that goes back where the packet came from. */
export function isAnswer(packet: RawPacket, output: Uint8Array, length: number): boolean {
  const { bytes, addresses, size } = packet;
  const turned = sameBytes(output, 0, bytes, 6, 6) && sameBytes(output, 6, bytes, 0, 6);
  if (!turned || packet.kind === Kind.none) return false;
  outgoing.read(output, length);
  const at = outgoing.addresses;
  const back =
    sameBytes(output, at, bytes, addresses + size, size) && sameBytes(output, at + size, bytes, addresses, size);
  const answer = parsed(output.slice(0, length));
  if (!back) return false;
  // A reset or abort is made of the packet itself: a sum that was wrong still is, whatever else was wrong with it.
  const made = packet.protocol === 6 || packet.protocol === SCTP;
  if (typeof answer === 'string') return made && typeof parsed(bytes.slice(0, packet.length)) === 'string';
  const { transport } = answer;
  if (transport.kind === 'error') return sameBytes(transport.quote, 0, bytes, 14, transport.quote.length);
  if (transport.kind === 'sctp') return transport.chunks[0]?.type === CHUNK.abort;
  return transport.kind === 'tcp' && transport.flags === 0x14;
}

/** The packet, or what is wrong with it. */
function parsed(frame: Uint8Array): Packet | string {
  try {
    return parseFrame(frame);
  } catch (error) {
    if (error instanceof InvalidPacket) return error.message;
    throw error;
  }
}
