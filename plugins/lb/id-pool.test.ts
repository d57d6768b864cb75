import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IdPool } from './id-pool.js';

describe('IdPool', () => {
  it('gives fresh ids first, then those that have rested longest', () => {
    const pool = new IdPool(4);
    expect([pool.take(), pool.take()]).toEqual([1, 2]);
    pool.release(1);
    expect([pool.take(), pool.take(), pool.take()]).toEqual([3, 1, undefined]);
  });

  it('never gives an id twice, nor one that is reserved, nor 0', () => {
    const step = fc.oneof(
      fc.constant('take' as const),
      fc.integer({ min: 0, max: 20 }),
      fc.constant('reserve' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const pool = new IdPool(16);
        const taken = new Set<number>();
        for (const one of steps) {
          if (one === 'take') {
            const id = pool.take();
            expect(id === undefined).toBe(taken.size === 15);
            if (id === undefined) continue;
            expect(id > 0 && id < 16 && !taken.has(id)).toBe(true);
            taken.add(id);
          } else if (one === 'reserve') {
            const id = (taken.size * 7) % 18;
            const free = id > 0 && id < 16 && !taken.has(id);
            expect(pool.reserve(id)).toBe(free);
            if (free) taken.add(id);
          } else {
            pool.release(one);
            taken.delete(one);
          }
          expect(pool.inUse).toBe(taken.size);
        }
      }),
    );
  });
});
