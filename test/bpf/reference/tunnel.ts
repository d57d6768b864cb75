/** IP in IP: RFC 2003 (IPv4 in IPv4), RFC 4213 (IPv6 in IPv4), RFC 2473 (either in IPv6); ECN by RFC 6040. */
import { buildIp } from './build.js';
import { ipHeader, type Packet } from './packet.js';
import type { Hop } from './translate.js';

const IP_IN_IP = 4;
const IPV6_IN_IP = 41;
const OUTER_TTL = 64;

export interface Tunnel {
  readonly source: string;
  readonly destination: string;
  readonly hop: Hop;
  /** Free for the sender to choose where the outer packet may be fragmented; zero otherwise. */
  readonly identification?: number;
}

/** What the entry of a tunnel sends: the packet with one hop less, in another that is otherwise new. */
export function encapsulate(packet: Packet, { source, destination, hop, identification = 0 }: Tunnel): Packet {
  const { ip, transport } = packet;
  const four = ip.version === 4;
  const dontFragment = !four || ip.dontFragment;
  const trafficClass = four ? ip.tos : ip.trafficClass;
  const outer = { tos: trafficClass, trafficClass, ttl: OUTER_TTL, flowLabel: 0, dontFragment };
  return {
    ethernet: hop,
    ip: ipHeader({ source, destination, ...outer, identification: dontFragment ? 0 : identification }),
    transport: {
      kind: 'opaque',
      protocol: four ? IP_IN_IP : IPV6_IN_IP,
      payload: buildIp({ ...ip, ttl: ip.ttl - 1 }, transport),
    },
    trailer: packet.trailer,
  };
}

/** Bytes an outer header takes. */
export function tunnelOverhead(endpoint: string): number {
  return endpoint.includes(':') ? 40 : 20;
}
