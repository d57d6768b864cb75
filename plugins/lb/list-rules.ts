import type { DrainTable } from './drain-table.js';
import { activeReader } from './endpoint-reader.js';
import type { LbMaps } from './maps.js';
import { isProgrammed, type Rule, type RuleEndpoint, ruleKey } from './model.js';
import { portCount } from './spans.js';
import type { LbState, ServiceState } from './state.js';
import type { Traffic, TrafficFigures, TrafficReading } from './traffic.js';

export interface ListParts {
  readonly state: LbState;
  readonly maps: Pick<LbMaps, 'endpoint'>;
  readonly traffic: Traffic;
  readonly drains: DrainTable;
}

/** Spans of more ports are one entry with their last port; below, clients see the entries they sent. */
const MAX_LISTED_PORTS = 64;

/**
 * Rules as GET shows them. States and counters come from the data plane; members that are zero are left out, as clients
 * know it.
 */
export function listRules(rules: readonly Rule[], { state, maps, traffic, drains }: ListParts): unknown[] {
  const services = rules.flatMap((rule) => state.services.get(ruleKey(rule)) ?? []);
  const ids = services.flatMap(({ endpoints }) => endpoints.map(({ id }) => id));
  const isActive = activeReader(maps, ids);
  const reading = traffic.read(services);
  return rules.map((rule) => {
    const service = state.services.get(ruleKey(rule));
    const programmed = service?.endpoints ?? [];
    const draining = service ? listDraining(service, reading, drains) : [];
    return {
      allowedSources: rule.allowedSources?.map((prefix) => ({ prefix })) ?? null,
      endpoints: rule.endpoints.flatMap((endpoint, index) => {
        const id = programmed[index]?.id;
        const figures = id === undefined ? undefined : reading.endpoint(id);
        const active = id === undefined ? !isProgrammed(rule) : isActive(id);
        return listedPorts(endpoint).map((ports, row) => ({
          endpointIP: endpoint.endpointIP,
          ...ports,
          weight: endpoint.weight,
          state: active ? 'active' : 'inactive',
          // Ports of a span are counted together.
          counter: row === 0 ? counterText(figures) : '0:0',
          ...(row === 0 && figures && { stats: figures }),
        }));
      }),
      secondaryIPs: rule.secondaryIPs?.map((secondaryIP) => ({ secondaryIP })) ?? null,
      serviceArguments: serviceArguments(rule),
      ...(service && { stats: reading.service(service) }),
      ...(draining.length > 0 && { draining }),
    };
  });
}

/**
 * Endpoints that left the rule and whose flows go on. Apart from `endpoints`: who posts again what he has got must not
 * put them back.
 */
function listDraining({ leaving }: ServiceState, reading: TrafficReading, drains: DrainTable): unknown[] {
  return [...(leaving?.values() ?? [])].flatMap(({ id, entry }) => {
    const note = drains.get(id);
    if (note === undefined) return [];
    const figures = reading.endpoint(id);
    return {
      endpointIP: entry.addr,
      targetPort: entry.port,
      ...(entry.ports > 1 && { targetPortMax: entry.port + entry.ports - 1 }),
      state: 'draining',
      counter: counterText(figures),
      stats: figures,
      until: new Date(note.until * 1000).toISOString(),
    };
  });
}

function counterText(figures: TrafficFigures | undefined): string {
  return `${figures?.packets ?? 0}:${figures?.bytes ?? 0}`;
}

function listedPorts(endpoint: RuleEndpoint): { targetPort: number; targetPortMax?: number }[] {
  const { targetPort, targetPortMax } = endpoint;
  const ports = portCount(endpoint);
  if (targetPortMax === undefined || ports > MAX_LISTED_PORTS) {
    return [{ targetPort, ...(targetPortMax !== undefined && { targetPortMax }) }];
  }
  return Array.from({ length: ports }, (_, index) => ({ targetPort: targetPort + index }));
}

function serviceArguments(rule: Rule): Record<string, unknown> {
  const { externalIP, port, protocol, block, sel, mode, inactiveTimeOut, monitor, managed, probe, name, bgp } = rule;
  const { portMax, tunnel, proxyprotocolv2, egress } = rule;
  const optional = {
    portMax,
    protocol,
    block,
    sel,
    mode,
    tunnel,
    inactiveTimeOut,
    monitor,
    managed,
    probetype: probe?.type,
    probeport: probe?.port,
    name,
    proxyprotocolv2,
    egress,
    bgp,
  };
  const { drainTimeout, onEndpointDown } = rule;
  return {
    externalIP,
    port,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => Boolean(value))),
    // Zero is not the same as none: it comes before what the plugin is configured for.
    ...(drainTimeout !== undefined && { drainTimeout }),
    ...(onEndpointDown !== undefined && { onEndpointDown }),
  };
}
