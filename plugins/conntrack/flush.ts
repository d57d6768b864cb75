import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DataPlane, RawBatch } from '@loxilb/sdk';
import { ENTRY_SIZE, KEY_SIZE, NO_SERVICE, SERVICE_ID_OFFSET } from './format.js';
import type { FlowTable } from './maps.js';

export interface FlowFlusher {
  readonly dataplane: Pick<DataPlane, 'rawBatches'>;
  readonly confirmed: FlowTable;
  readonly fresh: FlowTable;
  serviceName(serviceId: number): string | undefined;
  /** Runs a whole expiry pass. */
  pass(): Promise<void>;
}

/** Above any service's id, so the next pass ends its flows as it does those of a removed service. */
const DEAD_SERVICE_ID = 0xffff_ffff;

/** Writes between two turns of the event loop, about a millisecond. */
const WRITES_PER_TURN = 512;

/**
 * Ends all flows, or those of the services named `serviceName`. Entries are handed to the dead service and the kernel
 * ends them in a pass: deleting them from here would leave the endpoints' flow counts wrong. Half-open flows come
 * first, so that one confirmed meanwhile is met again among the confirmed.
 */
export async function flushFlows(flusher: FlowFlusher, serviceName: string | undefined): Promise<void> {
  await handOver(flusher, 'ct_new', flusher.fresh, serviceName);
  await handOver(flusher, 'ct_flow', flusher.confirmed, serviceName);
  await flusher.pass();
}

async function handOver(
  { dataplane, serviceName: nameOf }: FlowFlusher,
  mapName: string,
  table: FlowTable,
  serviceName: string | undefined,
): Promise<void> {
  const matches = (id: number) => serviceName === undefined || (nameOf(id) || NO_SERVICE) === serviceName;
  for (const batch of dataplane.rawBatches(mapName)) {
    for (let from = 0; from < batch.count; from += WRITES_PER_TURN) {
      handOverPart(batch, from, Math.min(from + WRITES_PER_TURN, batch.count), table, matches);
      await nextTurn();
    }
  }
}

function handOverPart(
  { keys, values }: RawBatch,
  from: number,
  to: number,
  table: FlowTable,
  matches: (serviceId: number) => boolean,
): void {
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  for (let index = from; index < to; index++) {
    const entry = index * ENTRY_SIZE;
    if (!matches(view.getUint32(entry + SERVICE_ID_OFFSET, true))) continue;
    view.setUint32(entry + SERVICE_ID_OFFSET, DEAD_SERVICE_ID, true);
    const key = index * KEY_SIZE;
    table.set(keys.subarray(key, key + KEY_SIZE), values.subarray(entry, entry + ENTRY_SIZE));
  }
}
