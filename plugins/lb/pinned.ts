import type { DataPlane, MapSpec } from '@loxilb/sdk';
import type { LbEndpoint, LbService, LbServiceState } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { keyText, type PlaceKey } from './places.js';
import type { SlotRun } from './slot-runs.js';

/** One of the entries packets find a service by. */
export interface PinnedService {
  readonly key: PlaceKey;
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

type RawReader = Pick<DataPlane, 'rawBatches'>;

export function readPinned(maps: LbMaps, dataplane: RawReader): Pinned {
  const services = new Map<string, PinnedService>();
  const add = (key: PlaceKey, value: LbService) => services.set(keyText(key), { key, value });
  for (const [key, value] of maps.service.entries()) add({ map: 'service', key }, value);
  for (const [key, value] of maps.range.entries()) add({ map: 'range', key }, value);
  const states = new Map(filledEntries(dataplane, maps.serviceState.spec));
  const endpoints = new Map<number, PinnedEndpoint[]>();
  for (const [id, entry] of filledEntries(dataplane, maps.endpoint.spec)) {
    const list = endpoints.get(entry.serviceId);
    if (list) list.push({ id, entry });
    else endpoints.set(entry.serviceId, [{ id, entry }]);
  }
  return { services, endpoints, states };
}

/** Elements of an array map that are not blank, which their first 16 bytes tell. Blank ones cost next to nothing. */
function* filledEntries<V>(dataplane: RawReader, { name, value }: MapSpec<number, V>): Iterable<[number, V]> {
  for (const { keys, values, count } of dataplane.rawBatches(name)) {
    const keyView = viewOf(keys);
    const valueView = viewOf(values);
    for (let index = 0; index < count; index++) {
      const at = index * value.size;
      if (!isBlank(valueView, at)) yield [keyView.getUint32(index * 4, true), value.decode(valueView, at)];
    }
  }
}

function isBlank(view: DataView, at: number): boolean {
  return (view.getUint32(at) | view.getUint32(at + 4) | view.getUint32(at + 8) | view.getUint32(at + 12)) === 0;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Reading slot by slot is cheaper up to about here. */
const FEW_SLOTS = 8_192;

/** A function that reads slots of these runs. */
export function slotReader(maps: LbMaps, dataplane: RawReader, runs: readonly SlotRun[]): (slot: number) => number {
  const count = runs.reduce((sum, run) => sum + run.count, 0);
  if (count <= FEW_SLOTS) return (slot) => maps.slot.get(slot)?.endpointId ?? 0;
  const end = runs.reduce((most, run) => Math.max(most, run.base + run.count), 0);
  const slots = readSlots(maps, dataplane, Math.min(end, maps.slot.spec.maxEntries));
  return (slot) => slots[slot] ?? 0;
}

function readSlots(maps: LbMaps, dataplane: RawReader, end: number): Uint32Array {
  const slots = new Uint32Array(end);
  for (const { keys, values, count } of dataplane.rawBatches(maps.slot.spec.name)) {
    const keyView = viewOf(keys);
    const valueView = viewOf(values);
    let last = 0;
    for (let index = 0; index < count; index++) {
      last = keyView.getUint32(index * 4, true);
      if (last < end) slots[last] = valueView.getUint32(index * 4, true);
    }
    if (last >= end - 1) break;
  }
  return slots;
}
