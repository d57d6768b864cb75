import { Readable } from 'node:stream';
import type { StreamReply } from '@loxilb/sdk';

/** Small pieces are joined up to this size: one write per piece would cost more than making it. Larger ones pass. */
const CHUNK_BYTES = 64 * 1024;

export function isStreamReply(value: unknown): value is StreamReply {
  return (
    typeof value === 'object' &&
    value !== null &&
    'stream' in value &&
    typeof (value.stream as { [Symbol.asyncIterator]?: unknown } | undefined)?.[Symbol.asyncIterator] === 'function'
  );
}

/**
 * A stream that asks for the next piece only when the client took the last. The first chunk is made before this
 * resolves, so a source that fails at once still gets a proper error answer.
 */
export async function openStream(reply: StreamReply): Promise<Readable> {
  const chunks = joinChunks(reply.stream);
  const first = await chunks.next();
  return Readable.from(resume(first, chunks), { objectMode: false });
}

/** Answers that wait for events, so that a server that stops can end them. */
export class LiveStreams {
  readonly #open = new Set<AsyncIterator<Uint8Array | string>>();

  /** A stream that passes each piece on at once. */
  open({ stream }: StreamReply): Readable {
    const iterator = stream[Symbol.asyncIterator]();
    this.#open.add(iterator);
    const readable = Readable.from({ [Symbol.asyncIterator]: () => iterator }, { objectMode: false });
    // The source is told by Readable, whichever way it ends.
    return readable.once('close', () => this.#open.delete(iterator));
  }

  /** The last piece of each has been taken from its source: clients get an orderly end. */
  async endAll(): Promise<void> {
    await Promise.all([...this.#open].map((iterator) => iterator.return?.()));
  }
}

async function* resume(first: IteratorResult<Buffer>, rest: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  if (first.done) return;
  yield first.value;
  yield* rest;
}

async function* joinChunks(source: AsyncIterable<Uint8Array | string>): AsyncGenerator<Buffer> {
  let pending: Uint8Array[] = [];
  let text = '';
  let size = 0;
  const takePending = (): Buffer => {
    if (text !== '') pending.push(Buffer.from(text));
    const chunk = Buffer.concat(pending);
    text = '';
    pending = [];
    size = 0;
    return chunk;
  };
  for await (const piece of source) {
    const isLarge = typeof piece !== 'string' && piece.length >= CHUNK_BYTES;
    if (isLarge && size > 0) yield takePending();
    if (isLarge) yield Buffer.from(piece.buffer, piece.byteOffset, piece.length);
    else if (typeof piece === 'string') text += piece;
    else {
      if (text !== '') pending.push(Buffer.from(text));
      text = '';
      pending.push(piece);
    }
    if (isLarge) continue;
    size += piece.length;
    if (size >= CHUNK_BYTES) yield takePending();
  }
  if (size > 0) yield takePending();
}
