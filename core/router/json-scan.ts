/**
 * Finds the end of the first JSON value of a body and words mistakes as Go's decoder does, because clients and their
 * authors know those texts. Only bodies that `JSON.parse` refuses come here.
 */
const MAX_DEPTH = 1000;

export class JsonScanError extends Error {
  override name = 'JsonScanError';
}

/**
 * @returns offset just after the first value
 * @throws JsonScanError
 */
export function scanFirstValue(bytes: Uint8Array): number {
  const scanner = new Scanner(bytes);
  scanner.value(0);
  return scanner.position;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LITERALS: Readonly<Record<string, string>> = { t: 'true', f: 'false', n: 'null' };

class Scanner {
  position = 0;

  constructor(private readonly bytes: Uint8Array) {}

  value(depth: number): void {
    if (depth > MAX_DEPTH) throw new JsonScanError('exceeded max depth');
    const first = this.#next();
    const char = String.fromCharCode(first);
    if (char === '{') this.#object(depth);
    else if (char === '[') this.#array(depth);
    else if (char === '"') this.#string();
    else if (char === '-' || isDigit(first)) this.#number(first);
    else if (LITERALS[char]) this.#literal(LITERALS[char]);
    else throw invalid(first, 'looking for beginning of value');
  }

  #object(depth: number): void {
    if (this.#skipTo(0x7d)) return;
    for (;;) {
      this.#expect(QUOTE, 'looking for beginning of object key string');
      this.#string();
      this.#expect(0x3a, 'after object key');
      this.value(depth + 1);
      const after = this.#next();
      if (after === 0x7d) return;
      if (after !== 0x2c) throw invalid(after, 'after object key:value pair');
    }
  }

  #array(depth: number): void {
    if (this.#skipTo(0x5d)) return;
    for (;;) {
      this.value(depth + 1);
      const after = this.#next();
      if (after === 0x5d) return;
      if (after !== 0x2c) throw invalid(after, 'after array element');
    }
  }

  #string(): void {
    for (;;) {
      const byte = this.#byte();
      if (byte === QUOTE) return;
      if (byte < 0x20) throw invalid(byte, 'in string literal');
      if (byte === BACKSLASH) this.#escape();
    }
  }

  #escape(): void {
    const byte = this.#byte();
    if (byte === 0x75) {
      for (let digit = 0; digit < 4; digit++) {
        const hex = this.#byte();
        if (!/[0-9a-fA-F]/.test(String.fromCharCode(hex))) throw invalid(hex, 'in \\u hexadecimal character escape');
      }
    } else if (!'bfnrt\\/"'.includes(String.fromCharCode(byte))) {
      throw invalid(byte, 'in string escape code');
    }
  }

  #number(first: number): void {
    const lead = first === 0x2d ? this.#digit('in numeric literal') : first;
    if (lead !== 0x30) this.#digits();
    if (this.bytes[this.position] === 0x2e) {
      this.position++;
      this.#digit('after decimal point in numeric literal');
      this.#digits();
    }
    const exponent = this.bytes[this.position];
    if (exponent !== 0x65 && exponent !== 0x45) return;
    this.position++;
    const sign = this.bytes[this.position];
    if (sign === 0x2b || sign === 0x2d) this.position++;
    this.#digit('in exponent of numeric literal');
    this.#digits();
  }

  #digit(where: string): number {
    const byte = this.#byte();
    if (!isDigit(byte)) throw invalid(byte, where);
    return byte;
  }

  #digits(): void {
    while (isDigit(this.bytes[this.position] ?? 0)) this.position++;
  }

  #literal(word: string): void {
    for (const expected of word.slice(1)) {
      const byte = this.#byte();
      if (String.fromCharCode(byte) !== expected) {
        throw invalid(byte, `in literal ${word} (expecting '${expected}')`);
      }
    }
  }

  /** Consumes `byte` when it comes next after white space. */
  #skipTo(byte: number): boolean {
    this.#skipSpace();
    if (this.bytes[this.position] !== byte) return false;
    this.position++;
    return true;
  }

  #expect(byte: number, where: string): void {
    const given = this.#next();
    if (given !== byte) throw invalid(given, where);
  }

  #next(): number {
    this.#skipSpace();
    return this.#byte();
  }

  #skipSpace(): void {
    for (;;) {
      const byte = this.bytes[this.position];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.position++;
    }
  }

  #byte(): number {
    const byte = this.bytes[this.position];
    if (byte === undefined) throw new JsonScanError('unexpected EOF');
    this.position++;
    return byte;
  }
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function invalid(byte: number, where: string): JsonScanError {
  return new JsonScanError(`invalid character ${quote(byte)} ${where}`);
}

const ESCAPES: Readonly<Record<string, string>> = {
  "'": "\\'",
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\b': '\\b',
  '\f': '\\f',
  '\v': '\\v',
  '\u0007': '\\a',
};

/** A byte as Go quotes a character: `'x'`, `'\''`, `'"'`, `'\x00'`. */
function quote(byte: number): string {
  const char = String.fromCharCode(byte);
  const escaped = ESCAPES[char];
  if (escaped) return `'${escaped}'`;
  if (byte < 0x20 || byte === 0x7f) return `'\\x${byte.toString(16).padStart(2, '0')}'`;
  if (byte >= 0x80 && byte <= 0xa0) return `'\\u00${byte.toString(16)}'`;
  return `'${char}'`;
}
