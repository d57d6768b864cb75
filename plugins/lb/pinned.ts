import type { DataPlane } from '@loxilb/sdk';
import type { LbEndpoint, LbService, LbServiceKey, LbServiceState } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { serviceKeyText } from './model.js';
import type { SlotRun } from './slot-runs.js';

export interface PinnedService {
  readonly key: LbServiceKey;
  readonly value: LbService;
}

export interface PinnedEndpoint {
  readonly id: number;
  readonly entry: LbEndpoint;
}

/** What an earlier daemon left in the maps. */
export interface Pinned {
  /** By key text. */
  readonly services: ReadonlyMap<string, PinnedService>;
  /** By service id. */
  readonly endpoints: ReadonlyMap<number, readonly PinnedEndpoint[]>;
  /** By service id, only those that are not blank. */
  readonly states: ReadonlyMap<number, LbServiceState>;
}

export function readPinned(maps: LbMaps): Pinned {
  const services = new Map<string, PinnedService>();
  for (const [key, value] of maps.service.entries()) services.set(serviceKeyText(key), { key, value });
  const states = new Map<number, LbServiceState>();
  for (const [id, value] of maps.serviceState.entries()) {
    if (value.alive !== 0 || value.idleTicks !== 0 || value.cursor !== 0) states.set(id, value);
  }
  const endpoints = new Map<number, PinnedEndpoint[]>();
  for (const [id, entry] of maps.endpoint.entries()) {
    if (entry.serviceId === 0) continue;
    const list = endpoints.get(entry.serviceId);
    if (list) list.push({ id, entry });
    else endpoints.set(entry.serviceId, [{ id, entry }]);
  }
  return { services, endpoints, states };
}

/** Reading slot by slot is cheaper up to about here. */
const FEW_SLOTS = 8_192;

/** A function that reads slots of these runs. */
export function slotReader(
  maps: LbMaps,
  dataplane: Pick<DataPlane, 'rawBatches'>,
  runs: readonly SlotRun[],
): (slot: number) => number {
  const count = runs.reduce((sum, run) => sum + run.count, 0);
  if (count <= FEW_SLOTS) return (slot) => maps.slot.get(slot)?.endpointId ?? 0;
  const end = runs.reduce((most, run) => Math.max(most, run.base + run.count), 0);
  const slots = readSlots(maps, dataplane, Math.min(end, maps.slot.spec.maxEntries));
  return (slot) => slots[slot] ?? 0;
}

function readSlots(maps: LbMaps, dataplane: Pick<DataPlane, 'rawBatches'>, end: number): Uint32Array {
  const slots = new Uint32Array(end);
  for (const { keys, values, count } of dataplane.rawBatches(maps.slot.spec.name)) {
    const keyView = new DataView(keys.buffer, keys.byteOffset);
    const valueView = new DataView(values.buffer, values.byteOffset);
    let last = 0;
    for (let index = 0; index < count; index++) {
      last = keyView.getUint32(index * 4, true);
      if (last < end) slots[last] = valueView.getUint32(index * 4, true);
    }
    if (last >= end - 1) break;
  }
  return slots;
}
