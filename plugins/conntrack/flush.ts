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
  for (const batch of dataplane.rawBatches(mapName)) {
    const matches = (id: number) => serviceName === undefined || (nameOf(id) || NO_SERVICE) === serviceName;
    const entries = deadEntries(batch, matches);
    if (entries.length > 0) table.setMany(entries);
    await nextTurn();
  }
}

function deadEntries({ keys, values, count }: RawBatch, matches: (id: number) => boolean): [Uint8Array, Uint8Array][] {
  const entries: [Uint8Array, Uint8Array][] = [];
  for (let index = 0; index < count; index++) {
    const value = values.slice(index * ENTRY_SIZE, (index + 1) * ENTRY_SIZE);
    const view = new DataView(value.buffer);
    const serviceId = view.getUint32(SERVICE_ID_OFFSET, true);
    if (!matches(serviceId)) continue;
    view.setUint32(SERVICE_ID_OFFSET, DEAD_SERVICE_ID, true);
    entries.push([keys.slice(index * KEY_SIZE, (index + 1) * KEY_SIZE), value]);
  }
  return entries;
}
