/** What a POST makes of a rule, and what is wrong with it. */
import { type EndpointAsked, MODE, OPER, type Protocol, type RuleAsked, SELECT } from '../commands.js';
import { isV6 } from '../places.js';

export interface RuleEndpoint {
  readonly ip: string;
  readonly port: number;
  readonly portMax: number;
  readonly weight: number;
}

/** As it is kept. */
export interface Rule {
  readonly vip: string;
  readonly port: number;
  readonly portMax: number;
  readonly protocol: Protocol;
  readonly mark: number;
  readonly mode: number;
  readonly sel: number;
  readonly tunnel: boolean;
  readonly ppv2: boolean;
  readonly name: string;
  readonly sources: readonly string[];
  readonly idle: number;
  readonly drain?: number | undefined;
  readonly down?: 'keep' | 'cut' | 'reset' | undefined;
  readonly endpoints: readonly RuleEndpoint[];
}

const DEFAULT_IDLE = { tcp: 240, udp: 20, icmp: 20 } as const;

/** Flows that idle out are told by resets when the time was asked for. */
export function tellsWhenIdle({ idle, protocol }: Rule): boolean {
  return idle !== DEFAULT_IDLE[protocol];
}

function endpointOf({ ip, port, portMax = port, weight = 1 }: EndpointAsked): RuleEndpoint {
  return { ip, port, portMax, weight };
}

/** The rule if there were none yet. */
export function ruleOf(asked: RuleAsked): Rule {
  const { vip, port, portMax = port, protocol, mark = 0, mode = MODE.default, sel = SELECT.rr } = asked;
  const { tunnel = false, ppv2 = false, name = '', sources = [], idle, drain, down } = asked;
  return {
    ...{ vip, port, portMax, protocol, mark, mode, sel, tunnel, ppv2, name, sources },
    idle: idle || DEFAULT_IDLE[protocol],
    drain,
    down,
    endpoints: asked.endpoints.map(endpointOf),
  };
}

/** What becomes of `existing`. Undefined: the rule goes with its last endpoint. */
export function merged(existing: Rule | undefined, asked: RuleAsked): Rule | undefined {
  const wanted = ruleOf(asked);
  if (existing === undefined || (asked.oper ?? OPER.replace) === OPER.replace) return wanted;
  return asked.oper === OPER.attach ? attached(existing, asked, wanted.endpoints) : detached(existing, wanted);
}

/** Members that are given and neither zero nor empty change the rule; the others stay. */
function attached(existing: Rule, asked: RuleAsked, added: readonly RuleEndpoint[]): Rule {
  const { mode, sel, tunnel, ppv2, name, sources, idle, drain, down } = asked;
  const given = { mode, sel, tunnel, ppv2, name, sources: sources?.length ? sources : undefined, idle, drain, down };
  const changes = Object.fromEntries(Object.entries(given).filter(([, value]) => Boolean(value)));
  const replaced = existing.endpoints.map((one) => added.find((other) => isSame(one, other)) ?? one);
  const further = added.filter((one) => !existing.endpoints.some((other) => isSame(one, other)));
  return { ...existing, ...changes, endpoints: [...replaced, ...further] };
}

function detached(existing: Rule, { endpoints: gone }: Rule): Rule | undefined {
  const endpoints = existing.endpoints.filter((one) => !gone.some((other) => isSame(one, other)));
  return endpoints.length === 0 ? undefined : { ...existing, endpoints };
}

function isSame(one: RuleEndpoint, other: RuleEndpoint): boolean {
  return one.ip === other.ip && one.port === other.port;
}

/** Codes of what is wrong with the request by itself; with `rule` the one it makes. */
export function faultsOf(asked: RuleAsked, rule: Rule | undefined): string[] {
  const host = asked.mode === MODE.hostonearm;
  const faults = [
    asked.mode === MODE.dsr && asked.sel !== SELECT.hash && 'LB_DSR_NOT_HASH',
    asked.ppv2 && asked.protocol !== 'tcp' && 'LB_PROXY_PROTOCOL_NOT_TCP',
    host && !isAnyAddress(asked.vip) && 'LB_HOST_ONEARM_VIP',
    !host && isAnyAddress(asked.vip) && 'LB_VIP_MALFORMED',
    ...faultsTogether(ruleOf(asked)),
    ...(rule ? faultsTogether(rule) : []),
    asked.oper !== OPER.detach && [ruleOf(asked), rule].some(tellsStrangers) && 'LB_PROXY_PROTOCOL_FAMILY',
  ];
  return faults.filter((fault) => fault !== false && fault !== undefined) as string[];
}

/** Endpoints of another family cannot be told the client. */
function tellsStrangers(rule: Rule | undefined): boolean {
  return rule?.ppv2 === true && rule.endpoints.some(({ ip }) => changesFamily(rule, rule.vip, ip));
}

/** Members of a rule that cannot go together. */
function faultsTogether(rule: Rule): (string | false)[] {
  if (rule.mode !== MODE.dsr) return [rule.tunnel && 'LB_TUNNEL_NOT_DSR'];
  const ownPorts = rule.endpoints.every(
    ({ port, portMax }) => port === rule.port && (portMax === port || portMax === rule.portMax),
  );
  return [
    rule.sel !== SELECT.hash && 'LB_DSR_NOT_HASH',
    rule.ppv2 && 'LB_DSR_PROXY_PROTOCOL',
    !ownPorts && 'LB_DSR_PORT',
  ];
}

export function isAnyAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

export function isRange({ port, portMax }: Pick<Rule, 'port' | 'portMax'>): boolean {
  return portMax > port;
}

export function changesFamily(rule: Rule, vip: string, endpoint: string): boolean {
  return rule.mode !== MODE.dsr && isV6(vip) !== isV6(endpoint);
}
