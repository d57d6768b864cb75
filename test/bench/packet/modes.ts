/** What the packet part measures of open flows: one entry per way packets are changed. */
import { LbEndpointFlags, LbMode, LbSelect } from '../../../plugins/lb/layout.gen.js';
import { type Conversation, conversation, type Devices, oneWayConversation, proxyConversation } from './cases.js';
import { addressAfter } from './frame.js';
import { type Family, fullnatRoute, onearmRoute, plainRoute, type Route } from './routes.js';
import type { ServiceSpec } from './service.js';
import type { Transport } from './transport.js';
import { SERVERS, WORLD } from './world.js';

export interface Mode {
  readonly name: string;
  readonly services: readonly ServiceSpec[];
  readonly talk: Conversation;
  /** XDP does it too; the others are left to tc. */
  readonly hasXdp: boolean;
  /** Packets leave longer or shorter than they came. */
  readonly isResized?: boolean;
  /** tc puts packets into a tunnel. The same without one, which such a packet's cost is compared with. */
  readonly plain?: Conversation;
  /** Flows that nothing confirms: there may not be many. */
  readonly hasFewFlows?: boolean;
}

const FIRST_PORT = 100;

export function planModes(devices: Devices): Mode[] {
  const modes = new ModeList(devices);
  return [
    modes.kept('default, TCP', 4, 'tcp'),
    modes.kept('default, TCP over IPv6', 6, 'tcp'),
    modes.kept('default, UDP', 4, 'udp'),
    { ...modes.kept('default, ICMP echo', 4, 'icmp'), hasFewFlows: true },
    modes.kept('default, TCP with idle timer', 4, 'tcp', { hasIdleTimer: true }),
    modes.onearm('onearm', 4, 4),
    modes.fullnat('fullnat', 4),
    modes.fullnat('fullnat over IPv6', 6),
    modes.direct('L2-DSR', 4),
    modes.direct('L2-DSR over IPv6', 6),
    modes.tunnelled('L3-DSR in IPIP', 4, 4),
    modes.tunnelled('L3-DSR, IPv6 in IPv4', 6, 4),
    modes.tunnelled('L3-DSR, IPv4 in IPv6', 4, 6),
    modes.onearm('NAT64', 6, 4),
    modes.onearm('NAT46', 4, 6),
    modes.proxied('PROXY protocol v2', 4),
    modes.proxied('PROXY protocol v2 over IPv6', 6),
    modes.kept('SCTP, another port', 4, 'sctp', {}, false),
    modes.kept('SCTP, the same port', 4, 'sctp', { samePort: true }, false),
  ];
}

interface KeptExtras {
  readonly hasIdleTimer?: boolean;
  readonly samePort?: boolean;
}

/** Each mode has ports of its own. */
class ModeList {
  private port = FIRST_PORT;

  constructor(private readonly devices: Devices) {}

  private nextPorts(): Route['ports'] {
    return { service: this.port++, endpoint: 8000 + this.port };
  }

  kept(name: string, family: Family, protocol: Transport['protocol'], extras: KeptExtras = {}, hasXdp = true): Mode {
    const { samePort, ...rest } = extras;
    const ports = this.nextPorts();
    const route = plainRoute(family, samePort ? { ...ports, endpoint: ports.service } : ports);
    const services = [{ ...serviceOf(route, protocol), ...rest }];
    return { name, services, talk: conversation(this.devices, route, protocol), hasXdp };
  }

  onearm(name: string, client: Family, server: Family): Mode {
    const route = onearmRoute(client, server, this.nextPorts());
    const services = countedServices(route, LbMode.LB_MODE_ONEARM, (index) => ({
      address: addressAfter(WORLD.server[server], index),
      source: WORLD.self[server],
    }));
    const isResized = client !== server;
    return { name, services, talk: conversation(this.devices, route, 'tcp'), hasXdp: !isResized, isResized };
  }

  fullnat(name: string, family: Family): Mode {
    const route = fullnatRoute(family, this.nextPorts());
    const services = countedServices(route, LbMode.LB_MODE_FULLNAT, (index) => ({
      address: WORLD.server[family],
      source: addressAfter(WORLD.vip[family], index),
    }));
    return { name, services, talk: conversation(this.devices, route, 'tcp'), hasXdp: true };
  }

  direct(name: string, family: Family): Mode {
    const port = this.nextPorts().service;
    const services = [directService(family, family, port, 0)];
    return { name, services, talk: oneWayConversation(this.devices, family, port), hasXdp: true };
  }

  tunnelled(name: string, client: Family, server: Family): Mode {
    const [port, plainPort] = [this.nextPorts().service, this.nextPorts().service];
    const services = [
      directService(client, server, port, LbEndpointFlags.LB_EP_TUNNEL),
      directService(client, client, plainPort, 0),
    ];
    const [talk, plain] = [port, plainPort].map((one) => oneWayConversation(this.devices, client, one));
    return { name, services, talk: talk as Conversation, plain: plain as Conversation, hasXdp: true, isResized: true };
  }

  proxied(name: string, family: Family): Mode {
    const route = plainRoute(family, this.nextPorts());
    const services = [{ ...serviceOf(route, 'tcp'), ppv2: true }];
    return { name, services, talk: proxyConversation(this.devices, family, route), hasXdp: false };
  }
}

function serviceOf({ request, answer, ports }: Route, protocol: Transport['protocol']): ServiceSpec {
  const port = protocol === 'icmp' ? 0 : ports.service;
  const endpoints = [{ address: answer.source, port: ports.endpoint }];
  return { address: request.target, port, protocol, endpoints };
}

/** Services of a route that counts service addresses: each has 2^15 flows. */
function countedServices(
  { request, ports }: Route,
  mode: number,
  endpoint: (index: number) => { address: string; source: string },
): ServiceSpec[] {
  return Array.from({ length: SERVERS }, (_, index) => ({
    address: addressAfter(request.target, index),
    port: ports.service,
    protocol: 'tcp',
    mode,
    endpoints: [{ ...endpoint(index), port: ports.endpoint }],
  }));
}

function directService(client: Family, server: Family, port: number, flags: number): ServiceSpec {
  const endpoint = { address: WORLD.server[server], self: WORLD.self[server], port, flags };
  const dsr = { mode: LbMode.LB_MODE_DSR, select: LbSelect.LB_SELECT_HASH };
  return { address: WORLD.vip[client], port, protocol: 'tcp', ...dsr, endpoints: [endpoint] };
}
