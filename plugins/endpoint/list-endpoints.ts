import type { DirectoryEndpoint } from '@loxilb/sdk';

export interface ListedEndpoint {
  readonly hostName: string;
  readonly name: string;
  readonly probeType: string;
  readonly probePort?: number;
  readonly currState: 'ok' | 'nok' | 'draining';
  /** Of one that drains: live flows, and when they are cut. RFC 3339. */
  readonly flows?: number;
  readonly until?: string;
}

/** Endpoints as GET shows them. Nothing probes them in this release: the state is what the data plane goes by. */
export function listEndpoints(endpoints: readonly DirectoryEndpoint[]): ListedEndpoint[] {
  return endpoints.map(({ address, protocol, port, active, draining }) => ({
    hostName: address,
    name: endpointName(address, protocol, port),
    probeType: 'none',
    ...(port === 0 ? {} : { probePort: port }),
    currState: draining ? 'draining' : active ? 'ok' : 'nok',
    ...(draining && { flows: draining.flows, until: new Date(draining.until * 1000).toISOString() }),
  }));
}

/** The name clients know an endpoint by when a rule brought it. */
function endpointName(address: string, protocol: string, port: number): string {
  return `${address}_${protocol === 'icmp' ? 'ping' : protocol}_${port}`;
}
