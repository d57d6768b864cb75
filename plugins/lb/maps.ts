/** Twin of `bpf/maps/lb.h`; the codecs come from the compiled object. */
import { ipAddress, type MapSlice, type MapSpec, u32 } from '@loxilb/sdk';
import type { LbConfig } from './config.js';
import { type DrainNote, drainNote } from './drain-table.js';
import {
  type LbAddress,
  type LbAffinity,
  type LbAffinityKey,
  type LbControl,
  type LbEndpoint,
  type LbEndpointFlows,
  type LbEndpointStats,
  type LbRangeKey,
  type LbSctpVips,
  type LbService,
  type LbServiceKey,
  type LbServiceState,
  type LbSlot,
  type LbSource,
  type LbSourceKey,
  lbAddress,
  lbAffinity,
  lbAffinityKey,
  lbControl,
  lbEndpoint,
  lbEndpointFlows,
  lbEndpointStats,
  lbRangeKey,
  lbSctpVips,
  lbService,
  lbServiceKey,
  lbServiceState,
  lbSlot,
  lbSource,
  lbSourceKey,
} from './layout.gen.js';
import { pastTraffic } from './past-traffic.js';

type MapSizes = Pick<
  LbConfig,
  'maxServices' | 'maxEndpoints' | 'maxSlots' | 'maxAffinities' | 'maxPortBlocks' | 'maxSources' | 'maxSecondaryIPs'
>;

export interface LbMapSpecs {
  readonly service: MapSpec<LbServiceKey, LbService>;
  readonly range: MapSpec<LbRangeKey, LbService>;
  readonly control: MapSpec<number, LbControl>;
  readonly address: MapSpec<string, LbAddress>;
  readonly source: MapSpec<LbSourceKey, LbSource>;
  readonly sctpVips: MapSpec<number, LbSctpVips>;
  readonly serviceState: MapSpec<number, LbServiceState>;
  readonly slot: MapSpec<number, LbSlot>;
  readonly endpoint: MapSpec<number, LbEndpoint>;
  readonly flows: MapSpec<number, LbEndpointFlows>;
  readonly stats: MapSpec<number, LbEndpointStats>;
  readonly affinity: MapSpec<LbAffinityKey, LbAffinity>;
  /** Service addresses this daemon has put on `lo`, so that a later one can take them off again. */
  readonly vip: MapSpec<string, number>;
  /** Endpoints whose flows drain, so that a later daemon keeps their deadline. */
  readonly drain: MapSpec<number, DrainNote>;
  /** By service id: what endpoints had whose ids came free. */
  readonly past: MapSpec<number, LbEndpointStats>;
}

/** What the plugin writes and reads. */
export type LbMaps = {
  readonly [N in keyof LbMapSpecs]: LbMapSpecs[N] extends MapSpec<infer K, infer V> ? MapSlice<K, V> : never;
};

export function lbMapSpecs(sizes: MapSizes): LbMapSpecs {
  const { maxServices, maxEndpoints, maxSlots, maxAffinities, maxPortBlocks, maxSources } = sizes;
  const perEndpoint = { key: u32, maxEntries: maxEndpoints };
  return {
    service: {
      name: 'lb_service',
      pin: 'nat_v4_map',
      type: 'hash',
      key: lbServiceKey,
      value: lbService,
      maxEntries: maxServices,
    },
    range: { name: 'lb_range', type: 'lpm_trie', key: lbRangeKey, value: lbService, maxEntries: maxPortBlocks },
    control: { name: 'lb_control', type: 'array', key: u32, value: lbControl, maxEntries: 1 },
    address: { name: 'lb_address', type: 'hash', key: ipAddress, value: lbAddress, maxEntries: maxAddresses(sizes) },
    source: { name: 'lb_source', type: 'lpm_trie', key: lbSourceKey, value: lbSource, maxEntries: maxSources },
    sctpVips: { name: 'lb_sctp_vips', type: 'hash', key: u32, value: lbSctpVips, maxEntries: maxServices },
    serviceState: { name: 'lb_svc_state', type: 'array', key: u32, value: lbServiceState, maxEntries: maxServices },
    slot: { name: 'lb_slot', type: 'array', key: u32, value: lbSlot, maxEntries: maxSlots },
    endpoint: { name: 'lb_endpoint', type: 'array', value: lbEndpoint, ...perEndpoint },
    flows: { name: 'lb_ep_flows', type: 'array', value: lbEndpointFlows, ...perEndpoint },
    stats: { name: 'lb_ep_stats', type: 'percpu_array', value: lbEndpointStats, ...perEndpoint },
    affinity: {
      name: 'lb_affinity',
      type: 'lru_hash',
      key: lbAffinityKey,
      value: lbAffinity,
      maxEntries: maxAffinities,
    },
    vip: { name: 'lb_vip', type: 'hash', key: ipAddress, value: u32, maxEntries: maxServices },
    drain: { name: 'lb_drain', type: 'hash', value: drainNote, ...perEndpoint },
    past: { name: 'lb_past', type: 'hash', key: u32, value: pastTraffic, maxEntries: maxServices },
  };
}

/** If no two of them were the same. */
function maxAddresses({ maxServices, maxEndpoints, maxSecondaryIPs }: MapSizes): number {
  return maxServices * (1 + maxSecondaryIPs) + maxEndpoints;
}

/** A tick is 2^20 ns (`TICK_SHIFT` in bpf/include/types.h). */
const TICKS_PER_SECOND = 953;

export function secondsToTicks(seconds: number): number {
  return seconds * TICKS_PER_SECOND;
}

export const NO_ADDRESS = '::';
