const FIRST_SIZE = 64 * 1024;
/** Enough for one listed flow without its service name: members, two IPv6 addresses, the act text, four numbers. */
const ROOM = 1024;
const ZERO = 0x30;
const COLON = 0x3a;
const DOT = 0x2e;
const HEX = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));

const encoder = new TextEncoder();

/** UTF-8 bytes of a fixed piece of text, made once and copied often. */
export function asBytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/**
 * Writes JSON as bytes: a table dump is a few hundred megabytes of digits, and making strings of them first would cost
 * more. `reserve` before each entry; the other calls do not check for room. One writer serves many texts: its buffer
 * grows to what they need.
 */
export class JsonWriter {
  #bytes = new Uint8Array(FIRST_SIZE);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Makes sure one entry and `extra` bytes of text fit. */
  reserve(extra: number): void {
    const needed = this.#length + ROOM + extra;
    if (needed <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  /** Forgets what was written and keeps the room. */
  clear(): void {
    this.#length = 0;
  }

  /** A copy of what was written, no larger than that. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  text(text: Uint8Array): void {
    const { length } = text;
    const bytes = this.#bytes;
    let position = this.#length;
    // A plain loop beats `set` for pieces this short.
    for (let index = 0; index < length; index++) bytes[position++] = text[index] as number;
    this.#length = position;
  }

  byte(value: number): void {
    this.#bytes[this.#length++] = value;
  }

  /** A whole number up to 2^53. */
  decimal(value: number): void {
    let digits = 1;
    for (let limit = 10; value >= limit; limit *= 10) digits++;
    this.#length += digits;
    let position = this.#length;
    let rest = value;
    // Division by a constant is cheap for 32-bit integers only.
    while (rest > 0x7fffffff) {
      const tens = Math.floor(rest / 10);
      this.#bytes[--position] = ZERO + (rest - tens * 10);
      rest = tens;
    }
    let small = rest | 0;
    do {
      const tens = (small / 10) | 0;
      this.#bytes[--position] = ZERO + (small - tens * 10);
      small = tens;
    } while (small > 0);
  }

  /** The 16 bytes of an address at `offset`; IPv4-mapped ones in dotted form, others as RFC 5952 says. */
  address(source: Uint8Array, offset: number): void {
    if (isMapped(source, offset)) this.#dotted(source, offset + 12);
    else this.#colons(source, offset);
  }

  #dotted(source: Uint8Array, offset: number): void {
    const bytes = this.#bytes;
    let position = this.#length;
    for (let index = 0; index < 4; index++) {
      if (index > 0) bytes[position++] = DOT;
      const octet = source[offset + index] as number;
      if (octet >= 100) bytes[position++] = ZERO + ((octet / 100) | 0);
      if (octet >= 10) bytes[position++] = ZERO + (((octet / 10) | 0) % 10);
      bytes[position++] = ZERO + (octet % 10);
    }
    this.#length = position;
  }

  #colons(source: Uint8Array, offset: number): void {
    const [start, length] = longestZeros(source, offset);
    for (let group = 0; group < 8; group++) {
      if (group === start) {
        this.byte(COLON);
        this.byte(COLON);
        group += length - 1;
        continue;
      }
      if (group > 0 && group !== start + length) this.byte(COLON);
      this.#hex(groupAt(source, offset, group));
    }
  }

  #hex(value: number): void {
    for (let shift = value > 0xfff ? 12 : value > 0xff ? 8 : value > 0xf ? 4 : 0; shift >= 0; shift -= 4) {
      this.byte(HEX[(value >> shift) & 0xf] as number);
    }
  }
}

function groupAt(source: Uint8Array, offset: number, group: number): number {
  return ((source[offset + group * 2] as number) << 8) | (source[offset + group * 2 + 1] as number);
}

function isMapped(source: Uint8Array, offset: number): boolean {
  if (source[offset + 10] !== 0xff || source[offset + 11] !== 0xff) return false;
  for (let index = 0; index < 10; index++) if (source[offset + index] !== 0) return false;
  return true;
}

/** First and longest run of two or more zero groups: [start, length], start -1 when there is none. */
function longestZeros(source: Uint8Array, offset: number): [number, number] {
  let best = -1;
  let longest = 1;
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groupAt(source, offset, start + length) === 0) length++;
    if (length > longest) {
      best = start;
      longest = length;
    }
    start += length;
  }
  return [best, best < 0 ? 0 : longest];
}
