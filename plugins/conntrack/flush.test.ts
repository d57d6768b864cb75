import { describe, expect, it } from 'vitest';
import { flushFlows } from './flush.js';
import { SERVICE_ID_OFFSET } from './format.js';
import { guideConnection } from './testing/entries.js';
import { type FakeFlowTable, fakeFlowTable, fakeRawBatches } from './testing/fakes.js';

function serviceIds(table: FakeFlowTable): number[] {
  return [...table.entries()].map(([, value]) => new DataView(value.buffer).getUint32(SERVICE_ID_OFFSET, true));
}

function flusher() {
  const [forward, reply] = guideConnection(7);
  const other = { key: { ...forward.key, dport: 99 }, entry: { ...forward.entry, serviceId: 8 } };
  const fresh = fakeFlowTable([other]);
  const confirmed = fakeFlowTable([forward, reply, { ...other, key: { ...other.key, dport: 98 } }]);
  const passes: number[][] = [];
  return {
    passes,
    fresh,
    confirmed,
    dataplane: fakeRawBatches({ ct_new: fresh, ct_flow: confirmed }),
    serviceName: (id: number) => (id === 7 ? 'web' : undefined),
    pass: async () => void passes.push([...serviceIds(fresh), ...serviceIds(confirmed)]),
  };
}

const DEAD = 0xffff_ffff;

describe('flushFlows', () => {
  it('hands the flows of one service to the dead service, then lets a pass end them', async () => {
    const given = flusher();
    await flushFlows(given, 'web');
    expect(given.passes).toEqual([[8, DEAD, DEAD, 8]]);
  });

  it('knows flows of unnamed services as -', async () => {
    const given = flusher();
    await flushFlows(given, '-');
    expect(given.passes).toEqual([[DEAD, 7, 7, DEAD]]);
  });

  it('ends everything without a name', async () => {
    const given = flusher();
    await flushFlows(given, undefined);
    expect(given.passes).toEqual([[DEAD, DEAD, DEAD, DEAD]]);
  });
});
