import type { MetricFactory } from '@loxilb/sdk';
import type { ConntrackConfig } from './config.js';
import { type CounterView, ENTRIES_PER_FLOW, type EVENT, readEvent } from './maps.js';
import { entriesLeft, left } from './pass.js';
import type { PassScheduler } from './pass-scheduler.js';
import type { ResetCounts } from './reset-sender.js';

/** Nothing here walks a table: entries are those the last expiry pass left. */
export function declareMetrics(
  metrics: MetricFactory,
  config: ConntrackConfig,
  counters: CounterView,
  scheduler: Pick<PassScheduler, 'last'>,
): void {
  metrics.gauge({
    name: 'entries',
    help: 'Entries of the flow tables, two for each flow, as of the last expiry pass.',
    labels: ['table'],
    collect: () => [
      { labels: { table: 'confirmed' }, value: scheduler.last ? left(scheduler.last.confirmed) : 0 },
      { labels: { table: 'half_open' }, value: scheduler.last ? left(scheduler.last.fresh) : 0 },
    ],
  });
  metrics.gauge({
    name: 'pass_duration_seconds',
    help: 'Time the last expiry pass took.',
    collect: () => [{ value: (scheduler.last?.durationMs ?? 0) / 1000 }],
  });
  declareEvents(metrics, counters);
  declareLegacy(metrics, config, () => (scheduler.last ? entriesLeft(scheduler.last) : 0));
}

const EVENTS: readonly { name: string; event: keyof typeof EVENT; help: string }[] = [
  { name: 'flows_created_total', event: 'created', help: 'Flows that began.' },
  { name: 'flows_confirmed_total', event: 'confirmed', help: 'Flows both sides of which have answered.' },
  { name: 'flows_expired_total', event: 'expired', help: 'Flows ended by expiry passes.' },
  { name: 'table_full_total', event: 'tableFull', help: 'Flows left half-open because the flow table was full.' },
];

function declareEvents(metrics: MetricFactory, counters: CounterView): void {
  for (const { name, event, help } of EVENTS) {
    metrics.counter({ name, help, collect: () => [{ value: Number(readEvent(counters, event)) }] });
  }
}

/** Counts of this daemon, but those of the packet path, which outlive it. */
export function declareResetMetrics(metrics: MetricFactory, counters: CounterView, counts: ResetCounts): void {
  const bySide = (result: 'sent' | 'failed') =>
    (['client', 'endpoint'] as const).map((to) => ({ labels: { to }, value: counts[result][to] }));
  metrics.counter({
    name: 'flows_reset_total',
    help: 'TCP flows that were ended while they were open: idle for too long, or cut with their endpoint.',
    labels: ['reason'],
    collect: () => (['idle', 'cut'] as const).map((reason) => ({ labels: { reason }, value: counts.flows[reason] })),
  });
  metrics.counter({
    name: 'resets_sent_total',
    help: 'TCP resets sent to the ends of such flows.',
    labels: ['to'],
    collect: () => bySide('sent'),
  });
  metrics.counter({
    name: 'resets_failed_total',
    help: 'TCP resets the kernel refused: no route, or no raw socket.',
    labels: ['to'],
    collect: () => bySide('failed'),
  });
  metrics.counter({
    name: 'resets_one_way_total',
    help: 'Endpoints that were not told because answers do not come through here (DSR).',
    collect: () => [{ value: counts.oneWay }],
  });
  metrics.counter({
    name: 'resets_lost_total',
    help: 'Flows neither end of which was told, because too many ended at once.',
    collect: () => [{ value: Number(readEvent(counters, 'resetLost')) + counts.lost }],
  });
}

/** Names that dashboards made for earlier releases know. */
function declareLegacy(metrics: MetricFactory, config: ConntrackConfig, entries: () => number): void {
  for (const name of ['active_conntrack_count', 'loxilb_active_conntrack_entries']) {
    metrics.gauge({
      name,
      exactName: true,
      help: 'Entries of the flow tables.',
      collect: () => [{ value: entries() }],
    });
  }
  metrics.gauge({
    name: 'loxilb_conntrack_max_entries',
    exactName: true,
    help: 'Entries the table of confirmed flows can hold.',
    collect: () => [{ value: config.maxFlows * ENTRIES_PER_FLOW }],
  });
}
