import type { Readable } from 'node:stream';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const CLOSE_LIST = 0x5d;

/**
 * Calls back for every entry of `{"<envelope>": [{...}, ...]}` as it arrives. Only one entry is held, so a list of a
 * million is no burden. Throws a SyntaxError when the text is not such a list.
 */
export async function readEntries(body: Readable, envelope: string, visit: (entry: unknown) => void): Promise<void> {
  const splitter = new EntrySplitter(visit);
  const opening = new RegExp(`^\\s*\\{\\s*"${envelope}"\\s*:\\s*\\[`);
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of body as AsyncIterable<Buffer>) {
    if (!head) {
      splitter.push(chunk);
      continue;
    }
    head = Buffer.concat([head, chunk]);
    const start = opening.exec(head.toString('latin1', 0, 200));
    if (!start) continue;
    splitter.push(head.subarray(start[0].length));
    head = undefined;
  }
  if (!head) splitter.end();
  // Another order of members, or no list at all: small, so it is read whole.
  else for (const entry of listIn(JSON.parse(head.toString()), envelope)) visit(entry);
}

function listIn(body: unknown, envelope: string): readonly unknown[] {
  const list = (body as Record<string, unknown> | null)?.[envelope];
  return Array.isArray(list) ? list : [];
}

/** Cuts the inside of a list into its objects. */
class EntrySplitter {
  #depth = 0;
  #inString = false;
  #escaped = false;
  #done = false;
  /** Bytes of an entry that began in an earlier chunk. */
  #begun: Buffer[] = [];

  constructor(private readonly visit: (entry: unknown) => void) {}

  push(chunk: Buffer): void {
    let start = this.#depth > 0 ? 0 : -1;
    for (let at = 0; at < chunk.length && !this.#done; at++) {
      const byte = chunk[at];
      if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) this.#inString = false;
      } else if (byte === QUOTE) this.#inString = true;
      else if (byte === OPEN_OBJECT) {
        if (this.#depth++ === 0) start = at;
      } else if (byte === CLOSE_OBJECT) {
        if (--this.#depth === 0) this.#finish(chunk.subarray(start, at + 1));
      } else if (byte === CLOSE_LIST && this.#depth === 0) this.#done = true;
    }
    if (this.#depth > 0) this.#begun.push(chunk.subarray(start));
  }

  end(): void {
    if (!this.#done) throw new SyntaxError('unexpected end of JSON input');
  }

  #finish(bytes: Buffer): void {
    const entry = this.#begun.length === 0 ? bytes : Buffer.concat([...this.#begun, bytes]);
    this.#begun = [];
    this.visit(JSON.parse(entry.toString()));
  }
}
