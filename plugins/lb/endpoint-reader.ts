import type { LbEndpointFlows, LbEndpointStats } from './layout.gen.js';
import type { LbMaps } from './maps.js';

/** From this many on, reading a whole map in batches is cheaper than reading entry by entry. */
const MANY = 4_096;

/** Whether packets may choose the endpoint: what the data plane has. */
export function activeReader(maps: Pick<LbMaps, 'endpoint'>, ids: readonly number[]): (id: number) => boolean {
  if (ids.length < MANY) return (id) => maps.endpoint.get(id)?.active === 1;
  const end = highest(ids);
  const active = new Uint8Array(end + 1);
  for (const [id, entry] of maps.endpoint.entries()) {
    if (id <= end) active[id] = entry.active;
  }
  return (id) => active[id] === 1;
}

export const NO_STATS: LbEndpointStats = { packets: 0n, bytes: 0n, flows: 0n };

/** Counters of endpoints, both directions, summed over CPUs. */
export function statsReader(maps: Pick<LbMaps, 'stats'>, ids: readonly number[]): (id: number) => LbEndpointStats {
  if (ids.length < MANY) return (id) => sum(maps.stats.getPerCpu(id));
  const end = highest(ids);
  const found = new Map<number, LbEndpointStats>();
  for (const [id, perCpu] of maps.stats.entriesPerCpu()) {
    if (id > end) continue;
    const total = sum(perCpu);
    if (total.packets !== 0n) found.set(id, total);
  }
  return (id) => found.get(id) ?? NO_STATS;
}

function sum(perCpu: readonly LbEndpointStats[]): LbEndpointStats {
  let total = NO_STATS;
  for (const one of perCpu) {
    if (one.packets !== 0n || one.flows !== 0n) total = addStats(total, one);
  }
  return total;
}

export function addStats(a: LbEndpointStats, b: LbEndpointStats): LbEndpointStats {
  return { packets: a.packets + b.packets, bytes: a.bytes + b.bytes, flows: a.flows + b.flows };
}

/** Live flows of endpoints, those that are not confirmed yet included. */
export function flowsReader(maps: Pick<LbMaps, 'flows'>, ids: readonly number[]): (id: number) => number {
  if (ids.length < MANY) return (id) => live(maps.flows.get(id));
  const end = highest(ids);
  const counts = new Uint32Array(end + 1);
  for (const [id, flows] of maps.flows.entries()) {
    if (id <= end) counts[id] = live(flows);
  }
  return (id) => counts[id] ?? 0;
}

function live(flows: LbEndpointFlows | undefined): number {
  return flows ? flows.active + flows.pending : 0;
}

function highest(ids: readonly number[]): number {
  return ids.reduce((most, id) => Math.max(most, id), 0);
}
