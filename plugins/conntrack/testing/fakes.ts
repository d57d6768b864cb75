import type { DataPlane, MapSlice, MapSpec, RawBatch, WorkerPool } from '@loxilb/sdk';
import { type FormatTask, formatBatch } from '../format.js';
import type { FlowTable } from '../maps.js';
import { rawBatch, type TestFlow } from './entries.js';

/** A flow table in memory that can hand itself out in raw batches, in fresh buffers like the broker's. */
export function fakeFlowTable(
  flows: readonly TestFlow[],
  batchSize = 4096,
): FlowTable & { rawBatches(): Iterable<RawBatch> } {
  const all = rawBatch(flows);
  const rows = new Map<string, [Uint8Array, Uint8Array]>();
  for (let index = 0; index < all.count; index++) {
    const key = all.keys.slice(index * 40, index * 40 + 40);
    rows.set(String(key), [key, all.values.slice(index * 128, index * 128 + 128)]);
  }
  const table = {
    spec: undefined as unknown as MapSpec<Uint8Array, Uint8Array>,
    get: (key) => rows.get(String(key))?.[1],
    getPerCpu: () => [],
    entries: () => rows.values(),
    entriesPerCpu: () => [],
    set: (key, value) => void rows.set(String(key), [key.slice(), value.slice()]),
    delete: (key) => rows.delete(String(key)),
    setMany: (entries) => {
      for (const [key, value] of entries) rows.set(String(key), [key, value]);
    },
    deleteMany: (keys) => {
      for (const key of keys) rows.delete(String(key));
    },
    sync: () => ({ written: 0, removed: 0, kept: 0 }),
  } satisfies MapSlice<Uint8Array, Uint8Array>;
  return {
    ...table,
    *rawBatches() {
      const list = [...rows.values()];
      for (let start = 0; start < list.length; start += batchSize) {
        const keys = new Uint8Array(batchSize * 40);
        const values = new Uint8Array(batchSize * 128);
        const part = list.slice(start, start + batchSize);
        part.forEach(([key, value], index) => {
          keys.set(key, index * 40);
          values.set(value, index * 128);
        });
        yield { keys, values, count: part.length };
      }
    },
  };
}

export type FakeFlowTable = ReturnType<typeof fakeFlowTable>;

export function fakeRawBatches(tables: Record<string, FakeFlowTable>): Pick<DataPlane, 'rawBatches'> {
  return { rawBatches: (map) => (tables[map] as FakeFlowTable).rawBatches() };
}

/** Formats like a worker would: on a copy, later, and the last one given may be the first to finish. */
export function fakeWorkers(): WorkerPool & { readonly calls: number; readonly busiest: number } {
  let calls = 0;
  let running = 0;
  let busiest = 0;
  return {
    get calls() {
      return calls;
    },
    get busiest() {
      return busiest;
    },
    async run<I, O>(input: I, options?: { readonly transfer?: readonly ArrayBuffer[] }): Promise<O> {
      const task = structuredClone(input, { transfer: [...(options?.transfer ?? [])] }) as FormatTask;
      running++;
      busiest = Math.max(busiest, running);
      const delay = calls++ % 2 === 0 ? 20 : 1;
      await new Promise((resolve) => setTimeout(resolve, delay));
      running--;
      return formatBatch(task) as O;
    },
  };
}
