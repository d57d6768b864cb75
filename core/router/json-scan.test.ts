import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { scanFirstValue } from './json-scan.js';

const scan = (text: string) => scanFirstValue(Buffer.from(text));

describe('scanFirstValue', () => {
  it('ends where the value ends, whatever follows', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom('', ' rest', '{', '\u0000', ']'), (value, rest) => {
        // After a bare number a digit-like rest would belong to it; the rests here do not.
        const text = JSON.stringify(value);
        expect(scan(text + rest)).toBe(Buffer.byteLength(text));
      }),
    );
  });

  it('agrees with JSON.parse on what is JSON', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'{}[]",:0123.-+eE\\utrfalsn \n') }), (text) => {
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        if (valid) expect(scan(text)).toBe(text.trimEnd().length);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ['', 'unexpected EOF'],
    ['{', 'unexpected EOF'],
    ['{"a', 'unexpected EOF'],
    ['x', "invalid character 'x' looking for beginning of value"],
    ['{x', "invalid character 'x' looking for beginning of object key string"],
    ['{"a" 1', "invalid character '1' after object key"],
    ['{"a":1]', "invalid character ']' after object key:value pair"],
    ['[1 2', "invalid character '2' after array element"],
    ['[1,]', "invalid character ']' looking for beginning of value"],
    ['trux', "invalid character 'x' in literal true (expecting 'e')"],
    ['"\n"', "invalid character '\\n' in string literal"],
    ['"\\q"', "invalid character 'q' in string escape code"],
    ['"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"],
    ['-x', "invalid character 'x' in numeric literal"],
    ['1.x', "invalid character 'x' after decimal point in numeric literal"],
    ['1ex', "invalid character 'x' in exponent of numeric literal"],
    ["'", "invalid character '\\'' looking for beginning of value"],
    ['\u0001', "invalid character '\\x01' looking for beginning of value"],
    ['é', "invalid character 'Ã' looking for beginning of value"],
    ['['.repeat(5_000), 'exceeded max depth'],
  ])('%j: %s', (text, message) => {
    expect(() => scan(text)).toThrow(message);
  });
});
