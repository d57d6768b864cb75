/**
 * What a POST makes of what is there. Pure: a refused request has changed nothing.
 *
 * oper 0 replaces the rule by the request, whatever member differs. oper 1 adds endpoints (and takes new weights of
 * those it has); members of serviceArguments that are given and not zero change the rule too, absent and zero ones
 * leave it as it is. oper 2 takes endpoints away and changes nothing else; without endpoints there is no rule.
 */
import { lbError } from './errors.js';
import { describeRule, endpointKey, type Rule, type RuleEndpoint, ruleKey, rulesEqual } from './model.js';
import type { LbRequest } from './schema.js';
import { checkRequest, type RuleLimits } from './validation.js';

const OPER = { replace: 0, attach: 1, detach: 2 } as const;

export interface Merged {
  readonly key: string;
  /** Undefined: the request removes the rule. */
  readonly desired: Rule | undefined;
}

export function mergeRule(request: LbRequest, stored: ReadonlyMap<string, Rule>, limits: RuleLimits): Merged {
  const service = request.serviceArguments;
  checkFixedMembers(request, stored);
  const wanted = checkRequest(request, limits);
  const key = ruleKey(wanted);
  const existing = stored.get(key);
  if (existing === undefined) {
    if (service.oper === OPER.detach) throw lbError('LB_RULE_MISSING', `there is no rule ${describeRule(wanted)}`);
    return { key, desired: wanted };
  }
  const desired = change(existing, wanted, request, limits);
  if (desired !== undefined && rulesEqual(desired, existing)) {
    throw lbError('LB_RULE_EXISTS', `rule ${describeRule(existing)} is already so`);
  }
  return { key, desired };
}

function change(existing: Rule, wanted: Rule, request: LbRequest, limits: RuleLimits): Rule | undefined {
  switch (request.serviceArguments.oper) {
    case OPER.attach:
      return attach(existing, wanted, request.serviceArguments, limits);
    case OPER.detach:
      return detach(existing, wanted);
    default:
      return wanted;
  }
}

function attach(existing: Rule, wanted: Rule, given: LbRequest['serviceArguments'], limits: RuleLimits): Rule {
  const endpoints = new Map<string, RuleEndpoint>(existing.endpoints.map((one) => [endpointKey(one), one]));
  for (const endpoint of wanted.endpoints) endpoints.set(endpointKey(endpoint), endpoint);
  if (endpoints.size > limits.maxEndpointsPerRule) {
    throw lbError(
      'LB_ENDPOINT_COUNT',
      `rule would have ${endpoints.size} endpoints, at most ${limits.maxEndpointsPerRule}`,
      {
        field: 'endpoints',
        value: wanted.endpoints.length,
        remedy: 'detach endpoints first, or raise maxEndpointsPerRule of the lb plugin',
      },
    );
  }
  return {
    ...existing,
    ...(wanted.privateIP === undefined ? {} : { privateIP: wanted.privateIP }),
    ...(given.name ? { name: given.name } : {}),
    ...(given.sel ? { sel: given.sel } : {}),
    ...(given.mode ? { mode: given.mode } : {}),
    ...(given.inactiveTimeOut ? { inactiveTimeOut: given.inactiveTimeOut } : {}),
    ...(given.bgp ? { bgp: true } : {}),
    ...(wanted.monitor ? { monitor: true } : {}),
    ...(given.managed ? { managed: true } : {}),
    ...(wanted.probe === undefined ? {} : { probe: wanted.probe }),
    endpoints: [...endpoints.values()],
  };
}

function detach(existing: Rule, wanted: Rule): Rule | undefined {
  const leaving = new Set(wanted.endpoints.map(endpointKey));
  const endpoints = existing.endpoints.filter((endpoint) => !leaving.has(endpointKey(endpoint)));
  if (endpoints.length === 0) return undefined;
  return { ...existing, endpoints };
}

/** Asking an existing rule for TLS, egress or full proxy has an answer of its own. */
function checkFixedMembers(request: LbRequest, stored: ReadonlyMap<string, Rule>): void {
  const { security, egress, mode, externalIP, protocol, port, block } = request.serviceArguments;
  if (!security && !egress && mode !== 4) return;
  if (!stored.has(ruleKey({ externalIP, protocol: protocol ?? '', port, block: block ?? 0 }))) return;
  if (security) throw lbError('LB_SECURITY_FIXED', 'security of a rule cannot be changed');
  if (egress) throw lbError('LB_EGRESS_FIXED', 'egress of a rule cannot be changed');
  throw lbError('LB_FULLPROXY_FIXED', 'a rule cannot become a full proxy');
}
