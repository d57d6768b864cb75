/** Names people know for what the packet path has numbers for. */
import {
  type DataPlane,
  type DirectoryService,
  isLoxilbError,
  type Network,
  type RawBatch,
  type ServiceDirectory,
} from '@loxilb/sdk';
import { lbEndpoint } from './layout.gen.js';
import type { ServiceLabel } from './model.js';

const PROTOCOLS: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [4, 'ipip'],
  [6, 'tcp'],
  [17, 'udp'],
  [41, 'ip6'],
  [58, 'icmp6'],
  [132, 'sctp'],
]);

const FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR'];
const ICMP = new Set([1, 58]);

export function protocolName(number: number): string {
  return PROTOCOLS.get(number) ?? `protocol ${number}`;
}

/** `SYN,ACK`; empty when none is set. */
export function tcpFlagNames(bits: number): string {
  return FLAGS.filter((_, index) => bits & (1 << index)).join(',');
}

/** `10.0.0.1:80`, `[2001:db8::1]:80`; the port is left out for protocols that have none. */
export function hostPort(address: string, port: number, protocol: number): string {
  if (ICMP.has(protocol)) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `20.20.20.1:80/tcp`, `20.20.20.1:80-90/tcp`, with `mark 5` where one is asked for. */
export function describeService({ address, port, lastPort, protocol, mark }: DirectoryService): string {
  const host = address.includes(':') ? `[${address}]` : address;
  const ports = lastPort > port ? `:${port}-${lastPort}` : `:${port}`;
  return `${host}${protocol === 'icmp' ? '' : ports}/${protocol}${mark === 0 ? '' : ` mark ${mark}`}`;
}

export interface LabelSources {
  readonly dataplane: Pick<DataPlane, 'rawEntries'>;
  readonly network: Pick<Network, 'links'>;
  /** Undefined while lb is off. */
  readonly directory: () => ServiceDirectory | undefined;
}

export class Labels {
  constructor(private readonly sources: LabelSources) {}

  service(id: number): ServiceLabel {
    const found = this.sources.directory()?.find(id);
    return found
      ? { service: found.name, address: describeService(found) }
      : { service: '', address: `service ${id}, which is gone` };
  }

  /** In a sentence: `service web (20.20.20.1:80/tcp)`. */
  serviceText(id: number): string {
    const found = this.sources.directory()?.find(id);
    if (!found) return `service ${id}`;
    return found.name ? `service ${found.name} (${describeService(found)})` : `service ${describeService(found)}`;
  }

  /** `10.0.0.1:8080`; `endpoint 7` when the packet path has none of that number. */
  endpoint(id: number, protocol: number): string {
    const key = new Uint8Array(Uint32Array.of(id).buffer);
    const { values, count } = readEntries(this.sources.dataplane, 'lb_endpoint', [key]);
    if (count === 0) return `endpoint ${id}`;
    const { addr, port } = lbEndpoint.decode(new DataView(values.buffer, values.byteOffset, values.byteLength), 0);
    return addr === '::' ? `endpoint ${id}` : hostPort(addr, port, protocol);
  }

  /** `-` for 0: some of what happens to a flow is told by code that does not know where the packet came in. */
  interface(ifindex: number): string {
    if (ifindex === 0) return '-';
    return this.sources.network.links().find((link) => link.ifindex === ifindex)?.name ?? `interface ${ifindex}`;
  }
}

const NOTHING: RawBatch = { keys: new Uint8Array(0), values: new Uint8Array(0), count: 0 };

/** The entries of these keys; none from a map whose plugin is off. */
export function readEntries(
  dataplane: Pick<DataPlane, 'rawEntries'>,
  map: string,
  keys: readonly Uint8Array[],
): RawBatch {
  try {
    return dataplane.rawEntries(map, keys);
  } catch (error) {
    if (isLoxilbError(error) && error.code === 'DP_NOT_LOADED') return NOTHING;
    throw error;
  }
}
