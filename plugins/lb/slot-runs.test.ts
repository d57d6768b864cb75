import { MemorySlice } from '@loxilb/sdk/testing';
import { expect, it } from 'vitest';
import { lbConfig } from './config.js';
import { lbMapSpecs } from './maps.js';
import { SlotRuns } from './slot-runs.js';

it('a run that could not be cleared is cleared later, and not lost', () => {
  let now = 0;
  let fails = false;
  const map = new MemorySlice(lbMapSpecs(lbConfig.parse({ maxSlots: 1024 })).slot, new Map(), () => {
    if (fails) throw new Error('injected');
  });
  const runs = new SlotRuns(map, () => now);
  const run = runs.allocate(100);
  runs.write([[run, Array<number>(100).fill(7)]]);
  runs.retire(run);
  now = 1000;
  fails = true;
  expect(() => runs.allocate(1)).toThrow('injected');
  fails = false;
  runs.allocate(1);
  expect([runs.available, map.get(run.base)?.endpointId ?? 0]).toEqual([1023, 0]);
});
