import { isDeepStrictEqual } from 'node:util';
import { ipFamily } from '@loxilb/sdk';
import type { LbServiceKey } from './layout.gen.js';

export const MODE_NAMES = ['default', 'onearm', 'fullnat', 'dsr', 'fullproxy', 'hostonearm'] as const;
export const SELECTION_NAMES = ['rr', 'hash', 'priority', 'persist', 'lc', 'n2', 'n3'] as const;

export const MODE = { default: 0, onearm: 1, fullnat: 2, dsr: 3, fullproxy: 4, hostonearm: 5 } as const;
export const SELECTION = { rr: 0, hash: 1, priority: 2, persist: 3, lc: 4, n2: 5, n3: 6 } as const;

export type Protocol = 'tcp' | 'udp' | 'icmp';

export interface RuleEndpoint {
  /** Canonical text. */
  readonly endpointIP: string;
  readonly targetPort: number;
  readonly weight: number;
}

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
  readonly protocol: Protocol;
  /** Firewall mark, 0 for any packet. */
  readonly block: number;
  readonly name: string;
  readonly sel: number;
  readonly mode: number;
  /** Seconds. */
  readonly inactiveTimeOut: number;
  readonly bgp: boolean;
  readonly monitor: boolean;
  readonly managed: boolean;
  readonly probe?: RuleProbe;
  /** In the order given. */
  readonly endpoints: readonly RuleEndpoint[];
}

/** What makes a rule the same rule. Port ranges and hosts are part of it on the wire; no rule has them yet. */
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

export function endpointKey(endpoint: RuleEndpoint): string {
  return `${endpoint.endpointIP}|${endpoint.targetPort}`;
}

export function rulesEqual(left: Rule, right: Rule): boolean {
  return isDeepStrictEqual(left, right);
}

/** The service address packets carry. */
export function serviceAddress(rule: Rule): string {
  return rule.privateIP ?? rule.externalIP;
}

const ICMPV6 = 58;
const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, icmp: 1 };

export function protocolNumber(protocol: Protocol, address: string): number {
  return protocol === 'icmp' && ipFamily(address) === 6 ? ICMPV6 : PROTOCOL_NUMBERS[protocol];
}

export function serviceKey(rule: Rule): LbServiceKey {
  const addr = serviceAddress(rule);
  return { addr, port: rule.port, proto: protocolNumber(rule.protocol, addr), mark: rule.block };
}

export function serviceKeyText(key: LbServiceKey): string {
  return `${key.addr}|${key.port}|${key.proto}|${key.mark}`;
}

/** Probing was asked for, or comes with the mode. */
export function isMonitored(rule: Rule): boolean {
  return rule.monitor || rule.mode === MODE.onearm || rule.mode === MODE.fullnat;
}

/** Names with these words mark rules whose address somebody else looks after. */
export function looksAfterAddress(rule: Rule): boolean {
  return !rule.name.includes('ipvs') && !rule.name.includes('static');
}

/** `20.20.20.1:2020/tcp`, for logs and metric labels. */
export function describeRule(rule: RuleIdentity): string {
  const address = ipFamily(rule.externalIP) === 6 ? `[${rule.externalIP}]` : rule.externalIP;
  return `${address}:${rule.port}/${rule.protocol}${rule.block === 0 ? '' : `#${rule.block}`}`;
}
