import { Transform, type TransformCallback } from 'node:stream';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const SPACE = 0x20;
const NEWLINE = 0x0a;
const INDENT = 4;

/**
 * Re-indents JSON as it passes, four spaces a level, with every value left as it was. A million flows are shown
 * without holding more than a chunk.
 */
export class JsonIndent extends Transform {
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** After an opening bracket: the line break waits, because an empty list stays on one line. */
  #opened = false;
  #out = Buffer.allocUnsafe(64 * 1024);
  #length = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let at = 0;
    while (at < chunk.length) at = this.#inString ? this.#copyString(chunk, at) : this.#copyToken(chunk, at);
    this.#flushOut();
    done();
  }

  override _flush(done: TransformCallback): void {
    this.push('\n');
    done();
  }

  /** Copies up to and including the closing quote, or to the end of the chunk. */
  #copyString(chunk: Buffer, start: number): number {
    let end = start;
    while (end < chunk.length) {
      const byte = chunk[end++];
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) {
        this.#inString = false;
        break;
      }
    }
    this.#reserve(end - start);
    this.#length += chunk.copy(this.#out, this.#length, start, end);
    return end;
  }

  #copyToken(chunk: Buffer, at: number): number {
    const byte = chunk[at] as number;
    this.#reserve(4 + INDENT * (this.#depth + 1));
    if (byte === SPACE || (byte >= 0x09 && byte <= 0x0d)) return at + 1;
    // `}` and `]` close; `{` and `[` open: 0x20 apart from each other's kind.
    if (byte === 0x7d || byte === 0x5d) {
      this.#depth--;
      if (!this.#opened) this.#newLine();
      this.#opened = false;
      this.#put(byte);
      return at + 1;
    }
    if (this.#opened) {
      this.#opened = false;
      this.#newLine();
    }
    this.#put(byte);
    if (byte === QUOTE) this.#inString = true;
    else if (byte === COMMA) this.#newLine();
    else if (byte === COLON) this.#put(SPACE);
    else if (byte === 0x7b || byte === 0x5b) {
      this.#depth++;
      this.#opened = true;
    }
    return at + 1;
  }

  #newLine(): void {
    this.#put(NEWLINE);
    const spaces = INDENT * Math.max(0, this.#depth);
    this.#out.fill(SPACE, this.#length, this.#length + spaces);
    this.#length += spaces;
  }

  #put(byte: number): void {
    this.#out[this.#length++] = byte;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#out.length) return;
    this.#flushOut();
    if (bytes > this.#out.length) this.#out = Buffer.allocUnsafe(bytes);
  }

  #flushOut(): void {
    if (this.#length === 0) return;
    this.push(Buffer.from(this.#out.subarray(0, this.#length)));
    this.#length = 0;
  }
}
