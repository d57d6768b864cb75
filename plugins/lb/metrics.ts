import type { MetricFactory, MetricSample } from '@loxilb/sdk';
import type { DrainTable } from './drain-table.js';
import type { LbEndpoint } from './layout.gen.js';
import { describeRule, type Rule } from './model.js';
import type { LbState } from './state.js';
import type { Traffic, TrafficFigures } from './traffic.js';

/** One scrape reads all metrics within this time: the maps are read once for it. */
const SCRAPE_MS = 500;

interface Reading extends ServiceReading {
  readonly endpoint: string;
}

interface ServiceReading {
  readonly rule: Rule;
  readonly figures: TrafficFigures;
}

interface Readings {
  readonly endpoints: readonly Reading[];
  readonly services: readonly ServiceReading[];
}

interface Parts {
  readonly state: LbState;
  readonly traffic: Traffic;
  readonly drains: DrainTable;
}

/** What an idle endpoint would add to a page of thousands of lines is a zero: it is there all the same. */
export function declareMetrics(metrics: MetricFactory, parts: Parts): void {
  const { state, drains } = parts;
  const read = onceAScrape(() => readAll(parts));
  const ruleCount = () => [{ value: state.services.size }];
  metrics.gauge({ name: 'rules', help: 'Load balancer rules', collect: ruleCount });
  metrics.gauge({ name: 'lb_rule_count', exactName: true, help: 'Load balancer rules', collect: ruleCount });
  metrics.gauge({
    name: 'slots_available',
    help: 'Selection slots no rule uses',
    collect: () => [{ value: state.runs.available }],
  });
  metrics.gauge({
    name: 'draining_endpoints',
    help: 'Endpoints that left a rule and whose flows go on for a while',
    collect: () => [{ value: drains.size }],
  });
  declareEndpoints(metrics, () => read().endpoints);
  declareServices(metrics, () => read().services);
  declareKnownNames(metrics, read);
}

function declareEndpoints(metrics: MetricFactory, read: () => readonly Reading[]): void {
  const labels = ['service', 'endpoint'];
  const perEndpoint = (value: Figure) => () =>
    samples(read(), value, ({ rule, endpoint }) => ({ service: describeRule(rule), endpoint }));
  metrics.counter({
    name: 'endpoint_packets_total',
    help: 'Packets of an endpoint, both directions',
    labels,
    collect: perEndpoint(({ packets }) => packets),
  });
  metrics.counter({
    name: 'endpoint_bytes_total',
    help: 'Bytes of an endpoint on layer 3, both directions',
    labels,
    collect: perEndpoint(({ bytes }) => bytes),
  });
  metrics.counter({
    name: 'endpoint_flows_total',
    help: 'Flows given to an endpoint',
    labels,
    collect: perEndpoint(({ connections }) => connections),
  });
  metrics.gauge({
    name: 'endpoint_flows',
    help: 'Live flows of an endpoint',
    labels,
    collect: perEndpoint(({ current }) => current),
  });
  metrics.gauge({
    name: 'endpoint_new_flows_per_second',
    help: 'Flows given to an endpoint per second since the reading before',
    labels,
    collect: perEndpoint(({ newPerSecond }) => newPerSecond),
  });
}

/** These never go back: what endpoints had that left stays with the service. */
function declareServices(metrics: MetricFactory, read: () => readonly ServiceReading[]): void {
  const labels = ['service'];
  const perService = (value: Figure) => () => samples(read(), value, ({ rule }) => ({ service: describeRule(rule) }));
  metrics.counter({
    name: 'service_packets_total',
    help: 'Packets of a service, both directions',
    labels,
    collect: perService(({ packets }) => packets),
  });
  metrics.counter({
    name: 'service_bytes_total',
    help: 'Bytes of a service on layer 3, both directions',
    labels,
    collect: perService(({ bytes }) => bytes),
  });
  metrics.counter({
    name: 'service_flows_total',
    help: 'Flows of a service',
    labels,
    collect: perService(({ connections }) => connections),
  });
  metrics.gauge({
    name: 'service_flows',
    help: 'Live flows of a service',
    labels,
    collect: perService(({ current }) => current),
  });
  metrics.gauge({
    name: 'service_new_flows_per_second',
    help: 'New flows of a service per second since the reading before',
    labels,
    collect: perService(({ newPerSecond }) => newPerSecond),
  });
}

type Figure = (figures: TrafficFigures) => number | undefined;

function samples<R extends ServiceReading>(
  readings: readonly R[],
  value: Figure,
  labels: (reading: R) => Record<string, string>,
): MetricSample[] {
  return readings.flatMap((reading) => {
    const known = value(reading.figures);
    return known === undefined ? [] : [{ labels: labels(reading), value: known }];
  });
}

/** Names dashboards of earlier releases ask for; `service` is the rule's name there. */
function declareKnownNames(metrics: MetricFactory, read: () => Readings): void {
  const known = (name: string, help: string, labels: string[], collect: () => MetricSample[]) =>
    metrics.counter({ name, exactName: true, help, labels, collect });
  const byName = (value: (figures: TrafficFigures) => number) => () =>
    sumBy(read().services, value, ({ rule }) => ({ service: serviceName(rule) }));
  const service = ['service'];
  known(
    'loxilb_service_traffic_bytes_total',
    'Bytes of a service',
    service,
    byName(({ bytes }) => bytes),
  );
  known(
    'loxilb_service_traffic_packets_total',
    'Packets of a service',
    service,
    byName(({ packets }) => packets),
  );
  known(
    'loxilb_service_requests_total',
    'Flows of a service',
    service,
    byName(({ connections }) => connections),
  );
  known('loxilb_endpoint_traffic_bytes_total', 'Bytes of an endpoint', ['service', 'dip'], () =>
    sumBy(
      read().endpoints,
      ({ bytes }) => bytes,
      ({ rule, endpoint }) => ({ service: serviceName(rule), dip: endpoint }),
    ),
  );
}

function serviceName(rule: Rule): string {
  return rule.name || describeRule(rule);
}

function sumBy<R extends ServiceReading>(
  readings: readonly R[],
  value: (figures: TrafficFigures) => number,
  labels: (reading: R) => Record<string, string>,
): MetricSample[] {
  const sums = new Map<string, { labels: Record<string, string>; value: number }>();
  for (const reading of readings) {
    const chosen = labels(reading);
    const key = Object.values(chosen).join('|');
    const sum = sums.get(key) ?? { labels: chosen, value: 0 };
    sum.value += value(reading.figures);
    sums.set(key, sum);
  }
  return [...sums.values()];
}

function readAll({ state, traffic }: Parts): Readings {
  const services = [...state.services.values()];
  const reading = traffic.read(services);
  return {
    services: services.map((service) => ({ rule: service.rule, figures: reading.service(service) })),
    endpoints: services.flatMap(({ rule, endpoints }) =>
      endpoints.map(({ id, entry }) => ({ rule, endpoint: endpointLabel(entry), figures: reading.endpoint(id) })),
    ),
  };
}

function endpointLabel({ addr, port }: LbEndpoint): string {
  return addr.includes(':') ? `[${addr}]:${port}` : `${addr}:${port}`;
}

function onceAScrape<T>(read: () => T): () => T {
  let last: { readonly value: T; readonly at: number } | undefined;
  return () => {
    const now = Date.now();
    if (last === undefined || now - last.at > SCRAPE_MS) last = { value: read(), at: now };
    return last.value;
  };
}
