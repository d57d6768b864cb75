/** What the scenarios share: who is where, services by name, and conversations through the programs. */
import { afterAll, beforeAll, beforeEach, describe, expect } from 'vitest';
import { type CtEntry, CtFlags, type CtKey } from '../../plugins/conntrack/layout.gen.js';
import { LbControlFlags, type LbService, LbServiceFlags } from '../../plugins/lb/layout.gen.js';
import { type LoadOptions, NO_ENDPOINT, PacketPath, type RunOptions, type RunResult, VERDICT } from './harness.js';
import {
  CLIENT_SIDE,
  type Device,
  enterNetwork,
  hostAddress,
  kernelAccess,
  type Network,
  neighborMac,
  SERVER_SIDE,
} from './network.js';
import { buildFrame } from './reference/build.js';
import {
  echo,
  ipHeader,
  NO_BYTES,
  type Packet,
  PROTOCOL,
  TCP,
  type Tcp,
  type Transport,
  tcp,
  udp,
} from './reference/packet.js';
import { parseFrame } from './reference/parse.js';
import { alignedBlocks, parsePrefix } from './reference/prefix.js';
import type { Hop, Peer } from './reference/translate.js';

export type Family = 4 | 6;
export type Protocol = 'tcp' | 'udp' | 'icmp';

/** Every family with every service protocol, for `describe.each`. */
export const EVERY_KIND: readonly { readonly family: Family; readonly protocol: Protocol }[] = (
  [4, 6] as const
).flatMap((family) => (['tcp', 'udp', 'icmp'] as const).map((protocol) => ({ family, protocol })));

export const SELECT = { rr: 0, hash: 1, priority: 2, persist: 3, lc: 4 } as const;
export const MODE = { default: 0, onearm: 1, fullnat: 2, dsr: 3 } as const;

export const TICKS_PER_SECOND = 953;

/** A host next to the balancer. */
export interface Host {
  readonly address: string;
  readonly mac: string;
  readonly device: Device;
}

export function host(device: Device, family: Family, number: number): Host {
  const address = hostAddress(device.addresses[family === 4 ? 0 : 1], number);
  return { address, mac: neighborMac(device, number), device };
}

export interface Scene {
  readonly family: Family;
  readonly vip: string;
  readonly client: Host;
  /** `endpoint(0)`, `endpoint(1)` ... next to the balancer. */
  readonly endpoint: (index: number) => Host;
  /** The balancer's own address towards the endpoints. */
  readonly self: string;
}

export function scene(family: Family): Scene {
  return {
    family,
    vip: family === 4 ? '20.20.20.1' : '2001:db8:20::1',
    client: host(CLIENT_SIDE, family, 10),
    endpoint: (index) => host(SERVER_SIDE, family, 11 + index),
    self: SERVER_SIDE.addresses[family === 4 ? 0 : 1],
  };
}

export const SERVICE_PORT = 2020;
export const ENDPOINT_PORT = 8080;
export const CLIENT_PORT = 40_000;

export function protocolNumber(family: Family, protocol: Protocol): number {
  if (protocol !== 'icmp') return PROTOCOL[protocol];
  return family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
}

export interface EndpointSpec {
  readonly address: string;
  readonly port?: number;
  readonly source?: string;
  readonly self?: string;
  readonly active?: boolean;
  /** How many ports from `port` on. */
  readonly ports?: number;
  /** LbEndpointFlags. */
  readonly flags?: number;
}

export interface ServiceSpec {
  readonly address: string;
  readonly port?: number;
  /** Last port of a range. */
  readonly portMax?: number;
  readonly protocol: number;
  readonly mark?: number;
  readonly mode?: number;
  readonly select?: number;
  readonly endpoints: readonly EndpointSpec[];
  /** Indexes of `endpoints` in slot order; the active ones once each unless given. */
  readonly slots?: readonly number[];
  readonly idleTicks?: number;
  readonly affinityTicks?: number;
  /** LbServiceFlags. */
  readonly flags?: number;
  /** Prefixes of the clients it is for; all unless given. */
  readonly sources?: readonly string[];
  /** 1: idle flows end to the second, with a reset to both ends. */
  readonly reset?: number;
}

