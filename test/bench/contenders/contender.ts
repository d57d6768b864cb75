import type { Scope } from '../scope.js';
import type { Topology } from '../topology.js';

export const HTTP_PORT = 80;
export const BULK_PORT = 5201;
export const UDP_PORT = 9000;
/** Of the same HTTP servers, where they want to be told the client. */
export const PROXIED_PORT = 8081;

/** Where the client finds a contender's services. */
export interface Targets {
  /** Addresses of the HTTP service; direct forwarding has one per server, a balancer has its VIP. */
  readonly http: readonly string[];
  /** Not all have these. */
  readonly bulk?: string;
  readonly udp?: string;
}

/** Something between client and servers that is measured. */
export interface Contender {
  readonly name: string;
  /** What is measured, for the report. */
  readonly title: string;
  /** Measured only when asked for by name. */
  readonly optional?: boolean;
  start(scope: Scope, topology: Topology, workDir: string): Promise<Targets>;
}

/** Targets of a contender that serves everything at its VIP. */
export function vipTargets(topology: Topology): Required<Targets> {
  return { http: [topology.vip], bulk: topology.vip, udp: topology.vip };
}
