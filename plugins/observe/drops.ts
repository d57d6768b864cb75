/** `get drops`: what was dropped, why, and of which services. */
import type { MapSlice, MapView } from '@loxilb/sdk';
import type { Labels } from './labels.js';
import type { DpCounterValue, DpServiceDrop, DpServiceDropKey } from './layout.gen.js';
import type { DropEntry, ServiceDrops } from './model.js';
import { kindOf, reasonOf } from './reasons.js';

export interface DropSources {
  readonly counters: MapView<number, DpCounterValue>;
  readonly serviceDrops: MapView<DpServiceDropKey, DpServiceDrop>;
  readonly labels: Pick<Labels, 'service'>;
}

/** Reasons with packets, by number. */
export function listDrops(sources: DropSources): DropEntry[] {
  const services = dropsByReason(sources);
  return [...sources.counters.entriesPerCpu()].flatMap(([number, copies]) => {
    const packets = sumPackets(copies);
    if (packets === 0 || kindOf(number) !== 'drop') return [];
    const { name, meaning, remedy } = reasonOf(number);
    return [{ reason: name, number, packets, meaning, remedy, services: services.get(number) ?? [] }];
  });
}

function dropsByReason({ serviceDrops, labels }: DropSources): Map<number, ServiceDrops[]> {
  const byReason = new Map<number, ServiceDrops[]>();
  for (const { serviceId, reason, packets } of readServiceDrops(serviceDrops)) {
    const list = byReason.get(reason) ?? [];
    list.push({ ...labels.service(serviceId), packets });
    byReason.set(reason, list);
  }
  for (const list of byReason.values()) list.sort((a, b) => b.packets - a.packets);
  return byReason;
}

export interface ServiceDropCount {
  readonly serviceId: number;
  readonly reason: number;
  readonly packets: number;
}

export function readServiceDrops(map: MapView<DpServiceDropKey, DpServiceDrop>): ServiceDropCount[] {
  return [...map.entriesPerCpu()]
    .map(([{ serviceId, reason }, copies]) => ({ serviceId, reason, packets: sumPackets(copies) }))
    .filter(({ packets }) => packets > 0);
}

/** Their ids go to other services, which begin at zero. */
export function forgetServices(map: MapSlice<DpServiceDropKey, DpServiceDrop>, ids: readonly number[]): void {
  const gone = new Set(ids);
  const stale = [...map.entriesPerCpu()].flatMap(([key]) => (gone.has(key.serviceId) ? [key] : []));
  if (stale.length > 0) map.deleteMany(stale);
}

function sumPackets(copies: readonly { readonly packets: bigint }[]): number {
  return Number(copies.reduce((sum, { packets }) => sum + packets, 0n));
}
