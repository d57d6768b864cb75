/** Every map of the packet path, by what it is for. */
import { type Codec, ipAddress, u32 } from '@loxilb/sdk';
import {
  dpControl,
  dpCounterValue,
  dpObserve,
  dpServiceDrop,
  dpServiceDropKey,
  dpTraceStep,
  dpXdpDevice,
  intfKey,
  intfValue,
} from '../../core/dataplane/layout.gen.js';
import {
  ctEntry,
  ctHalfOpen,
  ctIdle,
  ctKey,
  ctPass,
  ctSctpAssoc,
  ctSctpAssocKey,
  ctSctpOffer,
  ctSctpOfferKey,
  ctSctpOpening,
} from '../../plugins/conntrack/layout.gen.js';
import {
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
  lbTunnelMtu,
} from '../../plugins/lb/layout.gen.js';
import { fragFlow, fragHeld, fragHeldKey, fragKey } from './fragment-layout.js';
import { TestMap } from './map.js';

/** `fdOf` finds a map by its name; `cpus` is how many copies maps with values per CPU have. */
export function openPathMaps(fdOf: (name: string) => number, cpus: number) {
  const open = <K, V>(name: string, key: Codec<K>, value: Codec<V>, copies = 1): TestMap<K, V> =>
    new TestMap(name, fdOf(name), key, value, copies);
  return {
    control: open('dp_control', u32, dpControl),
    counters: open('dp_counter', u32, dpCounterValue, cpus),
    interfaces: open('intf_map', intfKey, intfValue),
    observe: open('dp_observe', u32, dpObserve),
    serviceDrops: open('dp_service_drop', dpServiceDropKey, dpServiceDrop, cpus),
    trace: open('dp_trace', u32, dpTraceStep),
    xdpDevices: open('dp_xdp_device', u32, dpXdpDevice),
    flows: open('ct_flow', ctKey, ctEntry),
    pending: open('ct_new', ctKey, ctEntry),
    halfOpen: open('ct_half_open', u32, ctHalfOpen),
    pass: open('ct_pass', u32, ctPass),
    idle: open('ct_idle', ctKey, ctIdle),
    fragments: open('frag_flow', fragKey, fragFlow),
    heldFragments: open('frag_held', fragHeldKey, fragHeld),
    associations: open('ct_sctp_assoc', ctSctpAssocKey, ctSctpAssoc),
    offers: open('ct_sctp_offer', ctSctpOfferKey, ctSctpOffer),
    openings: open('ct_sctp_begun', u32, ctSctpOpening),
    services: open('lb_service', lbServiceKey, lbService),
    ranges: open('lb_range', lbRangeKey, lbService),
    lbControl: open('lb_control', u32, lbControl),
    addresses: open('lb_address', ipAddress, lbAddress),
    tunnelMtus: open('lb_tunnel_mtu', ipAddress, lbTunnelMtu),
    sources: open('lb_source', lbSourceKey, lbSource),
    sctpVips: open('lb_sctp_vips', u32, lbSctpVips),
    serviceStates: open('lb_svc_state', u32, lbServiceState),
    slots: open('lb_slot', u32, lbSlot),
    endpoints: open('lb_endpoint', u32, lbEndpoint),
    endpointFlows: open('lb_ep_flows', u32, lbEndpointFlows),
    endpointStats: open('lb_ep_stats', u32, lbEndpointStats, cpus),
    affinity: open('lb_affinity', lbAffinityKey, lbAffinity),
  };
}

export type PathMaps = ReturnType<typeof openPathMaps>;

/** Maps whose elements come and go; the rest are arrays. Openings are found with the flows they belong to only. */
const TABLES = [
  'flows',
  'pending',
  'idle',
  'associations',
  'services',
  'ranges',
  'addresses',
  'sources',
  'sctpVips',
  'tunnelMtus',
  'offers',
  'affinity',
  'interfaces',
  'serviceDrops',
  'fragments',
  'heldFragments',
] as const satisfies readonly (keyof PathMaps)[];

export function clearTables(maps: PathMaps): void {
  for (const name of TABLES) maps[name].clear();
}
