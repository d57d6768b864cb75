import { activeReader, statsReader } from './endpoint-reader.js';
import type { LbMaps } from './maps.js';
import { isProgrammed, type Rule, type RuleEndpoint, ruleKey } from './model.js';
import { portCount } from './spans.js';
import type { LbState } from './state.js';

/** Spans of more ports are one entry with their last port; below, clients see the entries they sent. */
const MAX_LISTED_PORTS = 64;

/**
 * Rules as GET shows them. States and counters come from the data plane; members that are zero are left out, as clients
 * know it.
 */
export function listRules(rules: readonly Rule[], state: LbState, maps: Pick<LbMaps, 'endpoint' | 'stats'>): unknown[] {
  const ids = rules.flatMap((rule) => state.services.get(ruleKey(rule))?.endpoints.map(({ id }) => id) ?? []);
  const isActive = activeReader(maps, ids);
  const stats = statsReader(maps, ids);
  return rules.map((rule) => {
    const programmed = state.services.get(ruleKey(rule))?.endpoints ?? [];
    return {
      allowedSources: rule.allowedSources?.map((prefix) => ({ prefix })) ?? null,
      endpoints: rule.endpoints.flatMap((endpoint, index) => {
        const id = programmed[index]?.id;
        const counters = id === undefined ? undefined : stats(id);
        const active = id === undefined ? !isProgrammed(rule) : isActive(id);
        return listedPorts(endpoint).map((ports, row) => ({
          endpointIP: endpoint.endpointIP,
          ...ports,
          weight: endpoint.weight,
          state: active ? 'active' : 'inactive',
          // Ports of a span are counted together.
          counter: row === 0 ? `${counters?.packets ?? 0}:${counters?.bytes ?? 0}` : '0:0',
        }));
      }),
      secondaryIPs: rule.secondaryIPs?.map((secondaryIP) => ({ secondaryIP })) ?? null,
      serviceArguments: serviceArguments(rule),
    };
  });
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
  return { externalIP, port, ...Object.fromEntries(Object.entries(optional).filter(([, value]) => Boolean(value))) };
}
