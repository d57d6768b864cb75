import type { Daemon } from './daemon.js';
import type { Addresses, Family, Network } from './network.js';

export const modes = { default: 0, onearm: 1, fullnat: 2, dsr: 3, hostonearm: 5 } as const;
export const selections = { rr: 0, hash: 1, priority: 2, persist: 3, lc: 4 } as const;

export type Mode = keyof typeof modes;
export type Selection = keyof typeof selections;
export type Protocol = 'tcp' | 'udp' | 'icmp' | 'sctp';

export interface ServiceOptions {
  readonly vip: string;
  readonly protocol?: Protocol;
  readonly port?: number;
  readonly mode?: Mode;
  readonly select?: Selection;
  readonly inactiveTimeOut?: number;
  readonly name?: string;
  /** More members of `serviceArguments`. */
  readonly more?: object;
  readonly endpoints: readonly { readonly ip: string; readonly port?: number; readonly weight?: number }[];
}

/**
 * Body of POST /config/loadbalancer. Service port 2020 to endpoint port 8080 unless said otherwise; ICMP has none, and dsr
 * selects by hash and keeps the port.
 */
export function serviceBody(options: ServiceOptions): object {
  const protocol = options.protocol ?? 'tcp';
  const isIcmp = protocol === 'icmp';
  const isDsr = options.mode === 'dsr';
  const port = options.port ?? 2020;
  return {
    serviceArguments: {
      externalIP: options.vip,
      port: isIcmp ? 0 : port,
      protocol,
      mode: modes[options.mode ?? 'default'],
      sel: selections[options.select ?? (isDsr ? 'hash' : 'rr')],
      ...(options.inactiveTimeOut === undefined ? {} : { inactiveTimeOut: options.inactiveTimeOut }),
      ...(options.name === undefined ? {} : { name: options.name }),
      ...options.more,
    },
    endpoints: options.endpoints.map(({ ip, port: target, weight }) => ({
      endpointIP: ip,
      targetPort: isIcmp ? 0 : (target ?? (isDsr ? port : 8080)),
      weight: weight ?? 1,
    })),
  };
}

export async function createService(daemon: Daemon, options: ServiceOptions): Promise<void> {
  const answer = await daemon.api.post('/config/loadbalancer', serviceBody(options));
  if (answer.status !== 200) throw new Error(`POST loadbalancer: ${answer.status} ${JSON.stringify(answer.body)}`);
}

export async function deleteServices(daemon: Daemon): Promise<void> {
  const answer = await daemon.api.delete('/config/loadbalancer/all');
  if (answer.status !== 200) throw new Error(`DELETE loadbalancer: ${answer.status} ${JSON.stringify(answer.body)}`);
}

/** All servers of a network as endpoints of one family. */
export function serverEndpoints(network: Network, family: Family, port?: number): { ip: string; port?: number }[] {
  return network.servers.map((server) => ({ ip: server[family], ...(port === undefined ? {} : { port }) }));
}

/** `[fd20::1]:80` or `20.20.20.1:80`. */
export function hostPort(addresses: Addresses, family: Family, port: number): string {
  return family === 'v6' ? `[${addresses.v6}]:${port}` : `${addresses.v4}:${port}`;
}
