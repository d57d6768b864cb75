import { readdirSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { AttachedInterface, MetricFactory } from '@loxilb/sdk';

/**
 * The daemon's own figures. prom-client's defaults sample the event loop a hundred times a second; these cost nothing
 * until somebody scrapes.
 */
export function declareProcessMetrics(metrics: MetricFactory): void {
  const value = (read: () => number) => () => [{ value: read() }];
  metrics.counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time of the daemon in seconds',
    exactName: true,
    collect: value(() => (process.cpuUsage().user + process.cpuUsage().system) / 1e6),
  });
  metrics.gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory of the daemon in bytes',
    exactName: true,
    collect: value(() => process.memoryUsage.rss()),
  });
  metrics.gauge({
    name: 'process_start_time_seconds',
    help: 'Start of the daemon, seconds since the epoch',
    exactName: true,
    collect: value(() => performance.timeOrigin / 1000),
  });
  metrics.gauge({
    name: 'process_open_fds',
    help: 'Open file descriptors of the daemon',
    exactName: true,
    collect: value(() => readdirSync('/proc/self/fd').length),
  });
  metrics.gauge({
    name: 'nodejs_heap_size_used_bytes',
    help: 'JavaScript heap in use, bytes',
    exactName: true,
    collect: value(() => process.memoryUsage().heapUsed),
  });
}

/** Prefixes the packet path sorts its counters by, and what each becomes. */
const FAMILIES = [
  { prefix: 'drop_', name: 'loxilb_dataplane_drops_total', help: 'Packets dropped by the packet path' },
  {
    prefix: 'pass_',
    name: 'loxilb_dataplane_passes_total',
    help: 'Packets left to the kernel although they looked like ours',
  },
  { prefix: 'event_', name: 'loxilb_dataplane_events_total', help: 'Events of the packet path' },
] as const;

/** @param counters non-zero counters by name, e.g. `drop_no_endpoint` */
export function declareDataPlaneMetrics(metrics: MetricFactory, counters: () => Record<string, number>): void {
  for (const { prefix, name, help } of FAMILIES) {
    metrics.counter({
      name,
      help: `${help}, by reason`,
      labels: ['reason'],
      exactName: true,
      collect: () =>
        Object.entries(counters())
          .filter(([counter]) => counter.startsWith(prefix))
          .map(([counter, value]) => ({ labels: { reason: counter.slice(prefix.length) }, value })),
    });
  }
}

/** One sample per interface the packet path hangs on. */
export function declareAttachmentMetrics(metrics: MetricFactory, attached: () => readonly AttachedInterface[]): void {
  metrics.gauge({
    name: 'loxilb_dataplane_attached',
    help: '1 for each interface the packet path is attached to, with how, and what XDP does there',
    labels: ['interface', 'hook', 'xdp'],
    exactName: true,
    collect: () =>
      attached().map(({ name, hook, xdp }) => ({
        labels: { interface: name, hook, xdp: xdp?.mode ?? 'off' },
        value: 1,
      })),
  });
}
