import { canonicalIp, encodeBytes, ipAddress } from '@loxilb/sdk';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asBytes, JsonWriter } from './json-writer.js';

function written(write: (writer: JsonWriter) => void): string {
  const writer = new JsonWriter();
  write(writer);
  return new TextDecoder().decode(writer.finish());
}

describe('JsonWriter', () => {
  it('writes whole numbers up to 2^53', () => {
    fc.assert(
      fc.property(fc.oneof(fc.nat(), fc.maxSafeNat()), (value) => {
        expect(written((writer) => writer.decimal(value))).toBe(String(value));
      }),
    );
    for (const value of [0, 9, 10, 2 ** 31 - 1, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      expect(written((writer) => writer.decimal(value))).toBe(String(value));
    }
  });

  it('spells addresses as the sdk does', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
        const bytes = encodeBytes(ipAddress, address);
        expect(written((writer) => writer.address(bytes, 0))).toBe(canonicalIp(address));
      }),
    );
  });

  it.each(['::', '::1', '2001:db8::', '2001:db8::1:0:0:1', '1:0:2:0:3:0:4:5', '0:0:1::', 'fe80::1'])(
    'spells %s',
    (address) => {
      const bytes = encodeBytes(ipAddress, address);
      expect(written((writer) => writer.address(bytes, 0))).toBe(canonicalIp(address));
    },
  );

  it('grows and keeps what it had', () => {
    const line = 'x'.repeat(50_000);
    const writer = new JsonWriter();
    for (let round = 0; round < 5; round++) {
      writer.reserve(line.length);
      writer.text(asBytes(line));
    }
    expect(new TextDecoder().decode(writer.finish())).toBe(line.repeat(5));
    writer.clear();
    expect(writer.finish()).toHaveLength(0);
  });
});
