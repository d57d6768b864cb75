import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonIndent } from './json-indent.js';

async function indent(chunks: readonly Buffer[]): Promise<string> {
  const stream = new JsonIndent();
  const out: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => out.push(chunk));
  const ended = new Promise((resolve) => stream.once('end', resolve));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  await ended;
  return Buffer.concat(out).toString();
}

function cut(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

describe('JsonIndent', () => {
  it('gives what JSON.stringify gives, however the text is cut and spaced', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.integer({ min: 1, max: 40 }), fc.boolean(), async (value, size, spaced) => {
        const bytes = Buffer.from(JSON.stringify(value, null, spaced ? '\t' : undefined));
        expect(await indent(cut(bytes, size))).toBe(`${JSON.stringify(value, null, 4)}\n`);
      }),
      { numRuns: 200 },
    );
  });

  it('keeps numbers and escapes as they were sent', async () => {
    expect(await indent([Buffer.from('{"a":18446744073709551615,"b":"\\u003c\\/"}')])).toBe(
      '{\n    "a": 18446744073709551615,\n    "b": "\\u003c\\/"\n}\n',
    );
  });
});
