import type { MapView, MetricFactory, MetricSample } from '@loxilb/sdk';
import { readServiceDrops } from './drops.js';
import type { Labels } from './labels.js';
import type { DpServiceDrop, DpServiceDropKey } from './layout.gen.js';
import { reasonOf } from './reasons.js';

/** A label value everything beyond the limit goes under, so that the sum stays right. */
const OTHERS = 'others';

export interface MetricSources {
  readonly serviceDrops: MapView<DpServiceDropKey, DpServiceDrop>;
  readonly labels: Pick<Labels, 'service'>;
  /** Services with time series of their own: the first that drop packets. */
  readonly limit: number;
  readonly watchers: () => number;
  /** By where. */
  readonly losses: () => Readonly<Record<string, number>>;
}

export function declareMetrics(metrics: MetricFactory, sources: MetricSources): void {
  const named = new Set<number>();
  metrics.counter({
    name: 'loxilb_service_drops_total',
    exactName: true,
    help: 'Packets dropped, by service and reason; services beyond a limit are added up',
    labels: ['service', 'reason'],
    collect: () => serviceDropSamples(sources, named),
  });
  metrics.gauge({
    name: 'watchers',
    help: 'Clients that watch packets now',
    collect: () => [{ value: sources.watchers() }],
  });
  metrics.counter({
    name: 'lost_packets_total',
    help: 'Packets not shown to who watches: the packet path had no room, or the client was too slow',
    labels: ['where'],
    collect: () => Object.entries(sources.losses()).map(([where, value]) => ({ labels: { where }, value })),
  });
}

/** @param named services with a series of their own; they keep it, since no counter may go back */
function serviceDropSamples({ serviceDrops, labels, limit }: MetricSources, named: Set<number>): MetricSample[] {
  const drops = readServiceDrops(serviceDrops);
  const present = new Set(drops.map(({ serviceId }) => serviceId));
  for (const id of named) if (!present.has(id)) named.delete(id);
  for (const id of present) if (named.size < limit) named.add(id);
  const samples = new Map<string, { labels: { service: string; reason: string }; value: number }>();
  for (const { serviceId, reason, packets } of drops) {
    const label = labels.service(serviceId);
    const service = named.has(serviceId) ? label.service || label.address : OTHERS;
    const key = `${service} ${reason}`;
    const sample = samples.get(key) ?? { labels: { service, reason: reasonOf(reason).name }, value: 0 };
    sample.value += packets;
    samples.set(key, sample);
  }
  return [...samples.values()];
}
