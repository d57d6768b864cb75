/** The modes that mutations are tried in: what services there are in each. */
import { LbEndpointFlags, LbServiceFlags } from '../../../plugins/lb/layout.gen.js';
import { PROTOCOL } from '../reference/packet.js';
import type { RawPacket } from '../reference/raw.js';
import {
  type EndpointSpec,
  type Family,
  MODE,
  type Protocol,
  protocolNumber,
  SELECT,
  SERVICE_PORT,
  type ServiceSpec,
  scene,
} from '../scenario.js';
import type { Way } from './model.js';

const { LB_EP_TUNNEL, LB_EP_PORT_SHIFT } = LbEndpointFlags;

export type MutatedProtocol = Protocol | 'sctp';

const ALL = ['tcp', 'udp', 'icmp'] as const;
const WITH_PORTS = ['tcp', 'udp'] as const;

export interface Mode {
  readonly name: string;
  readonly protocols: readonly MutatedProtocol[];
  readonly way: Way;
  readonly main: (family: Family) => Omit<Partial<ServiceSpec>, 'endpoints'> & {
    readonly endpoint: Partial<EndpointSpec>;
    /** Family of the endpoints. */
    readonly behind?: Family;
  };
  /** Whom the service is for. */
  readonly allows?: (packet: RawPacket) => boolean;
  /** Samples are parts of packets, and parts that come too early are kept. */
  readonly fragments?: boolean;
  /** UDP also comes without a checksum, and with one that is zero when it is translated. */
  readonly sums?: boolean;
}

const other = (family: Family): Family => (family === 4 ? 6 : 4);

/** Clients 0 to 15 of the client side. */
const SOURCES = { 4: '10.0.1.0/28', 6: '2001:db8:1::10/124' } as const;

