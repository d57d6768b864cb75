import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CUT_FLAGS } from './flow-cuts.js';
import { SELECTION } from './model.js';
import { body, createWorld, firstKey, slotsSeen, type World } from './testing/world.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const ADDRESSES = Array.from({ length: 6 }, (_, index) => `10.0.0.${index + 1}`);

const change = fc.record({
  oper: fc.constantFrom(0, 0, 1, 2),
  endpoints: fc.uniqueArray(fc.tuple(fc.constantFrom(...ADDRESSES), fc.integer({ min: 0, max: 255 })), {
    minLength: 1,
    selector: ([address]) => address,
  }),
  sel: fc.constantFrom(0, 1, 2, 3, 4),
  mode: fc.constantFrom(0, 1, 2),
  drainTimeout: fc.constantFrom(undefined, 0, 10),
  onEndpointDown: fc.constantFrom(undefined, 'keep', 'cut', 'reset'),
  restart: fc.boolean(),
});

const idsOf = (world: World): Map<string, number> => {
  const service = world.state.services.get(firstKey(world));
  return new Map(service?.endpoints.map(({ id, entry }) => [entry.addr, id]));
};

describe('an update of a rule', () => {
  it('leaves the flows and counters of endpoints it keeps alone, whatever else it changes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 12 }), async (changes) => {
        let world = createWorld();
        world.post(body({}, ADDRESSES));
        for (const { oper, endpoints, restart, ...service } of changes) {
          const before = idsOf(world);
          for (const id of before.values()) {
            world.maps.flows.set(id, { active: 1, pending: 0, recount: 0 });
            world.maps.stats.set(id, { packets: BigInt(id), bytes: 100n, flows: 1n });
          }
          world.cuts.length = 0;
          try {
            world.post(body({ oper, ...service }, endpoints));
          } catch {
            // Refused: nothing is to change at all.
          }
          if (restart) world = world.restart();
          await vi.advanceTimersByTimeAsync(50);
          if (world.stored.size === 0) return world.retirement.stop();
          const cut = new Set(world.cuts.flat());
          for (const [address, id] of idsOf(world)) {
            if (!before.has(address)) continue;
            expect(before.get(address)).toBe(id);
            expect(cut.has(id)).toBe(false);
            expect((world.maps.endpoint.get(id)?.flags ?? 0) & CUT_FLAGS).toBe(0);
            expect(world.maps.stats.get(id)).toEqual({ packets: BigInt(id), bytes: 100n, flows: 1n });
            expect(world.maps.serviceState.get(1)?.alive).toBe(1);
          }
        }
        world.retirement.stop();
      }),
      { numRuns: 60 },
    );
  }, 30_000);

  it.each([SELECTION.hash, SELECTION.persist])('moves little more than its share of new flows (sel %d)', (sel) => {
    const world = createWorld();
    const addresses = Array.from({ length: 12 }, (_, index) => `10.0.1.${index + 1}`);
    const weights = addresses.map((address, index): [string, number] => [address, 1 + ((index * 37) % 255)]);
    world.post(body({ sel }, weights.slice(0, 1)));
    for (let count = 1; count < addresses.length; count++) {
      const was = slotsSeen(world);
      world.post(body({ sel, oper: 1 }, [weights[count] as [string, number]]));
      const is = slotsSeen(world);
      const sum = weights.slice(0, count + 1).reduce((all, [, weight]) => all + weight, 0);
      const share = (weights[count]?.[1] ?? 0) / sum;
      const moved = was.filter((address, slot) => address !== is[slot]).length / was.length;
      expect([was.length, moved <= share + 0.05]).toEqual([is.length, true]);
    }
    world.retirement.stop();
  });
});
