import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Few } from './few.js';

it('is a set', () => {
  const members = [{ name: 'a' }, { name: 'b' }, { name: 'c' }];
  const step = fc.record({ add: fc.boolean(), which: fc.integer({ min: 0, max: 2 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const few = new Few<{ name: string }>();
      const set = new Set<{ name: string }>();
      for (const { add, which } of steps) {
        const member = members[which] as { name: string };
        if (add) set.add(member);
        else set.delete(member);
        if (add) few.add(member);
        else few.delete(member);
        expect(few.toArray()).toEqual([...set]);
        expect([few.size, few.first]).toEqual([set.size, [...set][0]]);
      }
    }),
  );
});
