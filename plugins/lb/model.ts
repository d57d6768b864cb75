import { isDeepStrictEqual } from 'node:util';
import { ipFamily } from '@loxilb/sdk';
import { lastPort, type PortSpan } from './spans.js';

export const MODE_NAMES = ['default', 'onearm', 'fullnat', 'dsr', 'fullproxy', 'hostonearm'] as const;
export const SELECTION_NAMES = ['rr', 'hash', 'priority', 'persist', 'lc', 'n2', 'n3'] as const;

export const MODE = { default: 0, onearm: 1, fullnat: 2, dsr: 3, fullproxy: 4, hostonearm: 5 } as const;
export const SELECTION = { rr: 0, hash: 1, priority: 2, persist: 3, lc: 4, n2: 5, n3: 6 } as const;
/** What a POST does to the rule there is. */
export const OPER = { replace: 0, attach: 1, detach: 2 } as const;

export type Protocol = 'tcp' | 'udp' | 'sctp' | 'icmp';

/** Address in canonical text, and one port or a span of them. */
export type RuleEndpoint = PortSpan;

export interface RuleProbe {
  readonly type: string;
  readonly port: number;
  readonly request: string;
  readonly response: string;
  /** Seconds, 0 is the default of the prober. */
  readonly period: number;
  /** 0 is the default of the prober. */
  readonly retries: number;
}

/** Desired state of one service, as stored. Addresses are canonical, defaults filled in. */
export interface Rule {
  readonly externalIP: string;
  readonly privateIP?: string;
  readonly port: number;
  /** Last port of a range, above `port`. */
  readonly portMax?: number;
  readonly protocol: Protocol;
  /** Firewall mark, 0 for any packet. */
  readonly block: number;
  readonly name: string;
  readonly sel: number;
  readonly mode: number;
  /** dsr: packets always go to the endpoints inside others. */
  readonly tunnel?: 'ipip';
  /** Endpoints are told the client in a PROXY protocol header. */
  readonly proxyprotocolv2?: true;
  /** Kept and shown, not in the data plane. */
  readonly egress?: true;
  /** sctp: further addresses of the service, at least one. */
  readonly secondaryIPs?: readonly string[];
  /** The only clients, as prefixes without host bits; at least one. */
  readonly allowedSources?: readonly string[];
  /** Seconds. */
  readonly inactiveTimeOut: number;
  /** Seconds the flows of endpoints go on that leave the rule; absent: as the plugin is configured. */
  readonly drainTimeout?: number;
  /** What becomes of the flows of an endpoint that fails; absent: as the plugin is configured. */
  readonly onEndpointDown?: 'keep' | 'cut' | 'reset';
  readonly bgp: boolean;
  readonly monitor: boolean;
  readonly managed: boolean;
  readonly probe?: RuleProbe;
  /** In the order given. */
  readonly endpoints: readonly RuleEndpoint[];
}

/** What makes a rule the same rule. Hosts are part of it on the wire; no rule has one yet. */
export interface RuleIdentity {
  readonly externalIP: string;
  readonly protocol: string;
  readonly port: number;
  readonly portMax?: number;
  readonly block: number;
  readonly host?: string;
}

export function ruleKey(rule: RuleIdentity): string {
  const last = rule.portMax && rule.portMax !== rule.port ? `-${rule.portMax}` : '';
  return `${rule.externalIP}|${rule.protocol}|${rule.port}${last}|${rule.block}|${rule.host ?? ''}`;
}

/** Endpoints of a rule share no port, so the first port is enough, and a span that grows is still the same endpoint. */
export function endpointKey(endpoint: Pick<RuleEndpoint, 'endpointIP' | 'targetPort'>): string {
  return `${endpoint.endpointIP}|${endpoint.targetPort}`;
}

/** 0: no new flow. Where a rule has no other weight none was meant, and all are equal. */
export function effectiveWeight(rule: Pick<Rule, 'endpoints'>, { weight }: Pick<RuleEndpoint, 'weight'>): number {
  return weight > 0 || rule.endpoints.some((one) => one.weight > 0) ? weight : 1;
}

/** `10.0.0.1 port 8080-8090`, for messages. */
export function describeEndpoint(endpoint: RuleEndpoint): string {
  const last = lastPort(endpoint);
  return `${endpoint.endpointIP} port ${endpoint.targetPort}${last > endpoint.targetPort ? `-${last}` : ''}`;
}

/** Ports of the service. */
export function servicePorts({ port, portMax }: Pick<Rule, 'port' | 'portMax'>): number {
  return (portMax ?? port) - port + 1;
}

export function rulesEqual(left: Rule, right: Rule): boolean {
  return isDeepStrictEqual(left, right);
}

/** The service address packets carry. */
export function serviceAddress(rule: Rule): string {
  return rule.privateIP ?? rule.externalIP;
}

/** The same, and secondary ones after it. */
export function serviceAddresses(rule: Rule): string[] {
  return [serviceAddress(rule), ...(rule.secondaryIPs ?? [])];
}

const ICMPV6 = 58;
const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132, icmp: 1 };

export function protocolNumber(protocol: Protocol, address: string): number {
  return protocol === 'icmp' && ipFamily(address) === 6 ? ICMPV6 : PROTOCOL_NUMBERS[protocol];
}

/** Of an IPPROTO_* number a rule may have. */
export function protocolName(number: number): string {
  if (number === ICMPV6) return 'icmp';
  return Object.entries(PROTOCOL_NUMBERS).find(([, known]) => known === number)?.[0] ?? String(number);
}

export function defaultIdleSeconds(protocol: string): number {
  return protocol === 'tcp' || protocol === 'sctp' ? 240 : 20;
}

/** An idle time of the user's own ends flows to the second and with resets; the default one tidies up. */
export function resetsIdleFlows(rule: Rule): boolean {
  return rule.inactiveTimeOut !== defaultIdleSeconds(rule.protocol);
}

/** Packets meet the rule. */
export function isProgrammed(rule: Rule): boolean {
  return rule.egress !== true;
}

/** IPv6 becomes IPv4 on the way to the endpoint, or the other way round. */
export function changesFamily(rule: Rule, endpointIP: string): boolean {
  if (rule.mode === MODE.dsr) return false;
  return serviceAddresses(rule).some((address) => ipFamily(address) !== ipFamily(endpointIP));
}

/** Probing was asked for, or comes with the mode. */
export function isMonitored(rule: Rule): boolean {
  const { mode } = rule;
  return rule.monitor || mode === MODE.onearm || mode === MODE.fullnat || mode === MODE.hostonearm;
}

/** Names with these words mark rules whose address somebody else looks after. */
export function looksAfterAddress(rule: Rule): boolean {
  if (rule.mode === MODE.hostonearm) return false;
  return !rule.name.includes('ipvs') && !rule.name.includes('static');
}

export function isUnspecified(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

/** An address one machine may have. */
export function isUsableAddress(address: string): boolean {
  if (isUnspecified(address)) return false;
  return ipFamily(address) === 6 ? !address.startsWith('ff') : Number(address.split('.')[0]) < 224;
}

/** `20.20.20.1:2020/tcp`, `20.20.20.1:8080-8090/tcp`, for logs and metric labels. */
export function describeRule(rule: RuleIdentity): string {
  const address = ipFamily(rule.externalIP) === 6 ? `[${rule.externalIP}]` : rule.externalIP;
  const last = rule.portMax && rule.portMax !== rule.port ? `-${rule.portMax}` : '';
  return `${address}:${rule.port}${last}/${rule.protocol}${rule.block === 0 ? '' : `#${rule.block}`}`;
}