export interface Service {
  readonly id: number;
  readonly endpointIds: readonly number[];
  readonly slotBase: number;
}

/** LB_RANGE_FIXED_BITS: mark, address and protocol with its padding. */
const RANGE_FIXED_BITS = (4 + 16 + 2) * 8;

/** Cached ways out are not looked up again while a slow test runs, unless it wants that. */
const NEVER = 0x7fffffff;

/** One packet path per test file, empty at the start of each test. */
export class Bench {
  readonly network: Network;
  readonly path: PacketPath;
  private services = 0;
  private endpoints = 0;
  private slots = 0;

  constructor(options: LoadOptions) {
    this.network = enterNetwork();
    const features = { cfg_resolve_age: NEVER, ...options.features };
    this.path = new PacketPath({ ...options, features });
  }

  reset(): void {
    this.path.reset();
    this.services = 0;
    this.endpoints = 0;
    this.slots = 0;
  }

  /** Programs a service the way the daemon does: endpoints and slots first, the service value last. */
  addService(spec: ServiceSpec): Service {
    const id = ++this.services;
    const { maps } = this.path;
    const endpointIds = spec.endpoints.map((endpoint) => this.addEndpoint(id, endpoint));
    const active = spec.endpoints.flatMap((endpoint, index) => (endpoint.active === false ? [] : [index]));
    const slots = spec.slots ?? active;
    const slotBase = this.addSlots(slots.map((index) => endpointIds[index] ?? 0));
    maps.serviceStates.set(id, { cursor: 0, idleTicks: spec.idleTicks ?? 0, alive: 1, reset: spec.reset ?? 0 });
    const { port = 0, mode = MODE.default, select = SELECT.rr, affinityTicks = 0 } = spec;
    const flags = (spec.flags ?? 0) | (spec.sources ? LbServiceFlags.LB_SERVICE_SOURCES : 0);
    for (const prefix of spec.sources ?? []) this.allowSource(id, prefix);
    this.publish(spec, { serviceId: id, slotBase, slotCount: slots.length, affinityTicks, select, mode, flags, port });
    return { id, endpointIds, slotBase };
  }

  allowSource(serviceId: number, prefix: string): void {
    const { address: addr, bits } = parsePrefix(prefix);
    this.path.maps.sources.set({ prefixlen: 32 + bits, serviceId, addr }, { allow: 1 });
  }

  private publish(spec: ServiceSpec, value: LbService): void {
    const { address: addr, port = 0, portMax, protocol: proto, mark = 0 } = spec;
    const { services, ranges, lbControl } = this.path.maps;
    if (portMax === undefined) {
      services.set({ addr, port, proto, mark }, value);
      return;
    }
    for (const { first, bits } of alignedBlocks(port, portMax)) {
      ranges.set({ prefixlen: RANGE_FIXED_BITS + bits, mark, addr, proto, port: first }, value);
    }
    lbControl.set(0, { flags: LbControlFlags.LB_HAS_RANGES });
  }

  addSlots(endpointIds: readonly number[]): number {
    const base = this.slots;
    for (const endpointId of endpointIds) this.path.maps.slots.set(this.slots++, { endpointId });
    return base;
  }

  private addEndpoint(serviceId: number, spec: EndpointSpec): number {
    const id = ++this.endpoints;
    const { address: addr, port = ENDPOINT_PORT, active = true, ...fields } = spec;
    const state = { active: active ? 1 : 0, serviceId, weight: 1 };
    this.path.maps.endpoints.set(id, { ...NO_ENDPOINT, ...fields, ...state, addr, port });
    return id;
  }

  /** Sends a packet in by the device of `from`. */
  receive(packet: Packet, device: Device, options: Partial<RunOptions> = {}): RunResult {
    return this.path.ingress(buildFrame(packet), { ifindex: this.network.ifindex(device), ...options });
  }

  /** Entries by what the flow is, not by the table it is in. */
  flowCount(): { readonly confirmed: number; readonly pending: number } {
    const entries = this.tables().flatMap((table) => table.entries());
    const pending = entries.filter(([, entry]) => (entry.flags & CtFlags.CT_PENDING) !== 0).length;
    return { confirmed: entries.length - pending, pending };
  }

