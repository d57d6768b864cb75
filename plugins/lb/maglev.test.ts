import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildMaglev, type MaglevEndpoint, maglevSize } from './maglev.js';

const equal = (keys: readonly string[]): MaglevEndpoint[] => keys.map((key) => ({ key, weight: 1 }));
const keysOf = (endpoints: readonly MaglevEndpoint[], table: Int32Array): string[] =>
  Array.from(table, (index) => endpoints[index]?.key ?? '');

/** The share of flows that move, which find their slot by their place in the table whatever its size. */
function moved(before: readonly MaglevEndpoint[], after: readonly MaglevEndpoint[]): number {
  const was = keysOf(before, buildMaglev(before, maglevSize(before.length)));
  const is = keysOf(after, buildMaglev(after, maglevSize(after.length)));
  return was.filter((key, slot) => key !== is[Math.floor((slot * is.length) / was.length)]).length / was.length;
}

/** Endpoints in a row, as rules mostly have them. */
function rule(count: number, weights: string): MaglevEndpoint[] {
  return Array.from({ length: count }, (_, index) => ({
    key: `10.0.${index >> 4}.${index & 15}|80`,
    weight: weights === 'equal' ? 1 : 1 + ((index * 7919) % 255),
  }));
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

  it.each(['equal', 'different'])(
    'moves little more than its share when one of n goes or comes, %s weights',
    (kind) => {
      for (let count = 2; count <= 64; count++) {
        const endpoints = rule(count, kind);
        const weights = endpoints.reduce((sum, { weight }) => sum + weight, 0);
        for (const at of [0, count >> 1, count - 1]) {
          const fewer = endpoints.filter((_, index) => index !== at);
          const share = (endpoints[at]?.weight ?? 0) / weights;
          // As the rule has them: the size goes by the endpoints there are.
          expect(moved(endpoints, fewer), `${at} of ${count} goes`).toBeLessThanOrEqual(share + 0.05);
          expect(moved(fewer, endpoints), `${at} of ${count} comes`).toBeLessThanOrEqual(share + 0.05);
        }
      }
    },
  );

  it('does so for any endpoints', () => {
    fc.assert(
      fc.property(
        endpointKeys(2, 64),
        fc.array(fc.integer({ min: 1, max: 255 }), { minLength: 64 }),
        (keys, weights) => {
          const endpoints = keys.map((key, index) => ({ key, weight: weights[index] ?? 1 }));
          const sum = endpoints.reduce((all, { weight }) => all + weight, 0);
          const share = (endpoints[0]?.weight ?? 0) / sum;
          expect(moved(endpoints, endpoints.slice(1))).toBeLessThanOrEqual(share + 0.05);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('does the same with 100 and 256 endpoints', () => {
    for (const count of [100, 256]) {
      const endpoints = rule(count, 'equal');
      expect(moved(endpoints, endpoints.slice(1))).toBeLessThanOrEqual(0.06);
    }
  });

  it('has one size for 64 endpoints at most, and others from the 65th and the 257th on', () => {
    const sizes = [1, 2, 63, 64, 65, 256, 257, 1024].map(maglevSize);
    expect(sizes).toEqual([4093, 4093, 4093, 4093, 16_381, 16_381, 65_521, 65_521]);
  });

  it.each([64, 256])('that once most flows move: behind %d', (count) => {
    expect(moved(rule(count, 'equal'), rule(count + 1, 'equal'))).toBeGreaterThan(0.5);
    expect(moved(rule(count + 1, 'equal'), rule(count + 2, 'equal'))).toBeLessThan(0.06);
  });

  it('does not depend on the order of endpoints by more than ties', () => {
    const endpoints = equal(['10.0.0.1|80', '10.0.0.2|80', '10.0.0.3|80', '10.0.0.4|80']);
    expect(moved(endpoints, [...endpoints].reverse())).toBeLessThan(0.1);
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

  it('has no slots without endpoints of a weight', () => {
    expect(buildMaglev([{ key: 'a', weight: 0 }], 1021)).toHaveLength(0);
    expect(buildMaglev([], 1021)).toHaveLength(0);
  });
});
