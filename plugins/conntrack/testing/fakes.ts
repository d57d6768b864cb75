import type { DataPlane, WorkerPool } from '@loxilb/sdk';
import { MemorySlice } from '@loxilb/sdk/testing';
import { conntrackConfig } from '../config.js';
import { ENTRY_SIZE, type FormatTask, formatBatch, KEY_SIZE } from '../format.js';
import { flowTableSpecs } from '../maps.js';
import { rawBatch, type TestFlow } from './entries.js';

export type FakeFlowTable = MemorySlice<Uint8Array, Uint8Array>;

/** A flow table in memory with these flows. */
export function fakeFlowTable(flows: readonly TestFlow[]): FakeFlowTable {
  const table = new MemorySlice(flowTableSpecs(conntrackConfig.parse({})).confirmed);
  const { keys, values, count } = rawBatch(flows);
  for (let index = 0; index < count; index++) {
    table.set(
      keys.subarray(index * KEY_SIZE, (index + 1) * KEY_SIZE),
      values.subarray(index * ENTRY_SIZE, (index + 1) * ENTRY_SIZE),
    );
  }
  return table;
}

/** Hands the tables out in batches of `batchSize`, in fresh buffers like the broker's. */
export function fakeRawBatches(
  tables: Readonly<Record<string, FakeFlowTable>>,
  batchSize = 4096,
): Pick<DataPlane, 'rawBatches'> {
  return {
    *rawBatches(map) {
      const { keys, values, count } = (tables[map] as FakeFlowTable).rawBatch();
      for (let start = 0; start < count; start += batchSize) {
        const end = Math.min(start + batchSize, count);
        yield {
          keys: keys.slice(start * KEY_SIZE, end * KEY_SIZE),
          values: values.slice(start * ENTRY_SIZE, end * ENTRY_SIZE),
          count: end - start,
        };
      }
    },
  };
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
