import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { weightedSequence } from './weighted.js';

const count = (sequence: readonly number[], index: number): number => sequence.filter((one) => one === index).length;
const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

describe('weightedSequence', () => {
  it('spreads 40/40/20', () => {
    expect(weightedSequence([40, 40, 20])).toEqual([0, 1, 2, 0, 1]);
  });

  it('is plain round robin for equal weights', () => {
    expect(weightedSequence([7, 7, 7])).toEqual([0, 1, 2]);
  });

  it('never chooses weight 0', () => {
    expect(weightedSequence([0, 3, 0])).toEqual([1]);
    expect(weightedSequence([0, 0])).toEqual([]);
    expect(weightedSequence([])).toEqual([]);
  });

  it('has every endpoint exactly as often as its weight says', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 64 }), (weights) => {
        const divisor = weights.reduce(gcd, 0);
        const sequence = weightedSequence(weights);
        for (const [index, weight] of weights.entries()) {
          expect(count(sequence, index)).toBe(divisor === 0 ? 0 : weight / divisor);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('keeps every endpoint close to its share at every point of the round', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }), (weights) => {
        const sequence = weightedSequence(weights);
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        for (let seen = 1; seen <= sequence.length; seen++) {
          for (const [index, weight] of weights.entries()) {
            const due = (seen * weight) / total;
            expect(Math.abs(count(sequence.slice(0, seen), index) - due)).toBeLessThan(weights.length);
          }
        }
      }),
      { numRuns: 50 },
    );
  });
});
