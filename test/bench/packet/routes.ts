import { ENDPOINT_PORT, SERVICE_PORT } from './service.js';
import { WORLD } from './world.js';

export type Family = 4 | 6;

/** Addresses of packets in one direction as they come in; flow n has the counted one n / 2^15 further on. */
interface Direction {
  readonly source: string;
  readonly target: string;
  readonly counted: 'source' | 'target';
}

/** Between whom flows of a service are, as each side sees them. */
export interface Route {
  readonly request: Direction;
  readonly answer: Direction;
  readonly ports: { readonly service: number; readonly endpoint: number };
}

const PORTS = { service: SERVICE_PORT, endpoint: ENDPOINT_PORT };

function request(family: Family, counted: 'source' | 'target'): Direction {
  return { source: WORLD.clients[family], target: WORLD.vip[family], counted };
}

/** The endpoint sees the client's address. */
export function plainRoute(family: Family, ports = PORTS): Route {
  const answer = { source: WORLD.server[family], target: WORLD.clients[family], counted: 'target' } as const;
  return { request: request(family, 'source'), answer, ports };
}

/**
 * It sees an address of the balancer, which has a port once only: many flows are those of many service addresses, each
 * with an endpoint of its own.
 */
export function onearmRoute(client: Family, server: Family, ports = PORTS): Route {
  const answer = { source: WORLD.server[server], target: WORLD.self[server], counted: 'source' } as const;
  return { request: request(client, 'target'), answer, ports };
}

/** It sees the service's address: the same again, but one endpoint will do. */
export function fullnatRoute(family: Family, ports = PORTS): Route {
  const answer = { source: WORLD.server[family], target: WORLD.vip[family], counted: 'target' } as const;
  return { request: request(family, 'target'), answer, ports };
}
