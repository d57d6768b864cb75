import { bytes, type MapSlice, type MapSpec, type MapView, u32, u64 } from '@loxilb/sdk';
import type { ConntrackConfig } from './config.js';
import {
  type CtPass,
  ctEntry,
  ctIdle,
  ctKey,
  ctPass,
  ctSctpAssoc,
  ctSctpAssocKey,
  ctSctpOffer,
  ctSctpOfferKey,
  ctSctpOpening,
} from './layout.gen.js';

/** Each direction of a flow has its own entry. */
export const ENTRIES_PER_FLOW = 2;

/**
 * Flow tables hold up to millions of entries, which this plugin moves and compares but never looks into one by one:
 * keys and values stay bytes. `format.ts` reads them.
 */
export type FlowTable = MapSlice<Uint8Array, Uint8Array>;
type FlowTableSpec = MapSpec<Uint8Array, Uint8Array>;

export function flowTableSpecs(config: ConntrackConfig): { confirmed: FlowTableSpec; fresh: FlowTableSpec } {
  const layout = { key: bytes(ctKey.size), value: bytes(ctEntry.size) };
  return {
    confirmed: {
      ...layout,
      name: 'ct_flow',
      type: 'hash',
      pin: 'ct_v4_map',
      maxEntries: config.maxFlows * ENTRIES_PER_FLOW,
    },
    fresh: { ...layout, name: 'ct_new', type: 'lru_hash', maxEntries: config.newFlows * ENTRIES_PER_FLOW },
  };
}

/**
 * Timers of flows that end to the second. The kernel shows their values as zeroes and lets nobody write them: the plugin
 * gives the table its size and its pin - without one the timers would end with the daemon - and leaves it alone.
 */
export function idleTableSpec(config: ConntrackConfig): FlowTableSpec {
  return {
    name: 'ct_idle',
    type: 'hash',
    key: bytes(ctKey.size),
    value: bytes(ctIdle.size),
    maxEntries: config.maxFlows,
    uncopyable: true,
  };
}

/**
 * SCTP associations, two entries each; handshakes that are not through, and tags offered in them. The packet path writes
 * and ends them with their flows: the plugin gives them their size.
 */
export function associationTableSpecs(config: ConntrackConfig): readonly FlowTableSpec[] {
  const association = { key: bytes(ctSctpAssocKey.size), value: bytes(ctSctpAssoc.size) };
  const offer = { key: bytes(ctSctpOfferKey.size), value: bytes(ctSctpOffer.size) };
  return [
    { ...association, name: 'ct_sctp_assoc', type: 'hash', maxEntries: Math.min(config.maxFlows, 262_144) },
    // One size: the packet path makes numbers of so many bits.
    { name: 'ct_sctp_begun', type: 'array', key: bytes(4), value: bytes(ctSctpOpening.size), maxEntries: 16_384 },
    { ...offer, name: 'ct_sctp_offer', type: 'lru_hash', maxEntries: 2048 },
  ];
}

/** Ring of flows that ended while they were open, `struct ct_reset_event`. */
export const RESET_RING = 'ct_reset';

/** What the walks of the last pass counted, by table. */
export const passSpec: MapSpec<number, CtPass> = {
  name: 'ct_pass',
  type: 'array',
  key: u32,
  value: ctPass,
  maxEntries: 2,
};

/** Index into `ct_pass`. */
export const TABLE = { confirmed: 0, fresh: 1 } as const;

/** Counters of the packet path, by `enum dp_counter`. */
export const counterSpec: MapSpec<number, bigint> = {
  name: 'dp_counter',
  type: 'percpu_array',
  key: u32,
  value: u64,
  maxEntries: 192,
};

/** Events of `enum dp_counter` this plugin reads. Numbers are never reused. */
export const EVENT = {
  created: 128,
  confirmed: 129,
  tableFull: 130,
  expired: 135,
  resetLost: 137,
  path: 142,
  closed: 145,
} as const;

export type CounterView = MapView<number, bigint>;

/** An event's count over all CPUs, since the maps were made. */
export function readEvent(counters: CounterView, event: keyof typeof EVENT): bigint {
  return counters.getPerCpu(EVENT[event]).reduce((sum, value) => sum + value, 0n);
}
