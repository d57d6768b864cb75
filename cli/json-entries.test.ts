import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readEntries } from './json-entries.js';

async function entriesOf(text: string, size: number): Promise<unknown[]> {
  const bytes = Buffer.from(text);
  const chunks: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += size) chunks.push(bytes.subarray(start, start + size));
  const entries: unknown[] = [];
  await readEntries(Readable.from(chunks), 'Attr', (entry) => entries.push(entry));
  return entries;
}

describe('readEntries', () => {
  it('finds every entry, however the text is cut and spaced', async () => {
    const entry = fc.dictionary(fc.string(), fc.jsonValue());
    await fc.assert(
      fc.asyncProperty(fc.array(entry), fc.integer({ min: 1, max: 60 }), fc.boolean(), async (list, size, spaced) => {
        const text = JSON.stringify({ Attr: list }, null, spaced ? 2 : undefined);
        expect(await entriesOf(text, size)).toEqual(JSON.parse(text).Attr);
      }),
      { numRuns: 200 },
    );
  });

  it('takes no list for an empty one, and other members before the list', async () => {
    expect(await entriesOf('{"Attr":null}\n', 5)).toEqual([]);
    expect(await entriesOf('{}', 5)).toEqual([]);
    expect(await entriesOf('{"count":1,"Attr":[{"a":1}]}', 5)).toEqual([{ a: 1 }]);
  });

  it.each(['{"Attr":[{"a":1},', '{"Attr":[{"a"', '<html>', ''])('refuses %j', async (text) => {
    await expect(entriesOf(text, 100)).rejects.toThrow(SyntaxError);
  });
});
