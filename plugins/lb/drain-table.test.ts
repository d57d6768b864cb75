import { MemorySlice } from '@loxilb/sdk/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { lbConfig } from './config.js';
import { type DrainNote, DrainTable } from './drain-table.js';
import { lbMapSpecs } from './maps.js';
import { silent } from './testing/world.js';

const note: DrainNote = {
  ...{ addr: '20.20.20.1', until: 1000, mark: 0, port: 80, portMax: 80, proto: 6, reset: 0, ownsAddress: 1 },
};

let isBroken: boolean;
let warnings: number;
let map: MemorySlice<number, DrainNote>;
let drains: DrainTable;
beforeEach(() => {
  [isBroken, warnings] = [false, 0];
  map = new MemorySlice(lbMapSpecs(lbConfig.parse({})).drain, new Map(), () => {
    if (isBroken) throw new Error('injected');
  });
  drains = new DrainTable(map, { ...silent, warn: () => void warnings++ });
});

const pinned = (): number[] => [...map.entries()].map(([id]) => id);

describe('a note that cannot be removed', () => {
  beforeEach(() => {
    drains.begin([1, 2], note);
    isBroken = true;
    drains.end([1]);
    isBroken = false;
  });

  it('is over all the same, and is told of', () => {
    expect([[...drains.entries()].map(([id]) => id), pinned(), warnings]).toEqual([[2], [1, 2], 1]);
  });

  it('goes with the next that does', () => {
    drains.end([2]);
    expect(pinned()).toEqual([]);
  });

  it('goes when the table is tidied', () => {
    drains.tidy();
    expect([pinned(), warnings]).toEqual([[2], 1]);
  });

  it('stays when its endpoint drains again', () => {
    drains.begin([1], { ...note, until: 2000 });
    drains.tidy();
    expect([drains.get(1)?.until, map.get(1)?.until]).toEqual([2000, 2000]);
  });
});

it('an endpoint that never drained costs no write', () => {
  isBroken = true;
  drains.end([7]);
  drains.tidy();
  expect(warnings).toBe(0);
});
