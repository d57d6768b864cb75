/** Whether a frame is the one that was expected. */
import { checksumOffset, fold, Kind, Part, type RawPacket, setWord, sumOf, word } from '../reference/raw.js';
import type { RawQuote } from '../reference/raw-translate.js';

export class Likeness {
  /** `quote` counts where the packet is an ICMP error; `expected` is written by whoever asks. */
  constructor(
    private readonly packet: RawPacket,
    private readonly quote: RawQuote,
    private readonly expected: Uint8Array,
  ) {}

  /** Equal byte by byte, `shift` bytes of which a tunnel has put in front; a checksum that was wrong may be wrong as 0 or as 0xffff, which are the same sum. */
  matches(output: Uint8Array, length: number, size: number, shift: number): boolean {
    if (length !== size) return false;
    const { expected } = this;
    for (let at = 0; at < size; at++) {
      if (expected[at] === output[at]) continue;
      const field = this.checksumAt(at - shift);
      if (field === undefined) return false;
      const sums = word(expected, field + shift) ^ word(output, field + shift);
      const zero = word(expected, field + shift) === 0 || word(expected, field + shift) === 0xffff;
      if (sums !== 0xffff || !zero || this.isRight(field) || this.tellsNoSum(field, output, shift)) return false;
      setWord(expected, field + shift, word(output, field + shift));
    }
    return true;
  }

  /** UDP without a checksum is taken for right, whatever is in it: not even a wrong one may become zero. */
  private tellsNoSum(field: number, output: Uint8Array, shift: number): boolean {
    const { transport, protocol } = this.packet;
    return protocol === 17 && field === transport + checksumOffset(protocol) && word(output, field + shift) === 0;
  }

  /** Where the checksum begins that this byte belongs to. */
  private checksumAt(at: number): number | undefined {
    const { packet, quote } = this;
    const fields = [packet.six ? -2 : 24, packet.transport + checksumOffset(packet.protocol)];
    if (packet.kind === Kind.error) {
      fields.push(quote.transport + checksumOffset(quote.protocol));
      if (!packet.six) fields.push(packet.transport + 18);
    }
    return fields.find((field) => at === field || at === field + 1);
  }

  /** Whether the checksum is right in the packet as it came. */
  private isRight(field: number): boolean {
    const { packet } = this;
    const { bytes, transport, end, protocol } = packet;
    if (field === 24 && !packet.six) return sumOf(bytes, 14, 14 + ((bytes[14] ?? 0) & 15) * 4) === 0xffff;
    if (field !== transport + checksumOffset(protocol) || packet.part !== Part.whole) return false;
    const segment = sumOf(bytes, transport, end);
    if (protocol === 1) return segment === 0xffff;
    const pseudo = sumOf(bytes, packet.addresses, packet.addresses + 2 * packet.size) + protocol + end - transport;
    return fold(segment + pseudo) === 0xffff;
  }
}
