/** UDP packets whose checksums are special: none at all, and those that come out as zero, which says none. */
import { adjust, fold, type RawPacket, setWord, word } from '../reference/raw.js';
import { type RawChange, translateRaw } from '../reference/raw-translate.js';

const CHECK = 6;
const PAYLOAD = 8;

const translated = new Uint8Array(4096);

/** The frame without a checksum. */
export function withoutSum({ bytes, transport }: RawPacket): Uint8Array {
  const frame = bytes.slice();
  setWord(frame, transport + CHECK, 0);
  return frame;
}

/** The frame with two bytes of its payload such that the sum of the translated packet is zero, and its own still right. */
export function withSumOfZero(packet: RawPacket, direction: RawChange): Uint8Array {
  const frame = packet.bytes.slice();
  const { transport: at } = packet;
  translateRaw(packet, direction, 1, translated);
  const before = word(frame, at + PAYLOAD);
  const after = fold(before + word(translated, at + CHECK));
  setWord(frame, at + PAYLOAD, after);
  setWord(frame, at + CHECK, adjust(word(frame, at + CHECK), before, after));
  return frame;
}
