/** Maps the core itself owns. */
import { type MapSpec, type NetworkLink, u32 } from '@loxilb/sdk';
import {
  type DpControl,
  DpCounter,
  type DpCounterValue,
  dpControl,
  dpCounterValue,
  IntfFlags,
  type IntfKey,
  type IntfValue,
  intfKey,
  intfValue,
} from './layout.gen.js';

export const CONTROL_MAP: MapSpec<number, DpControl> = {
  name: 'dp_control',
  type: 'array',
  key: u32,
  value: dpControl,
  maxEntries: 1,
};

export const COUNTER_MAP: MapSpec<number, DpCounterValue> = {
  name: 'dp_counter',
  type: 'percpu_array',
  key: u32,
  value: dpCounterValue,
  maxEntries: DpCounter.DP_COUNTERS,
};

export const INTERFACE_MAP: MapSpec<IntfKey, IntfValue> = {
  name: 'intf_map',
  type: 'hash',
  key: intfKey,
  value: intfValue,
  maxEntries: 4096,
};

/** Bridge domain numbers of ports begin here, as `get port` shows them. */
const FIRST_BRIDGE_DOMAIN = 3800;

export function interfaceEntry(link: NetworkLink): [IntfKey, IntfValue] {
  return [
    { ifindex: link.ifindex, ingVid: 0 },
    {
      port: link.ifindex,
      zone: 0,
      bd: FIRST_BRIDGE_DOMAIN + link.ifindex,
      flags: link.kind === 'veth' && link.peerInOtherNamespace ? IntfFlags.INTF_PEER : 0,
    },
  ];
}

const COUNTER_NAMES = new Map<number, string>(
  Object.entries(DpCounter)
    .filter(([name]) => name !== 'DP_COUNTERS')
    .map(([name, number]) => [number, name.toLowerCase()]),
);

/** Sums over CPUs of what is not zero; a number this daemon has no name for is `counter_<number>`. */
export function sumCounters(entries: Iterable<[number, DpCounterValue[]]>): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [number, copies] of entries) {
    const total = copies.reduce((sum, copy) => sum + copy.packets, 0n);
    if (total > 0n) sums[COUNTER_NAMES.get(number) ?? `counter_${number}`] = Number(total);
  }
  return sums;
}
