import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SlotAllocator } from './slot-allocator.js';

interface Run {
  base: number;
  count: number;
}

function overlaps(a: Run, b: Run): boolean {
  return a.base < b.base + b.count && b.base < a.base + a.count;
}

describe('SlotAllocator', () => {
  it('hands out runs that do not overlap, and gets everything back', () => {
    const step = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constant('release' as const));
    fc.assert(
      fc.property(fc.integer({ min: 1024, max: 5000 }), fc.array(step, { maxLength: 200 }), (capacity, steps) => {
        const allocator = new SlotAllocator(capacity);
        const live: Run[] = [];
        for (const [turn, one] of steps.entries()) {
          if (one === 'release') {
            const [run] = live.splice(turn % Math.max(1, live.length), 1);
            if (run) allocator.release(run.base, run.count);
            continue;
          }
          const base = allocator.allocate(one);
          if (base === undefined) continue;
          const run = { base, count: one };
          expect(base + one).toBeLessThanOrEqual(capacity);
          expect(live.some((other) => overlaps(other, run))).toBe(false);
          live.push(run);
        }
        const again = new SlotAllocator(capacity);
        for (const { base, count } of live) expect(again.reserve(base, count)).toBe(true);
        expect(again.available).toBe(allocator.available);
        for (const { base, count } of live) allocator.release(base, count);
        expect(allocator.available).toBe(capacity);
      }),
      { numRuns: 100 },
    );
  });

  it('joins halves again', () => {
    const allocator = new SlotAllocator(1024);
    const bases = Array.from({ length: 1024 }, () => allocator.allocate(1) as number);
    expect(allocator.allocate(1)).toBeUndefined();
    for (const base of bases) allocator.release(base, 1);
    expect(allocator.allocate(1021)).toBe(0);
  });

  it('refuses to reserve what is taken or misplaced', () => {
    const allocator = new SlotAllocator(1024);
    expect(allocator.reserve(3, 4)).toBe(false);
    expect(allocator.reserve(4, 4)).toBe(true);
    expect(allocator.reserve(6, 1)).toBe(false);
    expect(allocator.reserve(1024, 1)).toBe(false);
  });

  it('needs no room for no slots', () => {
    const allocator = new SlotAllocator(1024);
    expect(allocator.allocate(0)).toBe(0);
    allocator.release(0, 0);
    expect(allocator.available).toBe(1024);
  });
});