  /** Where flows may be. */
  tables() {
    return [this.path.maps.flows, this.path.maps.pending];
  }

  forgetFlows(): void {
    for (const table of this.tables()) table.clear();
  }

  /** The direction of a flow that packets from `from` to `to` belong to, wherever it lives. */
  findFlow(proto: number, from: Peer, to: Peer): CtEntry | undefined {
    const key: CtKey = { saddr: from.address, daddr: to.address, sport: from.port, dport: to.port, proto, zone: 0 };
    return this.path.maps.flows.get(key) ?? this.path.maps.pending.get(key);
  }
}

const access = kernelAccess();
if (!access.allowed) console.warn(`skipped: ${access.reason}`);

/** `describe` with a loaded packet path; skipped with a line where that is not permitted. */
export function describePath(name: string, define: (bench: () => Bench) => void, options: LoadOptions = {}): void {
  describe.skipIf(!access.allowed)(name, () => {
    let bench: Bench | undefined;
    const use = (): Bench => {
      if (!bench) throw new Error('the packet path is not loaded yet');
      return bench;
    };
    beforeAll(() => {
      bench = new Bench(options);
    });
    beforeEach(() => use().reset());
    afterAll(() => bench?.path.close());
    define(use);
  });
}

/** MAC addresses of a frame from a neighbour to the balancer. */
export function arrival(from: Host): Hop {
  return { source: from.mac, destination: from.device.mac };
}

/** MAC addresses of a frame the balancer sends to a neighbour. */
export function departure(to: Host): Hop {
  return { source: to.device.mac, destination: to.mac };
}

type IpFields = Partial<Parameters<typeof ipHeader>[0]>;

/** A packet that arrives from a neighbour. */
export function packetFrom(from: Host, to: string, transport: Transport, fields: IpFields = {}): Packet {
  const { source = from.address, ...rest } = fields;
  return { ethernet: arrival(from), ip: ipHeader({ source, destination: to, ...rest }), transport, trailer: NO_BYTES };
}

/** The first packet of a conversation. For ICMP the client's port is the identifier. */
export function opening(
  protocol: Protocol,
  clientPort: number,
  servicePort: number,
  fields: Partial<Tcp> = {},
): Transport {
  switch (protocol) {
    case 'tcp':
      return tcp({ sourcePort: clientPort, destinationPort: servicePort, flags: TCP.syn, ...fields });
    case 'udp':
      return udp({ sourcePort: clientPort, destinationPort: servicePort });
    case 'icmp':
      return echo({ identifier: clientPort });
  }
}

/** What the endpoint answers to `opening`. */
export function answer(
  protocol: Protocol,
  endpointPort: number,
  peerPort: number,
  fields: Partial<Tcp> = {},
): Transport {
  switch (protocol) {
    case 'tcp': {
      const rest = { sequence: 500_000, acknowledgment: 1001, flags: TCP.syn | TCP.ack, window: 65_160, ...fields };
      return tcp({ sourcePort: endpointPort, destinationPort: peerPort, ...rest });
    }
    case 'udp':
      return udp({ sourcePort: endpointPort, destinationPort: peerPort });
    case 'icmp':
      return echo({ identifier: peerPort, reply: true });
  }
}

/** Judges a forwarded packet byte by byte. */
export function expectForwarded(result: RunResult, packet: Packet): void {
  expectPacket(result, packet);
  expect(result.verdict).toBe(VERDICT.redirect);
}

export function expectPacket(result: RunResult, packet: Packet): void {
  const expected = buildFrame(packet);
  if (Buffer.compare(result.frame, expected) === 0) return;
  // Fields tell more than bytes, and a packet that does not parse is worth that message.
  expect(parseFrame(result.frame)).toEqual(parseFrame(expected));
  expect(result.frame).toEqual(expected);
}

/** The program left it alone: same bytes, next program, and no flow was made. */
export function expectUntouched(result: RunResult, frame: Uint8Array): void {
  expect(Buffer.from(result.frame).toString('hex')).toBe(Buffer.from(frame).toString('hex'));
  expect(result.verdict).toBe(VERDICT.next);
}
