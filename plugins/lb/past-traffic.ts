import { type Codec, type MapSlice, struct, u64 } from '@loxilb/sdk';
import { addStats, NO_STATS } from './endpoint-reader.js';
import type { LbEndpointStats } from './layout.gen.js';
import type { Undo } from './undo.js';

/** User space only. */
export const pastTraffic: Codec<LbEndpointStats> = struct({ packets: u64, bytes: u64, flows: u64 });

/**
 * What endpoints had that a service no longer has: their ids go to others, and the service's counters must not go back.
 * By service id, pinned.
 */
export class PastTraffic {
  constructor(private readonly map: MapSlice<number, LbEndpointStats>) {}

  of(serviceId: number): LbEndpointStats {
    return this.map.get(serviceId) ?? NO_STATS;
  }

  add(serviceId: number, stats: LbEndpointStats, undo: Undo): void {
    if (stats.packets === 0n && stats.flows === 0n) return;
    const before = this.map.get(serviceId);
    this.map.set(serviceId, addStats(before ?? NO_STATS, stats));
    undo.add(() => (before === undefined ? this.map.delete(serviceId) : this.map.set(serviceId, before)));
  }

  forget(serviceIds: readonly number[]): void {
    const known = serviceIds.filter((id) => this.map.get(id) !== undefined);
    if (known.length > 0) this.map.deleteMany(known);
  }
}
