import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DataPlane, RawBatch, WorkerPool } from '@loxilb/sdk';
import { ENTRY_SIZE, type FlowFilter, type FormatTask, formatBatch, KEY_SIZE, SERVICE_ID_OFFSET } from './format.js';
import { inOrder } from './in-order.js';
import type { FlowTable } from './maps.js';

export interface FlowLister {
  readonly dataplane: Pick<DataPlane, 'rawBatches'>;
  readonly workers: WorkerPool;
  /** The confirmed flows' table. */
  readonly confirmed: Pick<FlowTable, 'get'>;
  serviceName(serviceId: number): string | undefined;
}

export const WORKER_THREADS = 2;
/** One batch more than there are threads, so that none waits. A batch under way is about 2 MB. */
const BATCHES_AHEAD = WORKER_THREADS + 1;
/** Formatting so few takes less than a millisecond: no thread is started on an idle machine. */
const INLINE_ENTRIES = 1024;
/** Lookups between two turns of the event loop, about a millisecond. */
const LOOKUPS_PER_TURN = 512;

/**
 * The JSON list of all flows the filter keeps, as it is produced; indented by four spaces a level when asked. The half-open table comes first: a flow that is
 * confirmed meanwhile is then at worst listed twice, never missed.
 */
export async function* listFlows(
  lister: FlowLister,
  filter: FlowFilter,
  indented = false,
): AsyncGenerator<Uint8Array | string> {
  yield indented ? '{\n    "ctAttr": [' : '{"ctAttr":[';
  let isEmpty = true;
  for await (const objects of inOrder(formatTasks(lister, filter, indented), BATCHES_AHEAD)) {
    if (objects.length === 0) continue;
    if (!isEmpty) yield ',';
    if (indented) yield '\n';
    yield objects;
    isEmpty = false;
  }
  if (indented) yield isEmpty ? ']\n}\n' : '\n    ]\n}\n';
  else yield ']}\n';
}

async function* formatTasks(
  lister: FlowLister,
  filter: FlowFilter,
  indented: boolean,
): AsyncGenerator<() => Promise<Uint8Array>> {
  for await (const batch of batches(lister)) {
    const task = { ...batch, serviceNames: namesIn(batch, lister), filter, indented };
    yield batch.count <= INLINE_ENTRIES ? async () => formatBatch(task) : () => formatInWorker(lister.workers, task);
    await nextTurn();
  }
}

/** The batch's buffers go over to the worker: nothing is copied. */
function formatInWorker(workers: WorkerPool, task: FormatTask): Promise<Uint8Array> {
  const transfer = [task.keys.buffer, task.values.buffer] as ArrayBuffer[];
  return workers.run<FormatTask, Uint8Array>(task, { transfer });
}

async function* batches({ dataplane, confirmed }: FlowLister): AsyncGenerator<RawBatch> {
  for (const batch of dataplane.rawBatches('ct_new')) yield await withoutConfirmed(batch, confirmed);
  yield* dataplane.rawBatches('ct_flow');
}

/**
 * A flow that is being confirmed is in both tables for an instant; its confirmed entry is the one to show. The rest of
 * the batch moves up in place.
 */
async function withoutConfirmed(batch: RawBatch, confirmed: FlowLister['confirmed']): Promise<RawBatch> {
  const { keys, values, count } = batch;
  let kept = 0;
  for (let index = 0; index < count; index++) {
    if (index > 0 && index % LOOKUPS_PER_TURN === 0) await nextTurn();
    const key = index * KEY_SIZE;
    if (confirmed.get(keys.subarray(key, key + KEY_SIZE))) continue;
    if (kept !== index) {
      keys.copyWithin(kept * KEY_SIZE, key, key + KEY_SIZE);
      values.copyWithin(kept * ENTRY_SIZE, index * ENTRY_SIZE, (index + 1) * ENTRY_SIZE);
    }
    kept++;
  }
  return { keys, values, count: kept };
}

/** Names of the services in the batch; the worker cannot ask. */
function namesIn({ values, count }: RawBatch, { serviceName }: FlowLister): Map<number, string> {
  const names = new Map<number, string>();
  for (const serviceId of serviceIdsIn(values, count)) {
    const name = serviceName(serviceId);
    if (name !== undefined) names.set(serviceId, name);
  }
  return names;
}

function serviceIdsIn(values: Uint8Array, count: number): Set<number> {
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  const ids = new Set<number>();
  for (let index = 0; index < count; index++) ids.add(view.getUint32(index * ENTRY_SIZE + SERVICE_ID_OFFSET, true));
  return ids;
}
