import { type MapSpec, u32 } from '@loxilb/sdk';
import {
  DpCounter,
  type DpCounterValue,
  type DpObserve,
  type DpServiceDrop,
  type DpServiceDropKey,
  dpCounterValue,
  dpObserve,
  dpServiceDrop,
  dpServiceDropKey,
} from './layout.gen.js';

/** Drops of packets whose service was known. */
export const serviceDropSpec: MapSpec<DpServiceDropKey, DpServiceDrop> = {
  name: 'dp_service_drop',
  type: 'percpu_hash',
  key: dpServiceDropKey,
  value: dpServiceDrop,
  maxEntries: 65_536,
};

/** What the packet path tells of packets, while somebody watches. */
export const observeSpec: MapSpec<number, DpObserve> = {
  name: 'dp_observe',
  type: 'array',
  key: u32,
  value: dpObserve,
  maxEntries: 1,
};

/** Counters by `enum dp_counter`; the core's. */
export const counterSpec: MapSpec<number, DpCounterValue> = {
  name: 'dp_counter',
  type: 'percpu_array',
  key: u32,
  value: dpCounterValue,
  maxEntries: DpCounter.DP_COUNTERS,
};

/** Packets the packet path shows, `struct dp_event`. */
export const EVENT_RING = 'dp_event';
