import { describe, expect, it } from 'vitest';
import type { FlowFilter } from './format.js';
import { type FlowLister, listFlows } from './list-flows.js';
import { guideConnection, type TestFlow } from './testing/entries.js';
import { fakeFlowTable, fakeRawBatches, fakeWorkers } from './testing/fakes.js';

function manyFlows(count: number): TestFlow[] {
  return Array.from({ length: count }, (_, index) => ({
    key: { saddr: `10.0.${index >> 8}.${index & 255}`, daddr: '20.20.20.1', sport: 1000, dport: 80 },
    entry: {
      nsaddr: `10.0.${index >> 8}.${index & 255}`,
      ndaddr: '31.31.31.1',
      nsport: 1000,
      ndport: 8080,
      serviceId: 7,
    },
  }));
}

function lister(fresh: readonly TestFlow[], confirmed: readonly TestFlow[], batchSize?: number) {
  const tables = { ct_new: fakeFlowTable(fresh), ct_flow: fakeFlowTable(confirmed) };
  const workers = fakeWorkers();
  const lister: FlowLister = {
    dataplane: fakeRawBatches(tables, batchSize),
    confirmed: tables.ct_flow,
    workers,
    serviceName: (id) => (id === 7 ? 'web' : undefined),
  };
  return { lister, workers };
}

async function read(from: FlowLister, filter: FlowFilter = {}): Promise<Record<string, unknown>[]> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of listFlows(from, filter)) text += typeof chunk === 'string' ? chunk : decoder.decode(chunk);
  return JSON.parse(text).ctAttr;
}

describe('listFlows', () => {
  it('answers an empty list', async () => {
    expect(await read(lister([], []).lister)).toEqual([]);
  });

  it('formats few entries without a worker, half-open ones first', async () => {
    const { lister: from, workers } = lister(manyFlows(2), guideConnection(7));
    const flows = await read(from);
    expect(flows.map((flow) => flow.sourceIP)).toEqual(['10.0.0.0', '10.0.0.1', '192.168.1.103', '192.168.1.80']);
    expect(flows.every((flow) => flow.servName === 'web')).toBe(true);
    expect(workers.calls).toBe(0);
  });

  it('keeps the order of batches that finish out of order, few under way', async () => {
    const { lister: from, workers } = lister([], manyFlows(9000), 1500);
    const flows = await read(from);
    expect(flows.map((flow) => flow.sourceIP)).toEqual(manyFlows(9000).map((flow) => flow.key.saddr));
    expect(workers.calls).toBe(6);
    expect(workers.busiest).toBeLessThanOrEqual(3);
  });

  it('shows a flow that is in both tables once, as confirmed', async () => {
    const [forward, reply] = guideConnection(7);
    const { lister: from } = lister(
      [{ ...forward, entry: { ...forward.entry, state: 2 } }, ...manyFlows(1)],
      [forward, reply],
    );
    const flows = await read(from);
    expect(flows.map((flow) => flow.conntrackState)).toEqual(['closed', 'est', 'est']);
  });

  it.each([0, 1, 3, 2500])('indents as JSON.stringify does, %d entries', async (count) => {
    const { lister: from } = lister(manyFlows(count), count > 1 ? guideConnection(7) : []);
    const decoder = new TextDecoder();
    let text = '';
    for await (const chunk of listFlows(from, {}, true)) {
      text += typeof chunk === 'string' ? chunk : decoder.decode(chunk);
    }
    expect(text).toBe(`${JSON.stringify(JSON.parse(text), null, 4)}\n`);
    expect(JSON.parse(text).ctAttr).toEqual(await read(from));
  });

  it('filters, leaving no stray commas', async () => {
    const { lister: from } = lister(manyFlows(3000), guideConnection(9), 1500);
    expect(await read(from, { serviceName: '-' })).toHaveLength(2);
    expect(await read(from, { serviceName: 'web' })).toHaveLength(3000);
    expect(await read(from, { protocol: 17 })).toEqual([]);
  });

  it('reads no further than the reader does', async () => {
    const { lister: from, workers } = lister([], manyFlows(30_000), 1500);
    const reader = listFlows(from, {});
    for (let chunks = 0; chunks < 4; chunks++) await reader.next();
    expect(workers.calls).toBeLessThan(8);
    await reader.return(undefined);
  });
});
