import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { LiveStreams, openStream } from './stream.js';

async function* pieces(list: readonly (string | Uint8Array)[]): AsyncGenerator<string | Uint8Array> {
  yield* list;
}

const bytes = (size: number, value: number) => new Uint8Array(size).fill(value);

it.each([
  ['nothing', []],
  ['text', ['a', 'ö', 'b']],
  [
    'small and large in turn',
    ['[', bytes(200_000, 1), ',', bytes(10, 2), ',', bytes(65_536, 3), bytes(70_000, 4), ']'],
  ],
  [
    'many small ones',
    Array.from({ length: 5000 }, (_, index) => (index % 2 ? `text ${index}` : bytes(40, index & 255))),
  ],
])('passes on, in order: %s', async (_, list) => {
  const whole = Buffer.concat(list.map((piece) => Buffer.from(piece as Uint8Array)));
  expect((await buffer(await openStream({ stream: pieces(list) } as never))).equals(whole)).toBe(true);
});

/** An endless source whose pieces a test gives. */
function createSource() {
  let take: ((result: IteratorResult<string>) => void) | undefined;
  let ended = 0;
  const iterator = {
    next: () =>
      new Promise<IteratorResult<string>>((resolve) => {
        take = resolve;
      }),
    return: () => {
      ended++;
      take?.({ done: true, value: undefined });
      return Promise.resolve({ done: true as const, value: undefined });
    },
  };
  return {
    stream: { [Symbol.asyncIterator]: () => iterator },
    give: (value: string) => take?.({ done: false, value }),
    ended: () => ended,
  };
}

it('sends pieces of a live answer at once, and tells the source that the client has gone', async () => {
  const source = createSource();
  const stream = new LiveStreams().open({ stream: source.stream, live: true });
  const pieces: string[] = [];
  stream.on('data', (piece: Buffer) => void pieces.push(String(piece)));
  await new Promise(setImmediate);
  source.give('one');
  await expect.poll(() => pieces).toEqual(['one']);
  source.give('two');
  await expect.poll(() => pieces).toEqual(['one', 'two']);
  stream.destroy();
  await expect.poll(source.ended).toBe(1);
});

it('ends live answers in order when the server stops', async () => {
  const source = createSource();
  const live = new LiveStreams();
  const whole = buffer(live.open({ stream: source.stream, live: true }));
  await new Promise(setImmediate);
  source.give('last');
  await new Promise(setImmediate);
  await live.endAll();
  expect(String(await whole)).toBe('last');
  await live.endAll();
});

it('does not copy large pieces', async () => {
  const large = bytes(100_000, 7);
  for await (const chunk of await openStream({ stream: pieces([large]) } as never)) {
    expect((chunk as Buffer).buffer).toBe(large.buffer);
  }
});
