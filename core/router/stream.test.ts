import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { openStream } from './stream.js';

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

it('does not copy large pieces', async () => {
  const large = bytes(100_000, 7);
  for await (const chunk of await openStream({ stream: pieces([large]) } as never)) {
    expect((chunk as Buffer).buffer).toBe(large.buffer);
  }
});
