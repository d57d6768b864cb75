import type { MetricFactory, MetricSample } from '@loxilb/sdk';
import { statsReader } from './endpoint-reader.js';
import type { LbEndpoint, LbEndpointStats } from './layout.gen.js';
import type { LbMaps } from './maps.js';
import { describeRule, type Rule } from './model.js';
import type { LbState } from './state.js';

/** One scrape reads all metrics within this time: the maps are read once for it. */
const SCRAPE_MS = 500;

interface Reading {
  readonly rule: Rule;
  readonly endpoint: string;
  readonly id: number;
  readonly stats: LbEndpointStats;
}

type Parts = { readonly state: LbState; readonly maps: Pick<LbMaps, 'stats' | 'flows'> };

/** What an idle endpoint would add to a page of thousands of lines is a zero: it is there all the same. */
export function declareMetrics(metrics: MetricFactory, parts: Parts): void {
  const { state, maps } = parts;
  const read = onceAScrape(() => readEndpoints(parts));
  const ruleCount = () => [{ value: state.services.size }];
  metrics.gauge({ name: 'rules', help: 'Load balancer rules', collect: ruleCount });
  metrics.gauge({ name: 'lb_rule_count', exactName: true, help: 'Load balancer rules', collect: ruleCount });
  metrics.gauge({
    name: 'slots_available',
    help: 'Selection slots no rule uses',
    collect: () => [{ value: state.runs.available }],
  });
  const perEndpoint = (value: (reading: Reading) => number | bigint) => () =>
    read().map((reading): MetricSample => ({ labels: endpointLabels(reading), value: Number(value(reading)) }));
  const labels = ['service', 'endpoint'];
  metrics.counter({
    name: 'endpoint_packets_total',
    help: 'Packets of an endpoint, both directions',
    labels,
    collect: perEndpoint(({ stats }) => stats.packets),
  });
  metrics.counter({
    name: 'endpoint_bytes_total',
    help: 'Bytes of an endpoint on layer 3, both directions',
    labels,
    collect: perEndpoint(({ stats }) => stats.bytes),
  });
  metrics.counter({
    name: 'endpoint_flows_total',
    help: 'Flows given to an endpoint',
    labels,
    collect: perEndpoint(({ stats }) => stats.flows),
  });
  metrics.gauge({
    name: 'endpoint_flows',
    help: 'Live flows of an endpoint',
    labels,
    collect: perEndpoint(({ id }) => liveFlows(maps, id)),
  });
  declareKnownNames(metrics, read);
}

/** Names dashboards of earlier releases ask for; `service` is the rule's name there. */
function declareKnownNames(metrics: MetricFactory, read: () => readonly Reading[]): void {
  const known = (name: string, help: string, labels: string[], value: (stats: LbEndpointStats) => bigint) =>
    metrics.counter({
      name,
      exactName: true,
      help,
      labels,
      collect: () => sumBy(read(), labels, value),
    });
  const service = ['service'];
  known('loxilb_service_traffic_bytes_total', 'Bytes of a service', service, ({ bytes }) => bytes);
  known('loxilb_service_traffic_packets_total', 'Packets of a service', service, ({ packets }) => packets);
  known('loxilb_service_requests_total', 'Flows of a service', service, ({ flows }) => flows);
  known('loxilb_endpoint_traffic_bytes_total', 'Bytes of an endpoint', ['service', 'dip'], ({ bytes }) => bytes);
}

function sumBy(
  readings: readonly Reading[],
  labels: readonly string[],
  value: (stats: LbEndpointStats) => bigint,
): MetricSample[] {
  const sums = new Map<string, { labels: Record<string, string>; value: number }>();
  for (const { rule, endpoint, stats } of readings) {
    const all: Record<string, string> = { service: rule.name || describeRule(rule), dip: endpoint };
    const chosen = Object.fromEntries(labels.map((label) => [label, all[label] ?? '']));
    const key = Object.values(chosen).join('|');
    const sum = sums.get(key) ?? { labels: chosen, value: 0 };
    sum.value += Number(value(stats));
    sums.set(key, sum);
  }
  return [...sums.values()];
}

function endpointLabels({ rule, endpoint }: Reading): Record<string, string> {
  return { service: describeRule(rule), endpoint };
}

function readEndpoints({ state, maps }: Parts): Reading[] {
  const services = [...state.services.values()];
  const stats = statsReader(
    maps,
    services.flatMap(({ endpoints }) => endpoints.map(({ id }) => id)),
  );
  return services.flatMap(({ rule, endpoints }) =>
    endpoints.map(({ id, entry }) => ({ rule, id, stats: stats(id), endpoint: endpointLabel(entry) })),
  );
}

function endpointLabel({ addr, port }: LbEndpoint): string {
  return addr.includes(':') ? `[${addr}]:${port}` : `${addr}:${port}`;
}

function liveFlows(maps: Pick<LbMaps, 'flows'>, id: number): number {
  const flows = maps.flows.get(id);
  return flows ? flows.active + flows.pending : 0;
}

function onceAScrape<T>(read: () => T): () => T {
  let last: { readonly value: T; readonly at: number } | undefined;
  return () => {
    const now = Date.now();
    if (last === undefined || now - last.at > SCRAPE_MS) last = { value: read(), at: now };
    return last.value;
  };
}
