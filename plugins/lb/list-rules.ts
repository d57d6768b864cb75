import { activeReader, statsReader } from './endpoint-reader.js';
import type { LbMaps } from './maps.js';
import { type Rule, ruleKey } from './model.js';
import type { LbState } from './state.js';

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
      allowedSources: null,
      endpoints: rule.endpoints.map(({ endpointIP, targetPort, weight }, index) => {
        const id = programmed[index]?.id;
        const counters = id === undefined ? undefined : stats(id);
        return {
          endpointIP,
          targetPort,
          weight,
          state: id !== undefined && isActive(id) ? 'active' : 'inactive',
          counter: `${counters?.packets ?? 0}:${counters?.bytes ?? 0}`,
        };
      }),
      secondaryIPs: null,
      serviceArguments: serviceArguments(rule),
    };
  });
}

function serviceArguments(rule: Rule): Record<string, unknown> {
  const { externalIP, port, protocol, block, sel, mode, inactiveTimeOut, monitor, managed, probe, name, bgp } = rule;
  const optional = {
    protocol,
    block,
    sel,
    mode,
    inactiveTimeOut,
    monitor,
    managed,
    probetype: probe?.type,
    probeport: probe?.port,
    name,
    bgp,
  };
  return { externalIP, port, ...Object.fromEntries(Object.entries(optional).filter(([, value]) => Boolean(value))) };
}
