import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildMaglev, type MaglevEndpoint, maglevSize } from './maglev.js';

const equal = (keys: readonly string[]): MaglevEndpoint[] => keys.map((key) => ({ key, weight: 1 }));
const keysOf = (endpoints: readonly MaglevEndpoint[], table: Int32Array): string[] =>
  Array.from(table, (index) => endpoints[index]?.key ?? '');

function moved(before: readonly MaglevEndpoint[], after: readonly MaglevEndpoint[], size: number): number {
  const was = keysOf(before, buildMaglev(before, size));
  const is = keysOf(after, buildMaglev(after, size));
  return was.filter((key, slot) => key !== is[slot]).length / size;
}

const endpointKeys = (minLength: number, maxLength: number) =>
  fc
    .uniqueArray(fc.tuple(fc.ipV4(), fc.integer({ min: 1, max: 65_535 })), {
      minLength,
      maxLength,
      selector: (endpoint) => endpoint.join('|'),
    })
    .map((endpoints) => endpoints.map((endpoint) => endpoint.join('|')));

describe('buildMaglev', () => {
  it('fills every slot, equal weights to within a few slots', () => {
    fc.assert(
      fc.property(endpointKeys(1, 40), (keys) => {
        const size = maglevSize(keys.length);
        const counts = new Array<number>(keys.length).fill(0);
        for (const index of buildMaglev(equal(keys), size)) counts[index] = (counts[index] ?? 0) + 1;
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 50 },
    );
  });

  it('moves little more than its share when an endpoint goes or comes', () => {
    fc.assert(
      fc.property(endpointKeys(2, 40), fc.nat(), (keys, at) => {
        const endpoints = equal(keys);
        const size = maglevSize(keys.length);
        const fewer = endpoints.filter((_, index) => index !== at % keys.length);
        const share = 1 / keys.length;
        expect(moved(endpoints, fewer, size)).toBeLessThanOrEqual(share + 0.05);
        expect(moved(fewer, endpoints, size)).toBeLessThanOrEqual(share + 0.05);
      }),
      { numRuns: 60 },
    );
  });

  it('does the same with 100 endpoints', () => {
    const endpoints = equal(Array.from({ length: 100 }, (_, index) => `10.0.${index >> 4}.${index & 15}|80`));
    expect(moved(endpoints, endpoints.slice(1), maglevSize(100))).toBeLessThanOrEqual(0.06);
  });

  it('does not depend on the order of endpoints by more than ties', () => {
    const endpoints = equal(['10.0.0.1|80', '10.0.0.2|80', '10.0.0.3|80', '10.0.0.4|80']);
    expect(moved(endpoints, [...endpoints].reverse(), maglevSize(4))).toBeLessThan(0.1);
  });

  it('gives slots by weight', () => {
    const weighted = [
      { key: '10.0.0.1|80', weight: 60 },
      { key: '10.0.0.2|80', weight: 30 },
      { key: '10.0.0.3|80', weight: 10 },
      { key: '10.0.0.4|80', weight: 0 },
    ];
    const counts = [0, 0, 0, 0];
    for (const index of buildMaglev(weighted, 1021)) counts[index] = (counts[index] ?? 0) + 1;
    const shares = counts.map((count) => count / 1021);
    expect(shares[0]).toBeCloseTo(0.6, 2);
    expect(shares[1]).toBeCloseTo(0.3, 2);
    expect(shares[2]).toBeCloseTo(0.1, 2);
    expect(counts[3]).toBe(0);
  });

  it('takes weights that are all zero as equal, and no endpoints as no slots', () => {
    expect(
      new Set(
        buildMaglev(
          [
            { key: 'a', weight: 0 },
            { key: 'b', weight: 0 },
          ],
          1021,
        ),
      ).size,
    ).toBe(2);
    expect(buildMaglev([], 1021)).toHaveLength(0);
  });
});
