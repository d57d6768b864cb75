/** Damages packets at random, in place. */
import { setWord, sumOf } from '../reference/raw.js';

/** Whole numbers, the same in every run with the same seed (xorshift32). */
export class Dice {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0 || 1;
  }

  /** From 0 to `limit` - 1. */
  pick(limit: number): number {
    let { state } = this;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.state = state;
    return (state >>> 0) % limit;
  }
}

/** Values that mean something somewhere. */
const SPECIAL = [0, 1, 2, 6, 17, 43, 44, 58, 60, 0x20, 0x40, 0x45, 0x7f, 0x80, 0xfe, 0xff];
const L3 = 14;
/** Bytes of a frame in which most of what matters is. */
const HEADERS = 66;

/**
 * One to four changes in `frame`, whose length is returned. `other` is another packet of the same world: pieces of it
 * make packets that belong half here and half there.
 */
export function mutate(frame: Uint8Array, length: number, other: Uint8Array, dice: Dice): number {
  let size = length;
  const six = frame[12] === 0x86;
  if (dice.pick(12) === 0) size = resize(frame, size, six, dice);
  for (let changes = 1 + dice.pick(4); changes > 0; changes--) {
    const reach = dice.pick(4) === 0 ? size : Math.min(size, HEADERS);
    const at = L3 + dice.pick(reach - L3);
    const kind = dice.pick(8);
    if (kind < 3) frame[at] = (frame[at] ?? 0) ^ (1 << dice.pick(8));
    else if (kind < 4) frame[at] = dice.pick(256);
    else if (kind < 5) frame[at] = SPECIAL[dice.pick(SPECIAL.length)] ?? 0;
    else if (kind < 6) damageFragment(frame, six, dice);
    else graft(frame, size, other, six, dice);
  }
  // A header whose sum is right gets farther, and is what an attacker sends.
  if (!six && dice.pick(5) > 0) setSum(frame);
  return size;
}

function setSum(frame: Uint8Array): void {
  const end = Math.min(L3 + ((frame[L3] ?? 0) & 15) * 4, frame.length);
  setWord(frame, 24, 0);
  setWord(frame, 24, 0xffff - sumOf(frame, L3, end));
}

/** Cuts the frame or adds to it; the header follows now and then. */
function resize(frame: Uint8Array, length: number, six: boolean, dice: Dice): number {
  const shortest = L3 + (six ? 40 : 20);
  const size = dice.pick(3) === 0 ? length + dice.pick(40) : shortest + dice.pick(length - shortest + 1);
  for (let at = length; at < size; at++) frame[at] = dice.pick(256);
  if (dice.pick(2) === 0) setWord(frame, six ? 18 : 16, size - L3 - (six ? 40 : 0));
  return size;
}

/** Makes IPv4 packets fragments, with few identifications, so that they meet. */
function damageFragment(frame: Uint8Array, six: boolean, dice: Dice): void {
  if (six) {
    // A fragment header begins where the transport was: whatever that was is its offset now.
    if (dice.pick(4) === 0) frame[20] = 44;
    return;
  }
  setWord(frame, 18, dice.pick(4));
  setWord(frame, 20, [0x2000, 0x2003, 0x0003, 0x4000, 0, 0x2000][dice.pick(6)] ?? 0);
}

/** An address, the ports, or the protocol of another packet. */
function graft(frame: Uint8Array, size: number, other: Uint8Array, six: boolean, dice: Dice): void {
  const addresses = six ? 22 : 26;
  const width = six ? 16 : 4;
  const ports = six ? 54 : 34;
  const [at, count] = [
    [addresses, width],
    [addresses + width, width],
    [ports, 2],
    [ports + 2, 2],
    [six ? 20 : 23, 1],
    [ports + 12, 2],
  ][dice.pick(6)] as [number, number];
  for (let index = at; index < at + count && index < size; index++) frame[index] = other[index] ?? 0;
}