function isNearClient({ bytes, addresses, size }: RawPacket): boolean {
  const prefix = size === 4 ? [10, 0, 1] : [0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  const near = prefix.every((byte, index) => bytes[addresses + index] === byte);
  return near && (bytes[addresses + size - 1] ?? 0) >> 4 === (size === 4 ? 0 : 1);
}

export const MODES: readonly Mode[] = [
  { name: 'default', protocols: ALL, way: 'translate', main: () => ({ endpoint: {} }) },
  {
    name: 'onearm',
    protocols: ALL,
    way: 'translate',
    main: (family) => ({ mode: MODE.onearm, endpoint: { source: scene(family).self } }),
  },
  {
    name: 'fullnat',
    protocols: ALL,
    way: 'translate',
    main: (family) => ({ mode: MODE.fullnat, endpoint: { source: scene(family).vip } }),
  },
  {
    name: 'L2-DSR',
    protocols: ALL,
    way: 'hand over',
    main: () => ({ mode: MODE.dsr, select: SELECT.hash, endpoint: { port: SERVICE_PORT } }),
  },
  {
    name: 'L3-DSR',
    protocols: ALL,
    way: 'tunnel',
    main: () => ({ mode: MODE.dsr, select: SELECT.hash, endpoint: { port: SERVICE_PORT, flags: LB_EP_TUNNEL } }),
  },
  {
    name: 'L3-DSR, other family',
    protocols: ALL,
    way: 'tunnel',
    main: (family) => ({
      mode: MODE.dsr,
      select: SELECT.hash,
      endpoint: { port: SERVICE_PORT },
      behind: other(family),
    }),
  },
  {
    name: 'range, shifted',
    protocols: WITH_PORTS,
    way: 'translate',
    main: () => ({ port: 2016, portMax: 2047, endpoint: { port: 8016, ports: 32, flags: LB_EP_PORT_SHIFT } }),
  },
  {
    name: 'range to a span',
    protocols: WITH_PORTS,
    way: 'translate',
    main: (family) => ({
      port: 2016,
      portMax: 2047,
      mode: MODE.onearm,
      endpoint: { port: 5201, ports: 100, source: scene(family).self },
    }),
  },
  {
    name: 'allowed sources',
    protocols: ALL,
    way: 'translate',
    main: (family) => ({ sources: [SOURCES[family]], endpoint: {} }),
    allows: isNearClient,
  },
  {
    name: 'other family',
    protocols: ALL,
    way: 'cross',
    main: (family) => ({ endpoint: { source: scene(other(family)).self }, behind: other(family) }),
  },
  { name: 'SCTP', protocols: ['sctp'], way: 'associate', main: () => ({ endpoint: {} }) },
  {
    name: 'SCTP, onearm',
    protocols: ['sctp'],
    way: 'associate',
    main: (family) => ({ mode: MODE.onearm, endpoint: { source: scene(family).self } }),
  },
  {
    name: 'PROXY header',
    protocols: ['tcp'],
    way: 'proxy',
    main: () => ({ flags: LbServiceFlags.LB_SERVICE_PPV2, endpoint: {} }),
  },
  {
    name: 'PROXY header, onearm',
    protocols: ['tcp'],
    way: 'proxy',
    main: (family) => ({
      mode: MODE.onearm,
      flags: LbServiceFlags.LB_SERVICE_PPV2,
      endpoint: { source: scene(family).self },
    }),
  },
  {
    name: 'special checksums',
    protocols: ['udp'],
    way: 'translate',
    sums: true,
    main: (family) => ({ mode: MODE.onearm, endpoint: { source: scene(family).self } }),
  },
  { name: 'fragments', protocols: ALL, way: 'translate', fragments: true, main: () => ({ endpoint: {} }) },
  {
    name: 'fragments, onearm',
    protocols: ALL,
    way: 'translate',
    fragments: true,
    main: (family) => ({ mode: MODE.onearm, endpoint: { source: scene(family).self } }),
  },
  {
    name: 'fragments, L3-DSR',
    protocols: ALL,
    way: 'tunnel',
    fragments: true,
    main: () => ({ mode: MODE.dsr, select: SELECT.hash, endpoint: { port: SERVICE_PORT, flags: LB_EP_TUNNEL } }),
  },
];

function numberOf(family: Family, protocol: MutatedProtocol): number {
  return protocol === 'sctp' ? PROTOCOL.sctp : protocolNumber(family, protocol);
}

export interface PlannedService {
  readonly spec: ServiceSpec;
  readonly way: Way;
  readonly behind: Family;
  readonly allows?: Mode['allows'];
}

/**
 * The service of the mode with two endpoints, and neighbours that differ from it in a bit: another address, another
 * port, another protocol, and one that nobody answers for.
 */
export function planServices(mode: Mode, family: Family, protocol: MutatedProtocol): PlannedService[] {
  const { vip, self } = scene(family);
  const { endpoint, behind = family, ...fields } = mode.main(family);
  const towards = scene(behind);
  const number = numberOf(family, protocol);
  const port = protocol === 'icmp' ? 0 : SERVICE_PORT;
  const nearby = family === 4 ? '20.20.20.3' : '2001:db8:20::3';
  const endpoints = [0, 1].map((index) => ({
    address: towards.endpoint(index).address,
    self: towards.self,
    ...endpoint,
  }));
  const plain = (index: number, own = {}) => [{ address: scene(family).endpoint(index).address, self, ...own }];
  const base = { address: vip, port, protocol: number };
  const translated = { way: protocol === 'sctp' ? 'associate' : 'translate', behind: family } as const;
  const services: PlannedService[] = [
    { spec: { ...base, ...fields, endpoints }, way: mode.way, behind, allows: mode.allows },
    { spec: { ...base, address: nearby, mode: MODE.onearm, endpoints: plain(4, { source: self }) }, ...translated },
  ];
  if (protocol === 'icmp') return services;
  const elsewhere = fields.portMax === undefined ? SERVICE_PORT ^ 1 : SERVICE_PORT ^ 64;
  const swapped = numberOf(family, protocol === 'tcp' ? 'udp' : 'tcp');
  services.push(
    { spec: { ...base, port: elsewhere, endpoints: plain(5) }, ...translated },
    { spec: { ...base, protocol: swapped, endpoints: plain(6) }, way: 'translate', behind: family },
    { spec: { ...base, address: nearby, port: SERVICE_PORT ^ 2, endpoints: [] }, ...translated },
  );
  return services;
}
