/**
 * What a POST makes of what is there. Pure: a refused request has changed nothing.
 *
 * oper 0 replaces the rule by the request, whatever member differs. oper 1 adds endpoints (and takes new weights of
 * those it has); members that are given and neither zero nor empty change the rule too, others leave it as it is. oper 2 takes endpoints away and changes nothing else; without endpoints there is no rule.
 */
import { canonicalIp, isIpAddress } from '@loxilb/sdk';
import { tooManyEndpoints } from './endpoint-checks.js';
import { lbError } from './errors.js';
import {
  describeRule,
  endpointKey,
  MODE,
  OPER,
  type Rule,
  type RuleEndpoint,
  ruleKey,
  rulesEqual,
  servicePorts,
} from './model.js';
import type { LbRequest } from './schema.js';
import { joinPorts, lastPort, withoutPorts } from './spans.js';
import { checkProxyFamilies, checkRequest, checkRule, type RuleLimits } from './validation.js';

export interface Merged {
  readonly key: string;
  /** Undefined: the request removes the rule. */
  readonly desired: Rule | undefined;
}

export function mergeRule(request: LbRequest, stored: ReadonlyMap<string, Rule>, limits: RuleLimits): Merged {
  const service = request.serviceArguments;
  checkUnsupportedChange(request, stored);
  const wanted = checkRequest(request, limits);
  const key = ruleKey(wanted);
  const existing = stored.get(key);
  if (existing === undefined) {
    if (service.oper === OPER.detach) throw lbError('LB_RULE_MISSING', `there is no rule ${describeRule(wanted)}`);
    return { key, desired: wanted };
  }
  checkFixedMembers(existing, wanted, service.oper ?? OPER.replace);
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
      return detach(existing, wanted, limits);
    default:
      return wanted;
  }
}

function attach(existing: Rule, wanted: Rule, given: LbRequest['serviceArguments'], limits: RuleLimits): Rule {
  const endpoints = joinPorts(united(existing.endpoints, wanted.endpoints), servicePorts(existing));
  if (endpoints.length > limits.maxEndpointsPerRule) {
    throw tooManyEndpoints(endpoints.length, limits.maxEndpointsPerRule);
  }
  const desired: Rule = {
    ...existing,
    ...(wanted.privateIP === undefined ? {} : { privateIP: wanted.privateIP }),
    ...(given.name ? { name: given.name } : {}),
    ...(given.sel ? { sel: given.sel } : {}),
    ...(given.mode ? { mode: given.mode } : {}),
    ...(wanted.tunnel === undefined ? {} : { tunnel: wanted.tunnel }),
    ...(wanted.proxyprotocolv2 === undefined ? {} : { proxyprotocolv2: true }),
    ...(wanted.allowedSources === undefined ? {} : { allowedSources: wanted.allowedSources }),
    ...(given.inactiveTimeOut ? { inactiveTimeOut: given.inactiveTimeOut } : {}),
    ...(given.drainTimeout ? { drainTimeout: given.drainTimeout } : {}),
    ...(given.onEndpointDown ? { onEndpointDown: given.onEndpointDown } : {}),
    ...(given.bgp ? { bgp: true } : {}),
    ...(wanted.monitor ? { monitor: true } : {}),
    ...(given.managed ? { managed: true } : {}),
    ...(wanted.probe === undefined ? {} : { probe: wanted.probe }),
    endpoints,
  };
  checkRule(desired);
  checkProxyFamilies(desired);
  return desired;
}

/** Those of `added` take the place of the very same ports, and are at the end otherwise. */
function united(existing: readonly RuleEndpoint[], added: readonly RuleEndpoint[]): RuleEndpoint[] {
  const exact = new Map(added.map((one) => [`${endpointKey(one)}|${lastPort(one)}`, one]));
  const taken = (one: RuleEndpoint): RuleEndpoint | undefined => exact.get(`${endpointKey(one)}|${lastPort(one)}`);
  const replaced = new Set(existing.flatMap((one) => taken(one) ?? []));
  const further = added.filter((one) => !replaced.has(one));
  return [...existing.flatMap((one) => taken(one) ?? withoutPorts([one], further)), ...further];
}

/** Taking ports out of a span leaves two. */
function detach(existing: Rule, wanted: Rule, limits: RuleLimits): Rule | undefined {
  const endpoints = joinPorts(withoutPorts(existing.endpoints, wanted.endpoints), servicePorts(existing));
  if (endpoints.length === 0) return undefined;
  if (endpoints.length > limits.maxEndpointsPerRule) {
    throw tooManyEndpoints(endpoints.length, limits.maxEndpointsPerRule);
  }
  const desired = { ...existing, endpoints };
  checkRule(desired);
  return desired;
}

/** Absent members of an attach or detach leave the rule as it is; a replacement must repeat these. */
function checkFixedMembers(existing: Rule, wanted: Rule, oper: number): void {
  const isReplaced = oper === OPER.replace;
  if ((isReplaced || wanted.secondaryIPs) && !sameSet(existing.secondaryIPs, wanted.secondaryIPs)) {
    throw lbError('LB_SECONDARY_FIXED', `secondary addresses of ${describeRule(existing)} cannot be changed`, {
      field: 'secondaryIPs',
      value: wanted.secondaryIPs ?? [],
      remedy: 'delete the rule and create it anew',
    });
  }
  if ((isReplaced || wanted.egress) && existing.egress !== wanted.egress) {
    throw lbError('LB_EGRESS_FIXED', `egress of ${describeRule(existing)} cannot be changed`, {
      field: 'serviceArguments.egress',
      value: wanted.egress ?? false,
    });
  }
}

function sameSet(left: readonly string[] = [], right: readonly string[] = []): boolean {
  return left.length === right.length && left.every((one) => right.includes(one));
}

/** Asking an existing rule for TLS or full proxy has an answer of its own. */
function checkUnsupportedChange(request: LbRequest, stored: ReadonlyMap<string, Rule>): void {
  const { security, mode, externalIP, protocol = '', port, portMax = 0, block = 0 } = request.serviceArguments;
  if ((!security && mode !== MODE.fullproxy) || !isIpAddress(externalIP)) return;
  if (!stored.has(ruleKey({ externalIP: canonicalIp(externalIP), protocol, port, portMax, block }))) return;
  if (security) throw lbError('LB_SECURITY_FIXED', 'security of a rule cannot be changed');
  throw lbError('LB_FULLPROXY_FIXED', 'a rule cannot become a full proxy');
}
